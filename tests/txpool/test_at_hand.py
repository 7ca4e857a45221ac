"""Transactions at hand: what others may have of those that a block proposes."""

from __future__ import annotations

from ckb_node.txpool.at_hand import MAX_SEARCHED, TransactionsAtHand
from consensus.types.blockchain import Transaction
from tests.support.builders.pool_entries import a_chain, an_entry, output_of
from tests.support.chains.devchain import dev_chain


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
