"""A store that is opened again under its readers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from storage import reopening
from storage.errors import DiskFull, StorageError
from storage.leveldb import LevelDbStore
from storage.reopening import BeingReopened, ReopeningStore


@pytest.fixture
def opened(tmp_path: Path) -> ReopeningStore:
    return ReopeningStore(tmp_path / "db", lambda: LevelDbStore(tmp_path / "db"))


def test_it_is_a_store(opened: ReopeningStore) -> None:
    opened.put(b"a", b"1")
    opened.write_batch([(b"b", b"2"), (b"c", b"3")], sync=True)
    opened.delete(b"b")
    assert opened.get(b"a") == b"1"
    assert list(opened.iterator()) == [(b"a", b"1"), (b"c", b"3")]
    snapshot = opened.snapshot()
    opened.prepare_batch([(b"a", None)], sync=False)()
    assert (snapshot.get(b"a"), opened.get(b"a")) == (b"1", None)
    assert list(snapshot.iterator(prefix=b"a")) == [(b"a", b"1")]
    snapshot.close()
    snapshot.close()
    opened.close()
    opened.close()


def test_after_a_failed_write_it_is_of_use_again(opened: ReopeningStore, monkeypatch: pytest.MonkeyPatch) -> None:
    opened.put(b"a", b"1")

    def fail(*_: object, **__: object) -> None:
        raise DiskFull("db", "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(LevelDbStore, "prepare_batch", fail)
        with pytest.raises(DiskFull):
            opened.put(b"b", b"2")
    opened.reopen()
    opened.put(b"b", b"2")
    assert dict(opened.iterator()) == {b"a": b"1", b"b": b"2"}
    opened.close()


def test_readers_are_waited_for(opened: ReopeningStore) -> None:
    opened.put(b"a", b"1")
    snapshot, pairs = opened.snapshot(), opened.iterator()
    again = threading.Thread(target=opened.reopen)
    again.start()
    while not opened._uses._is_shut:
        pass
    assert snapshot.get(b"a") == b"1"
    with pytest.raises(BeingReopened):
        opened.get(b"a")
    snapshot.close()
    assert again.is_alive()
    assert list(pairs) == [(b"a", b"1")]
    again.join(30)
    assert not again.is_alive()
    assert opened.get(b"a") == b"1"
    opened.close()


def test_a_reader_that_does_not_end_keeps_it_as_it_is(opened: ReopeningStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reopening, "PATIENCE_S", 0.01)
    snapshot = opened.snapshot()
    with pytest.raises(BeingReopened, match="1 readers do not end"):
        opened.reopen()
    opened.put(b"a", b"1")
    assert snapshot.get(b"a") is None
    del snapshot
    opened.reopen()
    assert opened.get(b"a") == b"1"
    opened.close()


def test_a_disk_that_is_still_bad_is_tried_again_later(tmp_path: Path) -> None:
    is_bad = False

    def open_store() -> LevelDbStore:
        if is_bad:
            raise DiskFull("db", "No space left on device")
        return LevelDbStore(tmp_path / "db")

    store = ReopeningStore(tmp_path / "db", open_store)
    store.put(b"a", b"1")
    is_bad = True
    for _ in range(2):
        with pytest.raises(DiskFull):
            store.reopen()
        with pytest.raises(StorageError):
            store.get(b"a")
    is_bad = False
    store.reopen()
    assert store.get(b"a") == b"1"
    store.close()
