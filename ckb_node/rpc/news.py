"""What happens on the chain, in the pool and in the log, as events of subscriptions."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from msgspec import Struct

from ckb_node.chain.events import ChainChanged
from ckb_node.jsonrpc_types.chain import TransactionViewJson, header_view_json
from ckb_node.jsonrpc_types.fast_write import block_view_json, transaction_view_json
from ckb_node.jsonrpc_types.hex_text import uint_text
from ckb_node.rpc.calls import encode
from ckb_node.rpc.subscriptions import Hub, Topic
from ckb_node.runtime.events import EventBus
from ckb_node.runtime.lane import Lane
from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.events import TransactionAdmitted, TransactionProposed, TransactionRejected
from ckb_node.txpool.rejects import Reject
from consensus.types.blockchain import Block, Header

MAX_WAITING: Final = 4096
MAX_WAITING_BYTES: Final = 64 << 20
"""Events that are not encoded yet."""

LOG_ENTRY_BYTES: Final = 256


class PoolTransactionEntryJson(Struct, frozen=True):
    """A transaction of the pool, as events tell of it."""

    transaction: TransactionViewJson
    cycles: str
    size: str
    fee: str
    timestamp: str


class PoolTransactionRejectJson(Struct, frozen=True):
    """Why the pool gave a transaction up."""

    type: str
    description: str


@dataclass(frozen=True, slots=True)
class _Event:
    topic: Topic
    size: int
    """Bytes that encoding it touches."""
    encoded: Callable[[], bytes]


class News:
    """Takes notes of what happens, in order, and encodes them in `run` for those who subscribed."""

    def __init__(self, hub: Hub, lane: Lane) -> None:
        self.hub: Final = hub
        self._lane = lane
        self._waiting: Final[deque[_Event]] = deque()
        self._bytes = 0
        self._arrived: Final = asyncio.Event()

    def listen(self, events: EventBus) -> None:
        """Hear of the pool."""
        events.listen(TransactionAdmitted, self._on_admitted)
        events.listen(TransactionProposed, lambda event: self._add_entry(Topic.PROPOSED_TRANSACTION, event.entry))
        events.listen(TransactionRejected, self._on_rejected)

    def on_change(self, change: ChainChanged) -> None:
        """The chain's listener: each change has one new tip, however many blocks it attached."""
        if not change.attached:
            return
        if self.hub.is_used(Topic.NEW_TIP_HEADER):
            self._add(Topic.NEW_TIP_HEADER, 0, partial(_header_text, change.new_tip))
        if self.hub.is_used(Topic.NEW_TIP_BLOCK):
            block = change.attached[-1]
            self._add(Topic.NEW_TIP_BLOCK, len(block.raw), partial(_block_text, block))

    def on_log(self, text: bytes) -> None:
        """A line of the log, as JSON."""
        self._add(Topic.LOG, LOG_ENTRY_BYTES, partial(_as_string, text))

    def _on_admitted(self, event: TransactionAdmitted) -> None:
        if event.entry.status is not Status.PROPOSED:
            self._add_entry(Topic.NEW_TRANSACTION, event.entry)

    def _on_rejected(self, event: TransactionRejected) -> None:
        if event.entry is not None and self.hub.is_used(Topic.REJECTED_TRANSACTION):
            work = partial(_rejected_text, event.entry, event.reason)
            self._add(Topic.REJECTED_TRANSACTION, event.entry.size, work)

    def _add_entry(self, topic: Topic, entry: PoolEntry) -> None:
        if self.hub.is_used(topic):
            self._add(topic, entry.size, partial(_entry_text, entry))

    def _add(self, topic: Topic, size: int, encoded: Callable[[], bytes]) -> None:
        self._waiting.append(_Event(topic, size, encoded))
        self._bytes += size
        if len(self._waiting) > MAX_WAITING or self._bytes > MAX_WAITING_BYTES:
            lost = Counter(event.topic for event in self._waiting)
            self._waiting.clear()
            self._bytes = 0
            for each, count in lost.items():
                self.hub.lose(each, count)
        self._arrived.set()

    async def run(self) -> None:
        """Encode what is noted, until cancelled."""
        while True:
            await self._arrived.wait()
            while self._waiting:
                event = self._waiting.popleft()
                self._bytes -= event.size
                if self.hub.is_used(event.topic):
                    self.hub.publish(event.topic, await self._lane.run_priced(event.size, event.encoded))
                await asyncio.sleep(0)
            self._arrived.clear()


def _as_string(text: bytes) -> bytes:
    """JSON as a JSON string: that is how events have always been sent."""
    return encode(text.decode())


def _header_text(header: Header) -> bytes:
    return _as_string(encode(header_view_json(header)))


def _block_text(block: Block) -> bytes:
    return _as_string(encode(block_view_json(block)))


def _entry_json(entry: PoolEntry) -> PoolTransactionEntryJson:
    return PoolTransactionEntryJson(
        transaction_view_json(entry.tx),
        uint_text(entry.cycles),
        uint_text(entry.size),
        uint_text(entry.fee),
        uint_text(entry.timestamp),
    )


def _entry_text(entry: PoolEntry) -> bytes:
    return _as_string(encode(_entry_json(entry)))


def _rejected_text(entry: PoolEntry, reason: Reject) -> bytes:
    told = PoolTransactionRejectJson(reason.kind, str(reason))
    return _as_string(encode((_entry_json(entry), told)))
