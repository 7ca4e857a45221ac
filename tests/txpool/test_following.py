"""The pool follows the chain: the two-step commit, conflicts, reorganisations, expiry."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ckb_node.rpc import services as rpc
from ckb_node.txpool.entry import Status
from ckb_node.txpool.rejects import Expired, ResolveFailed
from ckb_node.txpool.service import _Return
from ckb_node.txpool.window import ProposalReader
from consensus.errors import ResolveError
from consensus.resolve import DeadOutPointError, InvalidHeaderDepError, UnknownOutPointError
from consensus.types.blockchain import Block, Transaction
from tests.txpool.kit_pool import BOB, FEE, Funds, cell_of, funded, hold_scripts

HOUR_MS = 60 * 60 * 1000


async def mine_with(funds: Funds, *transactions: Transaction) -> list[Block]:
    """Blocks that commit these transactions."""
    await funds.submit(*transactions)
    return [await funds.dev.mine() for _ in range(4)]


async def replay(funds: Funds, blocks: Sequence[Block]) -> None:
    for block in blocks:
        await funds.dev.chain.submit_block(block)
    await funds.dev.settle_pool()


def told(cause: ResolveError) -> rpc.RejectedTransaction:
    """What RPC says of a transaction that left for this."""
    reason = ResolveFailed(cause)
    return rpc.RejectedTransaction(reason.kind, str(reason))


async def test_two_step_commit() -> None:
    async with funded() as funds:
        window = funds.dev.consensus.proposal_window
        tx = funds.spend()
        await funds.submit(tx)
        assert await funds.status(tx) == "pending"
        proposing = await funds.dev.mine()
        assert list(proposing.proposals) == [tx.short_id]
        assert await funds.status(tx) == "gap"
        answer = await funds.pool.transaction(tx.hash)
        assert isinstance(answer, rpc.PoolTransaction)
        assert answer.state is rpc.TxState.PENDING
        second = await funds.dev.mine(window.closest - 1)
        assert list(second.proposals) == []
        assert await funds.status(tx) == "proposed"
        answer = await funds.pool.transaction(tx.hash)
        assert isinstance(answer, rpc.PoolTransaction)
        assert answer.state is rpc.TxState.PROPOSED
        ids = await funds.pool.ids()
        assert (list(ids.pending), list(ids.proposed)) == ([], [tx.hash])
        committing = await funds.dev.mine()
        assert [each.hash for each in committing.transactions[1:]] == [tx.hash]
        assert await funds.status(tx) == "unknown"
        assert await funds.pool.transaction(tx.hash) is None


async def test_a_missed_window_means_pending_again() -> None:
    async with funded() as funds:
        tx = funds.spend()
        await funds.submit(tx)
        await funds.dev.mine()
        funds.pool.pool.graph.set_status(funds.pool.pool.graph.entries[tx.short_id], Status.GAP)
        window = funds.dev.consensus.proposal_window
        async with funded(message=b"") as other:
            # Another miner, whose pool never saw it, fills the window with blocks that do not commit it.
            for number in range(other.dev.chain.view().tip_header().number + 1, 10_000):
                known = funds.dev.chain.view().main_hash(number)
                if known is None:
                    break
                block = funds.dev.chain.view().block(known)
                assert block is not None
                await other.dev.chain.submit_block(block)
            for passed in range(1, window.farthest + 1):
                expected = "gap" if passed < window.closest else "proposed"
                assert await funds.status(tx) == expected
                await funds.dev.chain.submit_block(await other.dev.mine())
        assert await funds.status(tx) == "pending"
        assert list((await funds.dev.mine()).proposals) == [tx.short_id]


async def test_the_proposal_table_equals_a_fresh_one_at_every_tip() -> None:
    async with funded() as funds:
        for _ in range(14):
            if funds.cells:
                await funds.submit(funds.spend())
            await funds.dev.mine()
            with funds.dev.chain.view() as view:
                fresh = ProposalReader(funds.dev.consensus.proposal_window).table(view)
            assert funds.pool.pool.proposals == fresh
            for entry in funds.pool.pool.graph:
                assert entry.status is fresh.status(entry.short_id)
        assert len(funds.pool.pool._proposal_reader._ids) == funds.dev.consensus.proposal_window.farthest


async def test_what_a_block_spends_is_dead_for_the_pool() -> None:
    async with funded() as other, funded() as funds:
        cell = funds.cells[0]
        blocks = await mine_with(other, other.spend(other.cells[0], fee=3 * FEE))
        ours, reader = funds.spend(cell), funds.spend(reads=[cell[0]])
        child = funds.spend(cell_of(ours))
        bystander = funds.spend()
        await funds.submit(reader, ours, child, bystander)
        await replay(funds, blocks)
        assert await funds.statuses(ours, child, reader, bystander) == ["unknown"] * 3 + ["pending"]
        for gone in (ours, child, reader):
            assert await funds.why_gone(gone) == told(DeadOutPointError(cell[0].raw))


async def test_children_of_committed_ones_stay() -> None:
    async with funded() as funds:
        parent = funds.spend()
        await funds.submit(parent)
        await funds.dev.mine(2)
        child = funds.spend(cell_of(parent))
        await funds.submit(child)
        assert (await funds.pool.detail(child.hash)).ancestors_count == 1
        await funds.dev.mine()
        assert funds.is_committed(parent)
        detail = await funds.pool.detail(child.hash)
        assert (detail.status, detail.ancestors_count, detail.ancestors_fee) == ("gap", 0, FEE)
        await funds.dev.mine(2)
        assert funds.is_committed(child)


async def test_detached_transactions_come_back_with_their_children() -> None:
    async with funded(message=b"short") as funds, funded(message=b"short") as other:
        longer = [await other.dev.mine() for _ in range(6)]
        parent = funds.spend(outputs=2)
        child, reader = funds.spend(cell_of(parent)), funds.spend(reads=[cell_of(parent, 1)[0]])
        await mine_with(funds, parent)
        assert funds.is_committed(parent)
        await funds.submit(child, reader)
        await replay(funds, longer)
        assert not funds.is_committed(parent)
        assert await funds.statuses(parent, child, reader) == ["pending"] * 3
        assert (await funds.pool.detail(child.hash)).ancestors_count == 1
        assert (await funds.pool.detail(parent.hash)).descendants_count == 2
        await funds.dev.mine(4)
        assert all(funds.is_committed(tx) for tx in (parent, child, reader))


async def test_children_of_lost_parents_leave() -> None:
    """The other branch spends the parent's input otherwise, and a cellbase of our branch is gone."""
    async with funded(message=b"same") as funds, funded(message=b"same") as other:
        rival = other.spend(other.cells[0], fee=3 * FEE)
        longer = [*await mine_with(other, rival), *[await other.dev.mine() for _ in range(12)]]
        parent = funds.spend(funds.cells[0])
        child = funds.spend(cell_of(parent))
        await mine_with(funds, parent)
        reward = cell_of((await funds.dev.mine(10)).transactions[0])  # holds the fee, so the other branch's differs
        from_reward = funds.spend(reward, signer=BOB)
        bystander = funds.spend()
        await funds.submit(child, from_reward, bystander)
        assert await funds.statuses(child, from_reward, bystander) == ["pending"] * 3
        await replay(funds, longer)
        assert funds.is_committed(rival)
        assert await funds.statuses(parent, child, from_reward, bystander) == ["unknown"] * 3 + ["pending"]
        assert await funds.why_gone(child) == told(UnknownOutPointError(cell_of(parent)[0].raw))
        assert await funds.why_gone(from_reward) == told(UnknownOutPointError(reward[0].raw))


async def test_header_deps_of_a_lost_branch() -> None:
    async with funded(message=b"same") as funds, funded(message=b"same") as other:
        other.dev.clock.advance(1000)  # else both would mine the very same blocks
        longer = [await other.dev.mine() for _ in range(3)]
        kept = funds.dev.chain.view().tip_header().hash
        lost = (await funds.dev.mine(2)).hash
        good, bad = funds.spend(header_deps=[kept]), funds.spend(header_deps=[kept, lost])
        child = funds.spend(cell_of(bad))
        await funds.submit(good, bad, child)
        await replay(funds, longer)
        assert await funds.statuses(good, bad, child) == ["pending", "unknown", "unknown"]
        assert await funds.why_gone(bad) == told(InvalidHeaderDepError(lost))


async def test_expiry() -> None:
    async with funded() as funds:
        old = funds.spend()
        child = funds.spend(cell_of(old))
        await funds.submit(old)
        funds.dev.clock.advance(11 * HOUR_MS)
        young = funds.spend()
        await funds.submit(child, young)
        # Mining would propose and commit; blocks of another miner only move the clock.
        async with funded() as other:
            other.dev.clock.advance(11 * HOUR_MS)
            for _ in range(2):
                funds.dev.clock.advance(HOUR_MS)
                await funds.dev.chain.submit_block(await other.dev.mine())
        assert await funds.statuses(old, child, young) == ["unknown", "unknown", "pending"]
        assert (await funds.why_gone(old)).kind == (await funds.why_gone(child)).kind == Expired.kind


async def test_truncating_and_clearing_leaves_nothing_behind() -> None:
    async with funded() as funds:
        target = funds.dev.chain.view().tip_header().hash
        await mine_with(funds, funds.spend())
        await funds.dev.chain.truncate(target)
        await funds.pool.clear()
        await funds.dev.settle_pool()
        assert (await funds.pool.info()).pending == 0
        assert len(funds.pool.pool.conflicted) == 0


async def test_clearing_reaches_what_is_just_being_verified() -> None:
    async with funded() as funds:
        worker = hold_scripts(funds)
        transactions = [funds.spend() for _ in range(3)]
        funds.pool._return_later(_Return(transactions))
        returning = asyncio.get_running_loop().create_task(funds.pool.run())
        async with asyncio.timeout(5):
            while not worker.held:  # noqa: ASYNC110 - nobody sets an event for it
                await asyncio.sleep(0)
        await funds.pool.clear()
        worker.release()
        await funds.pool.settled()
        returning.cancel()
        assert await funds.statuses(*transactions) == ["unknown"] * 3
        assert worker.held == []
