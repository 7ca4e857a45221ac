"""What the pool publishes of a transaction's way: admitted, proposed, rejected."""

from __future__ import annotations

from ckb_node.runtime.events import EventBus
from ckb_node.txpool.events import TransactionAdmitted, TransactionProposed, TransactionRejected
from ckb_node.txpool.limits import PoolLimits
from ckb_node.txpool.rejects import LowFeeRate, PoolFull, RbfRejected, Reject, ResolveFailed
from tests.support.chains.branches import submit_all
from tests.support.chains.devchain import dev_chain
from tests.support.chains.funded_pool import Funds, blocks_of, funded


class Heard:
    """Notes events as (what, transaction hash, class of the reason, whether it was in the pool)."""

    def __init__(self, funds: Funds) -> None:
        self.news: list[tuple[str, bytes]] = []
        self.rejected: list[tuple[bytes, type[Reject], bool]] = []
        events = EventBus()
        funds.pool.pool._events = events
        events.listen(TransactionAdmitted, lambda event: self.news.append(("admitted", event.entry.hash)))
        events.listen(TransactionProposed, lambda event: self.news.append(("proposed", event.entry.hash)))
        events.listen(TransactionRejected, self._on_rejected)

    def _on_rejected(self, event: TransactionRejected) -> None:
        self.rejected.append((event.transaction.hash, type(event.reason), event.entry is not None))


async def test_a_transaction_is_admitted_and_proposed_once() -> None:
    async with funded() as funds:
        heard, tx = Heard(funds), funds.spend()
        await funds.submit(tx)
        assert heard.news == [("admitted", tx.hash)]
        await funds.dev.mine(4)
        assert funds.is_committed(tx)
        assert heard.news == [("admitted", tx.hash), ("proposed", tx.hash)]
        assert heard.rejected == []


async def test_a_detached_transaction_is_admitted_again_and_proposed_at_once() -> None:
    async with funded() as funds:
        tx = funds.spend()
        await funds.submit(tx)
        block = (await funds.dev.mine(), await funds.dev.mine(), await funds.dev.mine())[-1]
        assert funds.is_committed(tx)
        heard = Heard(funds)
        await funds.dev.chain.truncate(block.parent_hash)
        await funds.submit(tx)
        assert heard.news == [("admitted", tx.hash), ("proposed", tx.hash)]


async def test_what_several_blocks_propose_and_commit_at_once_was_never_proposed() -> None:
    async with funded() as funds:
        common, tx = blocks_of(funds, 1), funds.spend()
        async with dev_chain(message=b"other") as other:
            await submit_all(other, common)
            await other.pool.submit(tx)
            blocks = [await other.mine() for _ in range(4)]
        await funds.dev.mine(3)
        heard = Heard(funds)
        await funds.submit(tx)
        await submit_all(funds.dev, blocks)
        assert funds.is_committed(tx)
        assert heard.news == [("admitted", tx.hash)]


async def test_what_is_refused_was_never_in() -> None:
    async with funded() as funds:
        heard, tx = Heard(funds), funds.spend(fee=1)
        await funds.refusal(tx)
        taken = funds.spend()
        await funds.submit(taken)
        await funds.refusal(taken)
        assert heard.rejected == [(tx.hash, LowFeeRate, False)], "a duplicate is no news"
        assert heard.news == [("admitted", taken.hash)]


async def test_what_is_replaced_and_what_is_evicted_has_left() -> None:
    async with funded() as funds:
        heard = Heard(funds)
        cell = funds.cells.pop()
        old, new = funds.spend(cell, fee=1000), funds.spend(cell, fee=100_000)
        await funds.submit(old, new)
        assert heard.rejected == [(old.hash, RbfRejected, True)]


async def test_a_full_pool_tells_who_had_to_leave_and_once() -> None:
    async with funded() as funds:
        poor, rich = funds.spend(fee=1000), funds.spend(fee=10_000)
        funds.pool.pool.limits = PoolLimits(max_size=poor.size_in_block + 1)
        heard = Heard(funds)
        await funds.submit(poor, rich)
        last = funds.spend(fee=2000)
        await funds.refusal(last)
        assert heard.rejected == [(poor.hash, PoolFull, True), (last.hash, PoolFull, False)]
        assert heard.news == [("admitted", poor.hash), ("admitted", rich.hash)]


async def test_what_a_block_makes_impossible_has_left() -> None:
    async with funded() as funds:
        cell = funds.cells.pop()
        ours, theirs = funds.spend(cell), funds.spend(cell, fee=3000)
        await funds.submit(theirs)
        await funds.dev.mine(2)
        block = (await funds.dev.assembler.block_template()).to_block()
        await funds.pool.clear()
        await funds.submit(ours)
        heard = Heard(funds)
        await funds.dev.chain.submit_block(block)
        assert heard.rejected == [(ours.hash, ResolveFailed, True)]
