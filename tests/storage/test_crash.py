"""Kill -9 at any moment: everything acknowledged is there, nothing half."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.archive import BlockArchive, Location
from storage.leveldb import LevelDbStore

ROOT = Path(__file__).resolve().parents[2]

# Each round appends records, then one batch pointing at them, then says so on stdout. Small buffers and segments, so
# that log switches, compactions and segment rolls happen within a second. argv: directory, first round, sync or not.
WRITER = """
import os, sys
from pathlib import Path
from storage.archive import BlockArchive, Location
from storage.leveldb import LevelDbOptions, LevelDbStore
from storage.overlay import Overlay

path, number, sync = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "sync"
store = LevelDbStore(path / "db", LevelDbOptions(write_buffer=64 << 10, table_size=64 << 10))
last = store.get(b"last")
archive = BlockArchive(path / "blocks", last and Location.unpack(last), segment_size=20_000)
while True:
    overlay = Overlay(store)
    for part in range(3):
        raw = number.to_bytes(8, "big") * (1 + (number * 7 + part) % 200)
        location = archive.append(raw)
        overlay.put(b"r%08d.%d" % (number, part), location.pack())
    overlay.put(b"last", location.pack())
    overlay.put(b"count", number.to_bytes(8, "big"))
    if sync:
        archive.sync()
    overlay.commit(store, sync=sync)
    os.write(1, b"%d\\n" % number)
    number += 1
"""


def run_until_killed(path: Path, first: int, sync: str, seconds: float) -> int:
    """Run the writer, kill it after `seconds`; the last round that it acknowledged, or `first - 1`."""
    output = path / "acknowledged"
    with output.open("wb") as file:
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(first), sync], cwd=ROOT, stdout=file)
        deadline = time.monotonic() + 20
        while output.stat().st_size == 0 and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(seconds)
        assert child.poll() is None, "the writer ended by itself"
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=20)
    whole_lines = output.read_bytes().rpartition(b"\n")[0].split()
    return int(whole_lines[-1]) if whole_lines else first - 1


def check_everything_is_there(path: Path, acknowledged: int) -> int:
    """Reopen and read all rounds; the number of the last one found."""
    store = LevelDbStore(path / "db")
    last = store.get(b"last")
    assert last is not None
    archive = BlockArchive(path / "blocks", Location.unpack(last), segment_size=20_000)
    count = int.from_bytes(store.get(b"count") or b"", "big")
    assert count >= acknowledged
    found = 0
    for key, packed in store.iterator(prefix=b"r"):
        number, part = divmod(found, 3)
        assert key == b"r%08d.%d" % (number, part)
        assert archive.read(Location.unpack(packed)) == number.to_bytes(8, "big") * (1 + (number * 7 + part) % 200)
        found += 1
    assert found == 3 * (count + 1), "whole batches only"
    assert sum(1 for _ in archive.records()) == found, "the tail that no batch points at is cut"
    archive.close()
    store.close()
    return count


@pytest.mark.parametrize("sync", ["sync", "nosync"])
def test_kill_loses_nothing_acknowledged(tmp_path: Path, sync: str) -> None:
    chance = random.Random(sync)
    reached = -1
    for _ in range(6):
        acknowledged = run_until_killed(tmp_path, reached + 1, sync, chance.uniform(0.0, 0.25))
        assert acknowledged > reached
        reached = check_everything_is_there(tmp_path, acknowledged)
