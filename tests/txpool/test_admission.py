"""What the pool takes and refuses: every reason that it has, each by a transaction that gives it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from ckb_node.txpool import verify_queue as waiting
from ckb_node.txpool import views
from ckb_node.txpool.entry import Status
from ckb_node.txpool.limits import TRANSACTION_SIZE_LIMIT, PoolLimits
from ckb_node.txpool.rejects import (
    Duplicated,
    Invalidated,
    LowFeeRate,
    Malformed,
    PoolFull,
    ResolveFailed,
    TooLarge,
    TooManyAncestors,
    VerificationFailed,
)
from ckb_node.verification.stopping import Stop
from consensus.rules.resolve import DeadOutPointError, InvalidHeaderDepError, UnknownOutPointError
from consensus.rules.since import ImmatureError
from consensus.rules.transaction import CellbaseImmatureError, InsufficientCellCapacityError, TransactionVersionError
from consensus.script.errors import TransactionScriptError
from consensus.types.blockchain import NULL_OUT_POINT, CellInput, OutPoint
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.funded_pool import ALICE, BOB, CELL, FEE, cell_of, funded, hold_scripts

RELATIVE, EPOCH_METRIC = 1 << 63, 1 << 61


async def test_a_good_transaction_is_taken() -> None:
    async with funded() as funds:
        tx = funds.spend()
        assert await funds.pool.submit(tx) == tx.hash
        answer = await funds.pool.transaction(tx.hash)
        assert isinstance(answer, views.PoolTransaction)
        assert (answer.transaction, answer.state, answer.fee) == (tx, views.TxState.PENDING, FEE)
        info = funds.pool.info()
        assert (info.pending, info.proposed, info.total_tx_size) == (1, 0, tx.size_in_block)
        assert answer.cycles
        assert info.total_tx_cycles == answer.cycles
        assert info.last_txs_updated_at == answer.time_added


async def test_fee_rate_is_by_size() -> None:
    async with funded() as funds:
        size = funds.spend(funds.cells[-1]).size_in_block
        refused = await funds.refusal(funds.spend(funds.cells[-1], fee=size - 1))
        assert isinstance(refused, LowFeeRate)
        assert (refused.min_fee_rate, refused.required_fee, refused.fee) == (1000, size, size - 1)
        await funds.submit(funds.spend(funds.cells[-1], fee=size))


async def test_too_many_ancestors() -> None:
    async with funded(limits=PoolLimits(max_ancestors=3)) as funds:
        chain = [funds.spend()]
        for _ in range(3):
            chain.append(funds.spend(cell_of(chain[-1])))
        await funds.submit(*chain[:3])
        assert isinstance(await funds.refusal(chain[3]), TooManyAncestors)
        assert funds.pool.info().pending == 3


async def test_too_large() -> None:
    async with funded() as funds:
        tx = funds.spend()
        tx = tx.replace(witnesses=[*tx.witnesses, bytes(TRANSACTION_SIZE_LIMIT - tx.size_in_block - 7)])
        assert tx.size_in_block == TRANSACTION_SIZE_LIMIT + 1
        refused = await funds.refusal(tx)
        assert isinstance(refused, TooLarge)
        assert (refused.size, refused.limit) == (tx.size_in_block, TRANSACTION_SIZE_LIMIT)


async def test_duplicated() -> None:
    async with funded() as funds:
        tx = funds.spend()
        await funds.submit(tx)
        assert isinstance(await funds.refusal(tx), Duplicated)
        assert isinstance(await funds.pool.transaction(tx.hash), views.PoolTransaction), "a duplicate is no reason"
        other_witness = tx.replace(witnesses=[*tx.witnesses, b"more"])
        assert other_witness.hash == tx.hash
        assert isinstance(await funds.refusal(other_witness), Duplicated)


async def test_malformed() -> None:
    async with funded() as funds:
        tx = funds.spend(funds.cells[-1])
        null_input = CellInput(since=1, previous_output=NULL_OUT_POINT)
        cellbase = tx.replace(body=tx.body.replace(inputs=[null_input]))
        refused = await funds.refusal(cellbase)
        assert isinstance(refused, Malformed)
        assert "cellbase like" in str(refused)
        too_much = funds.spend(funds.cells[-1], fee=-1)
        assert isinstance(await funds.refusal(too_much), Malformed)


async def test_unknown_cells() -> None:
    async with funded() as funds:
        absent = OutPoint(tx_hash=bytes([7]) * 32, index=0)
        for tx in (funds.spend((absent, CELL)), funds.spend(reads=[absent])):
            refused = await funds.refusal(tx)
            assert isinstance(refused, ResolveFailed)
            assert isinstance(refused.cause, UnknownOutPointError)
            assert refused.cause.out_point == absent.raw
        no_such_output = OutPoint(tx_hash=funds.splitting.hash, index=99)
        assert isinstance((await funds.refusal(funds.spend((no_such_output, CELL)))), ResolveFailed)


async def test_dead_cells() -> None:
    async with funded(limits=PoolLimits(min_rbf_rate=1000)) as funds:
        cell = funds.cells[-1]
        first = funds.spend(cell)
        await funds.submit(first)
        rival = funds.spend(cell, fee=100 * FEE)
        for tx in (rival, funds.spend(funds.cells[0], reads=[cell[0]]), funds.spend(cell, cell)):
            refused = await funds.refusal(tx)
            assert isinstance(refused, ResolveFailed)
            assert isinstance(refused.cause, DeadOutPointError)
            assert refused.cause.out_point == cell[0].raw
        entries = await funds.pool.entries()
        assert list(entries.conflicted) == [rival.hash], "the valid one that only lost the race"
        assert [tx_hash for tx_hash, _ in entries.pending] == [first.hash]


async def test_header_deps_must_be_on_the_main_chain() -> None:
    async with funded() as funds:
        refused = await funds.refusal(funds.spend(header_deps=[bytes(32)]))
        assert isinstance(refused, ResolveFailed)
        assert isinstance(refused.cause, InvalidHeaderDepError)
        await funds.submit(funds.spend(header_deps=[funds.dev.chain.view().tip_header().hash]))


async def test_scripts_must_pass() -> None:
    async with funded() as funds:
        refused = await funds.refusal(funds.spend(signer=BOB))
        assert isinstance(refused, VerificationFailed)
        assert isinstance(refused.cause, TransactionScriptError)


async def test_rules_of_the_transaction_alone() -> None:
    async with funded() as funds:
        tx = funds.spend(funds.cells[-1])
        refused = await funds.refusal(ALICE.sign(tx.body.replace(version=1)))
        assert isinstance(refused, VerificationFailed)
        assert isinstance(refused.cause, TransactionVersionError)
        refused = await funds.refusal(funds.spend(funds.cells[-1], outputs=17))
        assert isinstance(refused, VerificationFailed)
        assert isinstance(refused.cause, InsufficientCellCapacityError)


async def test_since() -> None:
    async with funded() as funds:
        tip = funds.dev.chain.view().tip_header().number
        closest = funds.dev.consensus.proposal_window.closest
        earliest = tip + 1 + closest
        refused = await funds.refusal(funds.spend(funds.cells[-1], since=earliest + 1))
        assert isinstance(refused, VerificationFailed)
        assert isinstance(refused.cause, ImmatureError)
        await funds.submit(funds.spend(since=earliest))
        parent = funds.spend()
        await funds.submit(parent)
        refused = await funds.refusal(funds.spend(cell_of(parent), since=RELATIVE | 0))
        assert isinstance(refused, VerificationFailed), "relative to a cell that no block holds yet"


async def test_cellbase_maturity() -> None:
    consensus = replace(dev_consensus(), cellbase_maturity_epochs=dev_consensus().cellbase_maturity_epochs + 1)
    async with funded(consensus=consensus) as funds:
        block = await funds.dev.mine(10)
        reward = cell_of(block.transactions[0])
        young = funds.spend(reward, signer=BOB)
        refused = await funds.refusal(young)
        assert isinstance(refused, VerificationFailed)
        assert isinstance(refused.cause, CellbaseImmatureError)
        await funds.dev.mine(funds.dev.chain.view().tip_epoch().length)
        await funds.submit(young)


async def test_full_pool_drops_who_pays_least() -> None:
    async with funded() as funds:
        size = funds.spend(funds.cells[-1]).size_in_block
        funds.dev.pool.pool.limits = PoolLimits(max_size=3 * size)
        poor, rich, richer = (funds.spend(fee=FEE * times) for times in (1, 2, 3))
        child = funds.spend(cell_of(poor), fee=FEE)
        await funds.submit(poor, rich, child)
        await funds.submit(richer)
        assert await funds.statuses(poor, child, rich, richer) == ["pending", "unknown", "pending", "pending"]
        assert (await funds.why_gone(child)).kind == PoolFull.kind
        refused = await funds.refusal(funds.spend(fee=FEE // 2))
        assert isinstance(refused, PoolFull)
        assert "shannons/KW" in str(refused)
        assert await funds.statuses(poor, rich, richer) == ["pending"] * 3
        await funds.submit(funds.spend(fee=FEE * 4))
        assert await funds.status(poor) == "unknown"


async def test_full_pool_drops_pending_first() -> None:
    async with funded() as funds:
        proposed = funds.spend(fee=FEE)
        await funds.submit(proposed)
        await funds.dev.mine(2)
        assert await funds.status(proposed) == "proposed"
        funds.dev.pool.pool.limits = PoolLimits(max_size=proposed.size_in_block)
        assert isinstance(await funds.refusal(funds.spend(fee=FEE * 100)), PoolFull)
        assert await funds.status(proposed) == "proposed"


async def test_a_spender_crowds_readers_out() -> None:
    async with funded(limits=PoolLimits(max_ancestors=2)) as funds:
        cell = funds.cells.pop()
        readers = [funds.spend(reads=[cell[0]], fee=FEE * times) for times in (2, 1)]
        await funds.submit(*readers)
        await funds.submit(funds.spend(cell))
        assert await funds.statuses(*readers) == ["pending", "unknown"]
        assert (await funds.why_gone(readers[1])).kind == Invalidated.kind


async def test_waiting_room_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds:
        worker = hold_scripts(funds)
        funds.pool._verify_queue = waiting.VerifyQueue(Stop(), limit=2)
        transactions = [funds.spend() for _ in range(3)]
        async with asyncio.TaskGroup() as tasks:
            first = [tasks.create_task(funds.pool.submit(tx)) for tx in transactions[:2]]
            await asyncio.sleep(0)
            assert funds.pool.info().verify_queue_size == 2
            assert isinstance(await funds.refusal(transactions[2]), PoolFull)
            worker.release()
        assert [await task for task in first] == [tx.hash for tx in transactions[:2]]
        assert funds.pool.info().verify_queue_size == 0
        funds.pool._verify_queue = waiting.VerifyQueue(Stop(), max_bytes=transactions[2].raw_size - 1)
        assert isinstance(await funds.refusal(transactions[2]), PoolFull)


async def test_accept_without_admission() -> None:
    async with funded() as funds:
        tx = funds.spend(fee=12_345)
        accepted = await funds.pool.test_accept(tx)
        assert accepted.fee == 12_345
        assert accepted.cycles > 0
        assert await funds.status(tx) == "unknown"
        await funds.submit(tx)
        with pytest.raises(Duplicated):
            await funds.pool.test_accept(tx)
        with pytest.raises(VerificationFailed):
            await funds.pool.test_accept(funds.spend(signer=BOB))


async def test_an_output_of_the_pool_can_be_spent_and_read() -> None:
    async with funded() as funds:
        parent = funds.spend(outputs=2)
        reader = funds.spend(reads=[cell_of(parent, 1)[0]])
        child = funds.spend(cell_of(parent), fee=FEE)
        assert isinstance(await funds.refusal(child), ResolveFailed)
        await funds.submit(parent, reader, child)
        detail = await funds.pool.detail(parent.hash)
        assert (detail.descendants_count, detail.ancestors_count) == (2, 0)
        assert (await funds.pool.detail(child.hash)).ancestors_count == 1
        spent, live = cell_of(parent, 0)[0].raw, cell_of(parent, 1)[0].raw
        assert (await funds.pool.live_cell(spent)).state is views.CellState.DEAD
        lookup = await funds.pool.live_cell(live)
        assert lookup.state is views.CellState.LIVE
        assert lookup.cell is not None
        assert lookup.cell.capacity == parent.body.outputs[1].capacity
        assert (await funds.pool.live_cell(bytes(36))).state is views.CellState.UNKNOWN


async def test_fee_rate_estimate_walks_the_pool() -> None:
    async with funded() as funds:
        least = funds.pool.info().min_fee_rate
        assert await funds.pool.estimate_fee_rate(views.FeePriority.HIGH_PRIORITY, fallback=True) == least
        with pytest.raises(views.FeeEstimateError):
            await funds.pool.estimate_fee_rate(views.FeePriority.HIGH_PRIORITY, fallback=False)
        transactions = [funds.spend(fee=FEE * times) for times in range(1, 7)]
        await funds.submit(*transactions)
        small_blocks = replace(funds.dev.consensus, max_block_bytes=transactions[0].size_in_block)
        funds.pool.pool.consensus = small_blocks
        rates = [entry.fee_rate for entry in funds.pool.pool.graph.by_score(Status)]
        assert await funds.pool.estimate_fee_rate(views.FeePriority.HIGH_PRIORITY, fallback=True) == rates[2]
        assert await funds.pool.estimate_fee_rate(views.FeePriority.LOW_PRIORITY, fallback=True) == least
