"""Templates for whoever must have the newest: at once on a new tip, then the full one, then only better ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ckb_node.chain.events import ChainChanged
from ckb_node.mining.feed import TemplateFeed, TipSignal, is_worth_it
from ckb_node.mining.template import BlockTemplate, UncleTemplate
from consensus.types.blockchain import UncleBlock
from tests.support.builders.blocks import a_header
from tests.support.chains.branches import branch
from tests.support.chains.devchain import DevChain, dev_chain
from tests.support.chains.funded_pool import funded

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Fresh:
    """A template, and how it was told."""

    template: BlockTemplate
    is_short: bool


class Listener:
    """Gets templates as they come."""

    def __init__(self, feed: TemplateFeed) -> None:
        self.feed = feed
        self.came: asyncio.Queue[Fresh] = asyncio.Queue()

    def on_short(self, template: BlockTemplate) -> Iterator[None]:
        self.came.put_nowait(Fresh(template, is_short=True))
        yield

    async def on_full(self, template: BlockTemplate) -> None:
        self.came.put_nowait(Fresh(template, is_short=False))

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
    feed.listen(listener)
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


async def test_the_empty_template_is_told_before_anything_else_of_a_tip() -> None:
    async with dev_chain() as dev:
        feed = TemplateFeed(dev.chain, dev.pool.pool, dev.assembler, TipSignal(dev.chain), dev.clock.now_ms, 1.0)
        listener = Listener(feed)
        feed.listen(listener)
        told: list[bytes] = []

        def on_change(_: ChainChanged) -> None:
            while not listener.came.empty():
                told.append(listener.came.get_nowait().template.parent_hash)

        dev.chain.listen(on_change)
        assert told == [(await dev.mine()).hash for _ in range(14)]  # also while rewards are paid
        await feed._on_new_tip()
        assert listener.came.empty()  # the full one is not better, and the empty one is told once


async def test_blocks_that_would_have_to_be_read_are_read_beside_the_loop() -> None:
    async with dev_chain() as dev:
        await dev.mine(3)
        feed = TemplateFeed(dev.chain, dev.pool.pool, dev.assembler, TipSignal(dev.chain), dev.clock.now_ms, 1.0)
        listener = Listener(feed)
        feed.listen(listener)
        tip = await dev.mine()
        assert listener.came.empty()
        await feed._on_new_tip()
        fresh = listener.came.get_nowait()
        assert (fresh.is_short, fresh.template.parent_hash) == (True, tip.hash)


@pytest.mark.parametrize("making", ["empty_template", "block_template"])
async def test_a_template_is_not_told_when_there_is_a_new_tip_meanwhile(
    making: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dev_chain() as dev:
        await dev.mine(3)
        feed = TemplateFeed(dev.chain, dev.pool.pool, dev.assembler, TipSignal(dev.chain), dev.clock.now_ms, 1.0)
        listener = Listener(feed)
        feed.listen(listener)
        await feed._on_new_tip()
        await listener.came.get()
        dev.clock.advance(61_000)  # the full one is due
        make = getattr(dev.assembler, making)

        async def slowly(*arguments: Any) -> BlockTemplate:
            template: BlockTemplate = await make(*arguments)
            monkeypatch.undo()
            await dev.mine()
            return template

        monkeypatch.setattr(dev.assembler, making, slowly)
        if making == "empty_template":
            await dev.mine()
            await feed._on_new_tip()
        else:
            await feed._refresh()
        assert listener.came.empty()
        assert feed._signal.moved.is_set()


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
        feed.listen(listener)
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
