"""The pool's entries in the two orders that matter: what miners take first, and what a full pool drops first.

A place in an order is one byte string that compares as the order does and holds the entry's short id: tuples would take
four times its memory.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from struct import Struct

from ckb_node.txpool.entry import PoolEntry, Status, evict_key, score
from ckb_node.txpool.sorted_keys import SortedKeys
from consensus.codec.layout import SHORT_ID_SIZE, U64_MAX

_U32_MAX = (1 << 32) - 1

_STATUSES = (Status.PENDING, Status.GAP, Status.PROPOSED)
"""In the order of eviction; places name them by number."""
_NUMBERS = {status: number for number, status in enumerate(_STATUSES)}
_ENDS = [bytes((number,)) for number in range(len(_STATUSES))]

_SCORE_PLACE = Struct(f">QQI{SHORT_ID_SIZE}sB")
"""Rate (high and low half), weight, short id, status. Rates of all statuses compare."""
_EVICT_PLACE = Struct(f">BQIQ{SHORT_ID_SIZE}s")
"""Status, fee rate, count of descendants, time, short id."""


class PoolIndex:
    """Ranked entries. When an entry changes, its owner ranks it anew. Entries remember their places."""

    def __init__(self) -> None:
        self._by_score: dict[Status, SortedKeys[bytes]] = {status: SortedKeys() for status in Status}
        self._by_eviction: SortedKeys[bytes] = SortedKeys()

    def count(self, status: Status) -> int:
        return len(self._by_score[status])

    def by_score(self, statuses: Iterable[Status]) -> Iterator[bytes]:
        """Short ids of the entries of some statuses, the best paying first; nothing may change meanwhile."""
        return map(_short_id, _merged([reversed(self._by_score[status]) for status in statuses]))

    def by_score_as_now(self, statuses: Iterable[Status]) -> Iterator[bytes]:
        """The same, of those that are there at the time of the call, whatever changes meanwhile."""
        return map(_short_id, _merged([self._by_score[status].descending_as_now() for status in statuses]))

    def rank_by_score_among(self, entry: PoolEntry, statuses: Iterable[Status]) -> int:
        """How many entries of some statuses come before one in `by_score`."""
        return sum(self._by_score[status].count_above(entry.score_place) for status in statuses)

    def first_to_evict(self) -> bytes | None:
        """Short id; pending before gap before proposed, then by evict_key."""
        first = self._by_eviction.first()
        return None if first is None else first[-SHORT_ID_SIZE:]

    def rank_by_score(self, entry: PoolEntry) -> None:
        """To be called when the entry is new, or its status or ancestors have changed."""
        place, old = _score_place(entry), entry.score_place
        if place == old:
            return
        if old:
            self._by_score[_STATUSES[old[-1]]].remove(old)
        self._by_score[entry.status].add(place)
        entry.score_place = place

    def rank_by_eviction(self, entry: PoolEntry) -> None:
        """To be called when the entry is new, or its status or descendants have changed."""
        place, old = _evict_place(entry), entry.evict_place
        if place == old:
            return
        if old:
            self._by_eviction.remove(old)
        self._by_eviction.add(place)
        entry.evict_place = place

    def move(self, entries: Sequence[PoolEntry]) -> None:
        """To be called when nothing but the statuses of these entries has changed: a tip does that to thousands."""
        moved = list[PoolEntry]()
        gone: list[list[bytes]] = [[] for _ in _STATUSES]
        come: list[list[bytes]] = [[] for _ in _STATUSES]
        for entry in entries:
            old, number = entry.score_place, _NUMBERS[entry.status]
            if old[-1] != number:
                moved.append(entry)
                gone[old[-1]].append(old)
                entry.score_place = old[:-1] + _ENDS[number]
                come[number].append(entry.score_place)
        self._replace_scores(gone, come)
        self._by_eviction.remove_all([entry.evict_place for entry in moved])
        for entry in moved:
            entry.evict_place = entry.score_place[-1:] + entry.evict_place[1:]
        self._by_eviction.add_all([entry.evict_place for entry in moved])

    def rank_all_by_score(self, entries: Iterable[PoolEntry]) -> None:
        """`rank_by_score` of many: a block may commit what thousands need."""
        gone: list[list[bytes]] = [[] for _ in _STATUSES]
        come: list[list[bytes]] = [[] for _ in _STATUSES]
        for entry in entries:
            place, old = _score_place(entry), entry.score_place
            if place != old:
                gone[old[-1]].append(old)
                come[place[-1]].append(place)
                entry.score_place = place
        self._replace_scores(gone, come)

    def _replace_scores(self, gone: Sequence[list[bytes]], come: Sequence[list[bytes]]) -> None:
        for status, those, these in zip(_STATUSES, gone, come, strict=True):
            self._by_score[status].remove_all(those)
            self._by_score[status].add_all(these)

    def forget(self, entries: Sequence[PoolEntry]) -> None:
        """The entries have left."""
        gone: list[list[bytes]] = [[] for _ in _STATUSES]
        for entry in entries:
            gone[entry.score_place[-1]].append(entry.score_place)
        self._replace_scores(gone, [[] for _ in _STATUSES])
        self._by_eviction.remove_all([entry.evict_place for entry in entries])
        for entry in entries:
            entry.score_place = entry.evict_place = b""


def _merged(descending: Sequence[Iterator[bytes]]) -> Iterator[bytes]:
    """Places of several statuses in one order; of one, which templates ask for, without the cost of that."""
    return descending[0] if len(descending) == 1 else heapq.merge(*descending, reverse=True)


def _short_id(score_place: bytes) -> bytes:
    return score_place[-SHORT_ID_SIZE - 1 : -1]


def _score_place(entry: PoolEntry) -> bytes:
    """Numbers that do not fit count as the most that fits."""
    rate, weight = score(entry, entry.ancestors)
    return _SCORE_PLACE.pack(rate >> 64, rate & U64_MAX, min(weight, _U32_MAX), entry.short_id, _NUMBERS[entry.status])


def _evict_place(entry: PoolEntry) -> bytes:
    rate, count, timestamp = evict_key(entry)
    return _EVICT_PLACE.pack(_NUMBERS[entry.status], min(rate, U64_MAX), count, timestamp, entry.short_id)
