"""Compact blocks that cannot be put together yet: what of each is missing, and which peers were asked for it.

Each peer's compact block is kept as that peer sent it: the header is proven by work, but whoever has seen it can put
any short ids beside it, and the answers of honest peers must not be held against those of a liar.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ckb_node.sync.chain import KnownTip
from ckb_node.sync.relay.answered import Asked
from ckb_node.sync.relay.compact import Sketch
from ckb_node.sync.relay.reconstruct import Places
from consensus.types.core import epoch_number
from network.peer import Direction, Peer, Timer

__all__ = ["Offer", "PendingBlock", "PendingBlocks"]

MAX_BLOCKS: Final = 32
MAX_BYTES: Final = 32 << 20
MAX_AGE: Final = 600.0
"""Seconds. Sync asks for the block long before."""

MAX_OFFERS: Final = 16
"""Peers that are remembered for one block."""
MAX_ASKED: Final = 3
"""Peers that are asked at once for what one block lacks."""
MAX_INBOUND_ASKED: Final = 2
"""Of these: anybody may dial us, and never answer."""

_PLACE_SIZE: Final = 150
"""Bytes that one transaction takes in an offer besides itself: its id, its hashes, their places."""


@dataclass(slots=True, eq=False)
class Offer:
    """What one peer says of a block, with what the pool had of it. The peer is to be asked for what it `lacks`."""

    peer: Peer
    sketch: Sketch
    places: Places
    lacks: Asked
    is_asked: bool = False

    @property
    def is_inbound(self) -> bool:
        return self.peer.direction is Direction.INBOUND

    @property
    def size(self) -> int:
        """Bytes, as if nothing were shared with the pool."""
        return self.sketch.size + self.places.size + _PLACE_SIZE * len(self.sketch.ids)


def _is_inbound(offer: Offer) -> bool:
    return offer.is_inbound


@dataclass(slots=True, eq=False)
class PendingBlock:
    """A block that was announced, by session of who offers it."""

    known: KnownTip
    since: float
    offers: dict[int, Offer] = field(default_factory=dict)
    timer: Timer | None = None
    """Runs while others may be asked."""

    def asked(self) -> list[Offer]:
        """Those whose answer is awaited."""
        return [offer for offer in self.offers.values() if offer.is_asked]

    def may_ask(self, offer: Offer) -> bool:
        """Not too many are asked already."""
        asked = self.asked()
        inbound = sum(each.is_inbound for each in asked)
        return len(asked) < MAX_ASKED and not (offer.is_inbound and inbound >= MAX_INBOUND_ASKED)

    def next_to_ask(self) -> Offer | None:
        """The first that was not asked yet; those that we have dialled come before those that have dialled us."""
        return min((offer for offer in self.offers.values() if not offer.is_asked), key=_is_inbound, default=None)

    def last_to_ask(self) -> Offer | None:
        """Of those that have dialled us and were not asked yet the last."""
        return next(
            (offer for offer in reversed(self.offers.values()) if offer.is_inbound and not offer.is_asked), None
        )

    def like(self, sketch: Sketch) -> Offer | None:
        """The same compact block from another peer."""
        return next((each for each in self.offers.values() if each.sketch.digest == sketch.digest), None)

    @property
    def size(self) -> int:
        """Bytes."""
        distinct = {offer.sketch.digest: offer.size for offer in self.offers.values()}
        return sum(distinct.values())

    def stop(self) -> None:
        """Nobody else is to be asked."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class PendingBlocks:
    """By hash; bounded by count, bytes, age and epoch, never by height alone: what is at a lower height may become an
    uncle. The oldest leave."""

    def __init__(self, max_blocks: int = MAX_BLOCKS, max_bytes: int = MAX_BYTES, max_age: float = MAX_AGE) -> None:
        self._max_blocks, self._max_bytes, self._max_age = max_blocks, max_bytes, max_age
        self._blocks: Final[OrderedDict[bytes, PendingBlock]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[PendingBlock]:
        return iter(list(self._blocks.values()))

    def get(self, block_hash: bytes) -> PendingBlock | None:
        return self._blocks.get(block_hash)

    def add(self, known: KnownTip, offer: Offer, now: float) -> PendingBlock | None:
        """Keep an offer of a block; None when there are enough of this block, or it is larger than may be kept. A peer
        that we have dialled takes the place of one that has dialled us: anybody may do that, many times."""
        pending = self._blocks.get(known.hash)
        if pending is not None and len(pending.offers) >= MAX_OFFERS and offer.peer.session_id not in pending.offers:
            last = None if offer.is_inbound else pending.last_to_ask()
            if last is None:
                return None
            self.remove_offer(pending, last.peer.session_id)
        pending = pending or PendingBlock(known, now)
        before = pending.size
        pending.offers[offer.peer.session_id] = offer
        self._blocks[known.hash] = pending
        self.size_bytes += pending.size - before
        self._shrink(now)
        return self._blocks.get(known.hash)

    def remove(self, block_hash: bytes) -> PendingBlock | None:
        """The block is complete, or it came by another way."""
        pending = self._blocks.pop(block_hash, None)
        if pending is not None:
            pending.stop()
            self.size_bytes -= pending.size
        return pending

    def remove_offer(self, pending: PendingBlock, session_id: int) -> None:
        """A peer is not to be asked any more; a block that nobody offers leaves."""
        if pending.offers.keys() <= {session_id}:
            self.remove(pending.known.hash)
            return
        before = pending.size
        pending.offers.pop(session_id, None)
        self.size_bytes += pending.size - before

    def replace_places(self, pending: PendingBlock, offer: Offer, places: Places) -> None:
        """What the pool had of an offer's block is something else than the block's."""
        before = pending.size
        offer.places = places
        self.size_bytes += pending.size - before

    def drop_before_epoch(self, epoch: int) -> None:
        """Blocks of older epochs can be uncles no more."""
        for pending in self:
            if epoch_number(pending.known.header.epoch) < epoch:
                self.remove(pending.known.hash)

    def _shrink(self, now: float) -> None:
        while self._blocks:
            oldest = next(iter(self._blocks.values()))
            is_too_old = now - oldest.since > self._max_age
            if not is_too_old and len(self._blocks) <= self._max_blocks and self.size_bytes <= self._max_bytes:
                return
            self.remove(oldest.known.hash)
