"""A dev chain whose Alice has many cells, and transactions that spend them in every way that tests need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from ckb_node.txpool import views
from ckb_node.txpool.limits import PoolLimits
from ckb_node.txpool.rejects import Duplicated, Reject
from ckb_node.txpool.service import PoolService
from ckb_node.verification.stopping import ScriptsStopped
from consensus.params import Consensus
from consensus.types.blockchain import (
    Block,
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
)
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell, sighash_dep
from tests.support.chains.devchain import DevChain, dev_chain

ALICE, BOB = Wallet(ALICE_KEY), Wallet(BOB_KEY)
CELL = 1000 * CKB
FEE = 10_000

Cell = tuple[OutPoint, int]
"""Out point and capacity."""


def cell_of(tx: Transaction, index: int = 0) -> Cell:
    return OutPoint(tx_hash=tx.hash, index=index), tx.body.outputs[index].capacity


@dataclass
class Funds:
    """The chain, and cells of Alice's (CELL shannons each) that are on it."""

    dev: DevChain
    cells: list[Cell]
    splitting: Transaction

    @property
    def pool(self) -> PoolService:
        return self.dev.pool

    def spend(
        self,
        *cells: Cell,
        fee: int = FEE,
        outputs: int = 1,
        reads: Sequence[OutPoint] = (),
        header_deps: Sequence[bytes] = (),
        since: int = 0,
        to: Script = ALICE.lock,
        signer: Wallet = ALICE,
        data: bytes = b"",
    ) -> Transaction:
        """Spend cells into `outputs` equal ones, signed. Without cells the next of Alice's."""
        chosen = cells or (self.cells.pop(),)
        capacity = (sum(each for _, each in chosen) - fee) // outputs
        rest = sum(each for _, each in chosen) - fee - capacity * outputs
        deps = [sighash_dep(self.dev.consensus), *(CellDep(out_point=each, dep_type=0) for each in reads)]
        body = RawTransaction(
            version=0,
            cell_deps=deps,
            header_deps=list(header_deps),
            inputs=[CellInput(since=since, previous_output=out_point) for out_point, _ in chosen],
            outputs=[
                CellOutput(capacity=capacity + (rest if index == 0 else 0), lock=to, type_=None)
                for index in range(outputs)
            ],
            outputs_data=[data] * outputs,
        )
        return signer.sign(body)

    async def submit(self, *transactions: Transaction) -> None:
        for tx in transactions:
            await self.pool.submit(tx)

    async def refusal(self, tx: Transaction) -> Reject:
        """Why the pool does not take a transaction; RPC must tell the same afterwards."""
        with pytest.raises(Reject) as caught:
            await self.pool.submit(tx)
        reason = caught.value
        if not isinstance(reason, Duplicated):
            assert await self.why_gone(tx) == views.RejectedTransaction(reason.kind, str(reason))
        return reason

    async def status(self, tx: Transaction) -> str:
        return (await self.pool.detail(tx.hash)).status

    async def statuses(self, *transactions: Transaction) -> list[str]:
        return [await self.status(tx) for tx in transactions]

    async def why_gone(self, tx: Transaction) -> views.RejectedTransaction:
        """What RPC tells of a transaction that left the pool."""
        answer = await self.pool.transaction(tx.hash)
        assert isinstance(answer, views.RejectedTransaction)
        return answer

    def is_committed(self, tx: Transaction) -> bool:
        return self.dev.chain.view().transaction_info(tx.hash) is not None


@asynccontextmanager
async def funded(
    count: int = 8, *, limits: PoolLimits | None = None, consensus: Consensus | None = None, message: bytes = b""
) -> AsyncIterator[Funds]:
    """A dev chain on which Alice has `count` cells. All funded chains of one consensus and message start alike."""
    async with dev_chain(consensus, limits=limits, message=message) as dev:
        big = issued_cell(dev.consensus, ALICE)
        outputs = [(ALICE.lock, CELL)] * count
        change = (ALICE.lock, big[1] - CELL * count - max(10, count) * FEE)
        splitting = ALICE.transfer(dev.consensus, [big], [*outputs, change])
        await dev.pool.submit(splitting)
        await dev.mine(4)
        assert dev.chain.view().transaction_info(splitting.hash) is not None
        yield Funds(dev, [cell_of(splitting, index) for index in range(count)][::-1], splitting)


@dataclass
class HeldExecutor(Executor):
    """A worker that begins when the test says so."""

    held: list[Callable[[], None]] = field(default_factory=list)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except (Reject, ScriptsStopped) as error:
                    future.set_exception(error)

        self.held.append(run)
        return future

    def release(self) -> None:
        """Do all work that waits."""
        held, self.held = self.held, []
        for run in held:
            run()


def hold_scripts(funds: Funds, limits: PoolLimits | None = None, parallel: int = 2) -> HeldExecutor:
    """Give the chain another pool, whose scripts run when the returned executor is released."""
    dev, worker = funds.dev, HeldExecutor()
    dev.pool = PoolService(dev.chain, limits or PoolLimits(), dev.scripts, worker, dev.clock.now_ms, parallel)
    return worker


def blocks_of(funds: Funds, first: int) -> list[Block]:
    """The main chain from a height on."""
    view = funds.dev.chain.view()
    blocks = []
    for number in range(first, view.tip_header().number + 1):
        block = view.block(view.main_hash(number) or b"")
        assert block is not None
        blocks.append(block)
    return blocks
