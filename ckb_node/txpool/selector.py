"""Which proposed transactions go into a block: packages of a transaction with its ancestors, best fee rate first."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from ckb_node.txpool.entry import PoolEntry, Score, Status, Sums, compare_scores, score
from ckb_node.txpool.graph import PoolGraph

MAX_CONSECUTIVE_FAILURES = 4000
"""Give up when the block is nearly full and this many candidates in a row did not fit."""


@dataclass(slots=True)
class _Candidate:
    score: Score
    entry: PoolEntry
    ancestors: Sums = field(repr=False)

    def __lt__(self, other: _Candidate) -> bool:
        return compare_scores(self.score, other.score) > 0


def select_for_block(graph: PoolGraph, size_limit: int, cycles_limit: int) -> list[PoolEntry]:
    """Proposed entries in an order that a block may have, within limits of bytes and cycles.

    When a package is taken, what is left of its descendants' packages is scored anew, so the heap holds stale
    candidates; one is stale if its sums are no longer the entry's current ones.
    """
    current = {
        entry.short_id: entry.ancestors.copy()
        for entry in graph
        if entry.status is Status.PROPOSED
        and entry.ancestors.size <= size_limit
        and entry.ancestors.cycles <= cycles_limit
    }
    heap = [
        _Candidate(score(graph.entries[each], sums), graph.entries[each], sums.copy()) for each, sums in current.items()
    ]
    heapq.heapify(heap)
    taken: dict[bytes, PoolEntry] = {}
    size = cycles = failures = 0
    while heap and failures <= MAX_CONSECUTIVE_FAILURES:
        candidate = heapq.heappop(heap)
        short_id = candidate.entry.short_id
        if short_id in taken or candidate.ancestors != current.get(short_id):
            continue
        sums = candidate.ancestors
        package = _package(graph, candidate.entry, taken)
        if package is None or size + sums.size > size_limit or cycles + sums.cycles > cycles_limit:
            failures += 1
            continue
        failures = 0
        size, cycles = size + sums.size, cycles + sums.cycles
        taken.update((entry.short_id, entry) for entry in package)
        _rescore_descendants(graph, package, taken, current, heap)
    return list(taken.values())


def _package(graph: PoolGraph, entry: PoolEntry, taken: dict[bytes, PoolEntry]) -> list[PoolEntry] | None:
    """The entry behind those of its ancestors that are not taken yet, or None if one of them is not proposed."""
    missing = [graph.entries[each] for each in graph.ancestors(entry.short_id) if each not in taken]
    if any(ancestor.status is not Status.PROPOSED for ancestor in missing):
        return None
    missing.sort(key=lambda each: each.ancestors.count)
    return [*missing, entry]


def _rescore_descendants(
    graph: PoolGraph,
    package: list[PoolEntry],
    taken: dict[bytes, PoolEntry],
    current: dict[bytes, Sums],
    heap: list[_Candidate],
) -> None:
    changed: set[bytes] = set()
    for entry in package:
        for each in graph.descendants(entry.short_id):
            if each in current and each not in taken:
                current[each].subtract(entry)
                changed.add(each)
    for each in changed:
        heapq.heappush(
            heap, _Candidate(score(graph.entries[each], current[each]), graph.entries[each], current[each].copy())
        )
