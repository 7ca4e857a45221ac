"""Transactions at hand: what others may have of those that a block proposes."""

from __future__ import annotations

from ckb_node.txpool.at_hand import TransactionsAtHand
from ckb_node.txpool.limits import MAX_SEARCHED
from consensus.types.blockchain import OutPoint, Transaction
from tests.support.builders.pool_entries import a_chain, an_entry, output_of
from tests.support.chains.devchain import dev_chain
from tests.support.chains.funded_pool import FEE
from tests.txpool.kit_remote import held, release_until, remote, until_held


async def test_those_that_need_a_pooled_one_are_apart_and_unverified_ones_wait() -> None:
    async with dev_chain() as dev:
        pool = dev.pool.pool
        chain = a_chain(pool.graph, [1, 9, 5])
        coming_alone, coming_child = an_entry(), an_entry(spends=[output_of(chain[2])])
        coming: dict[bytes, Transaction] = {each.short_id: each.tx for each in (coming_alone, coming_child)}
        at_hand = TransactionsAtHand(pool, (coming.get,), ())
        wanted = [*reversed([each.short_id for each in chain]), *coming, bytes(10)]
        alone, dependent = at_hand.proposed(wanted)
    assert {short_id: each.hash for short_id, each in alone.items()} == {
        chain[0].short_id: chain[0].hash,
        coming_alone.short_id: coming_alone.hash,
    }
    assert dependent == [chain[1].hash, chain[2].hash]


async def test_an_unverified_one_of_many_inputs_waits_for_its_verdict() -> None:
    """Nobody's question makes this node look for thousands of parents."""
    async with dev_chain() as dev:
        few, many = (an_entry(spends=[bytes([at]) * 36 for at in range(count)]) for count in (3, MAX_SEARCHED + 1))
        coming = {each.short_id: each.tx for each in (few, many)}
        alone, dependent = TransactionsAtHand(dev.pool.pool, (coming.get,), ()).proposed(list(coming))
    assert list(alone) == [few.short_id]
    assert dependent == []


async def test_transactions_are_found_wherever_they_are() -> None:
    async with remote() as made:
        funds = made.funds
        committed, replaced = funds.spend(), funds.spend(funds.cells[-1])
        replacing = funds.spend(funds.cells.pop(), fee=10 * FEE)
        await funds.submit(committed)
        await funds.dev.mine(4)
        await funds.submit(replaced, replacing)
        cheap = funds.spend(fee=1)
        orphan = funds.spend((OutPoint(tx_hash=b"o" * 32, index=0), 10**11))
        await made.after(cheap, orphan)
        everywhere = [committed, replaced, replacing, cheap, orphan]
        found = made.access.by_short_ids([bytes(10), *(each.short_id for each in everywhere)])
        assert found == {each.short_id: each for each in everywhere}
        assert all(each.hash == Transaction.parse(each.raw).hash for each in found.values())
        unknown = made.access.unknown_of([each.short_id for each in everywhere] * 2)
        assert unknown == [committed.short_id, replaced.short_id, cheap.short_id]
        assert [made.access.holds(each.hash) for each in everywhere] == [False, False, True, False, True]


async def test_what_waits_or_is_verified_is_found_too() -> None:
    async with held() as (made, worker):
        txs = [made.funds.spend() for _ in range(4)]
        made.submit(*txs)
        await until_held(worker, 2)
        assert set(made.access.by_short_ids([each.short_id for each in txs]).values()) == set(txs)
        assert all(made.access.holds(each.hash) for each in txs)
        await release_until(made, worker, 4)
