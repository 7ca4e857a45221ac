"""Sums of capacities against the cells themselves, and searches that the pool and the clock bound."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from ckb_node.indexer.changes import unpack_total
from ckb_node.indexer.index import Index
from ckb_node.indexer.keys import TOTAL_BY_LOCK, TOTAL_BY_TYPE
from ckb_node.indexer.query import (
    CellFilter,
    Page,
    ScriptType,
    Search,
    SearchMode,
    SearchTimeoutError,
    Terms,
    find_capacity,
    find_cells,
)
from storage.memory import MemoryStore
from tests.indexer.kit_index import SCRIPTS, Model, a_chain, raw_script


def searches() -> list[Search]:
    return [
        Search(script=script, script_type=kind, mode=mode)
        for script in SCRIPTS
        for kind in ScriptType
        for mode in (SearchMode.PREFIX, SearchMode.EXACT)
    ]


def capacity(kept: Index, search: Search, terms: Terms | None = None) -> int:
    return sum(each or 0 for each in find_capacity(kept.store, search, terms or Terms()))


@pytest.mark.parametrize("seed", range(4))
def test_sums_are_those_of_the_live_cells(seed: int) -> None:
    rng = random.Random(seed)
    kept, chain = Index(MemoryStore()), a_chain(random.Random(seed), 20)
    for block in chain:
        kept.append(block)
    for _ in range(rng.randint(1, 10)):
        kept.rollback()
        chain.pop()
    model = Model(chain)
    for search in searches():
        assert capacity(kept, search) == sum(row.output.capacity for row in model.cells(search))
    expected: Counter[bytes] = Counter()
    for row in model.live:
        expected[TOTAL_BY_LOCK + raw_script(row.output.lock)] += row.output.capacity
        if row.output.type_ is not None:
            expected[TOTAL_BY_TYPE + raw_script(row.output.type_)] += row.output.capacity
    stored = {
        key: unpack_total(packed)
        for kind in (TOTAL_BY_LOCK, TOTAL_BY_TYPE)
        for key, packed in kept.store.iterator(prefix=kind)
    }
    assert stored == dict(expected)


def test_one_run_of_blocks_is_as_one_by_one() -> None:
    chain = a_chain(random.Random(5), 20)
    one_by_one, run = Index(MemoryStore()), Index(MemoryStore())
    for block in chain:
        one_by_one.append(block)
    run.append_run(chain, chain[-1].number)
    assert dict(run.store.iterator()) == dict(one_by_one.store.iterator())


def test_cells_that_the_pool_spends_are_left_out() -> None:
    kept, chain = Index(MemoryStore()), a_chain(random.Random(6), 20)
    kept.append_run(chain, 19)
    model = Model(chain)
    spent = {row.out_point for row in model.live[::2]}
    terms = Terms(is_spent=spent.__contains__)
    for search in searches():
        rows = [row for row in model.cells(search) if row.out_point not in spent]
        found = find_cells(kept.store, Page(search=search), terms)
        assert [each.out_point for step in found for each in step] == [row.out_point for row in rows]
        assert capacity(kept, search, terms) == sum(row.output.capacity for row in rows)


def test_a_search_has_its_time() -> None:
    kept = Index(MemoryStore())
    kept.append_run(a_chain(random.Random(6), 20), 19)
    nothing = Search(script=SCRIPTS[0], script_type=ScriptType.LOCK, filter=CellFilter(block=(100, 101)))
    assert not any(find_cells(kept.store, Page(search=nothing)))
    with pytest.raises(SearchTimeoutError):
        list(find_cells(kept.store, Page(search=nothing), Terms(timeout_s=0)))


def test_the_end_of_script_len_range_counts_in_sums_alone() -> None:
    """As in the reference."""
    kept, chain = Index(MemoryStore()), a_chain(random.Random(7), 20)
    kept.append_run(chain, 19)
    conditions = CellFilter(script_length=(33, 34))
    search = Search(script=SCRIPTS[0], script_type=ScriptType.TYPE, filter=conditions)
    with_longer = Search(script=SCRIPTS[0], script_type=ScriptType.TYPE, filter=CellFilter(script_length=(33, 35)))
    model = Model(chain)
    assert capacity(kept, search) == sum(row.output.capacity for row in model.cells(with_longer))
    assert model.cells(search) != model.cells(with_longer)
    found = find_cells(kept.store, Page(search=search))
    assert sum(map(len, found)) == len(model.cells(search))


def test_indexing_begins_behind_a_block() -> None:
    kept, chain = Index(MemoryStore()), a_chain(random.Random(8), 20)
    kept.begin_behind(9, chain[9].hash)
    assert kept.tip() == (9, chain[9].hash)
    kept.append_run(chain[10:], 19)
    assert kept.is_sound(100)
    assert kept.first() == 9
    search = Search(script=SCRIPTS[0], script_type=ScriptType.LOCK)
    numbers = {each.number for step in find_cells(kept.store, Page(search=search)) for each in step}
    assert min(numbers) > 9
