"""ChainFollower by itself: batches, waiting for the tip, and starting again after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ckb_node.chain.follower import ChainFollower
from ckb_node.runtime.tasks import Pauses, Tasks
from storage.chain_store import ChainView
from tests.support.chains.branches import branch
from tests.support.chains.devchain import DevChain, dev_chain

WAIT_S = 30.0


class Heights:
    """Follows two blocks a step, and fails as often as it is told."""

    def __init__(self) -> None:
        self.height = -1
        self.failures = self.reopened = 0
        self.is_closed = False

    def step(self, view: ChainView) -> int:
        if self.failures:
            self.failures -= 1
            self.height += 1  # half done
            raise RuntimeError("the disk is full")
        self.height = min(self.height + 2, view.tip_header().number)
        return self.height

    def reopen(self) -> None:
        self.reopened += 1
        self.height = -1

    def close(self) -> None:
        self.is_closed = True


@asynccontextmanager
async def following(dev: DevChain, heights: Heights) -> AsyncIterator[ChainFollower]:
    follower = ChainFollower(dev.chain, heights, "heights")
    async with Tasks(dev.clock.now_ms, Pauses(first=0.001, healthy_after=0.05)) as tasks:
        tasks.start_restartable("heights", follower.run)
        yield follower
    follower.close()
    assert heights.is_closed


async def test_whoever_waits_sees_all_changes_before() -> None:
    async with dev_chain() as dev:
        heights = Heights()
        async with following(dev, heights) as follower:
            for _ in range(5):
                block = await dev.mine()
                assert await follower.when_current(lambda: heights.height, WAIT_S) == block.number


async def test_without_its_task_whoever_waits_gives_up() -> None:
    async with dev_chain() as dev:
        follower = ChainFollower(dev.chain, Heights(), "heights")
        await dev.mine()
        assert not follower.is_current
        with pytest.raises(TimeoutError):
            await follower.when_current(lambda: None, 0.01)
        assert not follower._waiters
        follower.close()


async def test_after_a_failure_it_opens_again_and_nobody_sees_what_was_half_done() -> None:
    async with dev_chain() as dev:
        heights = Heights()
        async with following(dev, heights) as follower:
            await follower.when_current(lambda: None, WAIT_S)
            heights.failures = 3
            blocks = [await dev.mine() for _ in range(3)]
            assert await follower.when_current(lambda: heights.height, WAIT_S) == blocks[-1].number
            assert heights.reopened == 3


async def test_one_who_gives_up_harms_nobody() -> None:
    async with dev_chain() as dev:
        heights = Heights()
        follower = ChainFollower(dev.chain, heights, "heights")
        first, second = (asyncio.get_running_loop().create_task(follower.when_current(int, WAIT_S)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        async with Tasks(dev.clock.now_ms) as tasks:
            tasks.start_restartable("heights", follower.run)
            assert await second == 0
        assert first.cancelled()
        follower.close()


async def test_while_many_blocks_are_written_at_once_it_waits_unless_somebody_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ckb_node.chain.follower.PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("ckb_node.chain.service.RUNS_LINGER_S", 3600.0)
    made = await branch(b"ours", 6)
    async with dev_chain() as dev:
        heights = Heights()
        async with following(dev, heights) as follower:
            await follower.when_current(lambda: None, WAIT_S)
            await dev.chain.start_run(made, [None] * len(made))
            assert dev.chain.is_taking_runs
            await asyncio.sleep(0.1)
            assert heights.height < 6
            assert await follower.when_current(lambda: heights.height, WAIT_S) == 6
