"""The pool's entries in the two orders that matter: what miners take first, and what a full pool drops first."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from ckb_node.txpool.entry import EvictKey, PoolEntry, Score, Status, evict_key, score
from ckb_node.txpool.ranking import Ranking

ScorePlace = tuple[Score, bytes]
EvictPlace = tuple[int, EvictKey, bytes]

_EVICTION_ORDER = {Status.PENDING: 0, Status.GAP: 1, Status.PROPOSED: 2}


class PoolOrders:
    """Short ids of entries, ranked. Whoever changes what an entry's place depends on ranks it anew."""

    def __init__(self) -> None:
        self._by_score: dict[Status, Ranking[ScorePlace]] = {status: Ranking() for status in Status}
        self._by_eviction: Ranking[EvictPlace] = Ranking()
        self._score_places: dict[bytes, tuple[Status, ScorePlace]] = {}
        self._evict_places: dict[bytes, EvictPlace] = {}

    def count(self, status: Status) -> int:
        return len(self._by_score[status])

    def by_score(self, statuses: Iterable[Status]) -> Iterator[bytes]:
        """Entries of some statuses, the best paying first; nothing may change meanwhile."""
        ranked = heapq.merge(*(reversed(self._by_score[status]) for status in statuses), reverse=True)
        return (short_id for _, short_id in ranked)

    def by_score_as_now(self, statuses: Iterable[Status]) -> Iterator[bytes]:
        """The same, of those that are there at the time of the call, whatever changes meanwhile."""
        ranked = heapq.merge(*(self._by_score[status].descending_as_now() for status in statuses), reverse=True)
        return (short_id for _, short_id in ranked)

    def rank_by_score_among(self, short_id: bytes, statuses: Iterable[Status]) -> int:
        """How many entries of some statuses come before one in `by_score`."""
        place = self._score_places[short_id][1]
        return sum(self._by_score[status].count_above(place) for status in statuses)

    def first_to_evict(self) -> bytes | None:
        """Pending before gap before proposed, then by evict_key."""
        first = self._by_eviction.first()
        return None if first is None else first[2]

    def evict_place(self, short_id: bytes) -> EvictPlace:
        """Compares as the eviction order does."""
        return self._evict_places[short_id]

    def rank_by_score(self, entry: PoolEntry) -> None:
        """To be called when the entry is new, or its status or ancestors have changed."""
        place = entry.status, (score(entry, entry.ancestors), entry.short_id)
        old = self._score_places.get(entry.short_id)
        if place == old:
            return
        if old is not None:
            self._by_score[old[0]].remove(old[1])
        self._by_score[entry.status].add(place[1])
        self._score_places[entry.short_id] = place

    def rank_by_eviction(self, entry: PoolEntry) -> None:
        """To be called when the entry is new, or its status or descendants have changed."""
        place = _EVICTION_ORDER[entry.status], evict_key(entry), entry.short_id
        old = self._evict_places.get(entry.short_id)
        if place == old:
            return
        if old is not None:
            self._by_eviction.remove(old)
        self._by_eviction.add(place)
        self._evict_places[entry.short_id] = place

    def forget(self, short_id: bytes) -> None:
        """The entry has left."""
        status, place = self._score_places.pop(short_id)
        self._by_score[status].remove(place)
        self._by_eviction.remove(self._evict_places.pop(short_id))
