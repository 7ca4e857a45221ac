"""The real thing: chain writer and store, asked for everything that they hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ckb_node.chain.bulk import BulkImport, BulkLimits, RefusedBlockError
from ckb_node.chain.checks import all_rules, scripts_later
from ckb_node.chain.events import ChainChanged, ChainEvent
from ckb_node.chain.service import ChainService
from ckb_node.chain.writer import ChainWriter
from ckb_node.indexer.index import Index
from ckb_node.indexer.service import IndexerService
from ckb_node.verification.scripts import ScriptService
from consensus.errors import CkbError
from consensus.params import Consensus
from consensus.types.blockchain import Block, CellOutput, Transaction
from consensus.types.core import BlockExt
from storage.chain_state import ChainState
from storage.chain_store import ChainStore
from storage.memory import MemoryStore
from storage.records import CellRecord, TransactionRecord
from storage.schema import CELL, EPOCH_NUMBER, EXT, HEADER, MAIN_NUMBER, MMR_NODE, TRANSACTION, UNCLE, number_key
from tests.simulator.model import Model
from tests.simulator.rules import NOW_MS
from tests.simulator.state import State


class Node:
    """A chain writer over a store on disk, or in memory when there is no `directory`."""

    def __init__(self, consensus: Consensus, directory: Path | None) -> None:
        self.consensus, self.directory = consensus, directory
        self.store = ChainStore.in_memory() if directory is None else ChainStore.open(directory)
        self.index = MemoryStore()
        self.followed = [consensus.genesis_hash]
        """The main chain as the events tell it."""
        self.clock_ms = NOW_MS
        self._start()

    def _start(self) -> None:
        self.scripts = ScriptService(self.consensus)
        self.writer = ChainWriter(self.consensus, self.store, self.scripts, lambda: self.clock_ms)
        self.writer.start(bytes(32))
        self._events: list[ChainEvent] = []
        self.writer.listen(self._events.append)
        self.chain = ChainService(self.writer)
        self.indexer = IndexerService(self.chain, self.index)

    def deliver(self, block: Block) -> str:
        """The verdict's name, or that of the error's class. The block comes as bytes, as from a peer."""
        try:
            return self.writer.process(Block.parse(block.raw, compatible=True)).name
        except CkbError as error:
            return type(error).__name__
        finally:
            self._follow_events()

    def truncate(self, block_hash: bytes) -> None:
        """Cut the main chain back."""
        self.writer.truncate(block_hash)
        self._follow_events()

    def _follow_events(self) -> None:
        while self._events:
            event = self._events.pop(0)
            if isinstance(event, ChainChanged):
                self._follow(event)

    def _follow(self, change: ChainChanged) -> None:
        """As a listener does that knows nothing but the events."""
        assert change.old_tip.hash == self.followed[-1]
        for block in change.detached:
            assert block.hash == self.followed.pop()
        for block in change.attached:
            assert block.parent_hash == self.followed[-1]
            self.followed.append(block.hash)
        assert change.new_tip.hash == self.followed[-1]

    def restart(self) -> None:
        """What is in memory only is gone. (The index stays: in this test its memory is its disk.)"""
        self.chain.close()
        if self.directory is not None:
            self.store.close()
            self.store = ChainStore.open(self.directory)
        self._start()

    def attach_in_groups(self, blocks: Sequence[Block], blocks_a_group: int) -> str | None:
        """The path of `ckb-node import`; the name of the error's class that ended it."""
        limits = BulkLimits(blocks=blocks_a_group)
        check = all_rules(self.consensus, scripts_later, lambda: self.clock_ms)
        try:
            with BulkImport(self.writer, check, limits) as bulk:
                for block in blocks:
                    bulk.add(Block.parse(block.raw))
        except RefusedBlockError as refused:
            return type(refused.cause).__name__
        finally:
            self._follow_events()
        return None

    def close(self) -> None:
        self.chain.close()
        self.indexer.close()
        self.store.close()


@contextmanager
def node(consensus: Consensus, directory: Path | None = None) -> Iterator[Node]:
    """A node for one order of delivery."""
    made = Node(consensus, directory)
    try:
        yield made
    finally:
        made.close()


# ---------------------------------------------------------------- comparison


def assert_main_chain(view: ChainState, state: State) -> None:
    """Everything that the store says of the main chain is what `state` says, no row too many."""
    assert view.tip_header() == state.tip.header
    assert view.tip_epoch() == state.epoch
    assert _rows(view, MAIN_NUMBER) == {number_key(b"", each.number): each.hash for each in state.path}
    heads = {each.epoch.number: each.epoch for each in state.path}
    assert _rows(view, EPOCH_NUMBER) == {
        number_key(b"", number): epoch.last_block_hash_in_previous_epoch for number, epoch in heads.items()
    }
    assert _rows(view, UNCLE) == {uncle_hash: header.raw for uncle_hash, header in state.uncles.items()}
    assert _rows(view, MMR_NODE) == {number_key(b"", at): node for at, node in enumerate(state.nodes)}
    assert_transactions(view, state)
    assert_cells(view, state)


def assert_transactions(view: ChainState, state: State) -> None:
    found = {tx_hash: TransactionRecord.unpack(packed) for tx_hash, packed in _rows(view, TRANSACTION).items()}
    places = {tx_hash: tuple(info) for tx_hash, info in state.infos.items()}
    assert {tx_hash: each[:4] for tx_hash, each in found.items()} == places
    for tx_hash in state.infos:
        assert view.transaction(tx_hash) == state.transaction(tx_hash)


def assert_cells(view: ChainState, state: State) -> None:
    """Against the state, and against a plain replay of the blocks."""
    found = {key: CellRecord.unpack(packed) for key, packed in _rows(view, CELL).items()}
    assert {key: (each.output, each.data_hash) for key, each in found.items()} == {
        key: (cell.output.raw, cell.data_hash) for key, cell in state.cells.items()
    }
    for key, expected in state.cells.items():
        cell = view.cell(key)
        assert cell is not None
        assert cell.info == expected.info
        assert cell.data == expected.data
    assert {key: (each.output, each.block_number) for key, each in found.items()} == replayed_cells(
        [each.tip for each in state.path]
    )


def replayed_cells(blocks: Sequence[Block]) -> dict[bytes, tuple[bytes, int]]:
    """The whole ledger in a few lines: each output lives until an input names it."""
    cells: dict[bytes, tuple[bytes, int]] = {}
    for block in blocks:
        for transaction in block.transactions:
            for spent in transaction.body.inputs:
                if not transaction.is_cellbase:
                    del cells[spent.previous_output.raw]
            cells |= {key: (output.raw, block.number) for key, output in _outputs(transaction)}
    return cells


def _outputs(transaction: Transaction) -> Iterator[tuple[bytes, CellOutput]]:
    return zip(transaction.output_keys(), transaction.body.outputs, strict=True)


def assert_index(subject: Node, state: State) -> None:
    """The indexer, which follows when it likes, has the rows of an index that saw only this chain."""
    while not subject.indexer.follower.step():
        pass
    fresh = MemoryStore()
    index = Index(fresh)
    for each in state.path:
        index.append(each.tip)
    assert dict(subject.index.iterator()) == dict(fresh.iterator())
    fresh.close()


def assert_stored_blocks(view: ChainState, model: Model) -> None:
    """Every stored block with its body, epoch, proposals and marks, and no other."""
    assert set(_rows(view, HEADER)) == set(model.stored) == {block_hash for _, block_hash in view.stored_blocks(0)}
    assert set(_rows(view, EXT)) == set(model.stored) | model.invalid
    for block_hash in model.invalid:
        marked = view.block_ext(block_hash)
        assert marked is not None
        assert marked.verified is False
    for block_hash, sample in model.stored.items():
        state = sample.state
        assert state is not None
        assert view.block(block_hash) == sample.block
        assert view.header(block_hash) == sample.block.header
        assert view.block_epoch(block_hash) == state.epoch
        assert view.proposal_ids(block_hash) == state.proposal_ids(block_hash)
        assert view.is_main(block_hash) == model.tip.is_main(block_hash)
        ext = view.block_ext(block_hash)
        assert ext is not None
        assert (ext.total_difficulty, ext.total_uncles_count) == (state.total_difficulty, state.ext.total_uncles_count)
        is_verified = block_hash in model.verified
        assert ext.verified is (True if is_verified else None)
        assert _facts(ext) == (_facts(state.ext) if is_verified else ([], [], []))


def _facts(ext: BlockExt) -> tuple[list[int], list[int], list[int]]:
    """Fees, cycles and sizes; of a block that was never verified there are none."""
    return list(ext.txs_fees), list(ext.cycles or ()), list(ext.txs_sizes or ())


def _rows(view: ChainState, kind: bytes) -> dict[bytes, bytes]:
    return {key[len(kind) :]: value for key, value in view.rows(kind)}
