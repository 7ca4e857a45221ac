"""The in-memory engine of the key-value interface: for tests and throw-away dev chains."""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from storage.errors import StorageClosed
from storage.kv import BatchWriter, Change, Pair, key_range

__all__ = ["MemorySnapshot", "MemoryStore"]

_NAME = Path(":memory:")
_FEW: Final = 256
"""So many keys find their places one by one; for more the order is made anew."""


class MemorySnapshot:
    """A view of a MemoryStore at one moment: the store itself, seen through the old values of what changed since."""

    def __init__(self, store: MemoryStore) -> None:
        self._store: Final = store
        self._before: Final[dict[bytes, bytes | None]] = {}
        self._closed = False

    def remember(self, key: bytes, value: bytes | None) -> None:
        """Called by the store, under its lock, before it changes `key` from `value`. The first value counts."""
        self._before.setdefault(key, value)

    def get(self, key: bytes, /) -> bytes | None:
        """The value at the snapshot's moment, or None."""
        if self._closed:
            raise StorageClosed(_NAME, "the snapshot is closed")
        with self._store.lock:
            if key in self._before:
                return self._before[key]
            return self._store.get(key)

    def iterator(
        self,
        *,
        prefix: bytes = b"",
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[Pair]:
        """See storage.kv.Reader."""
        low, high = key_range(prefix, start, stop)
        with self._store.lock:
            keys = self._store.keys_between(low, high)
            gone = [k for k, v in self._before.items() if v is not None and k >= low and (high is None or k < high)]
        if gone:
            keys = sorted({*keys, *gone})
        return self._pairs(reversed(keys) if reverse else iter(keys))

    def close(self) -> None:
        """Stop following the store's changes."""
        self._closed = True
        self._store.forget(self)
        self._before.clear()

    def _pairs(self, keys: Iterator[bytes]) -> Iterator[Pair]:
        for key in keys:
            value = self.get(key)
            if value is not None:
                yield key, value


class MemoryStore(BatchWriter):
    """A dict with sorted iteration, atomic batches and snapshots; see storage.kv.KeyValueStore."""

    def __init__(self) -> None:
        self.lock: Final = threading.RLock()
        self._data: dict[bytes, bytes] = {}
        self._order: list[bytes] = []
        self._moved: set[bytes] = set()
        """Keys that came or went since `_order` was right."""
        self._snapshots: Final[weakref.WeakSet[MemorySnapshot]] = weakref.WeakSet()
        self._closed = False

    def get(self, key: bytes, /) -> bytes | None:
        """The value, or None."""
        self._refuse_when_closed()
        return self._data.get(key)

    def iterator(
        self,
        *,
        prefix: bytes = b"",
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[Pair]:
        """See storage.kv.Reader."""
        return self.snapshot().iterator(prefix=prefix, start=start, stop=stop, reverse=reverse)

    def prepare_batch(self, changes: Iterable[Change], /, *, sync: bool) -> Callable[[], None]:
        """See storage.kv.KeyValueStore."""
        return partial(self._apply_all, list(changes))

    def _apply_all(self, batch: Sequence[Change]) -> None:
        with self.lock:
            self._refuse_when_closed()
            for key, value in batch:
                self._apply(key, value)

    def snapshot(self) -> MemorySnapshot:
        """A consistent view of now."""
        with self.lock:
            self._refuse_when_closed()
            snapshot = MemorySnapshot(self)
            self._snapshots.add(snapshot)
            return snapshot

    def forget(self, snapshot: MemorySnapshot) -> None:
        """Stop telling a snapshot about changes."""
        with self.lock:
            self._snapshots.discard(snapshot)

    def keys_between(self, low: bytes, high: bytes | None) -> list[bytes]:
        """The present keys with `low <= key < high`, sorted."""
        self._refuse_when_closed()
        if self._moved:
            self._renew_order()
        first = bisect_left(self._order, low)
        last = len(self._order) if high is None else bisect_left(self._order, high)
        return self._order[first:last]

    def _renew_order(self) -> None:
        if len(self._moved) > _FEW:
            known = [key for key in self._order if key in self._data]
            fresh = self._data.keys() - set(known)
            self._order = sorted(known + sorted(fresh))
        else:
            for key in self._moved:
                self._place(key)
        self._moved.clear()

    def _place(self, key: bytes) -> None:
        at = bisect_left(self._order, key)
        is_there = at < len(self._order) and self._order[at] == key
        if key in self._data and not is_there:
            self._order.insert(at, key)
        elif is_there and key not in self._data:
            del self._order[at]

    def close(self) -> None:
        """Drop everything."""
        with self.lock:
            self._closed = True
            self._data = {}
            self._order = []
            self._moved.clear()

    def _apply(self, key: bytes, value: bytes | None) -> None:
        old = self._data.get(key)
        for snapshot in self._snapshots:
            snapshot.remember(key, old)
        if (old is None) != (value is None):
            self._moved.add(key)
        if value is not None:
            self._data[key] = bytes(value)
        elif old is not None:
            del self._data[key]

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise StorageClosed(_NAME, "the store is closed")
