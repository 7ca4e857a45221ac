"""The files of the chain store: reopened, cut short, damaged, and the order in which they are synced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from storage.archive import BlockArchive
from storage.chain_store import ChainStore
from storage.chain_txn import ChainTxn
from storage.errors import (
    ArchiveBehindDatabase,
    StorageCorrupt,
)
from storage.leveldb import LevelDbStore
from storage.schema import COMMIT_SERIAL
from tests.storage.kit_chain import OPTIONS, assert_state, assert_stored, engine, grow, move_tip
from tests.support.chains.stored import Node, child


def test_reopening_goes_on_where_it_was(tmp_path: Path) -> None:
    rng = Random(3)
    nodes = [child(rng, None)]
    tip: Node | None = None
    for round_ in range(12):
        store = ChainStore.open(tmp_path, OPTIONS)
        with store.begin() as txn:
            move_tip(txn, tip, nodes[-1])
            txn.commit(sync=round_ % 4 == 0)
        tip = nodes[-1]
        store.close()
        store = ChainStore.open(tmp_path, OPTIONS)
        with store.view() as view:
            assert_state(view, tip, nodes)
            for node in tip.branch():
                assert_stored(view, node)
        store.close()
        nodes.append(child(rng, nodes[-1] if rng.random() < 0.7 else rng.choice(nodes)))
    assert len(list((tmp_path / "blocks").iterdir())) > 1


def archive_size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path / "blocks").iterdir())


def test_bodies_of_a_discarded_transaction_are_taken_back(tmp_path: Path) -> None:
    store = ChainStore.open(tmp_path)
    nodes = grow(store, 3)
    size = archive_size(tmp_path)
    for _ in range(3):
        with store.begin() as txn:
            move_tip(txn, nodes[-1], lost := child(Random(1), nodes[-1]))
            assert txn.transaction(lost.block.transactions[0].hash) is not None  # reading has the body written
            assert archive_size(tmp_path) > size
        assert archive_size(tmp_path) == size
    with store.view() as view:
        assert_state(view, nodes[-1], nodes)
    store.close()


def test_bodies_of_a_lost_commit_are_cut_at_open(tmp_path: Path) -> None:
    """Killed between the bodies and the batch that points at them: as if it had not begun."""
    store = ChainStore.open(tmp_path)
    nodes = grow(store, 3)
    store.close()
    store = ChainStore.open(tmp_path)
    size = archive_size(tmp_path)
    store._archive.append(child(Random(1), nodes[-1]).block.raw)
    store._archive.sync()
    assert archive_size(tmp_path) > size
    store.close()
    store = ChainStore.open(tmp_path)
    assert archive_size(tmp_path) == size
    with store.view() as view:
        assert_state(view, nodes[-1], nodes)
    store.close()


def test_lost_bodies_are_noticed_at_open(tmp_path: Path) -> None:
    store = ChainStore.open(tmp_path)
    grow(store, 3)
    store.close()
    (file,) = (tmp_path / "blocks").iterdir()
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 1)
    with pytest.raises(ArchiveBehindDatabase):
        ChainStore.open(tmp_path)
    with pytest.raises(ArchiveBehindDatabase):
        ChainStore.open(tmp_path)  # not DatabaseLocked: the failed open let go


def flip(file: Path, offset: int) -> None:
    raw = bytearray(file.read_bytes())
    raw[offset] ^= 1
    file.write_bytes(raw)


def test_changed_bodies_are_noticed_when_read(tmp_path: Path) -> None:
    store = ChainStore.open(tmp_path)
    nodes = grow(store, 20)
    (file,) = (tmp_path / "blocks").iterdir()
    key, cell = next((k, c) for k, c in nodes[-1].cells.items() if len(c.data) == 300)
    at = file.read_bytes().index(cell.data)
    flip(file, at + 100)
    with store.view() as view:
        meta = view.cell(key)
        assert meta is not None
        with pytest.raises(StorageCorrupt, match="data of a cell"):
            _ = meta.data
        with pytest.raises(StorageCorrupt, match="transaction"):
            view.transaction(key[:32])
        with pytest.raises(StorageCorrupt, match="checksum"):
            view.block(cell.info.block_hash)
    store.close()


def test_a_hole_in_the_log_is_noticed(tmp_path: Path) -> None:
    """LevelDB itself goes on behind an unreadable piece of its log as if nothing were missing."""
    store = ChainStore.open(tmp_path)
    nodes = grow(store, 60)
    with store.begin() as txn:
        txn.insert_ext(nodes[-1].block.hash, nodes[-1].ext)
        txn.commit()  # synced, so all before it is acknowledged
    store.close()
    log = max((tmp_path / "db").glob("*.log"), key=lambda file: file.stat().st_size)
    raw = bytearray(log.read_bytes())
    assert len(raw) > 70_000
    raw[40_000:40_040] = bytes(40)
    log.write_bytes(raw)
    with pytest.raises(StorageCorrupt, match=rf"{log}: .*this log is damaged.* block 59"):
        ChainStore.open(tmp_path)
    assert log.read_bytes() == raw
    assert {file.name for file in tmp_path.iterdir()} == {"blocks", "db"}


def test_a_commit_that_is_missing_is_noticed(tmp_path: Path) -> None:
    store = ChainStore.open(tmp_path)
    grow(store, 5)
    engine(store).delete(COMMIT_SERIAL + (3).to_bytes(2, "big"))
    store.close()
    with pytest.raises(StorageCorrupt, match="commit 3 of 5 was lost"):
        ChainStore.open(tmp_path)


def test_serials_stay_whole_when_the_slots_are_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.serials.SLOTS", 8)
    store = ChainStore.open(tmp_path)
    grow(store, 30)
    assert len(list(engine(store).iterator(prefix=COMMIT_SERIAL))) == 8
    store.close()
    store = ChainStore.open(tmp_path)
    key, value = next(engine(store).iterator(prefix=COMMIT_SERIAL))
    engine(store).put(key, (int.from_bytes(value, "little") - 8).to_bytes(8, "little"))
    store.close()
    with pytest.raises(StorageCorrupt, match="lost"):
        ChainStore.open(tmp_path)


def test_bodies_are_synced_before_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ChainStore.open(tmp_path)
    node = child(Random(1), None)
    order: list[str] = []
    sync_archive, write = BlockArchive.sync, LevelDbStore.write_batch

    def recorded_sync(archive: BlockArchive) -> None:
        order.append("archive")
        sync_archive(archive)

    def recorded_write(db: LevelDbStore, changes: object, *, sync: bool) -> None:
        order.append(f"batch sync={sync}")
        write(db, changes, sync=sync)  # type: ignore[arg-type]

    monkeypatch.setattr(BlockArchive, "sync", recorded_sync)
    monkeypatch.setattr(LevelDbStore, "write_batch", recorded_write)
    with store.begin() as txn:
        move_tip(txn, None, node)
        txn.commit()
    assert order == ["archive", "batch sync=True"]
    store.close()


@pytest.mark.parametrize("end", [ChainTxn.commit, ChainTxn.save])
def test_a_synced_batch_syncs_bodies_of_earlier_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Callable[[ChainTxn], None]
) -> None:
    """It makes all batches before it durable, so what they point at must be too."""
    store = ChainStore.open(tmp_path)
    grow(store, 1)
    synced: list[BlockArchive] = []
    monkeypatch.setattr(BlockArchive, "sync", lambda archive: synced.append(archive))
    with store.begin() as txn:
        txn.put_spec_hash(bytes(32))
        end(txn)
    assert synced == [store._archive]
    store.close()
