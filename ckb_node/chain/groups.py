"""Blocks in bulk: those that continue the main chain are attached in groups, each group one atomic commit.

Syncing the disk once for hundreds of blocks is what makes import fast. Nobody is told of the change: this is for
commands that have the database to themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from ckb_node.chain.rules import Judge, Judged
from consensus.difficulty import compact_to_difficulty
from consensus.errors import CkbError
from consensus.lookup import require
from consensus.mmr import nodes_of_block
from consensus.types.blockchain import Block, Header
from consensus.types.core import valid_block_ext
from storage.chain_store import ChainStore
from storage.chain_txn import ChainTxn


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """A group is committed when one of these is reached; bodies in bytes."""

    blocks: int = 256
    body_bytes: int = 16 << 20
    seconds: float = 2.0


class RefusedBlockError(Exception):
    """A block breaks a rule; those before it in the group stay."""

    def __init__(self, block: Block, cause: CkbError) -> None:
        super().__init__(f"block {block.number} (0x{block.hash.hex()}) is invalid: {cause}")
        self.number, self.block_hash, self.cause = block.number, block.hash, cause


class BlockGroups:
    """Attaches blocks one after the other. The end of the `with` commits the last group whatever the reason: what was
    attached so far is sound, unless it ends in the middle of a block; then the group is dropped."""

    def __init__(
        self, store: ChainStore, judge: Judge, now_ms: Callable[[], int], limits: GroupLimits | None = None
    ) -> None:
        self._store: Final = store
        self._judge: Final = judge
        self._now_ms: Final = now_ms
        self._limits: Final = limits or GroupLimits()
        self._txn: ChainTxn | None = None
        self._tip: Header | None = None
        self._is_within_block = False
        self._blocks, self._bytes, self._since = 0, 0, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._is_within_block:
            self._discard()
        else:
            self.flush()

    def tip(self) -> Header:
        """The last block, committed or not."""
        if self._txn is not None:
            return self._txn.tip_header()
        if self._tip is None:
            with self._store.view() as view:
                self._tip = view.tip_header()
        return self._tip

    def knows(self, block_hash: bytes) -> bool:
        """The block is stored, committed or not."""
        if self._txn is not None:
            return self._txn.block_ext(block_hash) is not None
        with self._store.view() as view:
            return view.block_ext(block_hash) is not None

    def add(self, block: Block) -> Judged:
        """Attach a block whose parent is the tip; what was found out of it. RefusedBlockError, StorageError."""
        txn = self._begun()
        try:
            judged = self._judge(txn, block)
            mmr_nodes = nodes_of_block(txn, block.header)[1]
        except CkbError as error:
            raise RefusedBlockError(block, error) from error
        self._is_within_block = True
        attach_judged(txn, block, judged, mmr_nodes, self._now_ms())
        self._is_within_block = False
        self._blocks, self._bytes = self._blocks + 1, self._bytes + len(block.raw)
        limits = self._limits
        if (
            self._blocks >= limits.blocks
            or self._bytes >= limits.body_bytes
            or time.monotonic() - self._since >= limits.seconds
        ):
            self.flush()
        return judged

    def flush(self) -> None:
        """Make durable what was attached; other writers may write then."""
        txn, self._txn, self._tip = self._txn, None, None
        self._blocks, self._bytes = 0, 0
        if txn is not None:
            txn.commit()

    def _begun(self) -> ChainTxn:
        if self._txn is None:
            self._txn, self._since = self._store.begin(), time.monotonic()
        return self._txn

    def _discard(self) -> None:
        txn, self._txn, self._tip = self._txn, None, None
        if txn is not None:
            txn.discard()


def attach_judged(txn: ChainTxn, block: Block, judged: Judged, mmr_nodes: list[bytes], received_at: int) -> None:
    """Store a block and make it the tip; its parent is the tip. `received_at` in ms."""
    parent = require(txn.block_ext(block.parent_hash), "block ext", block.parent_hash)
    ext = valid_block_ext(
        parent.total_difficulty + compact_to_difficulty(block.header.compact_target),
        parent.total_uncles_count + len(block.uncles),
        received_at,
        judged.fees,
        judged.cycles,
        judged.sizes,
    )
    txn.insert_block(block)
    txn.insert_epoch(block.hash, judged.epoch)
    txn.insert_ext(block.hash, ext)
    txn.attach_block(block, mmr_nodes)
