"""Entries without a chain: bare transactions that spend and read each other's cells, with any fee, size and cycles."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.graph import PoolGraph
from consensus.crypto.hashing import ckb_hash
from consensus.types.blockchain import CellDep, CellInput, CellOutput, OutPoint, RawTransaction, Script, Transaction
from consensus.types.core import CellMeta, ResolvedTransaction

LOCK = Script(code_hash=bytes(32), hash_type=0, args=b"")
OUTPUTS = 3

_serials = itertools.count(1)


def restart_serials() -> None:
    """Make the next entries the same as after the last restart: hypothesis replays what it drew."""
    global _serials
    _serials = itertools.count(1)


def chain_cell(name: str) -> bytes:
    """Out point of a cell that the chain is said to have."""
    return ckb_hash(name.encode()) + bytes(4)


def output_of(entry: PoolEntry, index: int = 0) -> bytes:
    """Out point of an entry's output."""
    return entry.hash + index.to_bytes(4, "little")


def cell_meta(out_point: bytes) -> CellMeta:
    output = CellOutput(capacity=1, lock=LOCK, type_=None)
    return CellMeta(out_point, output, 0, bytes(32), None, bytes)


def an_entry(
    *,
    spends: Sequence[bytes] = (),
    reads: Sequence[bytes] = (),
    header_deps: Sequence[bytes] = (),
    fee: int = 1000,
    cycles: int = 0,
    status: Status = Status.PENDING,
    timestamp: int | None = None,
    padding: int = 0,
) -> PoolEntry:
    """An entry that spends and reads out points; without any it spends a cell that nobody else knows."""
    serial = next(_serials)
    inputs = spends or (chain_cell(f"own {serial}"),)
    body = RawTransaction(
        version=0,
        cell_deps=[CellDep(out_point=OutPoint.trusted(each), dep_type=0) for each in reads],
        header_deps=list(header_deps),
        inputs=[CellInput(since=0, previous_output=OutPoint.trusted(each)) for each in inputs],
        outputs=[CellOutput(capacity=serial, lock=LOCK, type_=None)] * OUTPUTS,
        outputs_data=[b""] * OUTPUTS,
    )
    tx = Transaction(body=body, witnesses=[bytes(padding)] if padding else [])
    rtx = ResolvedTransaction(tx, [cell_meta(each) for each in inputs], [cell_meta(each) for each in reads], [])
    return PoolEntry.of(rtx, fee, cycles, status, serial if timestamp is None else timestamp)


def a_chain(graph: PoolGraph, fees: Sequence[int], **kwargs: object) -> list[PoolEntry]:
    """Entries each of which spends an output of the one before, in the graph."""
    chain: list[PoolEntry] = []
    for fee in fees:
        spends = [output_of(chain[-1])] if chain else []
        chain.append(an_entry(spends=spends, fee=fee, **kwargs))  # type: ignore[arg-type]
        graph.add(chain[-1])
    return chain


def ids(entries: Sequence[PoolEntry]) -> set[bytes]:
    return {entry.short_id for entry in entries}


def assert_consistent(graph: PoolGraph) -> None:
    """Links, sums and orders equal what a look at all entries finds."""
    for entry in graph:
        needs = needed_by_rule(graph, entry)
        assert graph.parents(entry.short_id) == needs, "parents are creators of used cells and readers of spent ones"
    ancestors = {entry.short_id: reachable(graph, entry) for entry in graph}
    for entry in graph:
        up = [graph.entries[each] for each in ancestors[entry.short_id]]
        down = [each for each in graph if entry.short_id in ancestors[each.short_id]]
        assert entry.short_id not in ancestors[entry.short_id], "nothing needs itself"
        for sums, others in ((entry.ancestors, up), (entry.descendants, down)):
            everything = [entry, *others]
            assert sums.count == len(everything)
            assert sums.size == sum(each.size for each in everything)
            assert sums.fee == sum(each.fee for each in everything)
            assert sums.cycles == sum(each.cycles for each in everything)
        assert graph.ancestors(entry.short_id) == ancestors[entry.short_id]
        assert graph.descendants(entry.short_id) == ids(down)
    assert graph.total_size == sum(entry.size for entry in graph)
    assert graph.total_cycles == sum(entry.cycles for entry in graph)
    assert graph.spenders == {key: entry.short_id for entry in graph for key in entry.input_keys}
    assert ids(list(graph.by_score(Status))) == set(graph.entries)
    linked = [entry for entry in graph if entry.parents or entry.children]
    assert graph.linked_count == len(linked)
    for entry in graph:
        below = [each for each in linked if each.status is entry.status and each.score_place < entry.score_place]
        assert graph.linked_below(entry) == sorted(below, key=lambda each: each.score_place, reverse=True)
    for status in Status:
        assert graph.count(status) == sum(entry.status is status for entry in graph)


def needed_by_rule(graph: PoolGraph, entry: PoolEntry) -> set[bytes]:
    """Who must be committed directly before an entry, found by looking at every other."""
    needs = set()
    for other in graph:
        if other is entry:
            continue
        creates = {output_of(other, index) for index in range(OUTPUTS)}
        if creates & {*entry.input_keys, *entry.dep_keys} or set(other.dep_keys) & set(entry.input_keys):
            needs.add(other.short_id)
    return needs


def reachable(graph: PoolGraph, entry: PoolEntry) -> set[bytes]:
    found: set[bytes] = set()
    todo = [entry]
    while todo:
        for each in needed_by_rule(graph, todo.pop()) - found:
            found.add(each)
            todo.append(graph.entries[each])
    return found
