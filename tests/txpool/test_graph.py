"""The pool's graph: links, sums and orders always equal what a look at all entries finds."""

from __future__ import annotations

import gc
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ckb_node.txpool.entry import PoolEntry, Status, evict_key, fee_rate, weight
from ckb_node.txpool.graph import Departed, PoolGraph
from ckb_node.txpool.rejects import Duplicated, TooManyAncestors
from consensus.codec.layout import SHORT_ID_SIZE
from tests.support.builders.pool_entries import (
    a_chain,
    an_entry,
    assert_consistent,
    chain_cell,
    ids,
    output_of,
    restart_serials,
)
from tests.support.work import calls_of

MAX_ANCESTORS = 6


class GraphMachine(RuleBasedStateMachine):
    """Entries come, are committed, evicted, replaced, and come back after their children."""

    def __init__(self) -> None:
        super().__init__()
        restart_serials()
        self.graph = PoolGraph(1000)
        self.gone: list[PoolEntry] = []

    def _existing(self, data: st.DataObject) -> PoolEntry:
        return data.draw(st.sampled_from(list(self.graph)))

    def _cells(self) -> list[bytes]:
        created = [output_of(entry, index) for entry in self.graph for index in (0, 1)]
        return [*created, *(chain_cell(name) for name in "abc")]

    @rule(data=st.data(), fee=st.integers(0, 10_000), cycles=st.sampled_from([0, 1, 10_000_000]))
    def add(self, data: st.DataObject, fee: int, cycles: int) -> None:
        free = [cell for cell in self._cells() if cell not in self.graph.spenders]
        spends = data.draw(st.lists(st.sampled_from(free), max_size=2, unique=True)) if free else []
        readable = [cell for cell in free if cell not in spends]
        reads = data.draw(st.lists(st.sampled_from(readable), max_size=1, unique=True)) if readable else []
        assert not self._add(an_entry(spends=spends, reads=reads, fee=fee, cycles=cycles)).crowded_out

    def _add(self, entry: PoolEntry) -> Departed:
        before = list(self.graph)
        departed = self.graph.add(entry)
        assert ids(before) | {entry.short_id} == set(self.graph.entries) | ids(departed.crowded_out)
        assert not departed.replaced
        return departed

    @precondition(lambda self: len(self.graph) > 0)
    @rule(data=st.data())
    def remove_with_users(self, data: st.DataObject) -> None:
        """What spends a cell that one which leaves only reads stays."""
        entry = self._existing(data)
        gone = {entry.short_id}
        while more := {each.short_id for each in self.graph if _uses(each, gone)} - gone:
            gone |= more
        batches = list(self.graph.leave_with_users((entry.short_id,)))
        assert set().union(*map(ids, batches)) == gone
        assert sum(map(len, batches)) == len(gone)

    @precondition(lambda self: len(self.graph) > 0)
    @rule(data=st.data())
    def commit_alone(self, data: st.DataObject) -> None:
        """A block holds an entry with those whose cells it uses, but not those that read what it spends."""
        entry = self._existing(data)
        block = {entry.short_id}
        while more := {each for one in block for each in _used_by(self.graph, self.graph.entries[one])} - block:
            block |= more
        self.gone += self.graph.remove_committed([self.graph.entries[each].hash for each in block])

    @precondition(lambda self: len(self.graph) > 0)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        entry = self._existing(data)
        doomed = self.graph.descendants(entry.short_id) | {entry.short_id}
        removed = self.graph.remove_with_descendants((entry.short_id,))
        assert ids(removed) == doomed
        assert removed[0] is entry
        self.gone += removed

    @precondition(lambda self: len(self.graph) > 0)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        """A block holds an entry with all its ancestors."""
        entry = self._existing(data)
        block = self.graph.ancestors(entry.short_id) | {entry.short_id}
        hashes = [self.graph.entries[each].hash for each in block]
        self.gone += self.graph.remove_committed(hashes)

    @precondition(lambda self: len(self.graph) > 0)
    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        """Another entry spends the same cells."""
        old = self._existing(data)
        if self.graph.creators(old.input_keys) & self.graph.descendants(old.short_id):
            return
        doomed = self.graph.descendants(old.short_id) | {old.short_id}
        departed = self.graph.add(an_entry(spends=old.input_keys), {old.short_id})
        assert ids(list(departed.replaced)) == doomed

    @precondition(lambda self: len(self.graph) > 0)
    @rule(data=st.data())
    def reorganise(self, data: st.DataObject) -> None:
        """A block that held an entry and its ancestors leaves the chain; they come back in any order."""
        entry = self._existing(data)
        block = self.graph.ancestors(entry.short_id) | {entry.short_id}
        removed = self.graph.remove_committed([self.graph.entries[each].hash for each in block])
        assert_consistent(self.graph)
        for old in data.draw(st.permutations(removed)):
            self._bring_back(old)
            assert_consistent(self.graph)

    @precondition(lambda self: len(self.gone) > 0)
    @rule(data=st.data())
    def bring_back(self, data: st.DataObject) -> None:
        """What was committed long ago comes back, perhaps after entries that use it."""
        self._bring_back(data.draw(st.sampled_from(self.gone)))

    def _bring_back(self, old: PoolEntry) -> None:
        if old.short_id in self.graph or any(key in self.graph.spenders for key in (*old.input_keys, *old.dep_keys)):
            return
        again = an_entry(spends=old.input_keys, reads=old.dep_keys, fee=old.fee)
        again.raw, again.hash, again.short_id = old.raw, old.hash, old.short_id
        self._add(again)

    @precondition(lambda self: len(self.graph) > 0)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        entries = st.sampled_from(sorted(self.graph.entries))
        self.graph.set_statuses(data.draw(st.dictionaries(entries, st.sampled_from(Status))))

    @invariant()
    def is_consistent(self) -> None:
        assert_consistent(self.graph)
        order = [Status.PENDING, Status.GAP, Status.PROPOSED]
        first = min(self.graph, key=lambda each: (order.index(each.status), evict_key(each)), default=None)
        if first is not None:
            found = self.graph.first_to_evict()
            assert found is not None
            assert (found.status, evict_key(found)) == (first.status, evict_key(first))


def _used_by(graph: PoolGraph, entry: PoolEntry) -> set[bytes]:
    return graph.creators((*entry.input_keys, *entry.dep_keys))


def _uses(entry: PoolEntry, short_ids: set[bytes]) -> bool:
    return any(key[:SHORT_ID_SIZE] in short_ids for key in (*entry.input_keys, *entry.dep_keys))


TestGraphMachine = GraphMachine.TestCase
TestGraphMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


def test_weights_and_rates() -> None:
    assert weight(1000, 0) == 1000
    assert weight(1000, 10_000_000) == 1705
    assert fee_rate(1234, 1000) == 1234
    assert fee_rate(1, 0) == 0


def test_duplicated() -> None:
    graph = PoolGraph(MAX_ANCESTORS)
    entry = an_entry()
    graph.add(entry)
    with pytest.raises(Duplicated):
        graph.add(entry)
    assert len(graph) == 1


def test_too_many_ancestors_changes_nothing() -> None:
    graph = PoolGraph(MAX_ANCESTORS)
    chain = a_chain(graph, [1] * MAX_ANCESTORS)
    assert chain[-1].ancestors.count == MAX_ANCESTORS
    rival = an_entry(spends=[chain_cell("x")])
    graph.add(rival)
    with pytest.raises(TooManyAncestors):
        graph.add(an_entry(spends=[output_of(chain[-1])]))
    with pytest.raises(TooManyAncestors):
        graph.add(an_entry(spends=[output_of(chain[-1]), chain_cell("x")]), {rival.short_id})
    assert len(graph) == MAX_ANCESTORS + 1, "the rival was not replaced by what could not come in"
    assert_consistent(graph)


def test_a_dep_is_an_ancestor_and_readers_come_before_the_spender() -> None:
    graph = PoolGraph(MAX_ANCESTORS)
    creator = an_entry()
    cell = output_of(creator)
    reader = an_entry(reads=[cell])
    spender = an_entry(spends=[cell])
    for entry in (creator, reader, spender):
        graph.add(entry)
    assert graph.parents(reader.short_id) == {creator.short_id}
    assert graph.parents(spender.short_id) == {creator.short_id, reader.short_id}
    assert spender.ancestors.count == 3
    assert_consistent(graph)


def test_a_block_may_commit_the_spender_without_the_reader() -> None:
    """Who came before the reader is no ancestor of what stands on the spender any more."""
    graph = PoolGraph(MAX_ANCESTORS)
    before = an_entry()
    cell = chain_cell("read and spent")
    reader = an_entry(reads=[cell], spends=[output_of(before)])
    spender = an_entry(spends=[cell])
    child = an_entry(spends=[output_of(spender)])
    for entry in (before, reader, spender, child):
        graph.add(entry)
    assert child.ancestors.count == 4
    graph.remove_committed([spender.hash])
    assert_consistent(graph)
    assert (child.ancestors.count, before.descendants.count) == (1, 2)


def test_the_cheapest_readers_give_way_to_the_spender() -> None:
    graph = PoolGraph(MAX_ANCESTORS)
    cell = chain_cell("popular")
    readers = [an_entry(reads=[cell], fee=fee) for fee in (500, 100, 900, 300, 700, 200, 800, 600)]
    for reader in readers:
        graph.add(reader)
    follower = an_entry(spends=[output_of(readers[1])], fee=1)
    graph.add(follower)
    spender = an_entry(spends=[cell])
    departed = graph.add(spender)
    assert {entry.fee for entry in departed.crowded_out} == {100, 200, 300, 1}
    assert {graph.entries[each].fee for each in graph.ancestors(spender.short_id)} == {500, 600, 700, 800, 900}
    assert_consistent(graph)


def test_a_reader_that_the_spender_needs_is_never_evicted() -> None:
    """The spender also spends an output of a reader's child: dropping that reader would leave it without an input."""
    graph = PoolGraph(4)
    cell = chain_cell("popular")
    poor = an_entry(reads=[cell], fee=1)
    child = an_entry(spends=[output_of(poor)], fee=1)
    rich = [an_entry(reads=[cell], fee=10_000) for _ in range(3)]
    for entry in (poor, child, *rich):
        graph.add(entry)
    spender = an_entry(spends=[cell, output_of(child)])
    departed = graph.add(spender)
    assert len(departed.crowded_out) == 2
    assert ids(list(departed.crowded_out)) < ids(rich)
    assert {poor.short_id, child.short_id} < graph.ancestors(spender.short_id)
    assert_consistent(graph)


def test_parents_that_come_back_after_their_children() -> None:
    graph = PoolGraph(MAX_ANCESTORS)
    grandparent = an_entry(fee=10)
    parent = an_entry(spends=[output_of(grandparent)], fee=20)
    child = an_entry(spends=[output_of(parent)], fee=30)
    for entry in (child, grandparent, parent):
        graph.add(entry)
    assert child.ancestors.fee == grandparent.descendants.fee == 60
    assert_consistent(graph)


def test_an_entry_that_reads_what_its_own_parent_spends_leaves_when_the_parent_comes_back() -> None:
    """Possible after a reorg: the parent was off the chain for a moment, so the cell could be read again."""
    graph = PoolGraph(MAX_ANCESTORS)
    cell = chain_cell("contested")
    parent = an_entry(spends=[cell])
    child = an_entry(spends=[output_of(parent)])
    grandchild = an_entry(spends=[output_of(child)], reads=[cell])
    graph.add(child)
    graph.add(grandchild)
    departed = graph.add(parent)
    assert list(departed.crowded_out) == [grandchild]
    assert set(graph.entries) == {parent.short_id, child.short_id}
    assert_consistent(graph)


def test_header_deps_are_found() -> None:
    graph = PoolGraph(MAX_ANCESTORS)
    wanted, other = bytes([1]) * 32, bytes([2]) * 32
    entry = an_entry(header_deps=[other, wanted])
    graph.add(entry)
    graph.add(an_entry(header_deps=[other]))
    assert graph.with_header_dep(wanted) == {entry.short_id}
    graph.remove_with_descendants((entry.short_id,))
    assert graph.with_header_dep(wanted) == set()
    assert len(graph.with_header_dep(other)) == 1


def test_eviction_order() -> None:
    """Lowest fee rate with descendants, fewest descendants, the oldest; pending before gap before proposed."""
    graph = PoolGraph(MAX_ANCESTORS)
    helped = a_chain(graph, [10, 90_000])[0]
    poor = [an_entry(fee=1000, timestamp=stamp) for stamp in (7, 5)]
    twins = a_chain(graph, [1000, 1000], timestamp=1)
    rich = an_entry(fee=50_000)
    lowest_but_proposed = an_entry(fee=1, status=Status.PROPOSED)
    gap = an_entry(fee=2, status=Status.GAP)
    for entry in (*poor, rich, lowest_but_proposed, gap):
        graph.add(entry)
    order = []
    while (victim := graph.first_to_evict()) is not None:
        order.append(victim)
        graph.remove_with_descendants((victim.short_id,))
    assert order == [twins[1], twins[0], poor[1], poor[0], helped, rich, gap, lowest_but_proposed]


def work_of_a_chain(length: int) -> tuple[int, int]:
    """Calls of the costliest addition to a chain, and of the removal of its first half by a block."""
    graph = PoolGraph(length)
    chain: list[PoolEntry] = []
    additions = []
    for number in range(length):
        chain.append(an_entry(spends=[output_of(chain[-1])] if chain else [], fee=1000 - number))
        additions.append(calls_of(partial(graph.add, chain[-1])))
    assert chain[0].descendants.count == chain[-1].ancestors.count == length
    removal = calls_of(lambda: graph.remove_committed([entry.hash for entry in chain[: length // 2]]))
    assert chain[-1].ancestors.count == length - length // 2
    graph.remove_with_descendants((chain[length // 2].short_id,))
    assert len(graph) == 0
    assert graph.total_size == 0
    return max(additions), removal


def test_long_chains_take_bounded_work() -> None:
    """No step may hold the event loop up: an addition is linear in its ancestors, a removal in pairs of relatives."""
    addition, removal = work_of_a_chain(100)
    longer_addition, longer_removal = work_of_a_chain(400)
    assert longer_addition < 4.5 * addition
    assert longer_addition < 40_000
    assert longer_removal < 16 * removal
    assert longer_removal < 200_000


def work_of_a_popular_cell(readers: int) -> int:
    """Calls of one addition that spends a cell which so many others read."""
    graph = PoolGraph(readers * 2 // 5)
    cell = chain_cell("oracle")
    for number in range(readers):
        graph.add(an_entry(reads=[cell], fee=number))
    spender, gone = an_entry(spends=[cell]), set[bytes]()

    def spend() -> None:
        departed = graph.add(spender)
        gone.update(ids(departed.crowded_out))
        for some in graph.leave_with_users(departed.crowd):
            gone.update(ids(some))

    work = calls_of(spend)
    kept = readers * 2 // 5 - 1
    assert len(gone) == readers - kept
    assert min(entry.fee for entry in graph if entry.dep_keys) == readers - kept
    return work


def test_many_readers_of_one_cell() -> None:
    """An attacker's popular cell dep: spending it must not take quadratic work."""
    assert work_of_a_popular_cell(2500) < 4.5 * work_of_a_popular_cell(625)


class CountedCell(bytes):
    """An out point that counts how often it is hashed or compared."""

    looks = 0

    def __hash__(self) -> int:
        CountedCell.looks += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        CountedCell.looks += 1
        return super().__eq__(other)


def looks_at_cells(reads: int) -> int:
    """How often cells are looked at while readers of them, and of one cell each besides, come and go."""
    graph = PoolGraph(1000)
    shared = [CountedCell(chain_cell(f"dep {number}")) for number in range(reads)]
    CountedCell.looks = 0
    entries = [an_entry() for _ in range(20)]
    for number, entry in enumerate(entries):
        entry.dep_keys = (*shared, CountedCell(chain_cell(f"other {number}")))
        graph.add(entry)
    for entry in entries:
        graph.remove_committed([entry.hash])
    assert not graph.is_used(shared[0])
    return CountedCell.looks


def test_who_reads_many_cells_takes_work_by_their_number() -> None:
    """Each reads other cells, so none has its reads in common with another."""
    few, many = looks_at_cells(100), looks_at_cells(400)
    assert many < 4.5 * few
    assert many < 400 * 20 * 20


def test_hashes_come_parents_first() -> None:
    graph = PoolGraph(1000)
    chain = a_chain(graph, [1, 50, 2, 70])
    single = an_entry()
    graph.add(single)
    unknown = bytes(32)
    hashes = [entry.hash for entry in chain]
    found = graph.parents_first([*reversed(hashes), single.hash, unknown])
    assert sorted(found) == sorted([*hashes, single.hash, unknown])
    assert [each for each in found if each in hashes] == hashes


def test_the_garbage_collector_does_not_look_at_entries() -> None:
    """It stops all threads for as long as it looks, and a full pool has hundreds of thousands."""
    parent, child = a_chain(PoolGraph(MAX_ANCESTORS), [1, 2])
    gc.collect()
    assert not any(map(gc.is_tracked, (parent, child, child.ancestors, child.input_keys, child.parents)))
