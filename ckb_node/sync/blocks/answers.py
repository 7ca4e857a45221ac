"""Answers to GetBlocks: blocks from the archive, as they lie there, paced by bytes for each peer.

Peers take turns, a slice each. A peer whose connection is full, or that has had its bytes for now, is passed over; one
that asks for more than may wait is not read until it has got some of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from struct import Struct
from typing import Final

import structlog

from ckb_node.sync.blocks import limits
from ckb_node.sync.chain import SyncChain
from ckb_node.sync.peers import SyncPeer
from ckb_node.sync.upload import Upload, UploadKind
from network.budget import Allowance
from network.limits import SYNC
from network.messages.protocols import GetBlocks
from network.peer import MessageTooLarge, Scheduler
from network.peers.penalties import Misbehaviour, apply_penalty
from storage.chain_store import ChainView

__all__ = ["BlockAnswers", "packed_block"]

log = structlog.get_logger("sync")

_HOLDER: Final = "answers"
_HEAD: Final = Struct("<III")
"""Item id of the union, then size and only offset of the table."""
_SEND_BLOCK: Final = 3
_TABLE_HEAD: Final = 8


@dataclass(slots=True)
class _Asker:
    peer: SyncPeer
    allowance: Allowance
    wanted: deque[bytes] = field(default_factory=deque)
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class _Slice:
    """Messages for the first hashes that were asked for; `looked_at` are used up, all if `is_end`."""

    messages: Sequence[bytes]
    looked_at: int
    is_end: bool


class BlockAnswers:
    """Belongs to the network's thread; blocks are read in another."""

    def __init__(self, chain: SyncChain, scheduler: Scheduler, upload: Upload | None = None) -> None:
        self._upload: Final = upload or Upload()
        self._served: Final = self._upload.served[UploadKind.BLOCKS]
        self._served.waiting = lambda: self.queued
        self._chain: Final = chain
        self._scheduler: Final = scheduler
        self._genesis_hash: Final = chain.consensus.genesis_hash
        self._askers: Final[dict[int, _Asker]] = {}
        self._turns: Final[deque[int]] = deque()
        """Session ids of those who wait for something."""
        self._is_reading = self._is_waiting = False

    @property
    def queued(self) -> int:
        """Blocks that all peers wait for."""
        return sum(len(asker.wanted) for asker in self._askers.values())

    def received_get_blocks(self, peer: SyncPeer, message: GetBlocks) -> None:
        """Queue what is asked for, or punish what may not be asked."""
        hashes = message.block_hashes
        self._served.asked += 1
        if len(hashes) > limits.MAX_ASKED:
            self._served.refused += 1
            apply_penalty(peer.peer, Misbehaviour.SYNC_400_MALFORMED, f"{len(hashes)} blocks asked for at once")
            return
        looked_at = list(hashes[: limits.MESSAGE_HASHES])
        if self._genesis_hash in looked_at:
            self._served.refused += 1
            apply_penalty(peer.peer, Misbehaviour.SYNC_417_GENESIS_ASKED)
        elif len(set(looked_at)) < len(looked_at):
            self._served.refused += 1
            apply_penalty(peer.peer, Misbehaviour.SYNC_418_ASKED_TWICE)
        elif looked_at:
            self._queue(peer, looked_at)

    def closed(self, peer: SyncPeer) -> None:
        """Nobody waits any more."""
        self._askers.pop(peer.session_id, None)

    def _queue(self, peer: SyncPeer, hashes: Sequence[bytes]) -> None:
        asker = self._askers.get(peer.session_id)
        if asker is None:
            allowance = Allowance(limits.ANSWER_RATE, limits.ANSWER_BURST, self._scheduler.now())
            asker = self._askers[peer.session_id] = _Asker(peer, allowance)
        if not asker.wanted:
            self._turns.append(peer.session_id)
        asker.wanted.extend(hashes)
        if len(asker.wanted) >= limits.MAX_QUEUED_ANSWERS and not asker.is_held:
            asker.is_held = True
            peer.hold(_HOLDER)
        self._next_turn()

    def _next_turn(self) -> None:
        """Read a slice for the next peer that can have it."""
        if self._is_reading:
            return
        for _ in range(len(self._turns)):
            session_id = self._turns.popleft()
            asker = self._askers.get(session_id)
            if asker is None or not asker.wanted:
                continue
            if self._may_have(asker):
                self._is_reading = True
                hashes = [each for each, _ in zip(asker.wanted, range(limits.ANSWER_SLICE_BLOCKS), strict=False)]
                self._chain.read(partial(read_slice, hashes), partial(self._send, asker))
                return
            self._turns.append(session_id)
        if self._turns and not self._is_waiting:
            self._is_waiting = True
            self._scheduler.call_later(limits.ANSWER_WAIT_SECONDS, self._waited)

    def _waited(self) -> None:
        self._is_waiting = False
        self._next_turn()

    def _may_have(self, asker: _Asker) -> bool:
        is_full = asker.peer.peer.queued_bytes >= limits.ANSWER_QUEUE_BYTES
        now = self._scheduler.now()
        return not is_full and self._upload.wait(now) == 0.0 and asker.allowance.wait(now) == 0.0

    def _send(self, asker: _Asker, found: _Slice | Exception) -> None:
        self._is_reading = False
        if isinstance(found, Exception):
            log.warning("blocks for a peer could not be read", reason=str(found))
            asker.wanted.clear()
        else:
            self._send_slice(asker, found)
        if asker.is_held and len(asker.wanted) <= limits.MAX_QUEUED_ANSWERS // 2:
            asker.is_held = False
            asker.peer.release(_HOLDER)
        if asker.wanted:
            self._turns.append(asker.peer.session_id)
        self._next_turn()

    def _send_slice(self, asker: _Asker, found: _Slice) -> None:
        for _ in range(min(found.looked_at, len(asker.wanted))):
            asker.wanted.popleft()
        if found.is_end:
            asker.wanted.clear()
        now, price = self._scheduler.now(), limits.ANSWER_PRICE * found.looked_at
        asker.allowance.spend(price + sum(map(len, found.messages)), now)
        self._upload.spend(price, now)
        for message in found.messages:
            try:
                if not asker.peer.peer.send(SYNC, message):
                    break
                self._upload.sent(UploadKind.BLOCKS, len(message), now)
            except MessageTooLarge:
                log.warning("a block is too large to be sent", bytes=len(message))


def read_slice(hashes: Sequence[bytes], view: ChainView) -> _Slice:
    """Messages for the first of these blocks. A block that is not known to be valid is passed over; when one that is
    valid is missing, what stands behind it is missing, too (reference)."""
    messages: list[bytes] = []
    size = 0
    for at, block_hash in enumerate(hashes):
        if size >= limits.ANSWER_SLICE_BYTES:
            return _Slice(messages, at, is_end=False)
        ext = view.block_ext(block_hash)
        if ext is None or ext.verified is not True:
            continue
        raw = view.raw_block(block_hash)
        if raw is None:
            return _Slice(messages, at, is_end=True)
        messages.append(packed_block(raw))
        size += len(raw)
    return _Slice(messages, len(hashes), is_end=False)


def packed_block(raw: bytes) -> bytes:
    """The SyncMessage with a SendBlock of a serialised block."""
    return _HEAD.pack(_SEND_BLOCK, _TABLE_HEAD + len(raw), _TABLE_HEAD) + raw
