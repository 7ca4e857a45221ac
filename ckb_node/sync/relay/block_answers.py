"""Answers to peers that lack transactions or uncles of a block: GetBlockTransactions.

Each answer is priced by what it costs, and each peer has its pace, with room for some whole blocks at once. Next comes
the peer that may have most, so who asks for one new block waits for nobody who asks all the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from struct import unpack_from
from typing import Final, NamedTuple

import structlog

from ckb_node.sync.chain import SyncChain
from ckb_node.sync.relay.announce import Announcer
from ckb_node.sync.relay.status import RelayFault, RelayStatus
from ckb_node.sync.upload import Upload, UploadKind
from consensus.codec.block_layout import trusted_bounds
from consensus.codec.layout import NUMBER_SIZE, U32
from consensus.codec.molecule import pack_parts
from consensus.types.blockchain import Block
from network.budget import Allowance
from network.limits import RELAY
from network.messages.protocols import GetBlockTransactions
from network.peer import MessageTooLarge, Peer, Scheduler, Timer
from network.peers.penalties import Misbehaviour
from storage.chain_store import ChainView

__all__ = ["BlockAnswers", "block_transactions", "read_indexes"]

log = structlog.get_logger("relay")

BLOCK_TRANSACTIONS_ID: Final = U32.pack(5)
"""Of the item in a RelayMessage."""
MAX_INDEXES: Final = 32_767
MAX_OPEN: Final = 8
"""Questions of a peer that wait or are in work; beyond it there is no answer."""
MAX_UNSENT_BYTES: Final = 4 << 20
"""A peer whose connection has so much to send waits."""
PEER_RATE, PEER_BURST = 1 << 20, 8 << 20
"""Price a second of one peer: a public chain makes at most 75 kB of blocks a second. And what it may use at once."""
RATE, BURST = 32 << 20, 128 << 20
"""Of all peers together: a new block is asked for by all of them at the same time."""
QUESTION_PRICE: Final = 4096
INDEX_PRICE: Final = 16
"""In bytes of an answer: what a question costs besides them, and each index in it. A block that must be read from disk
costs its bytes, too."""
WAIT_SECONDS: Final = 0.02
"""Pause before a full connection is looked at again."""


@dataclass(slots=True, eq=False)
class _Line:
    """A peer's questions, the first is next."""

    peer: Peer
    allowance: Allowance
    questions: deque[GetBlockTransactions] = field(default_factory=deque)
    in_work: int = 0

    @property
    def open(self) -> int:
        return len(self.questions) + self.in_work

    def may_have_one(self, now: float) -> bool:
        is_full = self.peer.queued_bytes > MAX_UNSENT_BYTES
        return bool(self.questions) and not is_full and self.allowance.left(now) > 0


class _Read(NamedTuple):
    """An answer, None when there is none, and the bytes that were read for it."""

    message: bytes | None
    size: int


class BlockAnswers:
    """Blocks that were announced lately are at hand; others are read beside the event loop, one at a time."""

    def __init__(
        self, chain: SyncChain, announcer: Announcer, scheduler: Scheduler, upload: Upload | None = None
    ) -> None:
        self._scheduler: Final = scheduler
        self._upload: Final = upload or Upload()
        self._served: Final = self._upload.served[UploadKind.BLOCK_TRANSACTIONS]
        self._served.waiting = lambda: sum(line.open for line in self._lines.values())
        self._chain: Final = chain
        self._announcer: Final = announcer
        self._lines: Final[dict[int, _Line]] = {}
        self._all: Final = Allowance(RATE, BURST, scheduler.now())
        self._is_reading = False
        self._is_resting = False
        """There was an answer in this round of the event loop."""
        self._timer: Timer | None = None

    def received(self, peer: Peer, message: GetBlockTransactions) -> RelayStatus:
        """Any stored block; silence when there is none. Raises RelayFault 400."""
        self._served.asked += 1
        self._check(message)
        line = self._lines.get(peer.session_id)
        if line is None:
            allowance = Allowance(PEER_RATE, PEER_BURST, self._scheduler.now())
            line = self._lines[peer.session_id] = _Line(peer, allowance)
        if line.open >= MAX_OPEN or not self._may_upload(message):
            self._served.refused += 1
            return RelayStatus.IGNORED
        line.questions.append(message)
        if not self._is_resting:
            self._turn()
        return RelayStatus.OK

    def _check(self, message: GetBlockTransactions) -> None:
        indexes, uncles = len(message.indexes), len(message.uncle_indexes)
        if indexes > MAX_INDEXES:
            raise RelayFault(Misbehaviour.SYNC_400_MALFORMED, f"{indexes} indexes, at most {MAX_INDEXES}")
        if uncles > self._chain.consensus.max_uncles:
            most = self._chain.consensus.max_uncles
            raise RelayFault(Misbehaviour.SYNC_400_MALFORMED, f"{uncles} indexes of uncles, at most {most}")

    def _may_upload(self, message: GetBlockTransactions) -> bool:
        now = self._scheduler.now()
        return self._upload.is_urgent_allowed(now) if self._is_recent(message) else self._upload.wait(now) == 0.0

    def closed(self, peer: Peer) -> None:
        self._lines.pop(peer.session_id, None)

    # ------------------------------------------------------------ turns

    def _turn(self) -> None:
        """One answer; the next when the event loop has done something else."""
        now = self._scheduler.now()
        if not any(line.questions for line in self._lines.values()):
            return
        line = None
        if self._all.left(now) > 0:
            line = max(self._ready(now), key=lambda each: each.allowance.left(now), default=None)
        if line is None:
            self._turn_after(WAIT_SECONDS)
            return
        self._answer(line)
        self._is_resting = True
        self._turn_after(0.0)

    def _turn_after(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._scheduler.call_later(delay, self._rested)

    def _rested(self) -> None:
        self._timer, self._is_resting = None, False
        self._turn()

    def _ready(self, now: float) -> Iterator[_Line]:
        """Those that may have an answer now."""
        for line in self._lines.values():
            if line.may_have_one(now) and (not self._is_reading or self._is_recent(line.questions[0])):
                yield line

    def _is_recent(self, message: GetBlockTransactions) -> bool:
        return self._announcer.recent(message.block_hash) is not None

    def _answer(self, line: _Line) -> None:
        """Of those that may have equally much, next comes the one whose answer is the longest ago."""
        self._lines[line.peer.session_id] = self._lines.pop(line.peer.session_id)
        message = line.questions.popleft()
        recent = self._announcer.recent(message.block_hash)
        if recent is not None:
            self._send(line, message, _Read(block_transactions(recent, *read_indexes(message)), 0))
            return
        self._is_reading = True
        line.in_work += 1
        self._chain.read(partial(_read, message), partial(self._was_read, line, message))

    def _was_read(self, line: _Line, message: GetBlockTransactions, found: _Read | Exception) -> None:
        self._is_reading = False
        line.in_work -= 1
        if isinstance(found, Exception):
            log.warning("a block that a peer asked for cannot be read", reason=str(found))
        else:
            self._send(line, message, found)
        self._turn_after(0.0)

    def _send(self, line: _Line, message: GetBlockTransactions, read: _Read) -> None:
        now, answer = self._scheduler.now(), read.message or b""
        price = QUESTION_PRICE + INDEX_PRICE * len(message.indexes) + read.size + len(answer)
        line.allowance.spend(price, now)
        self._all.spend(price, now)
        if read.message is None:
            self._served.refused += 1
            return
        try:
            if line.peer.send(RELAY, answer):
                self._upload.sent(UploadKind.BLOCK_TRANSACTIONS, len(answer), now)
        except MessageTooLarge as error:
            log.warning("transactions of a block are too large to be sent", bytes=error.size)


def _read(message: GetBlockTransactions, view: ChainView) -> _Read:
    """In a thread that reads."""
    block = view.block(message.block_hash)
    return _Read(None, 0) if block is None else _Read(block_transactions(block, *read_indexes(message)), len(block.raw))


def read_indexes(message: GetBlockTransactions) -> tuple[Sequence[int], Sequence[int]]:
    """Of transactions and of uncles; read at once, since there may be thousands."""
    raw = message.raw
    bounds = trusted_bounds(raw, 0)
    first, second = (
        unpack_from(f"<{(bounds[field + 1] - bounds[field]) // NUMBER_SIZE - 1}I", raw, bounds[field] + NUMBER_SIZE)
        for field in (1, 2)
    )
    return first, second


def block_transactions(block: Block, indexes: Sequence[int], uncle_indexes: Sequence[int]) -> bytes | None:
    """The message with the transactions and uncles at these places, in this order; what the block does not have is left
    out, and what is asked for twice is there twice, as in the reference. None when it would be larger than the block:
    nobody needs a transaction many times."""
    raw = block.raw
    bounds = trusted_bounds(raw, block.bounds[2])
    count = len(bounds) - 1
    spans = [(bounds[index], bounds[index + 1]) for index in indexes if index < count]
    uncles = block.uncles if uncle_indexes else ()
    chosen = [uncles[index].raw for index in uncle_indexes if index < len(uncles)]
    if sum(end - start for start, end in spans) + sum(map(len, chosen)) > len(raw):
        return None
    transactions = pack_parts([raw[start:end] for start, end in spans])
    return BLOCK_TRANSACTIONS_ID + pack_parts([block.hash, transactions, pack_parts(chosen)])
