"""Bulk import that is cut short anywhere keeps whole blocks whose scripts have passed, or nothing of the group."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from ckb_node.chain import attach
from ckb_node.chain import bulk as bulk_module
from ckb_node.chain.bulk import BulkImport, BulkLimits, RefusedBlockError
from ckb_node.chain.checks import all_rules, scripts_later
from ckb_node.chain.writer import ChainWriter
from ckb_node.verification import script_queue
from ckb_node.verification.scripts import ScriptService
from consensus.context import ChainReader
from consensus.errors import ScriptError
from consensus.params import Consensus
from consensus.rules.verify_block import BlockTransactionError, PreparedBlock
from consensus.types.blockchain import Block
from storage.chain_store import ChainStore
from storage.compare import state_differences
from storage.errors import DiskFull
from storage.memory import MemoryStore
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.long_chain import NOW_MS, ChainMaker

PER_BLOCK, TRANSFERS = 2, 8
BAD = 7
"""The last block but one; each of the last four has transfers."""
TRACED = {str(module.__file__) for module in (bulk_module, attach, script_queue)}


@cache
def chain() -> tuple[bytes, ...]:
    maker = ChainMaker()
    transfers = list(maker.transfers(maker.cells(TRANSFERS)))
    maker.add_in_two_phases([transfers[at : at + PER_BLOCK] for at in range(0, TRANSFERS, PER_BLOCK)])
    return tuple(maker.raw_blocks)


class ToldService(ScriptService):
    """All scripts pass but those of one block; cycles tell of which block and transaction they are."""

    def __init__(self, consensus: Consensus, bad: int | None = None) -> None:
        super().__init__(consensus)
        self._bad = bad

    def run_block(self, reader: ChainReader, prepared: PreparedBlock) -> list[int]:
        number = prepared.env.number
        if number == self._bad:
            raise BlockTransactionError(1, ScriptError("bad"))
        return [1000 * number + index for index in range(len(prepared.fees))]


def now_ms() -> int:
    return NOW_MS


def a_writer(store: ChainStore) -> ChainWriter:
    writer = ChainWriter(dev_consensus(), store, ToldService(dev_consensus()), now_ms)
    writer.start(bytes(32))
    return writer


@cache
def store_at(height: int) -> ChainStore:
    """Blocks up to this height, one by one."""
    store = ChainStore.in_memory()
    writer = a_writer(store)
    for raw in chain()[:height]:
        writer.process(Block.parse(raw))
    return store


class Interrupt:
    """Raises KeyboardInterrupt before the line of bulk import that is the `at`th to run."""

    def __init__(self, at: int) -> None:
        self.lines, self._at = 0, at

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._line if frame.f_code.co_filename in TRACED else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        self.lines += event == "line"
        if self.lines == self._at:
            sys.settrace(None)
            raise KeyboardInterrupt
        return self._line


def add_all(store: ChainStore, bad: int | None, limits: BulkLimits, interrupt: Interrupt) -> None:
    consensus, before = dev_consensus(), sys.gettrace()
    check = all_rules(consensus, scripts_later, now_ms)
    writer = ChainWriter(consensus, store, ToldService(consensus, bad), now_ms)
    with BulkImport(writer, check, limits) as bulk:
        sys.settrace(interrupt)
        try:
            for raw in chain():
                bulk.add(Block.parse(raw))
        finally:
            sys.settrace(before)


def faults_of(store: ChainStore, bad: int | None) -> list[str]:
    """What is not as it is after single blocks up to the same tip."""
    with store.view() as view, store_at(view.tip_header().number).view() as wanted:
        tip = view.tip_header().number
        faults = state_differences(view, wanted)
        for block in map(Block.parse, chain()):
            ext, known = view.block_ext(block.hash), wanted.block_ext(block.hash)
            if block.number <= tip:
                assert ext is not None
                assert known is not None
                if ext.replace(received_at=0) != known.replace(received_at=0):
                    faults.append(f"what is known of block {block.number} differs")
            elif view.header(block.hash) is not None:
                faults.append(f"block {block.number} is stored")
            elif ext is not None and (block.number != bad or ext.verified is not False):
                faults.append(f"block {block.number} is known")
        if bad is not None and tip >= bad:
            faults.append("the bad block is attached")
    return faults


@pytest.mark.parametrize(("bad", "blocks"), [(None, 3), (BAD, 3), (BAD, 100)])
def test_interrupted_anywhere(bad: int | None, blocks: int) -> None:
    limits, whole = BulkLimits(blocks=blocks, seconds=1e9), Interrupt(0)
    store = ChainStore.in_memory()
    a_writer(store)
    with suppress(RefusedBlockError):
        add_all(store, bad, limits, whole)
    assert faults_of(store, bad) == []
    for at in range(1, whole.lines, 5):
        store = ChainStore.in_memory()
        a_writer(store)
        with suppress(KeyboardInterrupt, RefusedBlockError):
            add_all(store, bad, limits, Interrupt(at))
        assert faults_of(store, bad) == [], at


@pytest.mark.parametrize("bad", [None, *range(5, 9)])
def test_a_full_disk_is_what_is_told(bad: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when scripts of the next group fail before anybody has asked how the group on its way fared."""
    store = ChainStore.in_memory()
    a_writer(store)
    with monkeypatch.context() as full:

        def refuse() -> None:
            raise DiskFull(Path(), "no space left")

        full.setattr(MemoryStore, "prepare_batch", lambda _store, _changes, *, sync: refuse)
        with pytest.raises(DiskFull):
            add_all(store, bad, BulkLimits(blocks=4), Interrupt(0))
    assert faults_of(store, bad) == []
    with store.begin() as txn:
        assert txn.tip_header().number == 0


def test_others_may_write_after_a_flush() -> None:
    consensus, store = dev_consensus(), ChainStore.in_memory()
    writer = a_writer(store)
    blocks: Sequence[Block] = [Block.parse(raw) for raw in chain()]
    check = all_rules(consensus, scripts_later, now_ms)
    with BulkImport(writer, check) as bulk:
        assert bulk.tip().number == 0
        bulk.flush()
        writer.process(blocks[0])
        assert bulk.tip() == blocks[0].header
        bulk.add(blocks[1])
        assert bulk.tip() == blocks[1].header
