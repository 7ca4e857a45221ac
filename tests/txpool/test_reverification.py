"""No entry stops the chain: the pool is verified anew at a hardfork, and what a block is refused for leaves."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from ckb_node.chain.events import BlockDecided, Verdict
from ckb_node.txpool import views
from ckb_node.txpool.entry import PoolEntry
from ckb_node.txpool.pool import Checked
from ckb_node.verification.scripts import VerifiedTransactions
from consensus.crypto.hashing import ckb_hash
from consensus.errors import CkbError
from consensus.params import Consensus
from consensus.rules.resolve import UnknownOutPointError
from consensus.rules.since import ImmatureError
from consensus.rules.verify_block import BlockCyclesError, BlockTransactionError
from consensus.script.errors import ExceededMaximumCycles, ValidationFailure
from consensus.types.blockchain import (
    HASH_TYPE_TYPE,
    Block,
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
)
from storage.errors import StorageCorrupt
from tests.support.builders.wallet import sighash_dep
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.funded_pool import ALICE, CELL, FEE, Cell, Funds, cell_of, funded

TYPE_ID = b"TYPE_ID".rjust(32, b"\0")
FORK_EPOCH = 2


def elf(*instructions: int) -> bytes:
    """One segment at 0x10000."""
    code = struct.pack(f"<{len(instructions)}I", *instructions)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 243, 1, 0x10000, 64, 0, 1, 64, 56, 1, 64, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 120, 0x10000, 0x10000, len(code), len(code), 4096) + code


ASK_VERSION = (0x000008B7, 0x7F988893, 0x00000073)  # li a7, 2041; ecall
EXIT = (0x05D00893, 0x00000073)  # li a7, 93; ecall
ONLY_VM_1 = elf(*ASK_VERSION, 0xFFF50513, 0x00A03533, *EXIT)  # addi a0, a0, -1; snez a0, a0
SLOWER_ON_VM_2 = elf(  # addi a0, a0, -2; bnez a0, +16; three times nop; li a0, 0
    *ASK_VERSION, 0xFFE50513, 0x00051863, 0x00000013, 0x00000013, 0x00000013, 0x00000513, *EXIT
)


def forking() -> Consensus:
    """The dev chain, but scripts go over to version 2 of the VM some epochs later."""
    consensus = dev_consensus()
    return replace(consensus, hardforks=replace(consensus.hardforks, rfc_0049=FORK_EPOCH))


@dataclass
class Guarded:
    """Cells whose lock is a program that is found by its type hash."""

    code: OutPoint
    cells: list[Cell]

    def spend(self, cell: Cell, fee: int = FEE) -> Transaction:
        body = RawTransaction(
            version=0,
            cell_deps=[CellDep(out_point=self.code, dep_type=0)],
            header_deps=[],
            inputs=[CellInput(since=0, previous_output=cell[0])],
            outputs=[CellOutput(capacity=cell[1] - fee, lock=ALICE.lock, type_=None)],
            outputs_data=[b""],
        )
        return Transaction(body=body, witnesses=[])


async def guard(funds: Funds, program: bytes, count: int = 2) -> Guarded:
    """Put a program on the chain, and `count` cells that it guards."""
    consensus = funds.dev.consensus
    code_cell, cells_cell = funds.cells.pop(), funds.cells.pop()
    code_input = CellInput(since=0, previous_output=code_cell[0])
    type_id = Script(code_hash=TYPE_ID, hash_type=HASH_TYPE_TYPE, args=ckb_hash(code_input.raw + bytes(8)))
    deploying = ALICE.sign(
        RawTransaction(
            version=0,
            cell_deps=[sighash_dep(consensus)],
            header_deps=[],
            inputs=[code_input],
            outputs=[CellOutput(capacity=code_cell[1] - FEE, lock=ALICE.lock, type_=type_id)],
            outputs_data=[program],
        )
    )
    lock = Script(code_hash=type_id.hash, hash_type=HASH_TYPE_TYPE, args=b"")
    guarding = funds.spend(cells_cell, outputs=count, to=lock)
    await funds.submit(deploying, guarding)
    await funds.dev.mine(4)
    assert funds.is_committed(deploying)
    assert funds.is_committed(guarding)
    return Guarded(cell_of(deploying)[0], [cell_of(guarding, index) for index in range(count)])


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
        guarded = await guard(funds, ONLY_VM_1)
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
        guarded = await guard(funds, SLOWER_ON_VM_2)
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
        guarded = await guard(funds, ONLY_VM_1)
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
        guarded = await guard(funds, ONLY_VM_1)
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
        pool.drop_impossible(pool.graph.entries[child.short_id], UnknownOutPointError(bytes(36)))
        assert await funds.status(child) == "proposed"
        pool.away = frozenset()
        pool.drop_impossible(pool.graph.entries[child.short_id], UnknownOutPointError(bytes(36)))
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
