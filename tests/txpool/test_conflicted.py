"""The store of transactions that lost a conflict: bounded, found by the cells that they want."""

from __future__ import annotations

from ckb_node.txpool.conflicted import Conflicted
from tests.support.builders.pool_entries import an_entry, chain_cell

ONE, TWO = chain_cell("one"), chain_cell("two")


def test_found_by_input() -> None:
    store = Conflicted()
    first, second = an_entry(spends=[ONE, TWO]).tx, an_entry(spends=[ONE]).tx
    store.keep(first)
    assert store.spending([ONE, TWO]) == [first]
    store.keep(second)
    assert store.spending([ONE]) == [second], "the last one that wanted it"
    assert store.spending([TWO]) == [first]
    store.drop(second.hash)
    assert store.spending([ONE]) == []
    store.drop(second.hash)
    assert list(store) == [first.hash]


def test_bounded_in_number() -> None:
    store = Conflicted(limit=2)
    transactions = [an_entry().tx for _ in range(3)]
    for tx in (*transactions[:2], transactions[0], transactions[2]):
        store.keep(tx)
    assert list(store) == [transactions[0].hash, transactions[2].hash]
    assert len(store._by_input) == 2


def test_bounded_in_bytes() -> None:
    transactions = [an_entry(padding=1000).tx for _ in range(3)]
    store = Conflicted(max_bytes=2 * transactions[0].raw_size)
    for tx in transactions:
        store.keep(tx)
    assert list(store) == [tx.hash for tx in transactions[1:]]
    for tx in transactions:
        store.drop(tx.hash)
    assert store._transactions.size_bytes == 0
    assert not store._by_input
