"""The archive when threads meet in it, when the disk fails and when calls are cut short: no location ever lies."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from random import Random
from types import FrameType, TracebackType
from typing import Any

import pytest

from storage import archive as archive_module
from storage import segments as segments_module
from storage.archive import BlockArchive, Location
from storage.errors import StorageClosed, StorageError, WritesRefused


def io_error() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[BaseException | None]]:
    """A started thread, and how the call ended: with which error, or None."""
    ended: list[BaseException | None] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            ended.append(error)
        else:
            ended.append(None)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, ended


@pytest.mark.parametrize("failing", ["fdatasync", "fsync"])
def test_a_segment_that_could_not_be_left_is_never_taken_for_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """The system tells of a failed write once. Here the thread that appends is told, the other must not go on."""
    archive = BlockArchive(tmp_path, None, segment_size=100)
    archive.append(bytes(50))
    beside: list[tuple[threading.Thread, list[BaseException | None]]] = []

    def fail_once(_: int) -> None:
        if not beside:
            beside.append(in_thread(archive.sync))
            beside[0][0].join(0.2)  # it waits, or is done; then it went on while the sync that fails was under way
            raise io_error()

    monkeypatch.setattr(os, failing, fail_once)
    with pytest.raises(StorageError, match="Input/output error"):
        archive.append(bytes(60))
    thread, ended = beside[0]
    thread.join()
    assert [type(error) for error in ended] == [WritesRefused]
    with pytest.raises(WritesRefused):
        archive.append(b"x")
    with pytest.raises(WritesRefused):
        archive.flush()
    archive.close()


class Disk:
    """What a power cut would leave of each file, and writes back that fail now and then, each reported once."""

    def __init__(self, random: Random, failures: int) -> None:
        self.random, self.failures = random, failures
        self.safe: dict[int, int] = {}
        """Bytes on the disk by inode."""
        self.lost: set[int] = set()
        """Inodes that lost pages."""
        self.lock = threading.Lock()

    def fdatasync(self, fd: int) -> None:
        with self.lock:
            found = os.fstat(fd)
            if self.failures and self.random.random() < 0.02:
                self.failures -= 1
                self.lost.add(found.st_ino)
                raise io_error()
            if found.st_ino not in self.lost:
                self.safe[found.st_ino] = found.st_size

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        if self.random.random() < 0.1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with os.fdopen(os.dup(fd), "r+b", buffering=0) as file:
            file.seek(offset)
            return file.write(data[: self.random.randrange(1, 400)])

    def holds(self, path: Path, location: Location) -> bool:
        """The record would survive a power cut."""
        segment = path / f"blocks-{location.segment:05d}.dat"
        return self.safe.get(segment.stat().st_ino, 0) >= location.end


@pytest.mark.parametrize("seed", range(6))
def test_what_was_synced_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """As transactions save: a thread syncs what was handed to it while the other appends, rolls, reads and fails."""
    disk = Disk(Random(seed), failures=seed % 2)
    monkeypatch.setattr(archive_module, "_GATHERED", 300)
    monkeypatch.setattr(os, "fdatasync", disk.fdatasync)
    monkeypatch.setattr(os, "pwrite", disk.pwrite)
    archive = BlockArchive(tmp_path, None, segment_size=2000)
    handed_over: SimpleQueue[list[Location] | None] = SimpleQueue()
    unsafe: list[Location] = []

    def save() -> None:
        while (locations := handed_over.get()) is not None:
            with contextlib.suppress(StorageError):
                archive.sync()
                unsafe.extend(location for location in locations if not disk.holds(tmp_path, location))

    thread, ended = in_thread(save)
    random, known = Random(seed), dict[Location, bytes]()
    for _ in range(1500):
        with contextlib.suppress(StorageError):
            match random.randrange(8):
                case 0:
                    handed_over.put(list(known))
                case 1 if known:
                    location = random.choice(list(known))
                    assert archive.read(location) == known[location]
                case _:
                    raw = random.randbytes(random.randrange(1, 200))
                    known[archive.append(raw)] = raw
    handed_over.put(None)
    thread.join()
    assert (ended, unsafe) == ([None], [])
    monkeypatch.undo()
    if not disk.lost:
        archive.sync()
        assert [raw for _, raw in archive.records()] == list(known.values())
    archive.close()


class CutShortError(BaseException):
    """As KeyboardInterrupt, which comes between any two steps."""


class _At:
    """Raises at a step of the archive's own code; `is_over` when there was none such."""

    def __init__(self, step: int) -> None:
        self.left = step

    @property
    def is_over(self) -> bool:
        return self.left >= 0

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if code.co_filename not in (archive_module.__file__, segments_module.__file__) or code.co_qualname.startswith(
            "Handle."
        ):  # no error leaves them
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left == -1:
                raise CutShortError
        return self.trace

    def __enter__(self) -> None:
        sys._getframe().f_trace_opcodes = True  # Python 3.12 looks for it when tracing begins
        sys.settrace(self.trace)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        sys.settrace(None)


def cut_short(step: int, path: Path) -> Iterator[None]:
    """Append, with a roll and writes, cut short at a step; whatever had a location before or gets one later is there.

    Yields when there was such a step.
    """
    archive = BlockArchive(path, None, segment_size=120)
    for name in ("_writing", "_syncing"):  # an interpreter does not cut short what leaves a `with`; this test does
        setattr(archive, name, contextlib.nullcontext())
    known = {archive.append(b"before"): b"before"}
    at = _At(step)
    with contextlib.suppress(CutShortError), at:
        for number in range(3):
            raw = bytes([number]) * 30
            known[archive.append(raw)] = raw
        archive.flush()
        archive.sync()
    for number in range(4, 8):
        raw = bytes([number]) * 30
        known[archive.append(raw)] = raw
        if number == 5:
            archive.flush()
    for location, raw in known.items():
        assert archive.read(location) == raw, step
    assert set(known) <= {location for location, _ in archive.records()}, step
    archive.close()
    if not at.is_over:
        yield


def test_cut_short_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "_GATHERED", 40)
    for name in ("fdatasync", "fsync"):
        monkeypatch.setattr(os, name, lambda _: None)
    step = 0
    while any(True for _ in cut_short(step, tmp_path / str(step))):
        step += 1
    assert step > 100


def test_close_waits_for_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A descriptor closed under a thread that is about to write may be another file's by then."""
    archive = BlockArchive(tmp_path, None)
    archive.append(bytes(50))
    writing, go_on, really_write = threading.Event(), threading.Event(), os.pwrite

    def slow_write(fd: int, data: bytes, offset: int) -> int:
        writing.set()
        go_on.wait(10)
        os.fstat(fd)
        return really_write(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", slow_write)
    thread, ended = in_thread(archive.flush)
    assert writing.wait(10)
    closing, closed = in_thread(archive.close)
    closing.join(0.1)
    assert not closed
    go_on.set()
    thread.join()
    closing.join()
    assert (ended, closed) == ([None], [None])
    with pytest.raises(StorageClosed):
        archive.flush()
    assert (tmp_path / "blocks-00000.dat").stat().st_size == 62
