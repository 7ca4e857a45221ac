"""What very many need leaves in steps: no call takes longer because the pool is large."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from ckb_node.runtime.slices import in_slices
from ckb_node.txpool import graph as graph_module
from ckb_node.txpool import pool as pool_module
from ckb_node.txpool.answers import PoolAnswers
from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.graph import LEAVING_AT_ONCE, PoolGraph
from ckb_node.txpool.limits import PoolLimits
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.rbf import verify_replacement
from ckb_node.txpool.rejects import RbfRejected
from ckb_node.txpool.selector import proposed_of
from consensus.context import ChainReader
from consensus.types.blockchain import Transaction
from tests.support.builders.pool_entries import a_chain, an_entry, assert_consistent, chain_cell, ids, output_of
from tests.support.chains.funded_pool import FEE, Funds, cell_of, funded
from tests.support.work import calls_of

NO_CHAIN = cast("ChainReader", None)


def a_fan(graph: PoolGraph, root: PoolEntry, count: int) -> list[PoolEntry]:
    """Entries that read an output of `root`."""
    found = [an_entry(reads=[output_of(root, 2)]) for _ in range(count)]
    for entry in found:
        graph.add(entry)
    return found


# ---------------------------------------------------------------- the graph's work


def work_of_a_commit(below: int) -> int:
    """Calls that one slice of a block takes: a line of 64, the last of which many others need."""
    graph = PoolGraph(1000)
    line = a_chain(graph, [1000] * 64)
    fan = a_fan(graph, line[-1], below)
    work = calls_of(lambda: graph.remove_committed([entry.hash for entry in line]))
    assert all(entry.ancestors.count == 1 for entry in fan)
    return work


def test_what_needs_all_of_a_line_is_looked_at_once_when_it_is_committed() -> None:
    few, many = work_of_a_commit(200), work_of_a_commit(800)
    assert many < 4.5 * few
    assert many < 800 * 100, "not for each of the line"


def steps_of(graph: PoolGraph, entry: PoolEntry) -> Iterator[tuple[int, int]]:
    """Entries that leave in each step, and calls that it takes."""
    leaving = graph.leave_with_users((entry.short_id,))
    while True:
        gone = list[PoolEntry]()
        work = calls_of(lambda gone=gone: gone.extend(next(leaving, ())))  # type: ignore[misc]
        if not gone:
            return
        yield len(gone), work


def test_many_leave_in_steps_of_like_size() -> None:
    graph = PoolGraph(1000)
    root = a_chain(graph, [1000] * 20)[-1]
    a_fan(graph, root, 1500)
    steps = list(steps_of(graph, root))
    assert sum(count for count, _ in steps) == 1501
    assert max(count for count, _ in steps) == LEAVING_AT_ONCE
    assert max(work for _, work in steps) < LEAVING_AT_ONCE * 120
    assert len(graph) == 19
    assert_consistent(graph)


def work_of_readers(count: int) -> int:
    """Calls that it takes until the readers of cells have left all of which one entry spends, and nothing else."""
    graph = PoolGraph(1000)
    readers = [an_entry(reads=[chain_cell(f"{number}")]) for number in range(count)]
    for entry in readers:
        graph.add(entry)
    spender = an_entry(spends=[chain_cell(f"{number}") for number in range(count)])
    graph.add(spender)
    assert spender.ancestors.count == count + 1
    gone = list[PoolEntry]()

    def leave() -> None:
        for some in graph.leave_with_users([entry.short_id for entry in readers]):
            gone.extend(some)

    work = calls_of(leave)
    assert ids(gone) == ids(readers)
    assert spender.ancestors.count == 1
    return work


def test_a_child_of_many_that_leave_is_looked_at_once() -> None:
    """It names as many cells as it has parents."""
    assert work_of_readers(200) < 4.5 * work_of_readers(50)


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_the_graph_is_sound_between_steps(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others come meanwhile, on what is about to leave too."""
    monkeypatch.setattr(graph_module, "LEAVING_AT_ONCE", at_once)
    monkeypatch.setattr(graph_module, "LINKS_AT_ONCE", 2)
    graph = PoolGraph(1000)
    line = a_chain(graph, [1000] * 4)
    middle = line[1]
    cell = chain_cell("read")
    reader = an_entry(spends=[output_of(middle, 1)], reads=[cell])
    spender = an_entry(spends=[cell])
    both = an_entry(spends=[output_of(line[3]), output_of(reader)])
    for entry in (reader, spender, both):
        graph.add(entry)
    fan = a_fan(graph, line[2], 3)
    late, gone = list[PoolEntry](), set[bytes]()
    for some in graph.leave_with_users((middle.short_id,)):
        assert_consistent(graph)
        gone |= ids(some)
        if len(late) < 2:
            late.append(an_entry(spends=[output_of(middle, 2 - len(late) % 2)] if not late else [output_of(late[0])]))
            if not graph.conflicts(late[-1].input_keys):
                graph.add(late[-1])
    assert gone == ids([middle, line[2], line[3], reader, both, *fan, *late])
    assert set(graph.entries) == ids([line[0], spender])
    assert_consistent(graph)


# ---------------------------------------------------------------- what is asked


def work_of_a_refusal(count: int) -> int:
    """Calls until it is clear that an entry with so many descendants is not replaced."""
    graph, reasons = PoolGraph(1000), list[str]()
    (root,) = a_chain(graph, [1000])
    a_fan(graph, root, count)

    def refuse() -> None:
        try:
            verify_replacement(graph, an_entry(spends=root.input_keys, fee=10**9), NO_CHAIN, PoolLimits())
        except RbfRejected as reason:
            reasons.append(str(reason))

    work = calls_of(refuse)
    assert f"conflict txs count: {count + 1}," in reasons[0]
    return work


def test_a_replacement_of_too_many_is_refused_without_a_look_at_them() -> None:
    work_of_a_refusal(200)
    assert abs(work_of_a_refusal(800) - work_of_a_refusal(200)) < 20


async def test_the_fee_of_a_replacement_is_a_kept_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds:
        root = funds.spend(outputs=3)
        await funds.submit(root, *(funds.spend(cell_of(root, index)) for index in range(3)))
        monkeypatch.setattr(PoolGraph, "descendants", None)
        told = await PoolAnswers.transaction(funds.pool, root.hash)
        assert getattr(told, "min_replace_fee", None) == 4 * FEE + 1500 * root.size_in_block // 1000


# ---------------------------------------------------------------- the pool


async def a_family(funds: Funds, children: int) -> list[Transaction]:
    """A transaction that pays little, and those that spend its outputs."""
    root = funds.spend(outputs=children, fee=2000)
    family = [root, *(funds.spend(cell_of(root, index), fee=2000) for index in range(children))]
    await funds.submit(*family)
    return family


def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "LEAVING_AT_ONCE", 2)
    monkeypatch.setattr(graph_module, "CROWD_AT_ONCE", 2)
    monkeypatch.setattr(pool_module, "EVICTED_AT_ONCE", 2)


async def test_a_full_pool_evicts_a_large_family_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    small_steps(monkeypatch)
    async with funded(12) as funds:
        family = await a_family(funds, 5)
        pool, rich = funds.pool.pool, [funds.spend(fee=50 * FEE) for _ in range(3)]
        pool.limits = PoolLimits(max_size=pool.graph.total_size + rich[0].size_in_block - 1)
        sizes = list[int]()
        leave_more = TxPool.leave_more

        def watched(pool: TxPool) -> Iterator[None]:
            for step in leave_more(pool):
                sizes.append(len(pool.graph))
                yield step

        monkeypatch.setattr(TxPool, "leave_more", watched)
        await funds.submit(rich[0])
        assert sizes == [5, 3, 1, 1], "two at a time"
        assert await funds.statuses(*family, rich[0]) == ["unknown"] * 6 + ["pending"]
        for tx in family:
            assert (await funds.why_gone(tx)).kind == "Full"
        await funds.submit(*rich[1:])
        assert len(pool.graph) == 3


async def test_a_member_of_a_family_that_is_evicted_does_not_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    small_steps(monkeypatch)
    async with funded(12) as funds:
        root = funds.spend(outputs=6, fee=2000)
        family = [root, *(funds.spend(cell_of(root, index), fee=2000) for index in range(5))]
        await funds.submit(*family)
        pool, newest = funds.pool.pool, funds.spend(cell_of(root, 5), fee=2000)
        pool.limits = PoolLimits(max_size=pool.graph.total_size)
        assert (await funds.refusal(newest)).kind == "Full"
        await in_slices(pool.leave_more())
        assert await funds.statuses(*family, newest) == ["unknown"] * 7


async def test_readers_of_a_spent_cell_that_are_too_many_leave_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """No block may hold them meanwhile: it would have to hold them before what spends the cell."""
    small_steps(monkeypatch)
    async with funded(12, limits=PoolLimits(max_ancestors=2)) as funds:
        cell = funds.cells.pop()
        readers = [funds.spend(reads=[cell[0]], fee=FEE * (1 + number)) for number in range(5)]
        children = [funds.spend(cell_of(each)) for each in readers]
        await funds.submit(*readers, *children[:4])
        spender = funds.spend(cell)
        pool, offered = funds.pool.pool, list[set[bytes]]()
        leave_more = TxPool.leave_more

        def watched(pool: TxPool) -> Iterator[None]:
            pool.graph.set_statuses(dict.fromkeys(pool.graph.entries, Status.PROPOSED))
            for step in leave_more(pool):
                offered.append({each.short_id for each in proposed_of(pool.graph, 10**6, 10**9).singles})
                yield step

        monkeypatch.setattr(TxPool, "leave_more", watched)
        await funds.submit(spender)
        kept = readers[4]
        assert len(offered) > 3
        assert all(some == {kept.short_id} for some in offered)
        assert set(pool.graph.entries) == {kept.short_id, spender.short_id}
        for tx in (*readers[:4], *children[:4]):
            assert (await funds.why_gone(tx)).kind == "Invalidated"
        assert_consistent_sums(pool.graph)


def assert_consistent_sums(graph: PoolGraph) -> None:
    assert graph.total_size == sum(entry.size for entry in graph)


async def test_a_pool_that_is_cleared_while_entries_leave_forgets_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    small_steps(monkeypatch)
    async with funded(12) as funds:
        family = await a_family(funds, 5)
        pool = funds.pool.pool
        steps = pool.remove(pool.graph.entries[family[0].short_id])
        next(steps)
        assert len(pool.graph) == 4
        await funds.pool.clear()
        other = funds.spend()
        await funds.submit(other)
        await in_slices(steps)
        assert set(pool.graph.entries) == {other.short_id}
