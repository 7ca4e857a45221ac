"""The key-value interface: the same promises on every engine."""

from __future__ import annotations

import contextlib
import threading
from itertools import pairwise

import pytest

from storage.errors import StorageClosed
from storage.kv import KeyValueStore, key_range


def fill(store: KeyValueStore, *keys: bytes) -> None:
    store.write_batch([(key, b"v" + key) for key in keys], sync=False)


def keys_of(store: KeyValueStore, **bounds: bytes | bool) -> list[bytes]:
    return [key for key, _ in store.iterator(**bounds)]  # type: ignore[arg-type]


def test_get_put_delete(store: KeyValueStore) -> None:
    assert store.get(b"k") is None
    store.put(b"k", b"1")
    store.put(b"k", b"2")
    assert store.get(b"k") == b"2"
    store.delete(b"k")
    store.delete(b"never there")
    assert store.get(b"k") is None


def test_empty_values_and_keys_are_values_and_keys(store: KeyValueStore) -> None:
    store.put(b"", b"")
    assert store.get(b"") == b""
    assert list(store.iterator()) == [(b"", b"")]


def test_batch_applies_in_order(store: KeyValueStore) -> None:
    store.write_batch([(b"a", b"1"), (b"a", None), (b"b", b"1"), (b"b", b"2"), (b"c", None), (b"c", b"3")], sync=True)
    assert list(store.iterator()) == [(b"b", b"2"), (b"c", b"3")]


def test_a_prepared_batch_is_written_by_another_thread(store: KeyValueStore) -> None:
    changes: dict[bytes, bytes | None] = {b"a": b"1", b"b": None}
    store.put(b"b", b"0")
    write = store.prepare_batch(changes.items(), sync=True)
    changes.clear()
    store.put(b"a", b"0")
    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert list(store.iterator()) == [(b"a", b"1")]


def test_a_store_closed_before_or_beside_a_prepared_batch(store: KeyValueStore) -> None:
    """It is written whole before, or refused; LevelDB used to be freed under the thread that wrote."""
    writes = [store.prepare_batch([(b"%d" % n, bytes(20_000)) for n in range(200)], sync=True) for _ in range(5)]

    def write_all() -> None:
        with contextlib.suppress(StorageClosed):
            for write in writes:
                write()

    thread = threading.Thread(target=write_all)
    thread.start()
    store.close()
    thread.join()
    with pytest.raises(StorageClosed):
        store.prepare_batch([(b"a", b"b")], sync=False)()


def test_batch_whose_source_fails_changes_nothing(store: KeyValueStore) -> None:
    def changes() -> object:
        yield b"a", b"1"
        raise LookupError("no more")

    with pytest.raises(LookupError):
        store.write_batch(changes(), sync=False)  # type: ignore[arg-type]
    assert store.get(b"a") is None
    store.put(b"a", b"2")


def test_iterator_bounds(store: KeyValueStore) -> None:
    fill(store, b"a", b"b", b"b\x00", b"b\xff", b"b\xff\xff", b"c", b"\xff", b"\xff\xff")
    assert keys_of(store, prefix=b"b") == [b"b", b"b\x00", b"b\xff", b"b\xff\xff"]
    assert keys_of(store, prefix=b"b\xff") == [b"b\xff", b"b\xff\xff"]
    assert keys_of(store, prefix=b"\xff") == [b"\xff", b"\xff\xff"]
    assert keys_of(store, start=b"b\xff", stop=b"\xff") == [b"b\xff", b"b\xff\xff", b"c"]
    assert keys_of(store, prefix=b"b", start=b"b\x00", stop=b"z") == [b"b\x00", b"b\xff", b"b\xff\xff"]
    assert keys_of(store, prefix=b"b", stop=b"b\xff") == [b"b", b"b\x00"]
    assert keys_of(store, prefix=b"b", reverse=True) == [b"b\xff\xff", b"b\xff", b"b\x00", b"b"]
    assert keys_of(store, start=b"c", stop=b"a") == []
    assert keys_of(store, start=b"c", stop=b"c", reverse=True) == []


def test_reverse_range_of_one_key(store: KeyValueStore) -> None:
    """plyvel 1.5.1 drops the only key of a reverse range when it equals the lower bound."""
    fill(store, b"a", b"b", b"c")
    assert keys_of(store, start=b"b", stop=b"c", reverse=True) == [b"b"]
    assert keys_of(store, start=b"c", reverse=True) == [b"c"]
    assert keys_of(store, prefix=b"c", reverse=True) == [b"c"]


def test_key_range_of_nothing_is_everything() -> None:
    assert key_range(b"", None, None) == (b"", None)
    assert key_range(b"\xff\xff", None, None) == (b"\xff\xff", None)
    assert key_range(b"a\xff", None, None) == (b"a\xff", b"b")


def test_iterator_sees_the_state_at_its_start(store: KeyValueStore) -> None:
    fill(store, b"a", b"b", b"c")
    pairs = store.iterator()
    store.write_batch([(b"a", None), (b"b", b"new"), (b"bb", b"new"), (b"d", b"new")], sync=False)
    assert list(pairs) == [(b"a", b"va"), (b"b", b"vb"), (b"c", b"vc")]


def test_snapshots_do_not_change(store: KeyValueStore) -> None:
    fill(store, b"a", b"b")
    first = store.snapshot()
    store.write_batch([(b"a", None), (b"c", b"vc")], sync=False)
    second = store.snapshot()
    store.write_batch([(b"a", b"back"), (b"b", b"new"), (b"c", None)], sync=False)
    assert list(first.iterator()) == [(b"a", b"va"), (b"b", b"vb")]
    assert list(first.iterator(reverse=True, start=b"b")) == [(b"b", b"vb")]
    assert list(second.iterator()) == [(b"b", b"vb"), (b"c", b"vc")]
    assert (first.get(b"a"), second.get(b"a"), store.get(b"a")) == (b"va", None, b"back")
    first.close()
    with pytest.raises(StorageClosed):
        first.get(b"a")
    assert second.get(b"c") == b"vc"
    second.close()


def test_closed_store_says_so(store: KeyValueStore) -> None:
    store.close()
    store.close()
    with pytest.raises(StorageClosed):
        store.get(b"a")
    with pytest.raises(StorageClosed):
        store.put(b"a", b"b")
    with pytest.raises(StorageClosed):
        store.snapshot()
    with pytest.raises(StorageClosed):
        list(store.iterator())


def test_readers_beside_a_writer_see_whole_batches(store: KeyValueStore) -> None:
    rounds = 300
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            snapshot = store.snapshot()
            values = {value for _, value in snapshot.iterator(prefix=b"k")}
            snapshot.close()
            assert len(values) <= 1
            seen.extend(int.from_bytes(value, "big") for value in values)

    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            read()
        except BaseException as error:  # noqa: BLE001  (handed to the test's own thread)
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(rounds):
        store.write_batch([(b"k%d" % i, number.to_bytes(4, "big")) for i in range(20)], sync=False)
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(list(store.iterator(prefix=b"k"))) == 20
    assert all(0 <= number < rounds for number in seen)


def test_iteration_is_sorted_bytewise(store: KeyValueStore) -> None:
    fill(store, *(bytes([i * 37 % 256, i % 7]) for i in range(256)))
    keys = keys_of(store)
    assert len(keys) == 256
    assert all(left < right for left, right in pairwise(keys))
