"""Blocks with transactions of all kinds: their scripts succeed, and bulk import leaves the state of single blocks."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from ckb_node.chain.bulk import BulkImport
from ckb_node.chain.checks import all_rules, scripts_later
from ckb_node.chain.writer import ChainWriter
from ckb_node.verification.scripts import ScriptService
from ckb_node.verification.service import ParallelScriptService
from consensus.types.blockchain import Block
from storage.chain_store import ChainStore
from storage.compare import state_differences
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.long_chain import NOW_MS, ChainMaker
from tests.support.chains.mixed_chain import PER_MILLE, Kind, MixedMaker
from tests.support.vm.compiled import with_interpreters
from vm import Engines

COUNT, PER_BLOCK, UNCLE_EVERY = 120, 24, 2
SHORT_EPOCH_S = 16
"""Two blocks: NervosDAO locks for 180 epochs."""
TYPES = {kind: max(share, 40) for kind, share in PER_MILLE.items()}


def now_ms() -> int:
    return NOW_MS


def test_all_kinds_in_bulk_and_one_by_one(tmp_path: Path) -> None:
    consensus = replace(dev_consensus(), epoch_duration_target_s=SHORT_EPOCH_S)
    maker = ChainMaker(consensus)
    mixed = MixedMaker(maker, COUNT, TYPES)
    preparing = len(maker.raw_blocks)
    maker.add_in_two_phases(mixed.batches(PER_BLOCK), UNCLE_EVERY)
    blocks = [Block.parse(raw) for raw in maker.raw_blocks]
    assert set(mixed.kinds) == set(Kind)
    assert sum(len(block.transactions) - 1 for block in blocks[preparing:]) == COUNT
    assert any(block.has_uncles for block in blocks)

    one, many = ChainStore.in_memory(), ChainStore.in_memory()
    writer = ChainWriter(consensus, one, ScriptService(consensus), now_ms)
    writer.start(bytes(32))
    with (
        Engines(with_interpreters(tmp_path)) as engines,
        closing(ParallelScriptService(consensus, engines, tmp_path, 1)) as scripts,
    ):
        bulk_writer = ChainWriter(consensus, many, scripts, now_ms)
        bulk_writer.start(bytes(32))
        with BulkImport(bulk_writer, all_rules(consensus, scripts_later, now_ms)) as bulk:
            for raw in maker.raw_blocks:
                bulk.add(Block.parse(raw))
    writer.scripts.verified = bulk_writer.scripts.verified
    for block in blocks:
        writer.process(block)
    with one.view() as view, many.view() as other:
        assert view.tip_header() == blocks[-1].header
        assert state_differences(view, other) == []
