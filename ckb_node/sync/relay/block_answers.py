"""Answers to peers that lack transactions or uncles of a block: GetBlockTransactions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from struct import unpack_from
from typing import Final

import structlog

from ckb_node.sync.chain import SyncChain
from ckb_node.sync.relay.announce import Announcer
from ckb_node.sync.relay.status import RelayFault, RelayStatus
from ckb_node.sync.upload import Upload, UploadKind
from consensus.codec.block_layout import trusted_bounds
from consensus.codec.layout import NUMBER_SIZE, U32
from consensus.codec.molecule import pack_parts
from consensus.types.blockchain import Block
from network.limits import RELAY
from network.messages.protocols import GetBlockTransactions
from network.peer import Peer, Scheduler
from network.peers.penalties import Misbehaviour
from storage.chain_store import ChainView

__all__ = ["BlockAnswers", "block_transactions", "read_indexes"]

log = structlog.get_logger("relay")

BLOCK_TRANSACTIONS_ID: Final = U32.pack(5)
"""Of the item in a RelayMessage."""
MAX_INDEXES: Final = 32_767
MAX_READS: Final = 8
"""Blocks that are read for one peer at a time; beyond it there is no answer."""


class BlockAnswers:
    """Blocks that were announced lately are at hand; others are read beside the event loop."""

    def __init__(
        self, chain: SyncChain, announcer: Announcer, scheduler: Scheduler, upload: Upload | None = None
    ) -> None:
        self._scheduler: Final = scheduler
        self._upload: Final = upload or Upload()
        self._served: Final = self._upload.served[UploadKind.BLOCK_TRANSACTIONS]
        self._served.waiting = lambda: sum(self._reads.values())
        self._chain: Final = chain
        self._announcer: Final = announcer
        self._reads: Final[Counter[int]] = Counter()

    def received(self, peer: Peer, message: GetBlockTransactions) -> RelayStatus:
        """Any stored block; silence when there is none. Raises RelayFault 400."""
        self._served.asked += 1
        self._check(message)
        recent, now = self._announcer.recent(message.block_hash), self._scheduler.now()
        if recent is not None and self._upload.is_urgent_allowed(now):
            return self._send(peer, block_transactions(recent, *read_indexes(message)))
        if recent is not None or self._reads[peer.session_id] >= MAX_READS or self._upload.wait(now) > 0.0:
            self._served.refused += 1
            return RelayStatus.IGNORED
        self._reads[peer.session_id] += 1
        self._chain.read(lambda view: _answer(view, message), lambda answer: self._read(peer, answer))
        return RelayStatus.OK

    def _check(self, message: GetBlockTransactions) -> None:
        indexes, uncles = len(message.indexes), len(message.uncle_indexes)
        if indexes > MAX_INDEXES:
            raise RelayFault(Misbehaviour.SYNC_400_MALFORMED, f"{indexes} indexes, at most {MAX_INDEXES}")
        if uncles > self._chain.consensus.max_uncles:
            most = self._chain.consensus.max_uncles
            raise RelayFault(Misbehaviour.SYNC_400_MALFORMED, f"{uncles} indexes of uncles, at most {most}")

    def closed(self, peer: Peer) -> None:
        self._reads.pop(peer.session_id, None)

    def _read(self, peer: Peer, answer: bytes | Exception | None) -> None:
        if self._reads[peer.session_id] > 1:
            self._reads[peer.session_id] -= 1
        else:
            del self._reads[peer.session_id]
        if isinstance(answer, Exception):
            log.warning("a block that a peer asked for cannot be read", reason=str(answer))
        else:
            self._send(peer, answer)

    def _send(self, peer: Peer, answer: bytes | None) -> RelayStatus:
        if answer is None:
            self._served.refused += 1
            return RelayStatus.IGNORED
        if peer.send(RELAY, answer):
            self._upload.sent(UploadKind.BLOCK_TRANSACTIONS, len(answer), self._scheduler.now())
        return RelayStatus.OK


def _answer(view: ChainView, message: GetBlockTransactions) -> bytes | None:
    """In a thread that reads."""
    block = view.block(message.block_hash)
    return None if block is None else block_transactions(block, *read_indexes(message))


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
    out. None when it would be larger than the block: nobody needs a transaction many times."""
    raw = block.raw
    bounds = trusted_bounds(raw, block.bounds[2])
    count = len(bounds) - 1
    spans = [(bounds[index], bounds[index + 1]) for index in indexes if index < count]
    uncles = block.uncles if uncle_indexes else ()
    chosen = [uncles[index].raw for index in uncle_indexes if index < len(uncles)]
    if sum(end - start for start, end in spans) + sum(map(len, chosen)) > 2 * len(raw):
        return None
    transactions = pack_parts([raw[start:end] for start, end in spans])
    return BLOCK_TRANSACTIONS_ID + pack_parts([block.hash, transactions, pack_parts(chosen)])
