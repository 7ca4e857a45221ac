"""Replace-by-fee: each rule, what leaves, and what gets another chance."""

from __future__ import annotations

import pytest

from ckb_node.txpool import views
from ckb_node.txpool.limits import MAX_REPLACED, PoolLimits
from ckb_node.txpool.rejects import RbfRejected, ResolveFailed, TooManyAncestors
from consensus.types.blockchain import Transaction
from tests.support.chains.funded_pool import FEE, Funds, cell_of, funded

RICH = 100 * FEE


async def assert_rejected(funds: Funds, tx: Transaction, text: str) -> None:
    refused = await funds.refusal(tx)
    assert isinstance(refused, RbfRejected)
    assert str(refused) == f"RBF rejected: {text}"
    assert tx.hash in (await funds.pool.entries()).conflicted


async def test_replaces_with_descendants() -> None:
    async with funded() as funds:
        cell = funds.cells.pop()
        old = funds.spend(cell)
        child = funds.spend(cell_of(old))
        bystander = funds.spend()
        await funds.submit(old, child, bystander)
        new = funds.spend(cell, fee=RICH)
        await funds.submit(new)
        assert await funds.statuses(old, child, bystander, new) == ["unknown", "unknown", "pending", "pending"]
        for gone in (old, child):
            text = f"RBF rejected: replaced by tx Byte32(0x{new.hash.hex()})"
            assert await funds.why_gone(gone) == views.RejectedTransaction("RBFRejected", text)
        assert set((await funds.pool.entries()).conflicted) == {old.hash, child.hash}


async def test_fee_pays_for_all_replaced_and_its_own_way() -> None:
    async with funded() as funds:
        cell = funds.cells.pop()
        old = funds.spend(cell, fee=FEE)
        child = funds.spend(cell_of(old), fee=2 * FEE)
        await funds.submit(old, child)
        size = old.size_in_block
        least = 3 * FEE + 1500 * size // 1000
        told = await funds.pool.transaction(old.hash)
        assert told is not None
        assert getattr(told, "min_replace_fee", None) == least
        text = f"Tx's current fee is {least - 1}, expect it to >= {least} to replace old txs"
        await assert_rejected(funds, funds.spend(cell, fee=least - 1), text)
        assert await funds.statuses(old, child) == ["pending", "pending"]
        await funds.submit(funds.spend(cell, fee=least))


async def test_no_new_unconfirmed_inputs() -> None:
    async with funded() as funds:
        cell = funds.cells.pop()
        other = funds.spend()
        await funds.submit(funds.spend(cell), other)
        await assert_rejected(funds, funds.spend(cell, cell_of(other), fee=RICH), "new Tx contains unconfirmed inputs")
        await funds.submit(funds.spend(cell, funds.cells.pop(), fee=RICH))


async def test_not_too_many_at_once() -> None:
    async with funded() as funds:
        cell = funds.cells.pop()
        root = funds.spend(cell, outputs=1)
        chain = [root]
        for _ in range(MAX_REPLACED):
            chain.append(funds.spend(cell_of(chain[-1]), fee=1000))
        await funds.submit(*chain)
        text = f"Tx conflict with too many txs, conflict txs count: {MAX_REPLACED + 1}, expect <= {MAX_REPLACED}"
        await assert_rejected(funds, funds.spend(cell, fee=RICH * 10), text)
        await funds.pool.remove(chain[-1].hash)
        await funds.submit(funds.spend(cell, fee=RICH * 10))
        assert funds.pool.info().pending == 1


async def test_cannot_spend_what_it_replaces() -> None:
    """It conflicts with both a transaction and that one's child, and spends what the child spends of it."""
    async with funded() as funds:
        cell = funds.cells.pop()
        old = funds.spend(cell)
        child = funds.spend(cell_of(old))
        await funds.submit(old, child)
        text = "new Tx contains inputs in descendants of to be replaced Tx"
        await assert_rejected(funds, funds.spend(cell, cell_of(old), fee=RICH), text)


async def test_cannot_read_what_it_replaces() -> None:
    async with funded() as funds:
        cell = funds.cells.pop()
        old = funds.spend(cell, outputs=2)
        child = funds.spend(cell_of(old))
        await funds.submit(old, child)
        for read in (cell_of(old, 1), cell_of(child)):
            text = "new Tx contains cell deps from conflicts"
            await assert_rejected(funds, funds.spend(cell, reads=[read[0]], fee=RICH), text)


async def test_reads_no_cell_that_a_third_one_spends() -> None:
    """Who replaces nothing may not either."""
    async with funded() as funds:
        read, taken = funds.cells.pop(), funds.cells.pop()
        spender, rival = funds.spend(read), funds.spend(taken)
        await funds.submit(spender, rival)
        refused = await funds.refusal(funds.spend(taken, reads=[read[0]], fee=RICH))
        assert isinstance(refused, ResolveFailed)
        assert await funds.statuses(spender, rival) == ["pending"] * 2


async def test_replaces_several_and_proposed_ones() -> None:
    async with funded() as funds:
        cells = [funds.cells.pop() for _ in range(2)]
        olds = [funds.spend(cell) for cell in cells]
        await funds.submit(*olds)
        await funds.dev.mine(2)
        assert await funds.statuses(*olds) == ["proposed", "proposed"]
        told = await funds.pool.transaction(olds[0].hash)
        assert getattr(told, "min_replace_fee", 0) is None
        new = funds.spend(*cells, fee=RICH)
        await funds.submit(new)
        assert await funds.statuses(*olds, new) == ["unknown", "unknown", "pending"]
        await funds.dev.mine(4)
        assert funds.is_committed(new)


async def test_switched_off() -> None:
    async with funded(limits=PoolLimits(min_fee_rate=1000, min_rbf_rate=1000)) as funds:
        cell = funds.cells.pop()
        await funds.submit(funds.spend(cell))
        assert isinstance(await funds.refusal(funds.spend(cell, fee=RICH)), ResolveFailed)
        assert not funds.pool.pool.limits.is_rbf_enabled


async def test_who_cannot_come_in_replaces_nobody() -> None:
    """The new one would have too many ancestors: the old one stays."""
    async with funded(limits=PoolLimits(max_ancestors=3)) as funds:
        cell = funds.cells.pop()
        old = funds.spend(cell)
        chain = [funds.spend()]
        for _ in range(2):
            chain.append(funds.spend(cell_of(chain[-1])))
        await funds.submit(old, *chain)
        too_deep = funds.spend(cell, reads=[cell_of(chain[-1])[0]], fee=RICH)
        assert isinstance(await funds.refusal(too_deep), TooManyAncestors)
        assert await funds.status(old) == "pending"


@pytest.mark.parametrize("is_still_free", [True, False])
async def test_a_loser_returns_when_its_winner_is_replaced(is_still_free: bool) -> None:
    """A loses cell 1 to B; C takes cell 2 of B, so cell 1 is free again for A — unless somebody was faster."""
    async with funded() as funds:
        one, two = funds.cells.pop(), funds.cells.pop()
        a = funds.spend(one)
        b = funds.spend(one, two, fee=RICH)
        c = funds.spend(two, fee=3 * RICH)
        await funds.submit(a, b)
        assert await funds.statuses(a, b) == ["unknown", "pending"]
        await funds.submit(c)
        faster = funds.spend(one, fee=2 * RICH)
        if not is_still_free:
            await funds.submit(faster)
        await funds.dev.settle_pool()
        assert await funds.statuses(a, b, c) == ["pending" if is_still_free else "unknown", "unknown", "pending"]
        conflicted = set((await funds.pool.entries()).conflicted)
        assert conflicted == ({b.hash} if is_still_free else {a.hash, b.hash})
