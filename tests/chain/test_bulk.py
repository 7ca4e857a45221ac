"""Bulk import with scripts in processes: the state, the error and the facts are those of single blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest

from ckb_node.chain.bulk import BulkImport, BulkLimits, RefusedBlockError
from ckb_node.chain.checks import all_rules, scripts_later
from ckb_node.chain.writer import ChainWriter
from ckb_node.verification.scripts import ScriptService
from ckb_node.verification.service import ParallelScriptService
from consensus.errors import CkbError
from consensus.types.blockchain import Block, Transaction
from storage.chain_state import ChainState
from storage.chain_store import ChainStore
from storage.compare import state_differences
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.long_chain import NOW_MS, ChainMaker
from tests.support.vm.compiled import with_interpreters
from vm import Engines

PER_BLOCK, BLOCKS = 12, 8


def now_ms() -> int:
    return NOW_MS


def forged(transaction: Transaction) -> Transaction:
    """Its signature names another key."""
    witness = bytearray(transaction.witnesses[0])
    witness[-20] ^= 1
    return Transaction(body=transaction.body, witnesses=[bytes(witness)])


@cache
def chain_of(*bad: int) -> tuple[bytes, ...]:
    """Blocks of transfers; those numbers of all the transfers are forged, which nobody noticed when they were made."""
    maker = ChainMaker()
    transfers = list(maker.transfers(maker.cells(PER_BLOCK * BLOCKS)))
    for index in bad:
        transfers[index] = forged(transfers[index])
    maker.add_in_two_phases([transfers[at : at + PER_BLOCK] for at in range(0, len(transfers), PER_BLOCK)])
    return tuple(maker.raw_blocks)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ParallelScriptService]:
    directory = tmp_path_factory.mktemp("engines")
    consensus = dev_consensus()
    with (
        Engines(with_interpreters(directory)) as engines,
        closing(ParallelScriptService(consensus, engines, directory, 2)) as parallel,
    ):
        yield parallel


def in_groups(writer: ChainWriter, raws: Sequence[bytes]) -> CkbError | None:
    """Take blocks in small groups; what was wrong."""
    check = all_rules(dev_consensus(), scripts_later, now_ms)
    try:
        with BulkImport(writer, check, BulkLimits(blocks=5)) as bulk:
            for raw in raws:
                bulk.add(Block.parse(raw))
    except RefusedBlockError as error:
        return error.cause
    return None


def one_by_one(writer: ChainWriter, raws: Sequence[bytes]) -> CkbError | None:
    for raw in raws:
        try:
            writer.process(Block.parse(raw))
        except CkbError as error:
            return error
    return None


def facts_of(state: ChainState, raw: bytes) -> object:
    block_hash = Block.parse(raw).hash
    ext = state.block_ext(block_hash)
    return None if ext is None else (ext.replace(received_at=0), state.raw_block(block_hash) == raw)


@pytest.mark.parametrize("bad", [(), (0,), (PER_BLOCK * 3 + 5,), (PER_BLOCK * 5 + 2, PER_BLOCK * 4 + 11), (95,)])
def test_groups_end_as_single_blocks_do(service: ParallelScriptService, tmp_path: Path, bad: tuple[int, ...]) -> None:
    raws, consensus = chain_of(*bad), dev_consensus()
    plain, ours = ChainStore.in_memory(), ChainStore.open(tmp_path / "chain")
    writer = ChainWriter(consensus, plain, ScriptService(consensus), now_ms)
    writer.start(bytes(32))
    parallel = ChainWriter(consensus, ours, service, now_ms)
    parallel.start(bytes(32))
    expected, error = one_by_one(writer, raws), in_groups(parallel, raws)
    assert (type(error), str(error)) == (type(expected), str(expected))
    assert (error is None) == (bad == ())
    with ours.view() as view, plain.view() as wanted:
        assert state_differences(view, wanted) == []
        for raw in raws:
            assert facts_of(view, raw) == facts_of(wanted, raw)
    ours.close()
