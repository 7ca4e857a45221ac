"""The block archive: what is appended comes back, whatever happens to the files is noticed."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage import archive as archive_module
from storage.archive import LOCATION_SIZE, Archive, BlockArchive, Location, MemoryArchive
from storage.errors import (
    ArchiveBehindDatabase,
    ArchiveUnknown,
    DiskFull,
    NotWritable,
    StorageClosed,
    StorageCorrupt,
    WritesRefused,
)
from storage.segments import MAX_RECORD_SIZE
from tests.support.fuzz import examples

HEAD = 12


@pytest.fixture(params=["disk", "memory"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    return BlockArchive(tmp_path / "a", None, segment_size=1000) if request.param == "disk" else MemoryArchive()


def segment(path: Path, number: int) -> Path:
    return path / f"blocks-{number:05d}.dat"


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_append_and_read(archive: Archive) -> None:
    payloads = [bytes([n]) * (n * 17 % 600 + 1) for n in range(60)]
    locations = [archive.append(payload) for payload in payloads]
    archive.sync()
    assert [archive.read(location) for location in locations] == payloads
    assert len(set(locations)) == 60
    for payload, location in zip(payloads, locations, strict=True):
        assert Location.unpack(location.pack()) == location
        assert len(location.pack()) == LOCATION_SIZE
        half = len(payload) // 2
        assert archive.read_slice(location, half, len(payload) - half) == payload[half:]
    archive.close()


def test_bad_sizes_and_slices_are_refused(archive: Archive) -> None:
    with pytest.raises(ValueError, match="0 bytes"):
        archive.append(b"")
    with pytest.raises(ValueError, match="bytes"):
        archive.append(bytes(MAX_RECORD_SIZE + 1))
    location = archive.append(b"12345")
    for start, length in ((0, 6), (5, 1), (-1, 2), (2, -1), (1 << 40, 1)):
        with pytest.raises(ValueError, match="outside"):
            archive.read_slice(location, start, length)
    assert archive.read_slice(location, 5, 0) == b""
    archive.close()


def test_unknown_locations_are_refused(archive: Archive) -> None:
    location = archive.append(b"x" * 100)
    for wrong in (
        location._replace(offset=location.offset + 1),
        location._replace(length=99),
        location._replace(length=101),
        location._replace(length=0xFFFF_FFFF),
        location._replace(offset=0xFFFF_FFFF),
    ):
        with pytest.raises(StorageCorrupt):
            archive.read(wrong)
    archive.close()


def test_segments_roll_at_the_limit(tmp_path: Path) -> None:
    archive = BlockArchive(tmp_path, None, segment_size=100)
    locations = [archive.append(bytes(length)) for length in (88, 1, 75, 500, 1)]
    assert [(at.segment, at.offset) for at in locations] == [(0, 0), (1, 0), (1, 13), (2, 0), (3, 0)]
    assert [len(raw) for _, raw in archive.records()] == [88, 1, 75, 500, 1]
    assert [at for at, _ in archive.records()] == locations
    archive.close()
    assert segment(tmp_path, 0).stat().st_size == 100


def test_more_segments_than_open_files(tmp_path: Path) -> None:
    archive = BlockArchive(tmp_path, None, segment_size=20)
    locations = [archive.append(b"%04d" % n) for n in range(200)]
    before = open_files()
    assert [archive.read(location) for location in locations] == [b"%04d" % n for n in range(200)]
    assert open_files() - before <= 64
    archive.close()
    assert open_files() < before


def test_reopen_goes_on_where_it_was(tmp_path: Path) -> None:
    archive = BlockArchive(tmp_path, None)
    first = archive.append(b"first")
    archive.flush()
    archive.close()
    archive = BlockArchive(tmp_path, first)
    second = archive.append(b"second")
    assert second.offset == first.end
    assert (archive.read(first), archive.read(second)) == (b"first", b"second")
    archive.close()


def test_tail_unknown_to_the_database_is_cut(tmp_path: Path) -> None:
    archive = BlockArchive(tmp_path, None, segment_size=100)
    known = archive.append(b"known")
    for _ in range(5):
        archive.append(bytes(60))
    archive.close()
    assert segment(tmp_path, 4).exists()
    archive = BlockArchive(tmp_path, known, segment_size=100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blocks-00000.dat"]
    assert segment(tmp_path, 0).stat().st_size == known.end
    assert archive.append(b"next").offset == known.end
    archive.close()


def test_unfinished_first_record_is_cut(tmp_path: Path) -> None:
    segment(tmp_path, 0).write_bytes(b"CKBR\x05")
    archive = BlockArchive(tmp_path, None)
    assert archive.append(b"genesis") == Location(0, 0, 7)
    archive.close()


def test_a_whole_archive_without_its_database_is_not_destroyed(tmp_path: Path) -> None:
    archive = BlockArchive(tmp_path, None, segment_size=20)
    for _ in range(3):
        archive.append(b"body body")
    archive.close()
    with pytest.raises(ArchiveUnknown):
        BlockArchive(tmp_path, None)
    assert len(list(tmp_path.iterdir())) == 3


def test_records_the_database_knows_but_the_archive_lost(tmp_path: Path) -> None:
    archive = BlockArchive(tmp_path, None)
    last = archive.append(bytes(50))
    archive.flush()
    archive.close()
    with segment(tmp_path, 0).open("r+b") as file:
        file.truncate(last.end - 1)
    with pytest.raises(ArchiveBehindDatabase) as caught:
        BlockArchive(tmp_path, last)
    assert f"knows {last.end} bytes of this segment but it has {last.end - 1}" in str(caught.value)
    segment(tmp_path, 0).unlink()
    with pytest.raises(ArchiveBehindDatabase):
        BlockArchive(tmp_path, last)
    assert list(tmp_path.iterdir()) == []


def test_changed_last_record_is_found_at_open(tmp_path: Path) -> None:
    archive = BlockArchive(tmp_path, None)
    last = archive.append(bytes(50))
    archive.flush()
    archive.close()
    with segment(tmp_path, 0).open("r+b") as file:
        file.seek(30)
        file.write(b"\x01")
    with pytest.raises(StorageCorrupt):
        BlockArchive(tmp_path, last)


@settings(max_examples=examples(200), deadline=None)
@example(offset=3, mask=ord("R") ^ ord("F"))
@given(offset=st.integers(0, HEAD + 39), mask=st.integers(1, 255))
def test_every_changed_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, offset: int, mask: int) -> None:
    path = tmp_path_factory.mktemp("archive")
    archive = BlockArchive(path, None)
    location = archive.append(bytes(range(40)))
    archive.flush()
    file = segment(path, 0)
    raw = bytearray(file.read_bytes())
    raw[offset] ^= mask
    file.write_bytes(raw)
    with pytest.raises(StorageCorrupt):
        archive.read(location)
    with pytest.raises(StorageCorrupt):
        list(archive.records())
    archive.close()


def test_missing_segment_is_corruption(tmp_path: Path) -> None:
    archive = BlockArchive(tmp_path, None, segment_size=20)
    first, _ = archive.append(bytes(9)), archive.append(bytes(9))
    segment(tmp_path, 0).unlink()
    with pytest.raises(StorageCorrupt, match="missing"):
        archive.read(first)
    archive.close()


class ShortWrites:
    """pwrite of a disk with `room` bytes left."""

    def __init__(self, room: int, number: int) -> None:
        self.room, self.number = room, number

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        data = data[: self.room]
        if not data:
            raise OSError(self.number, os.strerror(self.number))
        self.room -= len(data)
        with os.fdopen(os.dup(fd), "r+b", buffering=0) as file:
            file.seek(offset)
            return file.write(data)


@pytest.mark.parametrize("room", [0, 5, 12, 40])
@pytest.mark.parametrize("call", ["flush", "sync", "read", "read_slice", "append"])
def test_full_disk_leaves_no_partial_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, call: str
) -> None:
    """Whoever needs the file hears of it, as often as he asks; nothing is lost when there is room again."""
    monkeypatch.setattr(archive_module, "_GATHERED", 50)
    archive = BlockArchive(tmp_path, None)
    first = archive.append(b"first")
    archive.flush()
    second = archive.append(bytes(50))
    calls: dict[str, Callable[[], object]] = {
        "flush": archive.flush,
        "sync": archive.sync,
        "read": lambda: archive.read(second),
        "read_slice": lambda: archive.read_slice(second, 1, 2),
        "append": lambda: archive.append(b"third"),
    }
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", ShortWrites(room, errno.ENOSPC).pwrite)
        for _ in range(2):
            with pytest.raises(DiskFull) as caught:
                calls[call]()
            assert caught.value.path == segment(tmp_path, 0)
            assert segment(tmp_path, 0).stat().st_size == first.end
    third = archive.append(b"third")
    assert third.offset == second.end
    assert [raw for _, raw in archive.records()] == [b"first", bytes(50), b"third"]
    archive.close()


def test_records_are_written_many_at_a_time(tmp_path: Path) -> None:
    archive = BlockArchive(tmp_path, None)
    locations = [archive.append(bytes([number]) * 60_000) for number in range(10)]
    written = segment(tmp_path, 0).stat().st_size
    assert written == locations[4].end, "when there is more than a quarter of a MiB"
    assert archive.read(locations[0])[0] == 0
    assert segment(tmp_path, 0).stat().st_size == written, "what is in the file is read there"
    assert archive.read(locations[9])[0] == 9
    assert segment(tmp_path, 0).stat().st_size == locations[9].end
    archive.close()


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = BlockArchive(tmp_path, None)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:20], offset))
    location = archive.append(bytes(range(100)))
    assert archive.read(location) == bytes(range(100))
    archive.close()


def test_no_room_for_the_next_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = BlockArchive(tmp_path, None, segment_size=50)
    archive.append(bytes(30))
    real = os.open

    def full(path: str | Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, flags, mode)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        with pytest.raises(DiskFull):
            archive.append(bytes(30))
    assert archive.append(bytes(30)) == Location(1, 0, 30)
    archive.close()


def test_failed_sync_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = BlockArchive(tmp_path, None)
    first = archive.append(b"first")

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(Exception, match="Input/output error"):
            archive.sync()
    with pytest.raises(WritesRefused):
        archive.sync()
    with pytest.raises(WritesRefused):
        archive.append(b"second")
    assert archive.read(first) == b"first"
    archive.close()


def test_a_segment_is_left_when_another_thread_has_synced_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread has the descriptor and is about to call the system: it must not be closed or another file's then."""
    archive = BlockArchive(tmp_path, None, segment_size=100)
    archive.append(bytes(50))
    syncing, go_on, really_sync = threading.Event(), threading.Event(), os.fdatasync

    def slow_sync(descriptor: int) -> None:
        syncing.set()
        go_on.wait(10)
        really_sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow_sync)
    thread = threading.Thread(target=archive.sync)
    thread.start()
    assert syncing.wait(10)
    leaving = threading.Thread(target=archive.append, args=(bytes(60),))
    leaving.start()
    leaving.join(0.1)
    assert leaving.is_alive()
    assert not segment(tmp_path, 1).exists()
    go_on.set()
    thread.join()
    leaving.join()
    assert archive.append(bytes(10)).segment == 1
    archive.sync()
    archive.close()


def test_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotWritable):
        BlockArchive(tmp_path / "file", None)
    with pytest.raises(NotWritable):
        BlockArchive(tmp_path / "file" / "below", None)


def test_closed_archive_says_so(tmp_path: Path) -> None:
    archive = BlockArchive(tmp_path, None)
    location = archive.append(b"x")
    archive.close()
    archive.close()
    with pytest.raises(StorageClosed):
        archive.append(b"y")
    with pytest.raises(StorageClosed):
        archive.read(location)
    with pytest.raises(StorageClosed):
        archive.sync()


def test_readers_beside_the_writer(tmp_path: Path) -> None:
    """Readers on more segments than stay open, while the writer rolls: no read meets a closed file."""
    archive = BlockArchive(tmp_path, None, segment_size=64)
    locations: list[tuple[Location, bytes]] = [(archive.append(b"genesis"), b"genesis")]
    done = threading.Event()
    failures: list[BaseException] = []

    def read(seed: int) -> None:
        chance = random.Random(seed)
        try:
            while not done.is_set():
                location, raw = chance.choice(locations)
                assert archive.read(location) == raw
        except BaseException as error:  # noqa: BLE001  (handed to the test's own thread)
            failures.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    real_sync, os_module = os.fdatasync, os
    os_module.fdatasync = lambda _fd: None  # type: ignore[assignment]
    try:
        for number in range(600):
            raw = b"%020d" % number
            locations.append((archive.append(raw), raw))
    finally:
        os_module.fdatasync = real_sync
        done.set()
        for thread in threads:
            thread.join()
    assert not failures
    archive.close()
