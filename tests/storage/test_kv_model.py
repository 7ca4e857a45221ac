"""Stateful properties: engines, snapshots and overlays behave like plain dicts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from storage.kv import KeyValueStore, Reader, Snapshot
from storage.leveldb import LevelDbOptions, LevelDbStore
from storage.memory import MemoryStore
from storage.overlay import Overlay
from tests.support.fuzz import examples

KEYS = st.binary(max_size=3).map(lambda key: bytes(b"\x00\x01\xfe\xff"[b % 4] for b in key))
VALUES = st.binary(max_size=4)
CHANGES = st.lists(st.tuples(KEYS, st.none() | VALUES), max_size=6)
Model = dict[bytes, bytes]


def apply(model: Model, changes: list[tuple[bytes, bytes | None]]) -> None:
    for key, value in changes:
        if value is None:
            model.pop(key, None)
        else:
            model[key] = value


def check_range(reader: Reader, model: Model, prefix: bytes, start: bytes | None, stop: bytes | None) -> None:
    expected = sorted(
        (key, value)
        for key, value in model.items()
        if key.startswith(prefix) and (start is None or key >= start) and (stop is None or key < stop)
    )
    assert list(reader.iterator(prefix=prefix, start=start, stop=stop)) == expected
    assert list(reader.iterator(prefix=prefix, start=start, stop=stop, reverse=True)) == expected[::-1]


class EngineMachine(RuleBasedStateMachine):
    """One store, a model, and up to a few snapshots and one overlay with their models."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.model: Model = {}
        self.snapshots: list[tuple[Snapshot, Model]] = []
        self.store: KeyValueStore = self.open()
        self.reset_overlay()

    def open(self) -> KeyValueStore:
        raise NotImplementedError

    def reset_overlay(self) -> None:
        self.overlay = Overlay(self.store)
        self.overlay_model = dict(self.model)
        self.touched: set[bytes] = set()

    @initialize(changes=CHANGES)
    def begin_with(self, changes: list[tuple[bytes, bytes | None]]) -> None:
        self.write(changes)

    @rule(changes=CHANGES)
    def write(self, changes: list[tuple[bytes, bytes | None]]) -> None:
        self.store.write_batch(changes, sync=False)
        apply(self.model, changes)
        # The overlay reads the live store: what it has not touched changes under it.
        apply(self.overlay_model, [(key, value) for key, value in changes if key not in self.touched])

    @rule()
    def take_snapshot(self) -> None:
        self.snapshots.append((self.store.snapshot(), dict(self.model)))
        if len(self.snapshots) > 3:
            self.snapshots.pop(0)[0].close()

    @rule(changes=CHANGES)
    def change_overlay(self, changes: list[tuple[bytes, bytes | None]]) -> None:
        for key, value in changes:
            self.touched.add(key)
            if value is None:
                self.overlay.delete(key)
            else:
                self.overlay.put(key, value)
        apply(self.overlay_model, changes)

    @rule()
    def commit_overlay(self) -> None:
        self.overlay.commit(self.store, sync=False)
        self.model = dict(self.overlay_model)
        assert len(self.overlay) == 0
        self.reset_overlay()

    @rule()
    def discard_overlay(self) -> None:
        self.overlay.discard()
        self.overlay_model, self.touched = dict(self.model), set()

    @rule(prefix=KEYS, start=st.none() | KEYS, stop=st.none() | KEYS)
    def ranges_agree(self, prefix: bytes, start: bytes | None, stop: bytes | None) -> None:
        check_range(self.store, self.model, prefix, start, stop)
        check_range(self.overlay, self.overlay_model, prefix, start, stop)
        for snapshot, model in self.snapshots:
            check_range(snapshot, model, prefix, start, stop)

    @rule(key=KEYS)
    def gets_agree(self, key: bytes) -> None:
        assert self.store.get(key) == self.model.get(key)
        assert self.overlay.get(key) == self.overlay_model.get(key)
        for snapshot, model in self.snapshots:
            assert snapshot.get(key) == model.get(key)

    @invariant()
    def whole_content_agrees(self) -> None:
        assert dict(self.store.iterator()) == self.model

    def teardown(self) -> None:
        for snapshot, _ in self.snapshots:
            snapshot.close()
        self.store.close()
        shutil.rmtree(self.directory)


class LevelDbMachine(EngineMachine):
    def open(self) -> KeyValueStore:
        return LevelDbStore(self.directory / "db", LevelDbOptions(write_buffer=64 << 10))

    @rule()
    def reopen(self) -> None:
        for snapshot, _ in self.snapshots:
            snapshot.close()
        self.snapshots.clear()
        self.store.close()
        self.store = self.open()
        self.reset_overlay()


class MemoryMachine(EngineMachine):
    def open(self) -> KeyValueStore:
        return MemoryStore()


TestLevelDbModel = LevelDbMachine.TestCase
TestLevelDbModel.settings = settings(max_examples=examples(30), stateful_step_count=20, deadline=None)
TestMemoryModel = MemoryMachine.TestCase
TestMemoryModel.settings = settings(max_examples=examples(100), stateful_step_count=30, deadline=None)
