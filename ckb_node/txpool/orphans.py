"""Orphan transactions: those of peers whose parents neither chain nor pool knows yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ckb_node.runtime.shares import Shares
from ckb_node.txpool.limits import MAX_ORPHAN_BYTES, MAX_ORPHANS, ORPHAN_LIFE_S
from ckb_node.txpool.remote_queue import DEPARTED, RemoteTransaction
from consensus.codec.layout import SHORT_ID_SIZE

__all__ = ["Orphan", "OrphanTransactions"]


@dataclass(slots=True)
class Orphan:
    """`parents` are hashes of transactions; each is missing. `expires_at` in seconds of the monotonic clock."""

    item: RemoteTransaction
    owner: int
    parents: Collection[bytes]
    expires_at: float

    @property
    def amounts(self) -> tuple[int, int]:
        return 1, self.item.size


class OrphanTransactions:
    """By missing parent, bounded in number and bytes: the oldest of whoever uses most leaves. Owners as in
    RemoteQueue."""

    def __init__(self, max_count: int = MAX_ORPHANS, max_bytes: int = MAX_ORPHAN_BYTES) -> None:
        self._shares: Final = Shares(max_count, max_bytes)
        self._orphans: Final[dict[bytes, Orphan]] = {}
        self._by_parent: Final[dict[bytes, dict[bytes, Orphan]]] = {}

    def __len__(self) -> int:
        return len(self._orphans)

    def get(self, short_id: bytes) -> RemoteTransaction | None:
        orphan = self._orphans.get(short_id)
        return None if orphan is None else orphan.item

    def find(self, tx_hash: bytes) -> Orphan | None:
        """The orphan that is exactly this transaction."""
        orphan = self._orphans.get(tx_hash[:SHORT_ID_SIZE])
        return orphan if orphan is not None and orphan.item.hash == tx_hash else None

    def add(
        self, item: RemoteTransaction, owner: int, parents: Collection[bytes], now: float
    ) -> Sequence[RemoteTransaction]:
        """Keep until a parent comes. What leaves: what is too old, and what there is no room for."""
        left = self.expire(now)
        if item.short_id in self._orphans:
            return [*left, item]
        self._put(Orphan(item, owner, parents, now + ORPHAN_LIFE_S))
        while self._shares.is_over:
            heaviest = self._shares.heaviest()
            left.append(self._take_out(next(each for each in self._orphans.values() if each.owner == heaviest)).item)
        return left

    def take_children(self, tx_hash: bytes) -> list[Orphan]:
        """Take out those that wait for this transaction, which has come."""
        if tx_hash not in self._by_parent:
            return []
        return [self._take_out(each) for each in list(self._by_parent[tx_hash].values())]

    def expire(self, now: float) -> list[RemoteTransaction]:
        """Take out what is too old."""
        old = []
        for orphan in self._orphans.values():
            if orphan.expires_at > now:
                break
            old.append(orphan)
        return [self._take_out(each).item for each in old]

    def remove(self, short_ids: Iterable[bytes]) -> list[RemoteTransaction]:
        found = [self._orphans[each] for each in short_ids if each in self._orphans]
        return [self._take_out(each).item for each in found]

    def remove_from(self, giver: int) -> list[RemoteTransaction]:
        """Take out all that a peer gave."""
        return self.remove([short_id for short_id, each in self._orphans.items() if each.item.giver == giver])

    def clear(self) -> list[RemoteTransaction]:
        return self.remove(list(self._orphans))

    def disown(self, owner: int) -> None:
        """The peer has gone. Its orphans keep their places in the order of age."""
        for orphan in self._of(owner):
            self._shares.give_back(owner, *orphan.amounts)
            orphan.owner = DEPARTED
            self._shares.take(DEPARTED, *orphan.amounts)

    def _of(self, owner: int) -> Iterator[Orphan]:
        return (each for each in self._orphans.values() if each.owner == owner)

    def _put(self, orphan: Orphan) -> None:
        self._orphans[orphan.item.short_id] = orphan
        for parent in orphan.parents:
            self._by_parent.setdefault(parent, {})[orphan.item.short_id] = orphan
        self._shares.take(orphan.owner, *orphan.amounts)

    def _take_out(self, orphan: Orphan) -> Orphan:
        short_id = orphan.item.short_id
        del self._orphans[short_id]
        for parent in orphan.parents:
            waiting = self._by_parent[parent]
            del waiting[short_id]
            if not waiting:
                del self._by_parent[parent]
        self._shares.give_back(orphan.owner, *orphan.amounts)
        return orphan
