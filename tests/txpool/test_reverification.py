"""No entry stops the chain: the pool is verified anew at a hardfork, and what a block is refused for leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from ckb_node.chain.events import BlockDecided, Verdict
from ckb_node.runtime.slices import in_slices
from ckb_node.txpool import views
from ckb_node.txpool.entry import PoolEntry
from ckb_node.txpool.pool import Checked
from ckb_node.verification.scripts import VerifiedTransactions
from consensus.errors import CkbError
from consensus.rules.resolve import UnknownOutPointError
from consensus.rules.since import ImmatureError
from consensus.rules.verify_block import BlockCyclesError, BlockTransactionError
from consensus.script.errors import ExceededMaximumCycles, ValidationFailure
from consensus.types.blockchain import Block, OutPoint, Transaction
from storage.errors import StorageCorrupt
from tests.support.builders.wallet import CKB
from tests.support.chains.forking import FORK_EPOCH, Guard, Program, deploy, forking
from tests.support.chains.funded_pool import ALICE, CELL, Cell, Funds, cell_of, funded

CELL_OF_GUARD = 500 * CKB


@dataclass
class Guarded:
    """Cells whose lock is a program that is found by its type hash."""

    guard: Guard
    cells: list[Cell]

    def spend(self, cell: Cell) -> Transaction:
        return self.guard.spend(cell)


async def guard(funds: Funds, program: Program) -> Guarded:
    """Put a program on the chain, and two cells that it guards."""
    purse = funds.spend(funds.cells.pop(), funds.cells.pop())
    deploying, guards, cells = deploy(funds.dev.consensus, cell_of(purse), [program], 2, CELL_OF_GUARD)
    await funds.submit(purse, deploying)
    await funds.dev.mine(4)
    assert funds.is_committed(deploying)
    return Guarded(guards[program], cells[program])


async def mine_to_the_edge(funds: Funds, before: int = 0) -> None:
    """The next block but `before` is the first of the fork's epoch."""
    with funds.dev.chain.view() as view:
        first = sum(length for length in [view.tip_epoch().length] * FORK_EPOCH)
        await funds.dev.mine(first - 1 - before - view.tip_header().number)
    assert funds.dev.chain.view().tip_epoch().number == FORK_EPOCH - 1


@asynccontextmanager
async def at_a_fork() -> AsyncIterator[Funds]:
    async with funded(consensus=forking()) as funds:
        yield funds


async def test_what_a_fork_makes_invalid_leaves_and_the_chain_goes_on() -> None:
    async with at_a_fork() as funds:
        guarded = await guard(funds, Program.ONLY_VM_1)
        await mine_to_the_edge(funds, before=2)
        invalid = guarded.spend(guarded.cells[0])
        child = funds.spend(cell_of(invalid))
        other = funds.spend()
        await funds.submit(invalid, child, other)
        await funds.dev.mine(2)
        assert funds.pool.pool.vm_version == 2
        assert await funds.statuses(invalid, child, other) == ["proposed"] * 3
        assert not (await funds.dev.assembler.block_template()).transactions, "nothing is verified yet"
        await funds.dev.settle_pool()
        assert await funds.statuses(invalid, child, other) == ["unknown", "unknown", "proposed"]
        for gone in (invalid, child):
            reason = await funds.why_gone(gone)
            assert reason.kind == "Verification"
            assert "error code 1" in reason.description
        await funds.dev.mine()
        assert funds.is_committed(other)


async def test_a_fork_refreshes_cycles() -> None:
    async with at_a_fork() as funds:
        guarded = await guard(funds, Program.SLOWER_ON_VM_2)
        await mine_to_the_edge(funds, before=2)
        tx = guarded.spend(guarded.cells[0])
        child = funds.spend(cell_of(tx))
        await funds.submit(tx, child)
        graph = funds.pool.pool.graph
        before = graph.entries[tx.short_id].cycles, graph.total_cycles
        await funds.dev.mine(2)
        await funds.dev.settle_pool()
        entry, below = graph.entries[tx.short_id], graph.entries[child.short_id]
        assert entry.cycles == before[0] + 3, "three nops"
        assert graph.total_cycles == entry.cycles + below.cycles
        assert entry.descendants.cycles == below.ancestors.cycles == graph.total_cycles
        template = await funds.dev.assembler.block_template()
        assert [each.cycles for each in template.transactions] == [entry.cycles, below.cycles]
        block = await funds.dev.mine()
        ext = funds.dev.chain.view().block_ext(block.hash)
        assert ext is not None
        assert list(ext.cycles or ()) == [entry.cycles, below.cycles]


async def test_a_reorganisation_takes_a_fork_back() -> None:
    async with at_a_fork() as funds:
        guarded = await guard(funds, Program.ONLY_VM_1)
        await mine_to_the_edge(funds, before=1)
        below = funds.dev.chain.view().tip_header().hash
        await funds.dev.mine()
        pool = funds.pool.pool
        assert pool.vm_version == 2
        await funds.dev.settle_pool()
        await funds.dev.chain.truncate(below)
        assert pool.vm_version == 1
        await funds.pool.submit(guarded.spend(guarded.cells[0]))


async def test_scripts_that_ran_before_the_fork_and_end_after_it_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_a_fork() as funds:
        guarded = await guard(funds, Program.ONLY_VM_1)
        await mine_to_the_edge(funds, before=1)
        verifier = funds.pool._verifier
        once = verifier._verify_once
        runs = []

        async def cross(*args: object) -> object:
            result = await once(*args)  # type: ignore[arg-type]
            runs.append(result[0].vm_version)
            if len(runs) == 1:
                await funds.dev.mine()
            return result

        monkeypatch.setattr(verifier, "_verify_once", cross)
        refused = await funds.refusal(guarded.spend(guarded.cells[0]))
        assert refused.kind == "Verification"
        assert runs == [1]


# ------------------------------------------------------------ blocks that the node refuses


async def proposed(funds: Funds) -> list[Transaction]:
    """A parent, its child and another, all of which the next block may hold."""
    parent = funds.spend(outputs=2)
    transactions = [parent, funds.spend(cell_of(parent)), funds.spend()]
    await funds.submit(*transactions)
    await funds.dev.mine(2)
    assert await funds.statuses(*transactions) == ["proposed"] * 3
    return transactions


async def next_block(funds: Funds) -> Block:
    return (await funds.dev.assembler.block_template()).to_block()


def refuse(funds: Funds, block: Block, error: CkbError) -> None:
    """As the chain tells it."""
    for listener in funds.dev.chain._decided_listeners:
        listener(BlockDecided(block, Verdict.REFUSED, error=error))


def position(block: Block, tx: Transaction) -> int:
    return [each.hash for each in block.transactions].index(tx.hash)


@pytest.mark.parametrize("is_from_outside", [False, True])
async def test_a_bad_entry_stops_nobody(*, is_from_outside: bool) -> None:
    """A transaction whose signature is bad is in the pool, as if its verdict had been wrong."""
    async with funded() as funds:
        parent, child, other = await proposed(funds)
        entry = funds.pool.pool.graph.entries[parent.short_id]
        spoil(funds, entry)
        made = funds.dev.chain.submit_block(await next_block(funds)) if is_from_outside else funds.dev.mine()
        with pytest.raises(BlockTransactionError):
            await made
        assert await funds.statuses(parent, child, other) == ["unknown", "unknown", "proposed"]
        assert (await funds.why_gone(parent)).kind == (await funds.why_gone(child)).kind == "Verification"
        assert "error code" in (await funds.why_gone(parent)).description
        block = await funds.dev.mine()
        assert [tx.hash for tx in block.transactions[1:]] == [other.hash]


def spoil(funds: Funds, entry: PoolEntry) -> None:
    """Put another witness into an entry, of the same size."""
    spoilt = entry.tx.replace(witnesses=[bytes(len(entry.tx.witnesses[0]))])
    entry.raw = spoilt.raw
    funds.pool.pool.version += 1


async def test_a_block_with_other_witnesses_is_no_verdict_on_the_pools() -> None:
    async with funded() as funds:
        transactions = await proposed(funds)
        block = await next_block(funds)
        at = position(block, transactions[2])
        changed = list(block.transactions)
        changed[at] = changed[at].replace(witnesses=[bytes(85)])
        with pytest.raises(BlockTransactionError) as caught:
            await funds.dev.chain.submit_block(block.replace(transactions=changed).with_roots())
        assert caught.value.index == at
        assert await funds.statuses(*transactions) == ["proposed"] * 3


async def test_blocks_on_other_tips_and_immature_ones_are_no_verdict() -> None:
    async with funded() as funds:
        transactions = await proposed(funds)
        block = await next_block(funds)
        elsewhere = block.replace(header=block.header.with_fields(parent_hash=bytes(32)))
        refuse(funds, elsewhere, BlockTransactionError(1, ValidationFailure(ALICE.lock, 1)))
        refuse(funds, block, BlockTransactionError(1, ImmatureError(0)))
        assert await funds.statuses(*transactions) == ["proposed"] * 3
        assert len((await next_block(funds)).transactions) == 4


@pytest.mark.parametrize(
    "error",
    [
        UnknownOutPointError(bytes(36)),
        BlockCyclesError(1, 2),
        BlockTransactionError(1, ExceededMaximumCycles(5)),
    ],
)
async def test_a_refusal_that_names_nobody_leads_to_a_second_look_and_then_to_none(error: CkbError) -> None:
    async with funded() as funds:
        transactions = await proposed(funds)
        block = await next_block(funds)
        refuse(funds, block, error)
        assert len((await next_block(funds)).transactions) == 1
        assert await funds.statuses(*transactions) == ["proposed"] * 3
        await funds.dev.settle_pool()
        assert len((await next_block(funds)).transactions) == 4, "they were right"
        refuse(funds, block, error)
        assert await funds.statuses(*transactions) == ["unknown"] * 3
        assert (await funds.why_gone(transactions[0])).kind in {"Resolve", "Verification"}
        await funds.dev.mine()


async def test_a_strangers_order_is_no_verdict() -> None:
    async with funded() as funds:
        transactions = await proposed(funds)
        block = await next_block(funds)
        cellbase, *rest = block.transactions
        turned = block.replace(transactions=[cellbase, *rest[::-1]])
        for _ in range(2):
            refuse(funds, turned, UnknownOutPointError(bytes(36)))
        assert await funds.statuses(*transactions) == ["proposed"] * 3
        assert len((await next_block(funds)).transactions) == 4


async def test_what_no_block_can_hold_leaves_with_the_template() -> None:
    """As if the chain had lost a cell on which the pool counts."""
    async with funded() as funds:
        parent, child, other = await proposed(funds)
        entry = funds.pool.pool.graph.entries[parent.short_id]
        entry.raw = funds.spend((OutPoint(tx_hash=bytes(32), index=0), CELL), outputs=2).raw
        funds.pool.pool.version += 1
        template = await funds.dev.assembler.block_template()
        assert [each.transaction.hash for each in template.transactions] == [other.hash]
        assert await funds.statuses(parent, child, other) == ["unknown", "unknown", "proposed"]
        answer = await funds.pool.transaction(parent.hash)
        assert isinstance(answer, views.RejectedTransaction)
        assert answer.kind == "Resolve"


async def test_what_is_to_return_is_no_reason_to_drop_what_stands_on_it() -> None:
    """While a reorganisation's transactions are on their way back, their children's verdicts do not count."""
    async with funded() as funds:
        parent = funds.spend(outputs=2)
        await funds.submit(parent)
        await funds.dev.mine(2)
        base = funds.dev.chain.view().tip_header()
        await funds.dev.mine()
        child = funds.spend(cell_of(parent))
        await funds.submit(child)
        await funds.dev.mine(2)
        assert await funds.status(child) == "proposed"
        pool = funds.pool.pool
        pool.away = frozenset({parent.hash})
        await in_slices(pool.drop_impossible(pool.graph.entries[child.short_id], UnknownOutPointError(bytes(36))))
        assert await funds.status(child) == "proposed"
        pool.away = frozenset()
        await in_slices(pool.drop_impossible(pool.graph.entries[child.short_id], UnknownOutPointError(bytes(36))))
        assert await funds.status(child) == "unknown"
        assert base.number < funds.dev.chain.view().tip_header().number


@pytest.mark.parametrize("error", [UnknownOutPointError(bytes(36)), OverflowError("int too big to convert")])
async def test_a_template_without_transactions_is_better_than_none(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async with funded() as funds:
        await proposed(funds)

        def broken(*args: object) -> object:
            raise error

        monkeypatch.setattr(
            "ckb_node.mining.assembler.transaction_templates", lambda entries: broken() if entries else []
        )
        assert len((await next_block(funds)).transactions) == 1
        await funds.dev.mine()


async def test_a_disk_that_fails_for_one_entry_is_not_the_end_of_verifying(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds:
        bad, good = funds.spend(), funds.spend()
        await funds.submit(bad, good)
        graph, check = funds.pool.pool.graph, funds.pool.pool.check_entry

        def unreadable(entry: PoolEntry) -> Checked:
            if entry.hash == bad.hash:
                raise StorageCorrupt("db", "a checksum differs")
            return check(entry)

        monkeypatch.setattr(funds.pool.pool, "check_entry", unreadable)
        funds.pool._reverification.verify_all()
        await funds.dev.settle_pool()
        assert await funds.statuses(bad, good) == ["unknown", "pending"]
        assert "cannot be read" in (await funds.why_gone(bad)).description
        assert not graph.entries[good.short_id].needs_reverification


async def test_a_node_that_stops_drops_nothing_that_is_in_doubt() -> None:
    async with funded() as funds:
        tx = funds.spend()
        await funds.submit(tx)
        funds.pool._reverification.verify_all()
        funds.dev.scripts.verified = VerifiedTransactions()
        funds.dev.scripts.end_runs()
        await funds.dev.settle_pool()
        assert await funds.status(tx) == "pending"
