"""Which proposed transactions go into a block: packages of a transaction with its ancestors, best fee rate first."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple

from ckb_node.txpool.entry import PackageTotals, PoolEntry, Status, score
from ckb_node.txpool.graph import NOBODY, PoolGraph

MAX_CONSECUTIVE_FAILURES = 4000
"""Give up when the block is nearly full and this many candidates in a row did not fit."""
SPARE_CANDIDATES = MAX_CONSECUTIVE_FAILURES
"""Entries without relatives that are offered beyond what fills a block: they fill its gaps. A window may have thousands
more."""


@dataclass(slots=True)
class Candidate:
    """`package` sums an entry and its ancestors not yet taken."""

    entry: PoolEntry
    package: PackageTotals
    parents: AbstractSet[bytes]
    children: list[bytes] = field(default_factory=list)


class Package(NamedTuple):
    """A proposed entry with parents."""

    entry: PoolEntry
    totals: PackageTotals
    parents: AbstractSet[bytes]


class Proposed(NamedTuple):
    """Proposed entries that are not stale: those without parents, the best paying first, and the others."""

    singles: Sequence[PoolEntry] = ()
    packages: Sequence[Package] = ()


def proposed_of(graph: PoolGraph, size_limit: int, cycles_limit: int) -> Proposed:
    """The proposed entries, as many as may be of use to a block within these limits: a copy that the pool's changes do
    not touch. It is made on the event loop, of ten thousand entries, so it is no more than that."""
    singles, packages = list[PoolEntry](), list[Package]()
    spare = SPARE_CANDIDATES
    ranked = graph.by_score((Status.PROPOSED,))
    for entry in ranked:
        if entry.needs_reverification:
            continue
        if entry.parents:
            packages.append(_package(entry))
            continue
        singles.append(entry)
        if size_limit > 0 and cycles_limit > 0:
            size_limit, cycles_limit = size_limit - entry.size, cycles_limit - entry.cycles
            continue
        spare -= 1
        if spare <= 0:
            rest = graph.linked_below(entry) if graph.linked_count < graph.count(Status.PROPOSED) else ranked
            _add_linked(rest, singles, packages)
            break
    return Proposed(singles, packages)


def _add_linked(rest: Iterable[PoolEntry], singles: list[PoolEntry], packages: list[Package]) -> None:
    """Of the others only those are of use that have parents, or children which may pay better."""
    for entry in rest:
        if entry.needs_reverification:
            continue
        if entry.parents:
            packages.append(_package(entry))
        elif entry.children:
            singles.append(entry)


def _package(entry: PoolEntry) -> Package:
    return Package(entry, entry.package(), frozenset(entry.parents))


def _linked(proposed: Proposed) -> dict[bytes, Candidate]:
    """Those whose ancestors are all there, parents first; each knows its children."""
    candidates = [Candidate(entry, entry.alone, NOBODY) for entry in proposed.singles]
    candidates += [Candidate(*package) for package in proposed.packages]
    found: dict[bytes, Candidate] = {}
    for each in sorted(candidates, key=lambda each: each.package.count):
        if all(parent in found for parent in each.parents):
            found[each.entry.short_id] = each
            for parent in each.parents:
                found[parent].children.append(each.entry.short_id)
    return found


_Place = tuple[int, int, bytes]


def select_for_block(proposed: Proposed, size_limit: int, cycles_limit: int) -> list[PoolEntry]:
    """Entries in an order that a block may have, within limits of bytes and cycles."""
    if proposed.packages:
        return _select_packages(proposed, size_limit, cycles_limit)
    return _select_singles(proposed.singles, size_limit, cycles_limit)


def _select_singles(singles: Iterable[PoolEntry], size_limit: int, cycles_limit: int) -> list[PoolEntry]:
    """No entry needs another one, so their order is final."""
    taken: list[PoolEntry] = []
    failures = 0
    for entry in singles:
        if entry.size > size_limit or entry.cycles > cycles_limit:
            failures += 1
            if failures > MAX_CONSECUTIVE_FAILURES:
                break
            continue
        failures = 0
        size_limit, cycles_limit = size_limit - entry.size, cycles_limit - entry.cycles
        taken.append(entry)
    return taken


def _select_packages(proposed: Proposed, size_limit: int, cycles_limit: int) -> list[PoolEntry]:
    """When a package is taken, it leaves the packages of its descendants, whose scores change. The heap is lazy: an
    improved score is pushed again at once, a worse one is corrected when its entry is popped.
    """
    candidates = _linked(proposed)
    places = {short_id: _place(candidate) for short_id, candidate in candidates.items()}
    heap = list(places.values())
    heapq.heapify(heap)
    taken: dict[bytes, PoolEntry] = {}
    size = cycles = failures = 0
    while heap and failures <= MAX_CONSECUTIVE_FAILURES:
        place = heapq.heappop(heap)
        short_id = place[2]
        if short_id in taken or places[short_id] != place:
            continue
        now = _place(candidates[short_id])
        if now != place:
            places[short_id] = now
            heapq.heappush(heap, now)
            continue
        package = candidates[short_id].package
        if size + package.size > size_limit or cycles + package.cycles > cycles_limit:
            failures += 1
            continue
        failures = 0
        size, cycles = size + package.size, cycles + package.cycles
        members = _untaken(candidates, short_id, taken)
        taken.update((member.short_id, member) for member in members)
        for each in _shrink_packages(candidates, members, taken):
            now = _place(candidates[each])
            if now < places[each]:
                places[each] = now
                heapq.heappush(heap, now)
    return list(taken.values())


def _place(candidate: Candidate) -> _Place:
    """Lowest for the best: heaps give out the lowest first."""
    rate, weight = score(candidate.entry, candidate.package)
    return -rate, -weight, candidate.entry.short_id


def _untaken(candidates: Mapping[bytes, Candidate], short_id: bytes, taken: Mapping[bytes, object]) -> list[PoolEntry]:
    """The entry behind those of its ancestors that are not taken yet. All ancestors of a taken entry are taken."""
    seen, stack = {short_id}, [short_id]
    while stack:
        for parent in candidates[stack.pop()].parents:
            if parent not in seen and parent not in taken:
                seen.add(parent)
                stack.append(parent)
    members = [candidates[each] for each in seen]
    members.sort(key=lambda each: (each.package.count, each.entry.short_id))
    return [each.entry for each in members]


def _shrink_packages(
    candidates: Mapping[bytes, Candidate], members: list[PoolEntry], taken: Mapping[bytes, object]
) -> set[bytes]:
    """Take `members` out of the packages of their descendants; whose packages changed."""
    changed: set[bytes] = set()
    for member in members:
        seen: set[bytes] = set()
        alone = member.alone
        stack = list(candidates[member.short_id].children)
        while stack:
            each = stack.pop()
            if each not in seen:
                seen.add(each)
                stack.extend(candidates[each].children)
                if each not in taken:
                    candidates[each].package.subtract(alone)
        changed |= seen
    return changed - taken.keys()
