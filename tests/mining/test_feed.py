"""Templates for whoever must have the newest: at once on a new tip, then the full one, then only better ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from ckb_node.mining.feed import FreshTemplate, TemplateFeed, TipSignal, is_worth_it
from ckb_node.mining.template import BlockTemplate, UncleTemplate
from consensus.types.blockchain import UncleBlock
from tests.support.builders.blocks import a_header
from tests.support.chains.branches import branch
from tests.support.chains.devchain import DevChain, dev_chain
from tests.support.chains.funded_pool import funded

SECONDS = 30.0


class Listener:
    """Gets templates as they come."""

    def __init__(self, feed: TemplateFeed) -> None:
        self.feed = feed
        self.came: asyncio.Queue[FreshTemplate] = asyncio.Queue()

    async def take(self, fresh: FreshTemplate, is_late: Callable[[], bool]) -> None:
        del is_late
        self.came.put_nowait(fresh)

    async def until_full(self, transactions: int = 0, proposals: int = 0) -> BlockTemplate:
        """The next that is not short and has so much in it."""
        while True:
            fresh = await self.came.get()
            sizes = len(fresh.template.transactions), len(fresh.template.proposals)
            if not fresh.is_short and sizes == (transactions, proposals):
                return fresh.template


@asynccontextmanager
async def feeding(dev: DevChain, interval_s: float = 0.02) -> AsyncIterator[Listener]:
    feed = TemplateFeed(dev.chain, dev.pool.pool, dev.assembler, TipSignal(dev.chain), dev.clock.now_ms, interval_s)
    listener = Listener(feed)
    is_wanted = feed.is_wanted
    feed.listen(listener.take)
    assert (is_wanted, feed.is_wanted) == (False, True)
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        task = group.create_task(feed.run())
        yield listener
        task.cancel()


async def test_a_new_tip_gives_an_empty_template_and_then_the_full_one() -> None:
    async with funded() as funds:
        await funds.submit(funds.spend())
        await funds.dev.mine()
        async with feeding(funds.dev) as listener:
            await listener.came.get()
            tip = await funds.dev.mine()  # the window opens
            while (fresh := await listener.came.get()).template.parent_hash != tip.hash:
                pass
            assert fresh.is_short
            assert not any((*fresh.template.transactions, *fresh.template.proposals, *fresh.template.uncles))
            full = await listener.came.get()
            assert not full.is_short
            assert (len(full.template.transactions), full.template.parent_hash) == (1, tip.hash)
            assert full.template.fees > 0
            await funds.dev.chain.submit_block(full.template.to_block())


async def test_the_empty_template_makes_a_valid_block_each_time() -> None:
    """Also where a reward is paid and where an epoch ends."""
    async with dev_chain() as dev:
        length = dev.consensus.genesis_epoch.length
        for _ in range(min(length + 2, 30)):
            template = await dev.assembler.empty_template()
            await dev.chain.submit_block(template.to_block())


async def test_what_the_pool_gets_is_proposed_soon() -> None:
    async with funded() as funds, feeding(funds.dev) as listener:
        await funds.submit(funds.spend())
        await listener.until_full(proposals=1)


async def test_a_look_between_the_move_of_the_pool_and_the_new_tip_hides_nothing() -> None:
    """Step by step, without a task."""
    async with funded() as funds:
        dev = funds.dev
        feed = TemplateFeed(dev.chain, dev.pool.pool, dev.assembler, TipSignal(dev.chain), dev.clock.now_ms, 1.0)
        listener = Listener(feed)
        feed.listen(listener.take)
        await funds.submit(funds.spend())
        await dev.mine()
        await feed._on_new_tip()
        await dev.mine()  # the window opens
        await feed._refresh()  # the interval ends just now
        await feed._on_new_tip()
        while not (await listener.came.get()).template.transactions:
            assert not listener.came.empty()


async def test_nothing_new_is_told_while_nothing_changes() -> None:
    async with dev_chain() as dev, feeding(dev) as listener:
        await listener.came.get()
        for _ in range(10):
            await listener.feed._refresh()
        assert listener.came.empty()


async def test_a_template_is_made_anew_for_its_time() -> None:
    async with dev_chain() as dev, feeding(dev) as listener:
        first = (await listener.came.get()).template
        dev.clock.advance(61_000)
        second = await listener.until_full()
        assert second.current_time >= first.current_time + 61_000


async def test_an_uncle_is_embedded_soon() -> None:
    (side,) = await branch(b"side", 1)
    async with dev_chain() as dev:
        await dev.mine()
        async with feeding(dev) as listener:
            await listener.came.get()
            await dev.chain.submit_block(side)
            template = await listener.until_full()
            assert [each.uncle.hash for each in template.uncles] == [side.hash]


async def test_only_what_is_worth_a_job_is_told() -> None:
    async with dev_chain() as dev:
        last = replace(await dev.assembler.block_template(), fees=1000, proposals=[bytes([n]) * 10 for n in range(100)])
    uncle = UncleTemplate(UncleBlock(header=a_header(), proposals=[]))
    more = [*last.proposals, *(bytes([n]) * 10 for n in range(200, 206))]
    assert not is_worth_it(last, last)
    assert not is_worth_it(last, replace(last, fees=1020))
    assert is_worth_it(last, replace(last, fees=1021))
    assert not is_worth_it(last, replace(last, proposals=more[:-1]))
    assert is_worth_it(last, replace(last, proposals=more))
    assert is_worth_it(last, replace(last, uncles=[uncle]))
    assert is_worth_it(replace(last, proposals=[], fees=0), last)
