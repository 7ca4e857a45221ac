"""Transactions of peers that wait for verification: bounded in number, bytes and cycles, and shared fairly by peer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ckb_node.runtime.shares import Shares
from ckb_node.txpool.limits import MAX_QUEUED, MAX_QUEUED_BLOCKS, MAX_QUEUED_BYTES, UNDECLARED_CYCLES
from consensus.types.blockchain import Transaction

__all__ = ["DEPARTED", "RemoteQueue", "RemoteTransaction"]


DEPARTED: Final = 0
"""Peers that have gone are one owner: who connects again and again has one share for all that it left behind."""


class RemoteTransaction(NamedTuple):
    """What a peer gave. `declared` cycles are None when a block proposes it: then nobody has told them."""

    transaction: Transaction
    giver: int
    declared: int | None

    @classmethod
    def of(cls, transaction: Transaction, giver: int, declared: int | None) -> RemoteTransaction:
        """With bytes of its own: the message that it came in may be large."""
        own = Transaction.trusted(transaction.raw)
        own.__dict__["hash"] = transaction.hash
        return cls(own, giver, declared)

    def bare(self) -> RemoteTransaction:
        """The same without what was read of it: objects of all its parts take ten times its bytes."""
        return RemoteTransaction.of(self.transaction, self.giver, self.declared)

    @property
    def hash(self) -> bytes:
        return self.transaction.hash

    @property
    def short_id(self) -> bytes:
        return self.transaction.short_id

    @property
    def size(self) -> int:
        """Bytes."""
        return self.transaction.raw_size


@dataclass(slots=True)
class _Queued:
    item: RemoteTransaction
    owner: int

    @property
    def amounts(self) -> tuple[int, int, int]:
        item = self.item
        return 1, item.size, UNDECLARED_CYCLES if item.declared is None else item.declared


class RemoteQueue:
    """In order of arrival for each owner: a peer, or DEPARTED. Each transaction once."""

    def __init__(self, max_block_cycles: int, max_count: int = MAX_QUEUED, max_bytes: int = MAX_QUEUED_BYTES) -> None:
        self._max_count: Final = max_count
        self._shares: Final = Shares(max_count, max_bytes, MAX_QUEUED_BLOCKS * max_block_cycles)
        self._queued: Final[dict[bytes, _Queued]] = {}
        self._lines: Final[dict[int, OrderedDict[bytes, _Queued]]] = {}

    def __len__(self) -> int:
        return len(self._queued)

    def get(self, short_id: bytes) -> RemoteTransaction | None:
        queued = self._queued.get(short_id)
        return None if queued is None else queued.item

    def place(self, short_id: bytes) -> tuple[int, int] | None:
        """Where one is in its owner's line, from 1, and how long that is."""
        queued = self._queued.get(short_id)
        if queued is None:
            return None
        line = self._lines[queued.owner]
        return next(place for place, each in enumerate(line, start=1) if each == short_id), len(line)

    def owners(self) -> Sequence[int]:
        """Whose transactions wait."""
        return list(self._lines)

    def count(self, owner: int) -> int:
        return len(self._lines.get(owner, ()))

    def room_for(self, owner: int) -> int:
        """How many more of an owner's would stay if all others used their share too."""
        others = len(self._lines) - (owner in self._lines)
        return max(0, self._max_count // (others + 1) - self.count(owner))

    def add(self, item: RemoteTransaction, owner: int, *, is_first: bool = False) -> Sequence[RemoteTransaction]:
        """Enqueue behind, or before, the owner's others. What leaves because there is no room: the newest of whoever
        uses most; the item itself when it is in the queue already."""
        if item.short_id in self._queued:
            return [item]
        queued = _Queued(item, owner)
        self._put(queued)
        if is_first:
            self._lines[owner].move_to_end(item.short_id, last=False)
        left = []
        while self._shares.is_over:
            newest = next(reversed(self._lines[self._shares.heaviest()].values()))
            left.append(self._take_out(newest).item)
        return left

    def take(self, owner: int) -> RemoteTransaction | None:
        """The next of an owner."""
        line = self._lines.get(owner)
        return self._take_out(next(iter(line.values()))).item if line else None

    def remove(self, short_ids: Iterable[bytes]) -> list[RemoteTransaction]:
        """Take some out, whoever's they are; those that were there."""
        found = [self._queued[each] for each in short_ids if each in self._queued]
        return self._take_out_all(found)

    def remove_from(self, giver: int) -> list[RemoteTransaction]:
        """Take out all that a peer gave."""
        return self._take_out_all([each for each in self._queued.values() if each.item.giver == giver])

    def clear(self) -> list[RemoteTransaction]:
        return self._take_out_all(list(self._queued.values()))

    def disown(self, owner: int) -> None:
        """The peer has gone."""
        line = self._lines.pop(owner, None)
        if line is None:
            return
        for queued in line.values():
            queued.owner = DEPARTED
        self._lines.setdefault(DEPARTED, OrderedDict()).update(line)
        self._shares.move(owner, DEPARTED)

    def _put(self, queued: _Queued) -> None:
        short_id = queued.item.short_id
        self._queued[short_id] = queued
        self._lines.setdefault(queued.owner, OrderedDict())[short_id] = queued
        self._shares.take(queued.owner, *queued.amounts)

    def _take_out_all(self, some: Sequence[_Queued]) -> list[RemoteTransaction]:
        """Thousands in some milliseconds: each owner's account is settled once."""
        given_back: dict[int, list[int]] = {}
        for queued in some:
            short_id, line = queued.item.short_id, self._lines[queued.owner]
            del self._queued[short_id], line[short_id]
            if not line:
                del self._lines[queued.owner]
            before = given_back.get(queued.owner, (0, 0, 0))
            given_back[queued.owner] = [mine + more for mine, more in zip(before, queued.amounts, strict=True)]
        for owner, amounts in given_back.items():
            self._shares.give_back(owner, *amounts)
        return [queued.item for queued in some]

    def _take_out(self, queued: _Queued) -> _Queued:
        short_id, line = queued.item.short_id, self._lines[queued.owner]
        del self._queued[short_id], line[short_id]
        if not line:
            del self._lines[queued.owner]
        self._shares.give_back(queued.owner, *queued.amounts)
        return queued
