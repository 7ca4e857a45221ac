"""What `ckb-node check` finds wrong in the rows of headers without blocks."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from storage.chain_store import ChainStore
from storage.header_check import header_row_faults
from storage.kv import KeyValueStore
from storage.schema import HEADER_LEAF, HEADER_NUMBER, HEADER_ROW
from tests.storage.kit_chain import engine, grow
from tests.support.chains.stored import header

WORK_SIZE = 32


def key_of(store: KeyValueStore, kind: bytes, at: int) -> bytes:
    return [key for key, _ in store.iterator(prefix=kind)][at]


def lowest_row(store: KeyValueStore) -> bytes:
    return HEADER_ROW + key_of(store, HEADER_NUMBER, 0)[9:]


def row_of(store: KeyValueStore, key: bytes) -> bytes:
    value = store.get(key)
    assert value is not None
    return value


def lose_a_row(store: KeyValueStore) -> None:
    store.delete(lowest_row(store))


def change_work(store: KeyValueStore) -> None:
    key = lowest_row(store)
    store.put(key, row_of(store, key)[:-WORK_SIZE] + (7).to_bytes(WORK_SIZE, "little"))


def exchange_headers(store: KeyValueStore) -> None:
    first, second = key_of(store, HEADER_ROW, 0), key_of(store, HEADER_ROW, 1)
    store.put(first, row_of(store, second))


def cut_a_row(store: KeyValueStore) -> None:
    key = lowest_row(store)
    store.put(key, row_of(store, key)[:-1])


def lose_a_height(store: KeyValueStore) -> None:
    store.delete(key_of(store, HEADER_NUMBER, 0))


def lose_a_leaf(store: KeyValueStore) -> None:
    store.delete(key_of(store, HEADER_LEAF, 0))


def add_a_leaf(store: KeyValueStore) -> None:
    store.put(HEADER_LEAF + bytes(64), b"")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lose_a_row, "stands on an unknown header"),
        (change_work, "has not the work of its branch"),
        (exchange_headers, "holds another header"),
        (cut_a_row, "has 239 bytes"),
        (lose_a_height, "is not listed at its height"),
        (lose_a_leaf, "is a leaf and not listed as one"),
        (add_a_leaf, "1 leaves of headers should be listed, 2 are"),
    ],
)
def test_damage_is_named(chain_store: ChainStore, damage: Callable[[KeyValueStore], None], fault: str) -> None:
    rng = Random(1)
    (genesis,) = grow(chain_store, 1, 1)
    rows = [header(rng, 1, genesis.block.hash, 0)]
    for number in range(2, 5):
        rows.append(header(rng, number, rows[-1].hash, 0))
    with chain_store.begin() as txn:
        txn.header_rows.insert(rows)
        txn.commit(sync=False)
    with chain_store.view() as view:
        assert header_row_faults(view) == []
    damage(engine(chain_store))
    with chain_store.view() as view:
        assert any(fault in line for line in header_row_faults(view))
