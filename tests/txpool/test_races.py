"""What may happen between the moment a transaction is checked and the moment its scripts are done."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Coroutine
from typing import TypeVar

import pytest

from ckb_node.txpool.rejects import Duplicated, Invalidated, RbfRejected, Reject, ResolveFailed, VerificationFailed
from consensus.rules.resolve import DeadOutPointError, UnknownOutPointError
from consensus.types.blockchain import Transaction
from tests.support.chains.funded_pool import BOB, FEE, Funds, cell_of, funded, hold_scripts

T = TypeVar("T")


async def until_waiting(funds: Funds, count: int) -> None:
    """Let the submissions run until they wait for scripts."""
    async with asyncio.timeout(60):
        while funds.pool.info().verify_queue_size < count:  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)


async def outcome(funds: Funds, tx: Transaction) -> bytes | Reject:
    try:
        return await funds.pool.submit(tx)
    except Reject as reason:
        return reason


def start(run: Coroutine[None, None, T]) -> asyncio.Task[T]:
    """A submission that goes on while the test does something else."""
    return asyncio.get_running_loop().create_task(run)


async def test_submitted_twice_while_verifying() -> None:
    async with funded() as funds:
        worker = hold_scripts(funds)
        tx = funds.spend()
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(outcome(funds, tx))
            await until_waiting(funds, 1)
            second = await outcome(funds, tx)
            with pytest.raises(Duplicated):
                await funds.pool.test_accept(tx)
            worker.release()
        assert isinstance(second, Duplicated)
        assert first.result() == tx.hash
        assert await funds.status(tx) == "pending"


async def test_two_rivals_while_verifying() -> None:
    async with funded() as funds:
        worker = hold_scripts(funds)
        cell = funds.cells.pop()
        rivals = [funds.spend(cell, fee=FEE * times) for times in (2, 1)]
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(outcome(funds, tx)) for tx in rivals]
            await until_waiting(funds, 2)
            worker.release()
        assert runs[0].result() == rivals[0].hash
        assert isinstance(runs[1].result(), RbfRejected)
        assert await funds.statuses(*rivals) == ["pending", "unknown"]


async def test_a_parent_leaves_while_the_child_is_verified() -> None:
    async with funded() as funds:
        worker = hold_scripts(funds)
        parent = funds.spend()
        child = funds.spend(cell_of(parent))
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(outcome(funds, parent))
            await until_waiting(funds, 1)
            worker.release()
            await first
            second = tasks.create_task(outcome(funds, child))
            await until_waiting(funds, 1)
            assert await funds.pool.remove(parent.hash)
            worker.release()
        reason = second.result()
        assert isinstance(reason, ResolveFailed)
        assert isinstance(reason.cause, UnknownOutPointError)
        assert funds.pool.info().pending == 0


async def test_a_dep_is_spent_while_the_reader_is_verified() -> None:
    async with funded() as funds:
        worker = hold_scripts(funds)
        cell = funds.cells.pop()
        reader, spender = funds.spend(reads=[cell[0]]), funds.spend(cell)
        async with asyncio.TaskGroup() as tasks:
            spending = tasks.create_task(outcome(funds, spender))
            reading = tasks.create_task(outcome(funds, reader))
            await until_waiting(funds, 2)
            worker.release()
        assert spending.result() == spender.hash
        reason = reading.result()
        assert isinstance(reason, ResolveFailed)
        assert isinstance(reason.cause, DeadOutPointError)


async def test_removed_while_verifying() -> None:
    async with funded() as funds:
        worker = hold_scripts(funds)
        transactions = [funds.spend() for _ in range(3)]
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(outcome(funds, tx)) for tx in transactions]
            await until_waiting(funds, 3)
            assert len(worker.held) == 2, "the third waits for a free worker"
            assert await funds.pool.remove(transactions[0].hash)
            assert not await funds.pool.remove(bytes(32))
            await funds.pool.clear_verify_queue()
            while not all(run.done() for run in runs):
                worker.release()
                await asyncio.sleep(0)
        assert all(isinstance(run.result(), Invalidated) for run in runs)
        assert funds.pool.info().verify_queue_size == 0
        again = start(outcome(funds, transactions[2]))
        await until_waiting(funds, 1)
        worker.release()
        assert await again == transactions[2].hash


async def test_withdrawn_before_its_turn_runs_no_scripts() -> None:
    async with funded() as funds:
        worker = hold_scripts(funds, parallel=1)
        first, second = funds.spend(), funds.spend()
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(outcome(funds, tx)) for tx in (first, second)]
            await until_waiting(funds, 2)
            await funds.pool.remove(second.hash)
            worker.release()
            await runs[0]
            await runs[1]
            assert worker.held == []
        assert isinstance(runs[1].result(), Invalidated)


async def test_the_caller_gives_up() -> None:
    async with funded() as funds:
        worker = hold_scripts(funds)
        tx = funds.spend()
        run = start(outcome(funds, tx))
        await until_waiting(funds, 1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert funds.pool.info().verify_queue_size == 0
        worker.release()
        again = start(outcome(funds, tx))
        await until_waiting(funds, 1)
        worker.release()
        assert await again == tx.hash


async def test_committed_while_verifying() -> None:
    async with funded() as other, funded() as funds:
        tx = other.spend(other.cells[0])
        await other.submit(tx)
        blocks = [await other.dev.mine() for _ in range(3)]
        worker = hold_scripts(funds)
        run = start(outcome(funds, tx))
        await until_waiting(funds, 1)
        for block in blocks:
            await funds.dev.chain.submit_block(block)
        assert funds.is_committed(tx)
        worker.release()
        assert isinstance(await run, Duplicated)
        assert await funds.pool.transaction(tx.hash) is None, "a committed transaction is not remembered as refused"


async def test_refusals_keep_nothing_alive() -> None:
    """A remembered exception would pin the chain views and cells of its whole traceback."""
    async with funded() as funds:
        views = weakref.WeakSet([funds.pool.pool.reader])
        for _ in range(3):
            assert isinstance(await outcome(funds, funds.spend(signer=BOB)), VerificationFailed)
            await funds.dev.mine()
            views.add(funds.pool.pool.reader)
        assert funds.pool.pool.rejected.count() == 3
        gc.collect()
        assert list(views) == [funds.pool.pool.reader]


async def test_the_tip_moves_while_verifying() -> None:
    async with funded() as other, funded() as funds:
        rival = other.spend(other.cells[0], fee=2 * FEE)
        tx, unrelated = funds.spend(funds.cells[0]), funds.spend()
        for each in (rival, unrelated):
            await other.submit(each)
        await other.pool.remove(unrelated.hash)
        blocks = [await other.dev.mine() for _ in range(3)]
        worker = hold_scripts(funds)
        runs = [start(outcome(funds, each)) for each in (tx, unrelated)]
        await until_waiting(funds, 2)
        for block in blocks:
            await funds.dev.chain.submit_block(block)
        worker.release()
        reason = await runs[0]
        assert isinstance(reason, ResolveFailed)
        assert isinstance(reason.cause, UnknownOutPointError), "a block spent its input meanwhile"
        assert await runs[1] == unrelated.hash
        assert await funds.status(unrelated) == "pending"


async def test_a_since_that_a_reorg_makes_too_early() -> None:
    """Verified at a high tip, admitted at a lower one."""
    async with funded() as funds:
        lower = funds.dev.chain.view()
        await funds.dev.mine(3)
        tip = funds.dev.chain.view().tip_header().number
        worker = hold_scripts(funds)
        tx = funds.spend(since=tip + 1 + funds.dev.consensus.proposal_window.closest)
        run = start(outcome(funds, tx))
        await until_waiting(funds, 1)
        funds.pool.pool.set_tip(lower)
        worker.release()
        reason = await run
        assert isinstance(reason, Reject)
        assert "Immature" in str(reason)
