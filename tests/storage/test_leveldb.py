"""What can go wrong with a database directory, and the one clear line that it gives."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.errors import DatabaseLocked, DiskFull, NotWritable, StorageCorrupt, StorageError, WritesRefused
from storage.leveldb import LevelDbOptions, LevelDbStore

ROOT = Path(__file__).resolve().parents[2]

HOLD_OPEN = """
import sys
from pathlib import Path
from storage.leveldb import LevelDbStore
store = LevelDbStore(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The system refuses to let any file grow past `size` bytes: a full disk that needs no disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write anywhere, so file permissions are tested as someone else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def check_one_line(error: StorageError, path: Path) -> None:
    text = str(error)
    assert str(path) in text
    assert "\n" not in text
    assert error.reason in text
    assert "b'" not in text


def test_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "db"
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD_OPEN, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        assert child.stdout.readline() == b"open\n"
        with pytest.raises(DatabaseLocked) as caught:
            LevelDbStore(path)
        check_one_line(caught.value, path)
    finally:
        child.stdin.close()
        child.wait(timeout=20)
        child.stdout.close()
    LevelDbStore(path).close()


def test_second_open_in_one_process_is_refused(tmp_path: Path) -> None:
    store = LevelDbStore(tmp_path)
    with pytest.raises(DatabaseLocked):
        LevelDbStore(tmp_path)
    store.close()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(NotWritable) as caught:
        LevelDbStore(path)
    check_one_line(caught.value, path)
    with pytest.raises(NotWritable) as caught:
        LevelDbStore(path / "below")
    check_one_line(caught.value, path / "below")


def test_unwritable_parent(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    path = tmp_path / "closed" / "db"
    tmp_path.chmod(0o755)
    with unprivileged(), pytest.raises(NotWritable) as caught:
        LevelDbStore(path)
    check_one_line(caught.value, path)


def test_unwritable_directory(tmp_path: Path) -> None:
    LevelDbStore(tmp_path).close()
    tmp_path.chmod(0o555)
    for file in tmp_path.iterdir():
        file.chmod(0o444)
    with unprivileged(), pytest.raises(NotWritable) as caught:
        LevelDbStore(tmp_path)
    check_one_line(caught.value, tmp_path)
    tmp_path.chmod(0o755)


def test_full_disk_fails_typed_and_stops_writing(tmp_path: Path) -> None:
    store = LevelDbStore(tmp_path)
    store.write_batch([(b"kept", b"1")], sync=True)

    def fill() -> None:
        for number in range(100):
            store.write_batch([(b"big%d" % number, bytes(10_000)), (b"mark%d" % number, b"")], sync=False)

    with file_size_limit(64 << 10), pytest.raises(DiskFull) as caught:
        fill()
    check_one_line(caught.value, tmp_path)
    with pytest.raises(WritesRefused):
        store.put(b"after", b"1")
    assert store.get(b"kept") == b"1"
    store.close()

    store = LevelDbStore(tmp_path)
    assert store.get(b"kept") == b"1"
    assert store.get(b"after") is None
    for number in range(100):
        assert (store.get(b"big%d" % number) is None) == (store.get(b"mark%d" % number) is None)
    store.put(b"after", b"2")
    store.close()
    store = LevelDbStore(tmp_path)
    assert store.get(b"after") == b"2"
    store.close()


def test_open_on_a_full_disk(tmp_path: Path) -> None:
    with file_size_limit(0), pytest.raises(DiskFull) as caught:
        LevelDbStore(tmp_path / "db")
    check_one_line(caught.value, tmp_path / "db")


@pytest.mark.parametrize("damage", ["current", "current_missing", "manifest", "manifest_missing", "tables_missing"])
def test_corrupt_database(tmp_path: Path, damage: str) -> None:
    store = LevelDbStore(tmp_path, LevelDbOptions(write_buffer=64 << 10))
    for number in range(300):
        store.put(b"%d" % number, os.urandom(1000))
    store.close()
    if damage == "current":
        (tmp_path / "CURRENT").write_bytes(b"nonsense")
    elif damage == "current_missing":
        (tmp_path / "CURRENT").unlink()
    elif damage == "tables_missing":
        assert list(tmp_path.glob("*.ldb"))
        for table in tmp_path.glob("*.ldb"):
            table.unlink()
    else:
        (manifest,) = tmp_path.glob("MANIFEST-*")
        manifest.unlink() if damage == "manifest_missing" else manifest.write_bytes(os.urandom(manifest.stat().st_size))
    left = sorted(tmp_path.glob("*.ldb"))
    with pytest.raises(StorageCorrupt) as caught:
        LevelDbStore(tmp_path)
    check_one_line(caught.value, tmp_path)
    assert sorted(tmp_path.glob("*.ldb")) == left, "a failed open destroys nothing"


def test_changed_table_bytes_are_found_when_read(tmp_path: Path) -> None:
    store = LevelDbStore(tmp_path, LevelDbOptions(write_buffer=64 << 10))
    for number in range(300):
        store.put(b"%03d" % number, b"%03d" % number * 300)
    store.close()
    LevelDbStore(tmp_path).close()  # the log becomes tables
    for table in tmp_path.glob("*.ldb"):
        raw = bytearray(table.read_bytes())
        for offset in range(500, len(raw) - 2000, 1000):
            raw[offset] ^= 0x10
        table.write_bytes(raw)
    store = LevelDbStore(tmp_path)

    def read_all() -> None:
        for number in range(300):
            assert store.get(b"%03d" % number) == b"%03d" % number * 300

    with pytest.raises(StorageCorrupt) as caught:
        read_all()
    check_one_line(caught.value, tmp_path)
    with pytest.raises(StorageCorrupt):
        list(store.iterator())
    store.close()
