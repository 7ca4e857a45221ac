"""Archive and database know how far the other was: nothing acknowledged goes without a word, nothing is cut then."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from storage.archive_scan import DAMAGED, scan
from storage.chain_store import ChainStore, ChainStoreOptions
from storage.errors import (
    ArchiveBehindDatabase,
    ArchiveUnknown,
    DatabaseBehindArchive,
    StorageCorrupt,
    StorageError,
)
from storage.leveldb import LevelDbOptions
from storage.segments import MARK, CommitMark
from tests.support.chains.stored import Node, child

OPTIONS = ChainStoreOptions(LevelDbOptions(write_buffer=1 << 20), segment_size=4_000)


def grow(store: ChainStore, count: int, below: list[Node] | None = None) -> list[Node]:
    """Synced commits of one block each, above what is there."""
    rng, nodes = Random(count), list(below or [])
    for _ in range(count):
        nodes.append(child(rng, nodes[-1] if nodes else None))
        with store.begin() as txn:
            nodes[-1].insert(txn)
            nodes[-1].attach(txn)
            txn.commit()
    return nodes


def files_of(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def marks_of(path: Path) -> list[CommitMark]:
    return [found.mark for found in scan(path / "blocks") if found.kind == MARK]


def tip_of(path: Path) -> int:
    store = ChainStore.open(path, OPTIONS)
    with store.view() as view:
        tip = view.tip_header().number
    store.close()
    return tip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A closed store of 12 blocks in several segments, and a copy of its database at block 7 in `older`."""
    path = tmp_path / "chain"
    store = ChainStore.open(path, OPTIONS)
    nodes = grow(store, 8)
    store.close()
    shutil.copytree(path / "db", tmp_path / "older")
    store = ChainStore.open(path, OPTIONS)
    grow(store, 4, nodes)
    store.close()
    assert len(list((path / "blocks").iterdir())) > 2
    return path


def test_each_commit_is_noted(data: Path) -> None:
    marks = marks_of(data)
    assert [mark.serial for mark in marks] == list(range(1, 13))
    assert [mark.tip_number for mark in marks] == list(range(12))
    assert all(mark.is_at_rest for mark in marks)
    assert tip_of(data) == 11
    assert marks_of(data) == marks, "nothing is noted twice"


def remove(data: Path) -> None:
    shutil.rmtree(data / "db")


def go_back(data: Path) -> None:
    remove(data)
    shutil.copytree(data.parent / "older", data / "db")


@pytest.mark.parametrize("damage", [remove, go_back])
def test_a_database_that_was_further_is_refused(data: Path, damage: Callable[[Path], None]) -> None:
    damage(data)
    before = files_of(data / "blocks")
    for _ in range(2):
        with pytest.raises(DatabaseBehindArchive, match=f"{data / 'db'}: .*{data / 'blocks'} .*acknowledged"):
            ChainStore.open(data, OPTIONS)
        assert files_of(data / "blocks") == before


def test_an_archive_of_an_older_version_without_its_database_is_refused(tmp_path: Path) -> None:
    """It has no marks; more than one body is more than a first commit leaves."""
    store = ChainStore.open(tmp_path)
    nodes = grow(store, 1)
    store._archive.append(child(Random(), nodes[0]).block.raw)
    store._archive.flush()
    store.close()
    (segment,) = (tmp_path / "blocks").iterdir()
    raw = b"".join(
        segment.read_bytes()[found.location.offset : found.location.end]
        for found in scan(tmp_path / "blocks")
        if found.kind != MARK
    )
    segment.write_bytes(raw)
    shutil.rmtree(tmp_path / "db")
    with pytest.raises(ArchiveUnknown):
        ChainStore.open(tmp_path)
    assert segment.read_bytes() == raw


def log_of(path: Path) -> Path:
    return max((path / "db").glob("*.log"), key=lambda file: file.stat().st_size)


def test_no_bit_of_the_log_takes_acknowledged_commits_along(data: Path) -> None:
    """LevelDB drops what it cannot read, to the end of a block of its log, and says nothing."""
    log, original = log_of(data), log_of(data).read_bytes()
    blocks, rng = files_of(data / "blocks"), Random(1)
    places = [*range(60), *rng.sample(range(len(original)), 60), *range(len(original) - 20, len(original))]
    for place in places:
        raw = bytearray(original)
        raw[place] ^= 1 << rng.randrange(8)
        log.write_bytes(raw)
        with pytest.raises(StorageError) as caught:
            ChainStore.open(data, OPTIONS)
        assert str(data / "db") in str(caught.value), place
        assert files_of(data / "blocks") == blocks, place
        if isinstance(caught.value, StorageCorrupt):
            assert caught.value.path == log, place
            assert log.read_bytes() == raw, place
        else:  # its length says that the end of the file cut it: LevelDB believes that, the archive does not
            assert isinstance(caught.value, DatabaseBehindArchive)
            shutil.rmtree(data / "db")
            shutil.copytree(data.parent / "whole", data / "db")
        assert {file.name for file in data.iterdir()} == {"db", "blocks"}


@pytest.fixture(autouse=True)
def whole(request: pytest.FixtureRequest) -> None:
    """A copy of the database as it is."""
    if "data" in request.fixturenames:
        data: Path = request.getfixturevalue("data")
        shutil.copytree(data / "db", data.parent / "whole")


@pytest.mark.parametrize("cut", [1, 30, 400, 2000])
def test_a_log_that_lost_its_end_is_refused(data: Path, cut: int) -> None:
    os.truncate(log_of(data), log_of(data).stat().st_size - cut)
    before = files_of(data / "blocks")
    with pytest.raises(DatabaseBehindArchive):
        ChainStore.open(data, OPTIONS)
    assert files_of(data / "blocks") == before


HALF_RECORDS = {
    "nothing but its head": struct.pack("<IHB", 1, 300, 1),
    "a part": struct.pack("<IHB", 1, 300, 1) + bytes(100),
    "zeros in it": struct.pack("<IHB", 1, 300, 1) + bytes(300),
    "zeros": bytes(5000),
    "its begin and zeros": struct.pack("<IHB", 0, 0, 2) + bytes(5000),
}


@pytest.mark.parametrize("half", HALF_RECORDS)
def test_a_power_cut_while_a_commit_was_written_is_a_normal_start(data: Path, half: str) -> None:
    """It was not acknowledged: its body may be there, its batch is not, and of its log record what the disk had."""
    size = sum(map(len, files_of(data / "blocks").values()))
    with log_of(data).open("ab") as log:
        log.write(HALF_RECORDS[half])
    with max((data / "blocks").iterdir()).open("ab") as segment:
        segment.write(b"CKBR" + struct.pack("<II", 9, 1) + b"half")
    assert tip_of(data) == 11
    assert sum(map(len, files_of(data / "blocks").values())) == size


def test_a_commit_that_could_not_be_noted_any_more_is_noted_at_open(data: Path) -> None:
    """Killed between the batch and the mark, or the mark went with a power cut."""
    marks = marks_of(data)
    last = max((data / "blocks").iterdir())
    os.truncate(last, last.stat().st_size - 30)
    assert tip_of(data) == 11
    assert marks_of(data) == marks


def test_a_missing_segment_is_noticed_at_open(data: Path) -> None:
    segments = sorted((data / "blocks").iterdir())
    for segment in segments:
        raw = segment.read_bytes()
        segment.unlink()
        with pytest.raises(ArchiveBehindDatabase, match=f"{segment.name}: the segment is missing"):
            ChainStore.open(data, OPTIONS)
        segment.write_bytes(raw)
    assert tip_of(data) == 11


def test_a_transaction_that_saves_notes_each_save(tmp_path: Path) -> None:
    store = ChainStore.open(tmp_path, OPTIONS)
    rng = Random(5)
    nodes = [child(rng, None)]
    with store.begin() as txn:
        for _ in range(6):
            nodes[-1].insert(txn)
            nodes[-1].attach(txn)
            txn.save()
            nodes.append(child(rng, nodes[-1]))
        nodes[-1].insert(txn)  # this one is not saved: it is taken back
    assert [mark.serial for mark in marks_of(tmp_path)][-1] == 6
    assert not any(mark.is_at_rest for mark in marks_of(tmp_path))
    bodies = [raw for _, raw in store._archive.records()]  # type: ignore[attr-defined]
    assert bodies == [node.block.raw for node in nodes[:-1]]
    store.close()
    shutil.copytree(tmp_path / "db", tmp_path.parent / "kept")
    assert tip_of(tmp_path) == 5
    assert marks_of(tmp_path)[-1] == CommitMark(6, 5, nodes[5].block.hash, is_at_rest=True)


def test_behind_damage_the_scan_finds_the_next_record(data: Path) -> None:
    found = list(scan(data / "blocks"))
    assert DAMAGED not in {each.kind for each in found}
    for index in (3, 8, len(found) // 2):
        location = found[index].location
        segment = data / "blocks" / f"blocks-{location.segment:05d}.dat"
        original = segment.read_bytes()
        for place in (location.offset, location.offset + 5, location.offset + 20):
            raw = bytearray(original)
            raw[place] ^= 0x55
            segment.write_bytes(raw)
            again = list(scan(data / "blocks"))
            assert [each for each in again if each.kind != DAMAGED] == [*found[:index], *found[index + 1 :]]
            assert [each.location for each in again if each.kind == DAMAGED] == [
                location._replace(length=location.end - location.offset)
            ]
        segment.write_bytes(original)
