"""What the tests of the chain store share: a chain put into a store, and a store held against its model."""

from __future__ import annotations

from random import Random

from consensus.context import ChainReader
from consensus.rules.mmr import mmr_positions
from storage.chain_state import ChainState
from storage.chain_store import ChainStore, ChainStoreOptions
from storage.chain_txn import ChainTxn
from storage.kv import KeyValueStore
from storage.leveldb import LevelDbOptions
from tests.support.chains.stored import Node, assert_same_cell, child

OPTIONS = ChainStoreOptions(LevelDbOptions(write_buffer=64 << 10), segment_size=4_000)


def engine(store: ChainStore) -> KeyValueStore:
    return store._store


def move_tip(txn: ChainTxn, old: Node | None, new: Node) -> None:
    """Detach from `old` down to the fork, then insert and attach up to `new`."""
    branch = new.branch()
    while old is not None and old not in branch:
        txn.detach_block(old.block)
        old = old.parent
    for node in branch if old is None else branch[old.block.number + 1 :]:
        node.insert(txn)
        node.attach(txn)


def grow(store: ChainStore, count: int, seed: int = 0) -> list[Node]:
    """Commit a chain of `count` blocks, one commit each."""
    rng = Random(seed)
    nodes: list[Node] = []
    for _ in range(count):
        nodes.append(child(rng, nodes[-1] if nodes else None))
        with store.begin() as txn:
            nodes[-1].insert(txn)
            nodes[-1].attach(txn)
            txn.commit(sync=False)
    return nodes


def assert_state(state: ChainState, tip: Node, others: list[Node]) -> None:
    """`state` is the main chain that ends in `tip`; `others` are blocks whose cells and transactions it may lack."""
    reader: ChainReader = state
    assert reader.tip_header() == tip.block.header
    assert reader.tip_epoch() == tip.epoch
    branch = tip.branch()
    for number, node in enumerate(branch):
        assert reader.main_hash(number) == node.block.hash
        assert reader.is_main(node.block.hash)
        for position, digest in zip(mmr_positions(number), node.mmr_nodes, strict=True):
            assert reader.mmr_node(position) == digest
        assert state.epoch_by_number(node.epoch.number) == node.epoch
    assert reader.main_hash(len(branch)) is None
    assert reader.mmr_node(mmr_positions(len(branch)).start) is None
    assert state.epoch_by_number(tip.epoch.number + 1) is None
    for key, cell in tip.cells.items():
        assert_same_cell(reader.cell(key), key, cell)
    for tx_hash, (info, transaction) in tip.transactions.items():
        assert reader.transaction_info(tx_hash) == info
        assert reader.transaction(tx_hash) == transaction
    for uncle_hash, header in tip.uncles.items():
        assert reader.uncle(uncle_hash) == header
    for other in others:
        assert reader.is_main(other.block.hash) == (other in branch)
        assert all((reader.cell(key) is None) == (key not in tip.cells) for key in other.cells)
        assert all((reader.transaction_info(h) is None) == (h not in tip.transactions) for h in other.transactions)
        assert all((reader.uncle(h) is None) == (h not in tip.uncles) for h in other.uncles)


def assert_stored(state: ChainState, node: Node) -> None:
    """The facts of a stored block."""
    block = node.block
    assert state.header(block.hash) == block.header
    stored = state.block(block.hash)
    assert stored is not None
    assert stored.raw == block.raw
    assert state.raw_block(block.hash) == block.raw
    record = state.block_record(block.hash)
    assert record is not None
    assert record.transaction_count == len(block.transactions)
    assert state.block_ext(block.hash) == node.ext
    assert state.block_epoch(block.hash) == node.epoch
    assert state.proposal_ids(block.hash) == frozenset(block.union_proposal_ids())
    assert block.hash in state.stored_hashes(block.number)
