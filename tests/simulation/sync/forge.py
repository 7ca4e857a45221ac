"""Blocks that are made in private: histories that nodes begin with, and the branches of attackers."""

from __future__ import annotations

from collections.abc import Sequence

from ckb_node.chain.writer import ChainWriter
from consensus.params import Consensus
from consensus.types.blockchain import Block, Transaction, UncleBlock
from tests.simulation.clock import START_WALL_MS
from tests.simulation.sync.blocks import BLOCK_TIME, SimScripts, build_block
from tests.simulation.sync.stores import SimStore

_EVER_AFTER_MS = 1 << 50
"""The forge's clock: no block of its own is from the future."""


class Forge:
    """A chain that grows by hand."""

    def __init__(self, consensus: Consensus, store: SimStore | None = None, miner: str = "forge") -> None:
        self.consensus, self.miner = consensus, miner
        self.store = store or SimStore()
        self.writer = ChainWriter(consensus, self.store.chain, SimScripts(consensus), lambda: _EVER_AFTER_MS)
        self.writer.start(bytes(32))

    @property
    def height(self) -> int:
        with self.store.chain.view() as view:
            return view.tip_header().number

    def fork(self, back: int = 0, miner: str = "fork") -> Forge:
        """Another one on the block so many below the tip."""
        forked = Forge(self.consensus, self.store.copied(), miner)
        if back:
            with forked.store.chain.view() as view:
                base = view.main_hash(view.tip_header().number - back)
            assert base is not None
            forked.writer.truncate(base)
        return forked

    def make(
        self,
        transactions: Sequence[Transaction] = (),
        *,
        proposals: Sequence[bytes] = (),
        uncles: Sequence[UncleBlock] = (),
        after: float = BLOCK_TIME,
    ) -> Block:
        """A child of the tip, `after` seconds later, that is not taken yet."""
        with self.store.chain.view() as view:
            now_ms = view.tip_header().timestamp + int(after * 1000)
            return build_block(
                self.consensus, view, now_ms, self.miner, transactions, proposals=proposals, uncles=uncles
            )

    def take(self, block: Block) -> Block:
        """Make a valid block the tip."""
        self.writer.process(block)
        return block

    def take_bad(self, block: Block) -> Block:
        """Make a block the tip, whatever rules it breaks."""
        self.writer.process_unverified(block)
        return block

    def add(
        self,
        transactions: Sequence[Transaction] = (),
        *,
        proposals: Sequence[bytes] = (),
        uncles: Sequence[UncleBlock] = (),
        after: float = BLOCK_TIME,
    ) -> Block:
        """The next block."""
        return self.take(self.make(transactions, proposals=proposals, uncles=uncles, after=after))

    def grow(self, count: int, after: float = BLOCK_TIME) -> list[Block]:
        """So many empty blocks."""
        return [self.add(after=after) for _ in range(count)]

    def commit(self, transactions: Sequence[Transaction]) -> Block:
        """Propose them in one block, and commit them as soon as the rules allow; the block that does."""
        self.add(proposals=[transaction.short_id for transaction in transactions])
        self.grow(self.consensus.proposal_window.closest - 1)
        return self.add(transactions)

    def blocks(self, first: int = 0) -> list[Block]:
        """The chain from a height on."""
        with self.store.chain.view() as view:
            found = [view.block(block_hash) for _, block_hash in view.main_hashes(first)]
        return [block for block in found if block is not None]


def history(consensus: Consensus, count: int, *, age: float = 60.0) -> Forge:
    """So many blocks, evenly spread over the time from the genesis block to `age` seconds before the simulation."""
    forge = Forge(consensus)
    span = (START_WALL_MS - consensus.genesis_block.header.timestamp) / 1000 - age
    forge.grow(count, span / count)
    return forge
