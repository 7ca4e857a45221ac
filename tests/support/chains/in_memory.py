"""The chain that rules look things up in, kept in dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from consensus.crypto.difficulty import compact_to_difficulty
from consensus.params import Consensus
from consensus.rules.epoch import next_epoch_ext
from consensus.rules.mmr import nodes_of_block
from consensus.rules.resolve import cell_of_output
from consensus.types.blockchain import Block, Header, Transaction
from consensus.types.core import BlockExt, CellMeta, EpochExt, TransactionInfo


@dataclass
class MemoryChain:
    """A ChainReader over blocks that are attached without any check. The tip is the last block attached.

    `stored` has the blocks of the main chain and others; `main` the hashes of the main chain.
    """

    consensus: Consensus
    main: list[bytes] = field(default_factory=list)
    stored: dict[bytes, Block] = field(default_factory=dict)
    headers: dict[bytes, Header] = field(default_factory=dict)
    exts: dict[bytes, BlockExt] = field(default_factory=dict)
    epochs: dict[bytes, EpochExt] = field(default_factory=dict)
    cells: dict[bytes, CellMeta] = field(default_factory=dict)
    infos: dict[bytes, TransactionInfo] = field(default_factory=dict)
    mmr_nodes: list[bytes] = field(default_factory=list)

    @property
    def blocks(self) -> list[Block]:
        """The main chain, from its first block on."""
        return [self.stored[block_hash] for block_hash in self.main]

    def attach(self, new: Block, epoch: EpochExt | None = None, fees: Sequence[int] = ()) -> Block:
        """Make `new` the tip; its epoch follows from the parent's unless given."""
        if epoch is None:
            parent = self.headers[new.parent_hash]
            epoch = next_epoch_ext(self.consensus, parent, self.epochs[parent.hash], self)
        self.store(new, epoch, fees)
        self.main.append(new.hash)
        for index, tx in enumerate(new.transactions):
            info = TransactionInfo(new.hash, new.number, new.header.epoch, index)
            self.infos[tx.hash] = info
            for spent in tx.body.inputs:
                self.cells.pop(spent.previous_output.raw, None)
            for key in tx.output_keys():
                cell = cell_of_output(tx, key, info)
                assert cell is not None
                self.cells[key] = cell
        if new.number == len(self.main) - 1:
            position, nodes = nodes_of_block(self, new.header)
            assert position == len(self.mmr_nodes)
            self.mmr_nodes += nodes
        return new

    def store(self, new: Block, epoch: EpochExt, fees: Sequence[int] = ()) -> None:
        """Keep a block and its facts, on the main chain or not."""
        parent_ext = self.exts.get(new.parent_hash)
        self.stored[new.hash] = new
        self.headers[new.hash] = new.header
        self.epochs[new.hash] = epoch
        self.exts[new.hash] = BlockExt(
            total_difficulty=(parent_ext.total_difficulty if parent_ext else 0)
            + compact_to_difficulty(new.header.compact_target),
            total_uncles_count=(parent_ext.total_uncles_count if parent_ext else 0) + len(new.uncles),
            received_at=0,
            txs_fees=list(fees),
            verified_flag=None,
        )

    # ChainReader

    def cell(self, out_point: bytes) -> CellMeta | None:
        return self.cells.get(out_point)

    def header(self, block_hash: bytes) -> Header | None:
        return self.headers.get(block_hash)

    def block(self, block_hash: bytes) -> Block | None:
        return self.stored.get(block_hash)

    def block_ext(self, block_hash: bytes) -> BlockExt | None:
        return self.exts.get(block_hash)

    def block_epoch(self, block_hash: bytes) -> EpochExt | None:
        return self.epochs.get(block_hash)

    def proposal_ids(self, block_hash: bytes) -> frozenset[bytes] | None:
        found = self.stored.get(block_hash)
        return None if found is None else frozenset(found.union_proposal_ids())

    def tip_header(self) -> Header:
        return self.headers[self.main[-1]]

    def tip_epoch(self) -> EpochExt:
        return self.epochs[self.main[-1]]

    def main_hash(self, number: int) -> bytes | None:
        """By the header's number, so that a test may begin a chain above genesis."""
        first = self.headers[self.main[0]].number if self.main else 0
        return self.main[number - first] if first <= number < first + len(self.main) else None

    def is_main(self, block_hash: bytes) -> bool:
        return block_hash in self.main

    def uncle(self, uncle_hash: bytes) -> Header | None:
        for block_hash in self.main:
            for embedded in self.stored[block_hash].uncles:
                if embedded.hash == uncle_hash:
                    return embedded.header
        return None

    def transaction_info(self, tx_hash: bytes) -> TransactionInfo | None:
        return self.infos.get(tx_hash)

    def transaction(self, tx_hash: bytes) -> Transaction | None:
        info = self.infos.get(tx_hash)
        return None if info is None else self.stored[info.block_hash].transactions[info.tx_index]

    def mmr_node(self, position: int) -> bytes | None:
        return self.mmr_nodes[position] if position < len(self.mmr_nodes) else None
