"""What a reorganisation detaches is in the pool for all who ask, before the pool has tried it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from ckb_node.rpc import services as rpc
from ckb_node.rpc.answer_room import AnswerRoom
from ckb_node.rpc.methods.chain_transactions import get_transaction
from ckb_node.rpc.node_results import pool_ids_text, pool_info_json
from ckb_node.runtime.lane import Lane
from ckb_node.txpool.events import RemoteRefused
from ckb_node.txpool.readmission import ReadmissionEntry
from ckb_node.txpool.rejects import Duplicated
from consensus.types.blockchain import Block, Transaction
from storage.errors import StorageError
from tests.support.chains.branches import branch, submit_all
from tests.support.chains.devchain import pool_hashes
from tests.support.chains.funded_pool import FEE, Cell, Funds, blocks_of, cell_of, funded


@dataclass
class Detached:
    """A parent and its child that were committed, on a branch that a longer, empty one has just displaced."""

    funds: Funds
    parent: Transaction
    child: Transaction
    cell: Cell
    lost: Sequence[Block]
    """The branch that has them, newest last."""
    common: Sequence[Block]

    @property
    def hashes(self) -> set[bytes]:
        return {self.parent.hash, self.child.hash}

    async def get_transaction(self, tx: Transaction, level: int = 2) -> Any:
        funds = self.funds
        services: Any = _Chain(funds.dev.chain, funds.pool)
        return await get_transaction(services, tx.hash, level)

    async def answers(self) -> tuple[object, dict[str, list[str]]]:
        """The pool at a glance, and its hashes, as RPC tells them."""
        return pool_info_json(self.funds.pool.info()), await self.ids()

    async def ids(self) -> dict[str, list[str]]:
        """Hashes by status."""
        found: dict[str, list[str]] = msgspec.json.decode(b"".join(pool_ids_text(await self.funds.pool.ids())))
        return found


@dataclass
class _Chain:
    """As much of Services as get_transaction asks."""

    chain: rpc.ChainService
    pool: rpc.PoolService
    lane: Lane = field(default_factory=lambda: Lane("test", 1))
    room: AnswerRoom = field(default_factory=AnswerRoom)


@asynccontextmanager
async def detached() -> AsyncIterator[Detached]:
    async with funded() as funds:
        common = blocks_of(funds, 1)
        cell = funds.cells.pop()
        parent = funds.spend(cell)
        child = funds.spend(cell_of(parent))
        await funds.submit(parent, child)
        await funds.dev.mine(4)
        assert funds.is_committed(parent)
        assert funds.is_committed(child)
        lost = blocks_of(funds, len(common) + 1)
        await submit_all(funds.dev, await branch(b"other", 5, common))
        assert not funds.is_committed(parent)
        yield Detached(funds, parent, child, cell, lost, common)


async def test_it_is_pending_with_what_its_block_told_of_it() -> None:
    async with detached() as case:
        before = [await case.get_transaction(tx) for tx in (case.parent, case.child)]
        for answer in before:
            assert answer.tx_status.status == "pending"
            assert answer.transaction is not None
            assert int(answer.fee, 16) == FEE
        await case.funds.dev.settle_pool()
        after = [await case.get_transaction(tx) for tx in (case.parent, case.child)]
        for early, late in zip(before, after, strict=True):
            assert (early.cycles, early.fee, early.transaction) == (late.cycles, late.fee, late.transaction)
            assert early.tx_status == late.tx_status
        assert (await case.get_transaction(case.parent, 1)).transaction is None


async def test_it_is_counted_and_listed() -> None:
    async with detached() as case:
        info, ids = await case.answers()
        entries = await case.funds.pool.entries()
        pending = dict(entries.pending)
        assert list(entries.proposed) == []
        assert pending.keys() == case.hashes
        assert await pool_hashes(case.funds.dev) == case.hashes
        sizes = sorted(entry.size for entry in pending.values())
        await case.funds.dev.settle_pool()
        later, later_ids = await case.answers()
        assert case.funds.pool.info().pending == 2
        for name in ("pending", "proposed", "total_tx_size", "total_tx_cycles"):
            assert getattr(info, name) == getattr(later, name), name
        assert sorted(ids["pending"]) == sorted(later_ids["pending"])
        assert sorted(entry.size for _, entry in (await case.funds.pool.entries()).pending) == sizes


async def test_it_is_a_duplicate() -> None:
    async with detached() as case:
        pool, refused = case.funds.pool, list[RemoteRefused]()
        pool.events.listen(RemoteRefused, refused.append)
        for _ in range(2):
            with pytest.raises(Duplicated):
                await pool.submit(case.child)
            pool.remote.submit(case.parent, 1, giver=7)
            with pytest.raises(Duplicated):
                await pool.test_accept(case.parent)
            await case.funds.dev.settle_pool()
        assert await pool_hashes(case.funds.dev) == case.hashes
        assert [type(each.reason) for each in refused] == [Duplicated] * 2


async def test_it_can_be_removed() -> None:
    async with detached() as case:
        assert await case.funds.pool.remove(case.child.hash)
        assert not await case.funds.pool.remove(case.child.hash)
        assert (await case.get_transaction(case.child)).tx_status.status == "unknown"
        await case.funds.dev.settle_pool()
        assert await pool_hashes(case.funds.dev) == {case.parent.hash}
        assert case.funds.pool.info().pending == 1


async def test_its_branch_comes_back_first() -> None:
    async with detached() as case:
        longer = await branch(b"again", 3, [*case.common, *case.lost])
        await submit_all(case.funds.dev, longer)
        assert case.funds.is_committed(case.child)
        info = case.funds.pool.info()
        assert (info.pending, info.total_tx_size, info.total_tx_cycles) == (0, 0, 0)
        assert (await case.get_transaction(case.child)).tx_status.status == "committed"
        await case.funds.dev.settle_pool()
        assert await pool_hashes(case.funds.dev) == set()


async def test_one_that_cannot_return_is_rejected_when_it_is_tried() -> None:
    async with detached() as case:
        rival = case.funds.spend(case.cell, fee=2 * FEE)
        await case.funds.submit(rival)
        await case.funds.dev.settle_pool()
        assert await pool_hashes(case.funds.dev) == {rival.hash}
        for tx in (case.parent, case.child):
            assert (await case.get_transaction(tx)).tx_status.status == "rejected"
        info = case.funds.pool.info()
        assert (info.pending, info.total_tx_size) == (1, rival.size_in_block)


async def test_nobody_knows_fee_and_cycles_of_blocks_that_are_gone_meanwhile() -> None:
    """They were detached, and a truncation has removed them before the pool came to them."""
    async with funded() as funds:
        tx_slice = blocks_of(funds, 1)[-1].tx_slices[0]
        entry = ReadmissionEntry.of_block(tx_slice, 1, None, 5)
        assert entry.transaction.hash == tx_slice.hash
        assert (entry.answer().cycles, entry.answer().fee) == (None, None)


async def test_a_fault_on_the_way_leaves_nobody_homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks above cannot be read: those below are tried again all the same."""
    async with funded() as funds:
        common = blocks_of(funds, 1)
        tx = funds.spend()
        await funds.submit(tx)
        await funds.dev.mine(4)
        other, taken = await branch(b"other", 5, common), list[Block]()
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
        take = funds.pool.pool.take_detached

        def take_or_fail(block: Block) -> Iterator[None]:
            if len(taken) == 3:
                raise StorageError(funds.dev.store.path, "unreadable")
            taken.append(block)
            return take(block)

        monkeypatch.setattr(funds.pool.pool, "take_detached", take_or_fail)
        await submit_all(funds.dev, other)
        assert len(faults) == 1
        assert await pool_hashes(funds.dev) == {tx.hash}
        await funds.dev.settle_pool()
        assert await funds.status(tx) == "pending"
        with pytest.raises(Duplicated):
            await funds.pool.submit(tx)


async def test_reorganisations_in_a_row_take_back_no_more_than_the_pool_holds() -> None:
    """Nobody brings them back meanwhile."""
    async with funded() as funds:
        common = blocks_of(funds, 1)
        first, second = funds.spend(), funds.spend()
        size = first.size_in_block
        funds.pool.pool.limits = replace(funds.pool.pool.limits, max_size=2 * size)
        await funds.submit(first, second)
        await funds.dev.mine(4)
        funds.pool._readmission.add(ReadmissionEntry.of(funds.spend(), 1))
        await submit_all(funds.dev, await branch(b"other", 5, common))
        assert not funds.is_committed(first)
        assert funds.pool._readmission.total_size == 2 * size
        (without_room,) = [tx for tx in (first, second) if tx.hash not in funds.pool._readmission]
        assert (await funds.why_gone(without_room)).kind == "Full"
