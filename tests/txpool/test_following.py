"""The pool follows the chain in steps, and whatever comes between two of them finds it sound."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ckb_node.chain import publisher
from ckb_node.txpool import following
from ckb_node.txpool.limits import PoolLimits
from ckb_node.txpool.rejects import Reject, ResolveFailed
from consensus.types.blockchain import Block, Transaction
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet
from tests.support.chains.branches import branch, submit_all
from tests.support.chains.devchain import dev_chain, pool_hashes
from tests.support.chains.funded_pool import Funds, blocks_of, cell_of, funded, hold_scripts
from tests.support.chains.long_chain import ChainMaker


async def test_a_big_block_is_followed_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "SLICE_S", 0.0)
    monkeypatch.setattr(following, "TXS_PER_SLICE", 8)
    maker = ChainMaker()
    cells = maker.cells(30)
    transfers = list(maker.transfers(cells))
    maker.add_in_two_phases([transfers])
    blocks = [Block.parse(raw) for raw in maker.raw_blocks]
    late = Wallet(ALICE_KEY).transfer(maker.consensus, [cells[-1]], [(Wallet(BOB_KEY).lock, 900 * CKB)])
    async with dev_chain() as dev:
        await submit_all(dev, blocks[:-1])
        for transfer in transfers:
            await dev.pool.submit(transfer)
        before, sizes, refused = dev.chain.view(), list[int](), list[Reject]()
        submission = asyncio.get_running_loop().create_task(dev.chain.submit_block(blocks[-1]))
        while not submission.done():
            sizes.append(len(dev.pool.pool.graph))
            if 0 < sizes[-1] < len(transfers):
                with pytest.raises(Reject) as caught:
                    dev.pool.pool.check(late)
                refused.append(caught.value)
                assert dev.pool.pool.tip == blocks[-1].header, "the pool has moved before it is told of the block"
            await asyncio.sleep(0)
        await submission
        assert before.tip_header() == blocks[-2].header
        assert sorted(set(sizes), reverse=True) == [30, 22, 14, 6, 0]
        assert refused
        assert all(isinstance(reason, ResolveFailed) for reason in refused), "its cell is spent, by pool or chain"
        assert await pool_hashes(dev) == set()
        (await dev.assembler.block_template()).to_block()


async def test_the_child_of_what_was_just_committed_is_admitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "SLICE_S", 0.0)
    async with funded() as funds:
        pool, parent = funds.pool.pool, funds.spend()
        await funds.submit(parent)
        await funds.dev.mine(2)
        before, mining = pool.tip, asyncio.get_running_loop().create_task(funds.dev.mine())
        child = funds.spend(cell_of(parent))
        while pool.tip == before:  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0)
        assert parent.short_id in pool.graph, "the pool has not been told of the block"
        checked = pool.check(child)
        await mining
        assert parent.short_id not in pool.graph
        assert pool.admit(checked, 1000).tx == child


async def committed_and_detached(funds: Funds) -> tuple[Transaction, asyncio.Task[bytes]]:
    """A transaction of a block, and the branch that has just taken it away: the pool has only begun to follow."""
    common = blocks_of(funds, 1)
    tx = funds.spend()
    await funds.submit(tx)
    await funds.dev.mine(3)
    assert funds.is_committed(tx)
    tip = funds.dev.chain.view().tip_header()
    *others, last = await branch(b"other", 4, common)
    await submit_all(funds.dev, others)
    switching = asyncio.get_running_loop().create_task(funds.dev.chain.submit_block(last))
    while funds.pool.pool.tip == tip:  # noqa: ASYNC110 - nobody sets an event for it
        await asyncio.sleep(0)
    return tx, switching


async def test_a_pool_that_is_cleared_while_it_follows_stays_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "SLICE_S", 0.0)
    async with funded() as funds:
        _, switching = await committed_and_detached(funds)
        await funds.pool.clear()
        await switching
        await funds.dev.settle_pool()
        assert await pool_hashes(funds.dev) == set()


async def test_what_is_to_return_is_saved_with_the_pool(tmp_path: Path) -> None:
    async with funded() as funds:
        parent, switching = await committed_and_detached(funds)
        await switching
        child = funds.spend(cell_of(parent))
        saved = tmp_path / "pool"
        assert funds.pool.save(saved) == 1
        await funds.dev.settle_pool()
        await funds.submit(child)
        assert funds.pool.save(saved) == 2
        await funds.pool.clear()
        assert funds.pool.save(tmp_path / "empty") == 0
        assert await funds.pool.load(saved) == 2
        assert await pool_hashes(funds.dev) == {parent.hash, child.hash}


async def test_what_was_not_loaded_yet_is_saved_again(tmp_path: Path) -> None:
    async with funded() as funds:
        parent = funds.spend()
        child = funds.spend(cell_of(parent))
        await funds.submit(parent, child)
        saved = tmp_path / "pool"
        assert funds.pool.save(saved) == 2
        await funds.pool.clear()
        worker = hold_scripts(funds)
        loading = asyncio.get_running_loop().create_task(funds.pool.load(saved))
        while not worker.held:  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0)
        loading.cancel()
        assert funds.pool.save(saved) == 2, "the node stops while it loads"
        loading = asyncio.get_running_loop().create_task(funds.pool.load(saved))
        while len(worker.held) < 2:  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0)
        await funds.pool.clear()
        worker.release()
        assert await loading == 0
        assert await pool_hashes(funds.dev) == set()
        assert funds.pool.save(saved) == 0


async def test_a_truncated_chain_leaves_nothing_in_the_pool() -> None:
    """Whoever asked for it may be gone before the pool hears: the pool clears itself."""
    async with funded() as funds:
        target = funds.dev.chain.view().tip_header().hash
        committed, waiting = funds.spend(), funds.spend()
        await funds.submit(committed)
        await funds.dev.mine(3)
        await funds.submit(waiting)
        await funds.dev.chain.truncate(target)
        await funds.dev.settle_pool()
        assert await pool_hashes(funds.dev) == set()
        assert funds.pool.info().tip_hash == target
        await funds.submit(committed, waiting)


HOUR_MS = 60 * 60 * 1000


@pytest.mark.parametrize("jump_hours", [-1000, 1000])
async def test_expiry_does_not_care_for_a_clock_that_is_set(jump_hours: int) -> None:
    async with funded(limits=PoolLimits(expiry_ms=12 * HOUR_MS)) as funds:
        clock = funds.dev.clock
        first, second, third = funds.spend(), funds.spend(), funds.spend()
        await funds.submit(first)
        clock.set_by(jump_hours * HOUR_MS)
        await funds.submit(second)
        await stand_again(funds)
        assert await funds.statuses(first, second) == ["pending"] * 2, "no time has passed"
        clock.set_by(-jump_hours * HOUR_MS)
        clock.advance(13 * HOUR_MS)
        await funds.submit(third)
        await stand_again(funds)
        assert await funds.statuses(first, second, third) == ["unknown", "unknown", "pending"]
        assert (await funds.why_gone(second)).kind == "Expiry"


async def test_all_that_is_too_old_leaves_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ckb_node.txpool.pool.EXPIRED_AT_ONCE", 2)
    async with funded(limits=PoolLimits(expiry_ms=12 * HOUR_MS)) as funds:
        old = [funds.spend() for _ in range(5)]
        await funds.submit(*old)
        funds.dev.clock.advance(13 * HOUR_MS)
        await stand_again(funds)
        assert len(funds.pool.pool.graph) == 3, "one call takes two"
        await funds.dev.mine()
        await funds.dev.settle_pool()
        assert len(funds.pool.pool.graph) == 0


async def stand_again(funds: Funds) -> None:
    """As after a block that neither commits nor proposes anything."""
    funds.pool.pool.set_tip(funds.dev.chain.view())


async def test_a_spender_outlives_those_who_only_read_what_it_spends() -> None:
    """They had to be committed before it; they leave, and it is as good as before."""
    async with funded() as funds:
        common = blocks_of(funds, 1)
        header = (await funds.dev.mine()).hash
        cell = funds.cells.pop()
        reader = funds.spend(reads=[cell[0]], header_deps=[header])
        child = funds.spend(cell_of(reader))
        spender = funds.spend(cell)
        await funds.submit(reader, child, spender)
        assert (await funds.pool.detail(spender.hash)).ancestors_count == 1
        await submit_all(funds.dev, await branch(b"other", 2, common))
        await funds.dev.settle_pool()
        assert await funds.statuses(reader, child, spender) == ["unknown", "unknown", "pending"]
        assert (await funds.pool.detail(spender.hash)).ancestors_count == 0
