"""A block put together of a compact block, of what the pool has, and of what peers gave besides.

In flat lists by place, without an object for each transaction: several hundred of them are put together while all peers
wait for the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from operator import not_
from typing import Final, Protocol

from ckb_node.sync.relay.compact import Sketch
from consensus.codec.molecule import pack_parts
from consensus.crypto.hashing import ckb_hash
from consensus.crypto.merkle import merkle_root
from consensus.kernels.strict import parse_block
from consensus.types.blockchain import Block, Transaction, UncleBlock
from storage.chain_store import ChainView

__all__ = ["FoundUncles", "Places", "TransactionsAtHand", "build_block", "find_uncles"]


class TransactionsAtHand(Protocol):
    """Where transactions of blocks are looked for."""

    def by_short_ids(self, ids: Iterable[bytes]) -> Mapping[bytes, Transaction]:
        """Those that are known: in the pool, whatever their status, or lately refused, or waiting for parents."""
        ...


class Places:
    """The transactions of a block by place, as far as they are found; empty where one is not."""

    __slots__ = ("hashes", "raws", "size", "witness_hashes")

    def __init__(self, sketch: Sketch) -> None:
        """With what is prefilled."""
        count = len(sketch.ids)
        self.raws: Final = [b""] * count
        self.hashes: Final = [b""] * count
        self.witness_hashes: Final = [b""] * count
        self.size = 0
        """Bytes of what is found."""
        for prefilled in sketch.prefilled:
            self.put(*prefilled)

    def copy(self) -> Places:
        """To be filled with what only one peer says."""
        made = Places.__new__(Places)
        for name in ("raws", "hashes", "witness_hashes"):
            setattr(made, name, list(getattr(self, name)))
        made.size = self.size
        return made

    def put(self, place: int, raw: bytes, tx_hash: bytes, witness_hash: bytes) -> None:
        self.raws[place], self.hashes[place], self.witness_hashes[place] = raw, tx_hash, witness_hash
        self.size += len(raw)

    def fill(self, ids: Sequence[bytes | None], known: TransactionsAtHand, most: int) -> None:
        """Look for what is missing. What does not fit into a block of `most` bytes cannot be what is meant: who made us
        keep large transactions could name a hundred megabytes of them, to be hashed."""
        wanted = [short_id for short_id in compress(ids, map(not_, self.raws)) if short_id is not None]
        if not wanted:
            return
        found = known.by_short_ids(wanted)
        for place, short_id in enumerate(ids):
            if short_id is not None and not self.raws[place]:
                transaction = found.get(short_id)
                if transaction is not None and self.size + transaction.raw_size <= most:
                    self.put(place, transaction.raw, transaction.hash, transaction.witness_hash)

    def missing(self) -> list[int]:
        """Places without a transaction."""
        return [place for place, raw in enumerate(self.raws) if not raw]

    def transactions_root(self) -> bytes:
        """As `Block.transactions_root`; all places must be filled."""
        return ckb_hash(merkle_root(self.hashes) + merkle_root(self.witness_hashes))


class FoundUncles:
    """The uncles of a block by place, serialised; `missing` are the places of those that are not found."""

    def __init__(self, raws: Sequence[bytes | None]) -> None:
        self.raws: Final = list(raws)

    def missing(self) -> list[int]:
        return [place for place, raw in enumerate(self.raws) if raw is None]

    def found(self) -> list[bytes]:
        """All of them, when none is missing."""
        return [raw for raw in self.raws if raw is not None]


def find_uncles(hashes: Sequence[bytes], view: ChainView, at_hand: Callable[[bytes], Block | None]) -> FoundUncles:
    """Uncles among stored blocks and those `at_hand`, of which nothing is verified yet. One that is known to be invalid
    is not found: nothing of it may be kept, and as an uncle it may be valid, of which only header and proposals count.
    """
    return FoundUncles([_find_uncle(each, view, at_hand) for each in hashes])


def _find_uncle(block_hash: bytes, view: ChainView, at_hand: Callable[[bytes], Block | None]) -> bytes | None:
    ext = view.block_ext(block_hash)
    if ext is not None and ext.verified is False:
        return None
    block = at_hand(block_hash) if ext is None else view.block(block_hash)
    if block is None or block.proposals_hash() != block.header.proposals_hash:  # the nephew's teller would be blamed
        return None
    return UncleBlock(header=block.header, proposals=block.proposals).raw


def build_block(sketch: Sketch, places: Places, uncles: FoundUncles) -> Block:
    """The block; all places are filled."""
    parts = [sketch.header.raw, pack_parts(uncles.found()), pack_parts(places.raws), sketch.proposals]
    if sketch.extension is not None:
        parts.append(sketch.extension)
    return parse_block(pack_parts(parts))
