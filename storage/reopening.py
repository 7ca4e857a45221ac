"""A store that can be opened again under its readers: for databases that are no part of the chain.

After a failed write LevelDB takes no more of them until it is opened anew, and it must not be closed under a thread
that reads: the process would end. So readers are counted here, and `reopen` waits for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from storage.errors import StorageClosed, StorageError
from storage.kv import BatchWriter, Change, KeyValueStore, Pair, Snapshot

__all__ = ["BeingReopened", "ReopeningStore"]

PATIENCE_S: Final = 10.0
"""How long `reopen` waits for those who read."""


class BeingReopened(StorageError):  # noqa: N818 - as its siblings in storage.errors
    """The database is closed for a moment, or could not be opened again yet."""


class _Uses:
    """Counts the users of the store; refuses new ones while it is shut."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._count, self._is_shut = 0, False
        self._changed: Final = threading.Condition()

    def begin(self) -> None:
        with self._changed:
            if self._is_shut:
                raise BeingReopened(self._path, "the database is being opened again")
            self._count += 1

    def end(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    @contextmanager
    def one(self) -> Iterator[None]:
        self.begin()
        try:
            yield
        finally:
            self.end()

    def shut(self, patience_s: float) -> None:
        """Refuse new users and wait for the last one to end. Raises BeingReopened when that takes too long."""
        with self._changed:
            self._is_shut = True
            if not self._changed.wait_for(lambda: self._count == 0, patience_s):
                self._is_shut = False
                raise BeingReopened(self._path, f"{self._count} readers do not end")

    def let_in(self) -> None:
        with self._changed:
            self._is_shut = False


class _CountedSnapshot:
    """A snapshot that is a use of the store until it is closed. Its iterators are to be used up or dropped before."""

    def __init__(self, snapshot: Snapshot, uses: _Uses) -> None:
        self._snapshot, self._uses = snapshot, uses
        self._is_open = True
        # Its own methods: a search calls them for each row.
        self.get, self.iterator = snapshot.get, snapshot.iterator

    def close(self) -> None:
        """See storage.kv.Snapshot."""
        if self._is_open:
            self._is_open = False
            self._snapshot.close()
            self._uses.end()

    def __del__(self) -> None:
        self.close()


class ReopeningStore(BatchWriter):
    """A KeyValueStore over one that `open_store` opens."""

    def __init__(self, path: Path, open_store: Callable[[], KeyValueStore]) -> None:
        """Open it. Raises what `open_store` raises."""
        self._open_store: Final = open_store
        self._uses: Final = _Uses(path)
        self._store: KeyValueStore | None = open_store()
        self._path: Final = path
        self._is_closed = False

    def reopen(self) -> None:
        """Close and open again, when nobody reads. Raises StorageError; until it succeeds, every use raises
        BeingReopened."""
        self._uses.shut(PATIENCE_S)
        store, self._store = self._store, None
        if store is not None:
            store.close()
        self._store = self._open_store()
        self._uses.let_in()

    @property
    def _opened(self) -> KeyValueStore:
        if self._is_closed:
            raise StorageClosed(self._path, "the database is closed")
        if self._store is None:
            raise BeingReopened(self._path, "the database is closed until it can be opened again")
        return self._store

    def get(self, key: bytes, /) -> bytes | None:
        """See storage.kv.Reader."""
        with self._uses.one():
            return self._opened.get(key)

    def iterator(
        self, *, prefix: bytes = b"", start: bytes | None = None, stop: bytes | None = None, reverse: bool = False
    ) -> Iterator[Pair]:
        """See storage.kv.Reader."""
        snapshot = self.snapshot()
        return _to_end(snapshot, snapshot.iterator(prefix=prefix, start=start, stop=stop, reverse=reverse))

    def prepare_batch(self, changes: Iterable[Change], /, *, sync: bool) -> Callable[[], None]:
        """See storage.kv.KeyValueStore."""
        with self._uses.one():
            write_opened = self._opened.prepare_batch(changes, sync=sync)

        def write() -> None:
            with self._uses.one():
                write_opened()

        return write

    def snapshot(self) -> Snapshot:
        """See storage.kv.KeyValueStore."""
        self._uses.begin()
        try:
            return _CountedSnapshot(self._opened.snapshot(), self._uses)
        except BaseException:
            self._uses.end()
            raise

    def close(self) -> None:
        """See storage.kv.KeyValueStore."""
        self._is_closed = True
        store, self._store = self._store, None
        if store is not None:
            store.close()


def _to_end(snapshot: Snapshot, pairs: Iterator[Pair]) -> Iterator[Pair]:
    try:
        yield from pairs
    finally:
        snapshot.close()
