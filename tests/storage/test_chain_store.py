"""The chain store: random trees of blocks against the model, views, saves, one writer."""

from __future__ import annotations

import gc
import weakref
from random import Random
from threading import Thread

import pytest

from consensus.codec.layout import HEADER_SIZE
from consensus.types.core import VALID
from storage.archive import Location
from storage.chain_store import ChainStore, SharedView
from storage.errors import (
    ChainMismatch,
    SpecMismatch,
    StorageClosed,
    StorageCorrupt,
    StorageError,
    WriterBusy,
)
from storage.schema import CELL
from tests.storage.kit_chain import assert_state, assert_stored, engine, grow, move_tip
from tests.support.chains.stored import child

# Keys of one main chain; the others are facts of stored blocks, which detaching leaves.
MAIN_CHAIN_KEYS = (b"N", b"T", b"C", b"U", b"R", b"e", b"Mtip", b"Mgenesis")


@pytest.fixture
def store(chain_store: ChainStore) -> ChainStore:
    return chain_store


def main_chain_keys(store: ChainStore) -> dict[bytes, bytes]:
    return {key: value for key, value in engine(store).iterator() if key.startswith(MAIN_CHAIN_KEYS)}


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


def test_a_transaction_forgets_that_a_detached_block_was_main(store: ChainStore) -> None:
    nodes = grow(store, 3)
    other = child(Random(5), nodes[1])
    with store.begin() as txn:
        assert all(txn.is_main(node.block.hash) for node in nodes)
        move_tip(txn, nodes[2], other)
        assert [txn.is_main(node.block.hash) for node in (*nodes, other)] == [True, True, False, True]
        move_tip(txn, other, nodes[2])
        assert [txn.is_main(node.block.hash) for node in (*nodes, other)] == [True, True, True, False]


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


def test_a_shared_view_is_that_of_the_last_commit(store: ChainStore) -> None:
    nodes = grow(store, 3)
    shared = store.shared_view()
    assert store.shared_view() is shared
    with store.begin() as txn:
        new = child(Random(2), nodes[-1])
        move_tip(txn, nodes[-1], new)
        assert store.shared_view() is shared, "nothing is committed"
        txn.commit(sync=False)
    assert shared.tip_header() == nodes[-1].block.header, "who reads from it goes on"
    old = weakref.ref(shared)
    del shared
    assert old() is None, "the engine may drop old values"
    assert store.shared_view().tip_header() == new.block.header
    with store.begin() as txn:
        other = child(Random(5), new)
        move_tip(txn, new, other)
        txn.save()
        txn.wait_saved()
        assert store.shared_view().tip_header() == other.block.header


@pytest.mark.parametrize("most", [1, 2, 100])
def test_a_shared_view_keeps_hashes_of_its_moment_alone(
    store: ChainStore, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("storage.chain_store.MAX_KEPT", most)
    nodes = grow(store, 5)
    new = child(Random(2), nodes[-1])
    expected = {each.block.header.number: each.block.hash for each in nodes}
    shared = store.shared_view()
    assert isinstance(shared, SharedView)
    cells = [key for key, _ in shared.rows(CELL)]
    for _ in range(2):
        assert [cell for cell in cells if not shared.is_live(cell[1:])] == []
        assert not shared.is_live(bytes(36))
        assert {number: shared.main_hash(number) for number in expected} == expected
        assert shared.main_hash(new.block.header.number) is None
    with store.begin() as txn:
        move_tip(txn, nodes[-1], new)
        txn.commit(sync=False)
    assert shared.main_hash(new.block.header.number) is None
    assert store.shared_view().main_hash(new.block.header.number) == new.block.hash
    for cell in cells:
        assert shared.is_live(cell[1:])
        with store.view() as view:
            assert store.shared_view().is_live(cell[1:]) is view.is_live(cell[1:])
    assert max(len(shared._main_hashes), len(shared._live)) <= most


def test_headers_that_are_kept_do_not_keep_their_blocks(store: ChainStore) -> None:
    nodes = grow(store, 3)
    for node in nodes:
        with store.view() as view:
            kept = view.header(node.block.hash)
        assert kept == node.block.header
        assert not any(len(each) > HEADER_SIZE for each in gc.get_referents(kept.__dict__) if isinstance(each, bytes))


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
        with store.view() as view:  # the save before has ended, the last one perhaps
            durable = saved if view.tip_header() == saved.block.header else nodes[-1]
            assert_state(view, durable, nodes[: durable.block.number + 1])
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


def test_an_ended_transaction_keeps_no_block(store: ChainStore) -> None:
    """Nothing waits for the garbage collector, which comes by seldom: each may hold dozens of megabytes."""
    node = child(Random(1), None)
    gc.disable()
    try:
        with store.begin() as txn:
            move_tip(txn, None, node)
            stored = txn.block(node.block.hash)
            assert stored is not None
            kept = weakref.ref(stored)
            txn.commit(sync=False)
        del stored, node
        assert kept() is None, f"{txn} itself is still there"
    finally:
        gc.enable()
