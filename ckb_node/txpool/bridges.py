"""Sums of entries that stay when others leave: those that leave are not counted any more, nor are those that were each
other's ancestor and descendant only through them.

A block may commit the spender of a cell without the transactions that read the cell before it; and a reader may leave
while the spender stays. What stood before the leaving one is no ancestor any more of what stands on it, unless there is
another way between them. Sets are numbers with a bit for each entry above, so that many entries cost few steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import Final

from ckb_node.txpool.entry import PackageTotals, PoolEntry
from ckb_node.txpool.links import Links

__all__ = ["Bridges", "drop_from_ancestors", "drop_from_descendants"]


def drop_from_ancestors(leaving: Sequence[PoolEntry], above: Sequence[PoolEntry]) -> None:
    """Take entries that leave out of the sums of `above`, their ancestors that stay."""
    order = sorted([*leaving, *above], key=_ancestor_count, reverse=True)
    totals = _Totals(leaving)
    below = _that_lead_to_each(order, leaving, attrgetter("parents"))
    for entry in above:
        entry.drop_descendant(totals[below[entry.short_id]])


def drop_from_descendants(leaving: Sequence[PoolEntry], below: Sequence[PoolEntry]) -> None:
    """Take entries that leave out of the sums of `below`, their descendants that stay."""
    order = sorted([*leaving, *below], key=_ancestor_count)
    totals = _Totals(leaving)
    above = _that_lead_to_each(order, leaving, attrgetter("children"))
    for entry in below:
        entry.drop_ancestor(totals[above[entry.short_id]])


def _ancestor_count(entry: PoolEntry) -> int:
    return entry.ancestors.count


def _that_lead_to_each(
    order: Iterable[PoolEntry], leaving: Sequence[PoolEntry], links: Callable[[PoolEntry], Links[bytes]]
) -> Mapping[bytes, int]:
    """For each entry those that leave and from which the links lead to it. In `order` none comes before one that leads
    to it."""
    bits = {entry.short_id: 1 << index for index, entry in enumerate(leaving)}
    found: dict[bytes, int] = defaultdict(int)
    for entry in order:
        short_id = entry.short_id
        mask = found[short_id] | bits.get(short_id, 0)
        for each in links(entry):
            found[each] |= mask
    return found


class _Totals(dict[int, PackageTotals]):
    """Of entries by their bits: most of those that stay are related to the same ones."""

    def __init__(self, entries: Sequence[PoolEntry]) -> None:
        super().__init__()
        self._entries: Final = entries

    def __missing__(self, mask: int) -> PackageTotals:
        found = self[mask] = _total(self._entries[index] for index in _bits_of(mask))
        return found


def _bits_of(mask: int) -> Iterator[int]:
    """Numbers of the bits that are set."""
    while mask:
        index = mask.bit_length() - 1
        mask ^= 1 << index
        yield index


class Bridges:
    """Made before entries leave: `gone` maps each of these to its ancestors that stay. `above` are all such ancestors,
    `below` all descendants that stay."""

    def __init__(
        self,
        entries: Mapping[bytes, PoolEntry],
        gone: Mapping[bytes, AbstractSet[bytes]],
        above: Iterable[bytes],
        below: Iterable[bytes],
    ) -> None:
        self._entries: Final = entries
        self._above: Final = list(above)
        self._bits: Final = {short_id: 1 << index for index, short_id in enumerate(self._above)}
        masks = {short_id: self._mask(ancestors) for short_id, ancestors in gone.items()}
        self._through: Final[dict[bytes, int]] = {}
        """Of each below: those above that were its ancestors through what leaves."""
        for short_id in self._parents_first(below):
            found = 0
            for parent in entries[short_id].parents:
                found |= masks.get(parent, 0) | self._through.get(parent, 0)
            self._through[short_id] = found

    def _mask(self, short_ids: Iterable[bytes]) -> int:
        found = 0
        for each in short_ids:
            found |= self._bits[each]
        return found

    def _parents_first(self, short_ids: Iterable[bytes]) -> list[bytes]:
        return sorted(short_ids, key=lambda each: self._entries[each].ancestors.count)

    def part(self, around: Iterable[bytes]) -> None:
        """They have left: take those above and below out of each other's sums that are not related any more. `around`
        are all below with all their ancestors."""
        still: dict[bytes, int] = {}
        parted: dict[int, list[PoolEntry]] = defaultdict(list)
        for short_id in self._parents_first(around):
            found = 0
            for parent in self._entries[short_id].parents:
                found |= still[parent] | self._bits.get(parent, 0)
            still[short_id] = found
            if lost := self._through.get(short_id, 0) & ~found:
                parted[lost].append(self._entries[short_id])
        for lost, below in parted.items():
            above = list(self._members(lost))
            lost_ancestors, lost_descendants = _total(above), _total(below)
            for entry in below:
                entry.drop_ancestor(lost_ancestors)
            for entry in above:
                entry.drop_descendant(lost_descendants)

    def _members(self, mask: int) -> Iterator[PoolEntry]:
        return (self._entries[self._above[index]] for index in _bits_of(mask))


def _total(entries: Iterable[PoolEntry]) -> PackageTotals:
    total = PackageTotals(0, 0, 0, 0)
    for entry in entries:
        total.add(entry.alone)
    return total
