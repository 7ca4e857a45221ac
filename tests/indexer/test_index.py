"""The index against fresh ones: whatever blocks came and went, it holds what the chain holds now."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ckb_node.indexer import index
from ckb_node.indexer.index import Index, IndexTooOldError
from ckb_node.indexer.keys import BLOCK, CELL, UNDO, number_key
from storage.errors import StorageError
from storage.kv import KeyValueStore
from storage.memory import MemoryStore
from tests.indexer.kit_index import Model, a_chain


def rows(store: KeyValueStore) -> dict[bytes, bytes]:
    return dict(store.iterator())


def fresh_rows(chain: list) -> dict[bytes, bytes]:  # type: ignore[type-arg]
    fresh = Index(MemoryStore())
    for block in chain:
        fresh.append(block)
    return rows(fresh.store)


@pytest.mark.parametrize("seed", range(12))
def test_appending_and_rolling_back_equals_a_fresh_index(seed: int) -> None:
    rng = random.Random(seed)
    kept = Index(MemoryStore())
    chain = a_chain(rng, 4)
    for block in chain:
        kept.append(block)
    for _ in range(12):
        if rng.random() < 0.5:
            for _ in range(rng.randint(1, len(chain))):
                kept.rollback()
                chain.pop()
        longer = a_chain(rng, rng.randint(1, 3), chain)
        for block in longer[len(chain) :]:
            kept.append(block)
        chain = longer
        assert kept.tip() == (chain[-1].number, chain[-1].hash)
        assert rows(kept.store) == fresh_rows(chain)
        live = {key[1:] for key, _ in kept.store.iterator(prefix=CELL)}
        assert live == set(Model(chain).live_outputs())


def test_rolling_back_to_nothing() -> None:
    kept = Index(MemoryStore())
    chain = a_chain(random.Random(1), 5)
    for block in chain:
        kept.append(block)
    for _ in chain:
        kept.rollback()
    assert kept.tip() is None
    assert rows(kept.store) == {}


def test_undo_is_kept_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "KEPT_UNDO", 3)
    kept = Index(MemoryStore())
    chain = a_chain(random.Random(2), 8)
    for block in chain:
        kept.append(block)
    assert len(list(kept.store.iterator(prefix=UNDO))) == 3
    for _ in chain[5:]:
        kept.rollback()
    with pytest.raises(IndexTooOldError) as caught:
        kept.rollback()
    assert caught.value.number == 4
    assert kept.tip() == (4, chain[4].hash)


def test_clearing_goes_in_steps_and_is_finished_after_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "CLEARED_AT_ONCE", 2)
    kept = Index(MemoryStore())
    for block in a_chain(random.Random(3), 5):
        kept.append(block)
    assert kept.is_sound(100)
    write_batch, batches = kept.store.write_batch, 0

    def crash_at_the_third(changes: object, /, *, sync: bool) -> None:
        nonlocal batches
        batches += 1
        if batches == 3:
            raise RuntimeError("power cut")
        write_batch(changes, sync=sync)  # type: ignore[arg-type]

    monkeypatch.setattr(kept.store, "write_batch", crash_at_the_third)
    with pytest.raises(RuntimeError):
        kept.clear()
    assert not kept.is_sound(100)
    kept.clear()
    assert rows(kept.store) == {}
    assert kept.is_sound(100)


@pytest.mark.parametrize("missing", [0, 3, 8])
def test_a_missing_block_is_noticed(missing: int) -> None:
    kept = Index(MemoryStore())
    for block in a_chain(random.Random(4), 10):
        kept.append(block)
    assert all(kept.is_sound(blocks) for blocks in (2, 9, 10, 11, 100))
    kept.store.delete(number_key(BLOCK, missing))
    assert not kept.is_sound(100)
    assert kept.is_sound(10 - missing - 1)


def test_an_empty_index_is_sound() -> None:
    assert Index(MemoryStore()).is_sound(100)


def test_a_repeated_transaction_is_taken_back_too() -> None:
    """Blocks that nobody verified may hold a transaction for the second time, its cells live or not."""
    chain = a_chain(random.Random(5), 6)
    kept = Index(MemoryStore())
    for block in chain:
        kept.append(block)
    before = rows(kept.store)
    old = [tx for block in chain for tx in block.transactions]
    header = chain[-1].header.with_fields(number=6, parent_hash=chain[-1].hash)
    kept.append(chain[-1].replace(header=header, transactions=[*old, *old[:3]]))
    assert rows(kept.store) != before
    kept.rollback()
    assert rows(kept.store) == before
    assert kept.tip() == (5, chain[-1].hash)


def test_undo_of_big_blocks_is_kept_for_less_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "KEPT_BIG_UNDO", 2)
    kept = Index(MemoryStore())
    for block in a_chain(random.Random(6), 8):
        kept.append(block)
    sizes = {key: len(value) for key, value in kept.store.iterator(prefix=UNDO)}
    monkeypatch.setattr(index, "BIG_UNDO", sorted(sizes.values())[3])
    small = [key for key, size in sizes.items() if size <= index.BIG_UNDO]
    again = Index(MemoryStore())
    for block in a_chain(random.Random(6), 8):
        again.append(block)
    left = [key for key, _ in again.store.iterator(prefix=UNDO)]
    assert left == sorted({*small, *(number_key(UNDO, number) for number in (6, 7))})


def test_a_build_keeps_undo_of_the_last_blocks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "KEPT_BIG_UNDO", 2)
    kept, plain = Index(MemoryStore()), Index(MemoryStore())
    chain = a_chain(random.Random(7), 8)
    kept.append_run(chain, chain[-1].number)
    assert [key for key, _ in kept.store.iterator(prefix=UNDO)] == [number_key(UNDO, number) for number in (6, 7)]
    for _ in range(2):
        kept.rollback()
    plain.append_run(chain[:6], chain[-1].number)
    assert rows(kept.store) == rows(plain.store)
    with pytest.raises(IndexTooOldError):
        kept.rollback()


class _Late(Future[Any]):
    """Its work is done when somebody waits for it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work: Callable[[], Any] | None = work

    def result(self, timeout: float | None = None) -> Any:
        work, self._work = self._work, None
        return None if work is None else work()


class _LateExecutor(Executor):
    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return _Late(partial(work, *args, **kwargs))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_still_being_written_counts_as_written(seed: int) -> None:
    """The next run spends cells of the one before, and adds to its sums."""
    rng = random.Random(seed)
    chain = a_chain(random.Random(seed), 30)
    late, plain = Index(MemoryStore(), beside=_LateExecutor()), Index(MemoryStore())
    height = 0
    while height < len(chain):
        run = chain[height : height + rng.randint(1, 4)]
        height += len(run)
        for each in (late, plain):
            each.append_run(run, run[-1].number)
        assert late.tip() == plain.tip()
        assert dict(late.store.iterator()) != dict(plain.store.iterator())
        if rng.random() < 0.3:
            late.rollback()
            plain.rollback()
            height -= 1
            assert dict(late.store.iterator()) == dict(plain.store.iterator())
    late.flush()
    assert dict(late.store.iterator()) == dict(plain.store.iterator())


def test_a_write_that_fails_beside_is_told_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    chain, late = a_chain(random.Random(1), 4), Index(MemoryStore(), beside=_LateExecutor())

    def fail(*_: object, **__: object) -> None:
        raise StorageError(Path("index"), "the disk is full")

    monkeypatch.setattr(late.store, "prepare_batch", lambda *_, **__: fail)
    late.append_run(chain[:2], 1)
    with pytest.raises(StorageError, match="the disk is full"):
        late.append_run(chain[2:], 3)
