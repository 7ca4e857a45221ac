"""The narrow key-value interface that everything above the engines uses.

Keys and values are `bytes`; keys are ordered bytewise. Engines: `storage.leveldb`, `storage.memory`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

__all__ = ["BatchWriter", "Change", "KeyValueStore", "Pair", "Reader", "Snapshot", "key_range"]

Pair = tuple[bytes, bytes]
Change = tuple[bytes, bytes | None]
"""A key and its new value; None deletes the key."""


class Reader(Protocol):
    """What can be read from a store, a snapshot or an overlay. Engines raise StorageError subclasses."""

    def get(self, key: bytes, /) -> bytes | None:
        """The value, or None if the key is absent."""

    def iterator(
        self,
        *,
        prefix: bytes = b"",
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[Pair]:
        """Pairs with `start <= key < stop` that begin with `prefix`, in key order, as of the time of the call."""


class Snapshot(Reader, Protocol):
    """An unchanging view of the store at one moment. Also released when garbage collected."""

    def close(self) -> None:
        """Give the snapshot up; the engine may then drop the old values it held."""


class KeyValueStore(Reader, Protocol):
    """An ordered map with atomic batches. Reads are safe from any thread; writes belong to one thread at a time."""

    def put(self, key: bytes, value: bytes, /) -> None:
        """Set one key (not synced)."""

    def delete(self, key: bytes, /) -> None:
        """Remove one key, present or not (not synced)."""

    def write_batch(self, changes: Iterable[Change], /, *, sync: bool) -> None:
        """Apply all changes in order, or none. With `sync` they are on the disk when this returns."""

    def prepare_batch(self, changes: Iterable[Change], /, *, sync: bool) -> Callable[[], None]:
        """As `write_batch`, in two steps: the call that is returned writes, once, in whatever thread.

        It hardly needs Python. To gather the changes does, and beside a busy thread that takes ten times as long.
        """

    def snapshot(self) -> Snapshot:
        """A consistent view of now."""

    def close(self) -> None:
        """Close; further use raises StorageClosed. Closing twice is harmless."""


class BatchWriter(ABC):
    """The writes of an engine by its `prepare_batch`; see KeyValueStore."""

    @abstractmethod
    def prepare_batch(self, changes: Iterable[Change], /, *, sync: bool) -> Callable[[], None]:
        """See KeyValueStore."""

    def put(self, key: bytes, value: bytes, /) -> None:
        """Set one key (not synced)."""
        self.write_batch(((key, value),), sync=False)

    def delete(self, key: bytes, /) -> None:
        """Remove one key, present or not (not synced)."""
        self.write_batch(((key, None),), sync=False)

    def write_batch(self, changes: Iterable[Change], /, *, sync: bool) -> None:
        """Apply all changes in order, or none. Raises what the engine's write raises."""
        self.prepare_batch(changes, sync=sync)()


def key_range(prefix: bytes, start: bytes | None, stop: bytes | None) -> tuple[bytes, bytes | None]:
    """The half-open key range meant by prefix, start and stop together; a `stop` of None means no upper end."""
    low = prefix if start is None else max(prefix, start)
    high = _after_prefix(prefix)
    if high is None:
        return low, stop
    return low, high if stop is None else min(high, stop)


def _after_prefix(prefix: bytes) -> bytes | None:
    """The least key above all keys with this prefix; None if there is none (empty, or all 0xff)."""
    stem = prefix.rstrip(b"\xff")
    if not stem:
        return None
    return stem[:-1] + bytes((stem[-1] + 1,))
