"""The chain store: random trees of blocks against the model, views, reopening, versions, crashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from threading import Thread

import pytest

from consensus.context import ChainReader
from consensus.rules.mmr import mmr_positions
from consensus.types.core import VALID
from storage.archive import BlockArchive, Location
from storage.chain_state import ChainState
from storage.chain_store import ChainStore, ChainStoreOptions
from storage.chain_txn import ChainTxn
from storage.errors import (
    ArchiveBehindDatabase,
    ChainMismatch,
    SchemaTooNew,
    SpecMismatch,
    StorageClosed,
    StorageCorrupt,
    StorageError,
    WriterBusy,
)
from storage.kv import KeyValueStore
from storage.leveldb import LevelDbOptions, LevelDbStore
from storage.memory import MemoryStore
from storage.migrations import bring_to_version, schema_version
from storage.schema import COMMIT_SERIAL, META_SCHEMA
from tests.support.chains.stored import Node, assert_same_cell, child

OPTIONS = ChainStoreOptions(LevelDbOptions(write_buffer=64 << 10), segment_size=4_000)
# Keys of one main chain; the others are facts of stored blocks, which detaching leaves.
MAIN_CHAIN_KEYS = (b"N", b"T", b"C", b"U", b"R", b"e", b"Mtip", b"Mgenesis")

Open = Callable[[], ChainStore]


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ChainStore]:
    opened = ChainStore.open(tmp_path / "data", OPTIONS) if request.param == "disk" else ChainStore.in_memory()
    yield opened
    opened.close()


def engine(store: ChainStore) -> KeyValueStore:
    return store._store


def main_chain_keys(store: ChainStore) -> dict[bytes, bytes]:
    return {key: value for key, value in engine(store).iterator() if key.startswith(MAIN_CHAIN_KEYS)}


def move_tip(txn: ChainTxn, old: Node | None, new: Node) -> None:
    """Detach from `old` down to the fork, then insert and attach up to `new`."""
    branch = new.branch()
    while old is not None and old not in branch:
        txn.detach_block(old.block)
        old = old.parent
    for node in branch if old is None else branch[old.block.number + 1 :]:
        node.insert(txn)
        node.attach(txn)


def grow(store: ChainStore, count: int, seed: int = 0) -> list[Node]:
    """Commit a chain of `count` blocks, one commit each."""
    rng = Random(seed)
    nodes: list[Node] = []
    for _ in range(count):
        nodes.append(child(rng, nodes[-1] if nodes else None))
        with store.begin() as txn:
            nodes[-1].insert(txn)
            nodes[-1].attach(txn)
            txn.commit(sync=False)
    return nodes


def assert_state(state: ChainState, tip: Node, others: list[Node]) -> None:
    """`state` is the main chain that ends in `tip`; `others` are blocks whose cells and transactions it may lack."""
    reader: ChainReader = state
    assert reader.tip_header() == tip.block.header
    assert reader.tip_epoch() == tip.epoch
    branch = tip.branch()
    for number, node in enumerate(branch):
        assert reader.main_hash(number) == node.block.hash
        assert reader.is_main(node.block.hash)
        for position, digest in zip(mmr_positions(number), node.mmr_nodes, strict=True):
            assert reader.mmr_node(position) == digest
        assert state.epoch_by_number(node.epoch.number) == node.epoch
    assert reader.main_hash(len(branch)) is None
    assert reader.mmr_node(mmr_positions(len(branch)).start) is None
    assert state.epoch_by_number(tip.epoch.number + 1) is None
    for key, cell in tip.cells.items():
        assert_same_cell(reader.cell(key), key, cell)
    for tx_hash, (info, transaction) in tip.transactions.items():
        assert reader.transaction_info(tx_hash) == info
        assert reader.transaction(tx_hash) == transaction
    for uncle_hash, header in tip.uncles.items():
        assert reader.uncle(uncle_hash) == header
    for other in others:
        assert reader.is_main(other.block.hash) == (other in branch)
        assert all((reader.cell(key) is None) == (key not in tip.cells) for key in other.cells)
        assert all((reader.transaction_info(h) is None) == (h not in tip.transactions) for h in other.transactions)
        assert all((reader.uncle(h) is None) == (h not in tip.uncles) for h in other.uncles)


def assert_stored(state: ChainState, node: Node) -> None:
    """The facts of a stored block."""
    block = node.block
    assert state.header(block.hash) == block.header
    stored = state.block(block.hash)
    assert stored is not None
    assert stored.raw == block.raw
    assert state.raw_block(block.hash) == block.raw
    record = state.block_record(block.hash)
    assert record is not None
    assert record.transaction_count == len(block.transactions)
    assert state.block_ext(block.hash) == node.ext
    assert state.block_epoch(block.hash) == node.epoch
    assert state.proposal_ids(block.hash) == frozenset(block.union_proposal_ids())
    assert block.hash in state.stored_hashes(block.number)


@pytest.mark.parametrize("seed", range(6))
def test_random_trees_agree_with_the_model(store: ChainStore, seed: int) -> None:
    """Extend and reorganise at random, in one commit each; every state ever reached looks the same each time."""
    rng = Random(seed)
    tip = child(rng, None)
    nodes, stored = [tip], {tip}
    with store.begin() as txn:
        move_tip(txn, None, tip)
        txn.commit(sync=False)
    keys_at = {tip: main_chain_keys(store)}
    views = []
    for _ in range(40):
        if rng.random() < 0.6:
            nodes.append(child(rng, tip if rng.random() < 0.6 else rng.choice(nodes[-8:])))
        new = rng.choice(nodes[-6:])
        with store.begin() as txn:
            move_tip(txn, tip, new)
            assert_state(txn, new, nodes)
            if rng.random() < 0.2:
                continue
            txn.commit(sync=False)
        tip = new
        stored.update(tip.branch())
        keys = main_chain_keys(store)
        assert keys == keys_at.setdefault(tip, keys)
        views.append((store.view(), tip, set(stored)))
        assert_state(views[-1][0], tip, nodes)
        if len(views) > 4:
            view, old_tip, old_stored = views.pop(rng.randrange(4))
            assert_state(view, old_tip, nodes)
            for node in nodes:
                if node in old_stored:
                    assert_stored(view, node)
                else:
                    assert view.header(node.block.hash) is None, "a view does not know blocks stored later"
                    assert view.block(node.block.hash) is None
            view.close()
    for view, old_tip, _ in views:
        assert_state(view, old_tip, nodes)
        view.close()


def test_detaching_everything_leaves_the_genesis_block(store: ChainStore) -> None:
    nodes = grow(store, 1)
    genesis_keys = main_chain_keys(store)
    for seed in range(3):
        rng = Random(seed)
        branch = [nodes[0]]
        for _ in range(12):
            branch.append(child(rng, branch[-1]))
        with store.begin() as txn:
            move_tip(txn, nodes[0], branch[-1])
            txn.commit(sync=False)
        assert main_chain_keys(store) != genesis_keys
        with store.begin() as txn:
            for node in branch[:0:-1]:
                txn.detach_block(node.block)
            txn.commit(sync=False)
        assert main_chain_keys(store) == genesis_keys


def test_a_discarded_transaction_leaves_nothing(store: ChainStore) -> None:
    nodes = grow(store, 3)
    before = dict(engine(store).iterator())
    rng = Random(9)
    with store.begin() as txn:
        new = child(rng, nodes[-1])
        move_tip(txn, nodes[-1], new)
        assert txn.header(new.block.hash) == new.block.header
    assert dict(engine(store).iterator()) == before
    with store.begin() as txn:
        assert txn.header(new.block.hash) is None
        txn.put_spec_hash(b"s" * 32)
        txn.commit(sync=False)
    with store.view() as view:
        assert view.header(new.block.hash) is None
        assert view.spec_hash() == b"s" * 32


def test_a_transaction_that_saves_goes_on(store: ChainStore) -> None:
    """Whatever is read on the way is as in a transaction that commits at the end; views see what was saved."""
    rng = Random(3)
    nodes = [child(rng, None)]
    saved = nodes[0]
    with store.begin() as txn:
        move_tip(txn, None, nodes[-1])
        for number in range(12):
            nodes.append(child(rng, nodes[-1]))
            move_tip(txn, nodes[-2], nodes[-1])
            if number % 3 == 0:
                txn.save()
                saved = nodes[-1]
            if number % 5 == 4:
                txn.detach_block(nodes.pop().block)
            assert_state(txn, nodes[-1], nodes)
            for node in nodes:
                assert_stored(txn, node)
        txn.save()
        with store.view() as view:  # the save before has ended
            assert_state(view, saved, nodes[: saved.block.number + 1])
        unsaved = child(rng, nodes[-1])
        move_tip(txn, nodes[-1], unsaved)
    with store.view() as view:
        assert_state(view, nodes[-1], nodes)
        assert view.header(unsaved.block.hash) is None
    with store.begin() as txn:
        move_tip(txn, nodes[-1], unsaved)
        txn.save()
        txn.commit()
    with store.view() as view:
        assert_state(view, unsaved, [*nodes, unsaved])


def test_a_view_does_not_know_what_was_saved_after_it(store: ChainStore) -> None:
    rng = Random(4)
    first = grow(store, 1)[0]
    new = child(rng, first)
    with store.begin() as txn, store.view() as before:
        move_tip(txn, first, new)
        txn.save()
        for _ in range(2):
            newest = child(rng, new)
            move_tip(txn, new, newest)
            txn.save()
            assert txn.header(new.block.hash) == new.block.header
            assert before.header(new.block.hash) is None
            new = newest


@pytest.mark.parametrize("end", ["save", "commit"])
def test_a_save_that_fails_is_the_last(store: ChainStore, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    nodes = grow(store, 2)
    rng = Random(5)
    new = child(rng, nodes[-1])

    def full() -> None:
        raise StorageError("somewhere", "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(engine(store), "prepare_batch", lambda _changes, *, sync: full)
        txn = store.begin()
        move_tip(txn, nodes[-1], new)
        txn.save()
        move_tip(txn, new, child(rng, new))
        with pytest.raises(StorageError, match="No space"):
            (txn.save if end == "save" else txn.commit)()
    with pytest.raises(StorageClosed):
        txn.commit()
    with store.view() as view:
        assert_state(view, nodes[-1], nodes)
    with store.begin() as txn:
        move_tip(txn, nodes[-1], new)
        txn.commit()
    with store.view() as view:
        assert_state(view, new, [*nodes, new])


def test_a_save_without_a_thread_is_the_last(store: ChainStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes that nobody writes are not built upon."""
    nodes = grow(store, 2)
    txn = store.begin()
    move_tip(txn, nodes[-1], child(Random(6), nodes[-1]))

    def refuse(self: Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            txn.save()
    with pytest.raises(StorageClosed):
        txn.commit()
    with store.view() as view:
        assert_state(view, nodes[-1], nodes)


def test_one_writer_at_a_time(store: ChainStore) -> None:
    txn = store.begin()
    with pytest.raises(WriterBusy):
        store.begin()
    txn.discard()
    txn.discard()
    other = store.begin()
    txn.discard()
    with pytest.raises(WriterBusy):
        store.begin()
    other.commit()
    with pytest.raises(StorageClosed):
        other.commit()
    with pytest.raises(StorageClosed):
        other.put_spec_hash(bytes(32))
    store.begin().discard()


def test_blocks_that_do_not_fit_are_refused(store: ChainStore) -> None:
    nodes = grow(store, 3)
    rng = Random(5)
    stranger, orphan = child(rng, None), child(rng, child(rng, nodes[-1]))
    next_ = child(rng, nodes[-1])
    before = main_chain_keys(store)
    with store.begin() as txn:
        for node in (stranger, orphan):
            node.insert(txn)
            with pytest.raises(ValueError, match=r"attached|follow"):
                node.attach(txn)
        with pytest.raises(ValueError, match="not inserted"):
            next_.attach(txn)
        next_.insert(txn)
        with pytest.raises(ValueError, match="MMR"):
            txn.attach_block(next_.block, [*next_.mmr_nodes, bytes(120)])
        with pytest.raises(ValueError, match="MMR"):
            txn.attach_block(next_.block, [node[1:] for node in next_.mmr_nodes])
        with pytest.raises(ValueError, match="detached"):
            txn.detach_block(nodes[0].block)
        with pytest.raises(ValueError, match="detached"):
            txn.detach_block(nodes[1].block)
        txn.commit(sync=False)
    assert main_chain_keys(store) == before


def test_inserting_twice_stores_one_body(store: ChainStore) -> None:
    nodes = grow(store, 2)
    with store.begin() as txn:
        first = txn.block_record(nodes[1].block.hash)
        txn.insert_block(nodes[1].block)
        assert txn.block_record(nodes[1].block.hash) == first
        txn.insert_ext(nodes[1].block.hash, nodes[1].ext.replace(verified_flag=VALID))
        txn.commit(sync=False)
    with store.view() as view:
        ext = view.block_ext(nodes[1].block.hash)
        assert ext is not None
        assert ext.verified is True


def test_numbers_and_hashes_out_of_range_are_absent(store: ChainStore) -> None:
    grow(store, 2)
    with store.view() as view:
        for number in (-1, 2, 1 << 64, 1 << 100):
            assert view.main_hash(number) is None
            assert view.mmr_node(number if number != 2 else 3) is None
            assert view.epoch_by_number(number) is None
            assert view.stored_hashes(number) == []
        assert view.cell(b"") is None
        assert view.header(b"") is None
        assert view.block(bytes(32)) is None
        assert view.proposal_ids(bytes(32)) is None
        assert view.block_epoch(bytes(32)) is None


def test_stored_blocks_come_in_order_of_height(store: ChainStore) -> None:
    nodes = grow(store, 300)
    fork = child(Random(77), nodes[255])
    with store.begin() as txn:
        fork.insert(txn)
        txn.commit(sync=False)
    with store.view() as view:
        found = list(view.stored_blocks(254))
        assert [number for number, _ in found] == [254, 255, 256, 256, *range(257, 300)]
        assert set(view.stored_hashes(256)) == {nodes[256].block.hash, fork.block.hash}
        assert not view.is_main(fork.block.hash)


def test_an_empty_store_is_empty(store: ChainStore) -> None:
    with store.view() as view:
        assert view.is_empty()
        assert view.genesis_hash() is None
        assert view.main_hash(0) is None
        with pytest.raises(StorageCorrupt, match="tip"):
            view.tip_header()
    store.check_identity(bytes(32), bytes(32))


def test_identity(store: ChainStore) -> None:
    nodes = grow(store, 1)
    genesis = nodes[0].block.hash
    store.check_identity(genesis, b"a" * 32)
    with store.begin() as txn:
        txn.put_spec_hash(b"a" * 32)
        txn.commit(sync=False)
    store.check_identity(genesis, b"a" * 32)
    with pytest.raises(ChainMismatch, match="genesis"):
        store.check_identity(bytes(32), b"a" * 32)
    with pytest.raises(SpecMismatch, match="spec"):
        store.check_identity(genesis, b"b" * 32)


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


def test_archive_full_disk_leaves_the_store_usable(store: ChainStore, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = grow(store, 2)
    new = child(Random(1), nodes[-1])

    def full(_raw: bytes) -> Location:
        raise StorageError("somewhere", "No space left on device")

    with monkeypatch.context() as patched, store.begin() as txn:
        patched.setattr(store._archive, "append", full)
        with pytest.raises(StorageError):
            new.insert(txn)
    with store.begin() as txn:
        new.insert(txn)
        new.attach(txn)
        txn.commit(sync=False)
    with store.view() as view:
        assert_state(view, new, nodes)


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


def test_a_save_that_nobody_waited_for_is_known_to_readers(store: ChainStore) -> None:
    nodes = grow(store, 2)
    stale = child(Random(1), nodes[0])
    with store.begin() as txn:
        stale.insert(txn)
        txn.commit()
    with store.view() as view:
        assert view.header(stale.block.hash) == stale.block.header
    with store.begin() as txn:
        txn.delete_block(stale.block.header)
        txn.save()
    with store.view() as view:
        assert view.header(stale.block.hash) is None


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


def test_schema_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    store = ChainStore.open(tmp_path)
    engine(store).put(META_SCHEMA, (2).to_bytes(4, "little"))
    store.close()
    with pytest.raises(SchemaTooNew, match="upgrade the program") as caught:
        ChainStore.open(tmp_path)
    assert (caught.value.found, caught.value.supported) == (2, 1)


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    foreign = LevelDbStore(tmp_path / "db")
    foreign.put(b"something", b"else")
    foreign.close()
    with pytest.raises(StorageCorrupt, match="not a chain database"):
        ChainStore.open(tmp_path)


def test_migrations_run_step_by_step() -> None:
    store = MemoryStore()
    store.put(META_SCHEMA, (1).to_bytes(4, "little"))
    seen: list[int | None] = []

    def step(db: KeyValueStore) -> None:
        seen.append(schema_version(db))

    def broken(_db: KeyValueStore) -> None:
        raise StorageError("db", "disk on fire")

    with pytest.raises(StorageError, match="fire"):
        bring_to_version(store, Path("db"), target=3, migrations={1: step, 2: broken})
    assert schema_version(store) == 2
    bring_to_version(store, Path("db"), target=4, migrations={1: step, 2: step, 3: step})
    assert seen == [1, 2, 3]
    assert schema_version(store) == 4
    with pytest.raises(StorageCorrupt, match="no migration"):
        bring_to_version(store, Path("db"), target=5, migrations={})
