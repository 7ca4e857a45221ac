"""Selecting transactions for a block: packages by fee rate, within limits, against a plain restatement of the rule."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction

import pytest

from ckb_node.txpool import selector
from ckb_node.txpool.entry import PackageTotals, PoolEntry, Status, score, weight
from ckb_node.txpool.graph import PoolGraph
from ckb_node.txpool.selector import proposed_of, select_for_block
from tests.support.builders.pool_entries import OUTPUTS, a_chain, an_entry, chain_cell, output_of
from tests.support.work import calls_of

NO_LIMIT = 1 << 60
PROPOSED = Status.PROPOSED


def select(graph: PoolGraph, size: int = NO_LIMIT, cycles: int = NO_LIMIT) -> list[PoolEntry]:
    chosen = select_for_block(proposed_of(graph, size, cycles), size, cycles)
    assert_block(graph, chosen, size, cycles)
    return chosen


def assert_block(graph: PoolGraph, chosen: Sequence[PoolEntry], size: int, cycles: int) -> None:
    """Parents first, nothing twice, everything proposed, limits kept."""
    seen: set[bytes] = set()
    for entry in chosen:
        assert entry.status is PROPOSED
        assert entry.short_id not in seen
        assert graph.ancestors(entry.short_id) <= seen
        seen.add(entry.short_id)
    assert sum(entry.size for entry in chosen) <= size
    assert sum(entry.cycles for entry in chosen) <= cycles


def plain_selection(graph: PoolGraph, size: int, cycles: int) -> list[PoolEntry]:
    """The rule said anew each round: of all packages that fit take the one with the best lower rate."""
    taken: list[PoolEntry] = []
    failed: set[tuple[bytes, int]] = set()
    while True:
        best = None
        for entry in graph:
            package = [each for each in _family(graph, entry) if each not in taken]
            if entry in taken or any(each.status is not PROPOSED for each in package):
                continue
            if (entry.short_id, len(package)) in failed:
                continue
            fee, package_weight = sum(each.fee for each in package), _weight(package)
            rate = min(Fraction(entry.fee, entry.weight), Fraction(fee, package_weight))
            rank = rate, package_weight, bytes(255 - byte for byte in entry.short_id)
            if best is None or rank > best[0]:
                best = rank, entry, package
        if best is None:
            return taken
        _, entry, package = best
        used = [*taken, *package]
        if sum(each.size for each in used) > size or sum(each.cycles for each in used) > cycles:
            failed.add((entry.short_id, len(package)))
            continue
        left = {each: sum(other in package for other in _family(graph, each)) for each in package}
        taken += sorted(package, key=lambda each: (left[each], each.short_id))


def _family(graph: PoolGraph, entry: PoolEntry) -> list[PoolEntry]:
    return [graph.entries[each] for each in (*graph.ancestors(entry.short_id), entry.short_id)]


def _weight(entries: Sequence[PoolEntry]) -> int:
    return weight(sum(each.size for each in entries), sum(each.cycles for each in entries))


def a_random_pool(seed: int, count: int) -> PoolGraph:
    rng = random.Random(seed)
    graph = PoolGraph(1000)
    for _ in range(count):
        cells = [output_of(each, index) for each in graph for index in range(OUTPUTS)]
        cells = [cell for cell in cells if cell not in graph.spenders] + [chain_cell(f"{seed} {len(graph)}")]
        spends = rng.sample(cells, min(len(cells), rng.randint(1, 2)))
        entry = an_entry(
            spends=spends,
            fee=rng.randint(1, 20) * 100,
            cycles=rng.choice([0, 0, 1_000_000, 8_000_000]),
            padding=rng.choice([0, 0, 100, 1500]),
            status=PROPOSED if rng.random() < 0.9 else Status.GAP,
        )
        graph.add(entry)
    return graph


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_plain_rule(seed: int) -> None:
    graph = a_random_pool(seed, 4 + seed % 9)
    size = sum(entry.size for entry in graph)
    cycles = sum(entry.cycles for entry in graph)
    for share in (1.0, 0.7, 0.4, 0.1):
        limits = int(size * share), int(cycles * share)
        chosen = select(graph, *limits)
        assert [each.short_id for each in chosen] == [each.short_id for each in plain_selection(graph, *limits)]


def test_scores_are_exact() -> None:
    """The lower of own and package rate; rates that differ by the least fraction are told apart, ties go by weight."""
    entry = an_entry(fee=10**19, padding=400_000)
    alike = an_entry(fee=10**19 + 1, padding=400_000)
    assert entry.weight == alike.weight
    assert score(entry, entry.ancestors) < score(alike, alike.ancestors)
    poor_family = PackageTotals(2, entry.size * 2, entry.fee + 1, 0)
    rich_family = PackageTotals(2, entry.size * 2, entry.fee * 3, 0)
    assert score(entry, poor_family)[0] < score(entry, rich_family)[0] == score(entry, entry.ancestors)[0]
    assert score(entry, rich_family) > score(entry, entry.ancestors), "of equal rates the heavier package is better"


def test_a_rich_child_pays_for_its_parent() -> None:
    graph = PoolGraph(1000)
    parent, child = a_chain(graph, [1, 10_000], status=PROPOSED)
    middling = an_entry(fee=2000, status=PROPOSED)
    graph.add(middling)
    assert select(graph) == [parent, child, middling]
    assert select(graph, size=parent.size + child.size) == [parent, child]
    assert select(graph, size=middling.size) == [middling]


def test_a_rich_parent_does_not_lift_its_poor_child() -> None:
    graph = PoolGraph(1000)
    parent, child = a_chain(graph, [10_000, 1], status=PROPOSED)
    middling = an_entry(fee=2000, status=PROPOSED)
    graph.add(middling)
    assert select(graph) == [parent, middling, child]


def test_cycles_count_as_size() -> None:
    graph = PoolGraph(1000)
    heavy = an_entry(fee=2000, cycles=50_000_000, status=PROPOSED)
    light = an_entry(fee=1000, status=PROPOSED)
    for entry in (heavy, light):
        graph.add(entry)
    assert select(graph) == [light, heavy]
    assert select(graph, cycles=49_999_999) == [light]


def test_nothing_is_taken_before_its_parents_are_proposed() -> None:
    graph = PoolGraph(1000)
    first, second, third = a_chain(graph, [1, 1, 90_000], status=PROPOSED)
    graph.set_statuses({second.short_id: Status.GAP})
    assert select(graph) == [first]
    graph.set_statuses({second.short_id: PROPOSED})
    assert select(graph) == [first, second, third]


def test_a_reader_comes_before_the_spender_of_what_it_reads() -> None:
    graph = PoolGraph(1000)
    cell = chain_cell("read, then spent")
    reader = an_entry(reads=[cell], fee=1, status=PROPOSED)
    spender = an_entry(spends=[cell], fee=90_000, status=PROPOSED)
    for entry in (reader, spender):
        graph.add(entry)
    assert select(graph) == [reader, spender]


def test_gives_up_after_many_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selector, "MAX_CONSECUTIVE_FAILURES", 3)
    graph = PoolGraph(1000)
    for _ in range(5):
        graph.add(an_entry(fee=90_000, padding=1000, status=PROPOSED))
    small = an_entry(fee=1, status=PROPOSED)
    graph.add(small)
    assert select(graph, size=small.size) == [], "more candidates in a row did not fit than it tries"
    monkeypatch.setattr(selector, "MAX_CONSECUTIVE_FAILURES", 5)
    assert select(graph, size=small.size) == [small]


def test_the_pool_may_change_while_a_thread_selects() -> None:
    graph = PoolGraph(1000)
    chain = a_chain(graph, [1, 2, 3], status=PROPOSED)
    candidates = proposed_of(graph, NO_LIMIT, NO_LIMIT)
    graph.remove_committed([chain[0].hash])
    graph.remove_with_descendants((chain[1].short_id,))
    assert select_for_block(candidates, NO_LIMIT, NO_LIMIT) == chain


@pytest.mark.parametrize("pending", [0, 20])
def test_what_cannot_be_of_use_is_not_offered(pending: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what fills a block, only so many that may fill its gaps, and all that others depend on; also where more
    have relatives than are proposed."""
    monkeypatch.setattr(selector, "SPARE_CANDIDATES", 2)
    graph = PoolGraph(1000)
    a_chain(graph, range(pending))
    cheap = a_chain(graph, [1, 2], status=PROPOSED)
    singles = [an_entry(fee=fee, cycles=10, status=PROPOSED) for fee in range(100_000, 107_000, 1000)]
    for entry in singles:
        graph.add(entry)
    best = singles[::-1]
    size, cycles = sum(entry.size for entry in best[:2]), sum(entry.cycles for entry in best[:3])
    for limits in ((size, NO_LIMIT), (NO_LIMIT, cycles)):
        proposed = proposed_of(graph, *limits)
        offered = [*proposed.singles, *(each.entry for each in proposed.packages)]
        full = 2 if limits[0] == size else 3
        assert [entry for entry in offered if entry in singles] == best[: full + 2]
        assert [entry for entry in offered if entry in cheap] == cheap
        assert len(offered) == full + 4


def work_of_falling_fees(length: int) -> int:
    """Calls of selecting a chain in which each child pays less than its parent."""
    graph = PoolGraph(length)
    chain = a_chain(graph, range(length * 1000, 0, -1000), status=PROPOSED)
    candidates = proposed_of(graph, NO_LIMIT, NO_LIMIT)
    chosen: list[PoolEntry] = []
    work = calls_of(lambda: chosen.extend(select_for_block(candidates, NO_LIMIT, NO_LIMIT)))
    assert chosen == chain
    return work


def test_a_long_chain_with_falling_fees_takes_bounded_work() -> None:
    """The worst case: hundreds of packages of one, each of which changes all packages behind it."""
    short, long = work_of_falling_fees(100), work_of_falling_fees(400)
    assert long < 16 * short, "each pair of packages is looked at once at most"
    assert long < 3_000_000
