"""A chain whose next block is valid, made with the rules themselves, for tests that then spoil it.

`chain.next_block(...)` makes a valid child of the tip, which a test spoils by `block.replace(...)`;
`chain.attach(block)` moves the tip.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.params import Consensus
from consensus.rules.dao import transaction_fee
from consensus.rules.epoch import next_epoch_ext
from consensus.rules.resolve import resolve_block
from consensus.types.blockchain import (
    Block,
    Header,
    Transaction,
    UncleBlock,
    out_point_key,
)
from consensus.types.core import EpochExt
from tests.support.builders.blocks import (
    CKB,
    GENESIS_CELL_CAPACITY,
    MINER_LOCK,
    a_transaction,
    an_input,
    an_output,
)
from tests.support.builders.children import next_block, next_cellbase, next_header, with_dao
from tests.support.chains.in_memory import MemoryChain


class ValidChain(MemoryChain):
    """A main chain that only grows."""

    def __init__(self, consensus: Consensus) -> None:
        super().__init__(consensus)
        self.attach(consensus.genesis_block)

    def genesis_cell(self, index: int) -> bytes:
        """Key of a cell that can be spent at once."""
        return out_point_key(self.blocks[0].transactions[0].hash, index)

    def spend(self, index: int, fee: int = CKB, since: int = 0, **more: object) -> Transaction:
        """A transaction that spends a genesis cell into one output."""
        outputs = [an_output(GENESIS_CELL_CAPACITY - fee)]
        return a_transaction([an_input(self.genesis_cell(index), since)], outputs, **more)  # type: ignore[arg-type]

    def next_epoch(self) -> EpochExt:
        if not self.main:
            return self.consensus.genesis_epoch
        return next_epoch_ext(self.consensus, self.tip_header(), self.tip_epoch(), self)

    def next_header(self, **fields: object) -> Header:
        """A header on the tip that commits to no body yet."""
        return next_header(self.consensus, self, **fields)

    def next_block(
        self,
        transactions: Sequence[Transaction] = (),
        *,
        proposals: Sequence[bytes] = (),
        uncles: Sequence[UncleBlock] = (),
        cellbase: Transaction | None = None,
        **fields: object,
    ) -> Block:
        """A valid child of the tip, if the transactions and uncles are valid."""
        body = [cellbase or self.next_cellbase(), *transactions]
        return next_block(self.consensus, self, body, proposals=proposals, uncles=uncles, **fields)

    def with_dao(self, block: Block) -> Block:
        """The block with the DAO field that its transactions demand, as far as they can be resolved."""
        return with_dao(self.consensus, self, block)

    def next_cellbase(self) -> Transaction:
        return next_cellbase(self.consensus, self, MINER_LOCK)

    def an_uncle(self, height: int, proposals: Sequence[bytes] = (), **fields: object) -> UncleBlock:
        """A sibling of the main block at `height`, with another timestamp."""
        sibling = self.blocks[height].header
        bare = UncleBlock(header=sibling, proposals=proposals)
        proposals_root = Block(header=sibling, uncles=[], transactions=[], proposals=proposals).proposals_hash()
        values = {"timestamp": sibling.timestamp + 1, "proposals_hash": proposals_root} | fields
        return bare.replace(header=sibling.with_fields(**values))

    def grow(self, count: int) -> None:
        """Attach so many blocks without transactions."""
        for _ in range(count):
            self.attach(self.next_block())

    def commit(self, *transactions: Transaction) -> Block:
        """Propose transactions, wait, and attach a block that commits them."""
        self.attach(self.next_block(proposals=[tx.short_id for tx in transactions]))
        self.grow(self.consensus.proposal_window.closest - 1)
        self.attach(self.next_block(transactions))
        return self.blocks[-1]

    def attach(self, new: Block, epoch: EpochExt | None = None, fees: Sequence[int] = ()) -> Block:
        """Make a block the tip without asking the rules; unless given, epoch and fees follow from its ancestors."""
        rtxs = resolve_block(new, self, self) if new.number else []
        fees = fees or [transaction_fee(self.consensus, rtx, self) for rtx in rtxs[1:]]
        return super().attach(new, epoch or self.next_epoch(), fees)
