"""Which file of a database is damaged: every changed bit is found, nothing else is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from storage.errors import DatabaseLocked, LogDamaged, StorageCorrupt
from storage.leveldb import LevelDbOptions, LevelDbStore
from storage.leveldb_files import live_tables, locked, log_damage, logs_of, table_damage, verify_database
from storage.log_rescue import open_derived

SMALL = LevelDbOptions(write_buffer=64 << 10, table_size=64 << 10, cure="Do this")


def fill(path: Path, rounds: int, seed: int = 0) -> None:
    """Rows that come and go, so that tables are merged."""
    rng = Random(seed)
    for _ in range(rounds):
        store = LevelDbStore(path, SMALL)
        for _ in range(30):
            rows = [(rng.randbytes(rng.randrange(1, 40)), rng.randbytes(rng.randrange(600))) for _ in range(20)]
            store.write_batch([*rows, (rows[0][0], None)], sync=False)
        store.write_batch([(b"big", rng.randbytes(100_000))], sync=True)
        store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    fill(tmp_path / "db", 3)
    return tmp_path / "db"


def tables_of(path: Path) -> list[Path]:
    return [path / f"{number:06d}.ldb" for number in sorted(live_tables(path))]


@pytest.mark.parametrize("seed", range(4))
def test_what_leveldb_wrote_is_sound(tmp_path: Path, seed: int) -> None:
    for rounds in range(3):
        fill(tmp_path, 1 + rounds, 10 * seed + rounds)
        assert list(verify_database(tmp_path)) == []
        assert [log_damage(log) for log in logs_of(tmp_path)] == [None] * len(logs_of(tmp_path))
        assert live_tables(tmp_path)


def test_every_changed_bit_of_a_table_is_found(path: Path) -> None:
    table = min(tables_of(path), key=lambda file: file.stat().st_size)
    original, rng = table.read_bytes(), Random(1)
    size = len(original)
    for place in [*range(size - 300, size), *rng.sample(range(size), 300)]:
        raw = bytearray(original)
        raw[place] ^= 1 << rng.randrange(8)
        table.write_bytes(raw)
        assert table_damage(table, size) is not None, place


def test_compressed_tables_are_judged_too(tmp_path: Path) -> None:
    """As the indexer's are: LevelDB compresses their indexes as well."""
    options = replace(SMALL, is_compressed=True)
    store = LevelDbStore(tmp_path, options)
    rows = [(bytes(60) + number.to_bytes(4, "big"), number.to_bytes(200, "big")) for number in range(4000)]
    store.write_batch(rows, sync=True)
    store.close()
    LevelDbStore(tmp_path, options).close()  # the log becomes a table
    assert live_tables(tmp_path)
    assert list(verify_database(tmp_path)) == []
    table = tables_of(tmp_path)[0]
    original = table.read_bytes()
    assert original.count(bytes(60)) < 10, "compressed"
    for place in range(0, len(original), max(1, len(original) // 200)):
        raw = bytearray(original)
        raw[place] ^= 1
        table.write_bytes(raw)
        assert table_damage(table, len(original)) is not None, place


@pytest.mark.parametrize("damage", ["zeros", "truncated", "empty", "missing", "garbage", "another"])
def test_a_damaged_table_is_named(path: Path, damage: str) -> None:
    first, other = tables_of(path)[:2]
    raw = first.read_bytes()
    match damage:
        case "zeros":
            first.write_bytes(raw[:5000] + bytes(4096) + raw[9096:])
        case "truncated":
            first.write_bytes(raw[: len(raw) // 2])
        case "empty":
            first.write_bytes(b"")
        case "missing":
            first.unlink()
        case "garbage":
            first.write_bytes(Random(0).randbytes(len(raw)))
        case _:
            shutil.copy(other, first)
    assert [found.path for found in verify_database(path)] == [first]
    if damage in ("truncated", "empty", "missing", "another"):
        with pytest.raises(StorageCorrupt, match="Do this") as caught:
            LevelDbStore(path, SMALL)
        assert caught.value.path == first


def test_a_compaction_never_makes_damage_true(path: Path) -> None:
    """Without paranoid checks LevelDB copies a changed row into a table whose checksum is right again."""
    table = max(tables_of(path), key=lambda file: file.stat().st_size)
    raw = bytearray(table.read_bytes())
    raw[1000] ^= 1
    table.write_bytes(raw)
    store = LevelDbStore(path, SMALL)

    def write_until_tables_are_merged() -> None:
        for number in range(500):
            store.write_batch([(bytes([number % 256, at]), bytes(3000)) for at in range(20)], sync=False)

    with pytest.raises(StorageCorrupt, match="Do this"):
        write_until_tables_are_merged()
    store.close()
    assert table in [found.path for found in verify_database(path)]


def test_a_damaged_log_is_named_and_left_as_it_is(path: Path) -> None:
    log = logs_of(path)[-1]
    raw = bytearray(log.read_bytes())
    raw[len(raw) // 2] ^= 1
    log.write_bytes(raw)
    with pytest.raises(LogDamaged) as caught:
        LevelDbStore(path, SMALL)
    assert (caught.value.path, caught.value.cure) == (log, "Do this")
    assert caught.value.offset < len(raw) // 2
    assert log.read_bytes() == raw


def test_a_database_that_follows_another_goes_back_to_before_the_damage(path: Path) -> None:
    log = logs_of(path)[-1]
    raw = bytearray(log.read_bytes())
    raw[len(raw) // 2] ^= 1
    log.write_bytes(raw)
    store = open_derived(path, SMALL)
    assert store.get(b"big") is not None
    store.close()
    assert (path.parent / f"{log.name}.damaged").read_bytes() == raw


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST"])
def test_current_and_manifest_are_named(path: Path, name: str) -> None:
    (file,) = path.glob(f"{name}*")
    original, rng = file.read_bytes(), Random(2)
    for place in rng.sample(range(len(original)), min(30, len(original))):
        raw = bytearray(original)
        raw[place] ^= 1 << rng.randrange(8)
        file.write_bytes(raw)
        with pytest.raises(StorageCorrupt, match="Do this") as caught:
            LevelDbStore(path, SMALL)
        assert caught.value.path.name.startswith(("CURRENT", "MANIFEST", "0")), place
        file.write_bytes(original)
    for content in (b"", bytes(len(original))):
        file.write_bytes(content)
        assert [found.path for found in verify_database(path)] == [file]
        with pytest.raises(StorageCorrupt, match="Do this"):
            LevelDbStore(path, SMALL)
    file.write_bytes(original)
    LevelDbStore(path, SMALL).close()


def test_a_scan_never_ends_at_damage_as_if_there_were_no_more(tmp_path: Path) -> None:
    """Whichever block of the only table it is, from wherever, up or down: all rows that are there, or an error."""
    rows = [(b"k%04d" % number, bytes([number % 256]) * 300) for number in range(200)]
    store = LevelDbStore(tmp_path, SMALL)
    store.write_batch(rows, sync=True)
    store.close()
    LevelDbStore(tmp_path, SMALL).close()  # its log becomes a table
    (table,) = tables_of(tmp_path)
    original = table.read_bytes()
    refused = 0
    for place in range(100, len(original) - 200, 2500):
        raw = bytearray(original)
        raw[place] ^= 1
        table.write_bytes(raw)
        store = LevelDbStore(tmp_path, SMALL)
        for start in (0, 100, 195, 199):
            for is_reverse in (False, True):
                expected = rows[start:][:: -1 if is_reverse else 1]
                try:
                    found = list(store.iterator(start=rows[start][0], reverse=is_reverse))
                except StorageCorrupt:
                    refused += 1
                else:
                    assert found == expected, (place, start, is_reverse)
        store.close()
    assert refused > 20


HOLD_OPEN = """
import sys
from pathlib import Path
from storage.leveldb import LevelDbStore
store = LevelDbStore(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def test_files_of_an_open_database_are_not_judged(path: Path) -> None:
    """They change: what looks damaged may only be half written."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD_OPEN, str(path)],
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        assert child.stdout.readline() == b"open\n"
        with pytest.raises(DatabaseLocked), locked(path):
            pass
        (path / "CURRENT").write_bytes(b"half")
        with pytest.raises(DatabaseLocked):
            LevelDbStore(path, SMALL)
    finally:
        child.stdin.close()
        child.wait(timeout=20)
        child.stdout.close()
    with locked(path):
        pass
    with pytest.raises(StorageCorrupt):
        LevelDbStore(path, SMALL)


def test_a_database_whose_making_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    """LevelDB writes the first MANIFEST, then CURRENT by way of a temporary file, and only then a log."""
    path = tmp_path / "db"
    path.mkdir()
    for name in ("LOCK", "LOG", "MANIFEST-000001", "000001.dbtmp"):
        (path / name).write_bytes(b"half"[: len(name) - 4])
        LevelDbStore(path, SMALL).close()
        for file in path.iterdir():
            file.unlink()
    (path / "MANIFEST-000001").touch()
    (path / "000003.log").touch()
    with pytest.raises(StorageCorrupt, match="CURRENT: the file is missing"):
        LevelDbStore(path, SMALL)
