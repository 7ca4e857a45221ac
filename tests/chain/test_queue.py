"""Blocks that come faster than they can be verified: bounded, in order, each once, and nobody is let down."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ckb_node.chain.events import Source, Verdict
from ckb_node.chain.queue import BlockQueueLimit
from consensus.errors import CkbError
from consensus.rules.block import BodyMismatchError
from consensus.types.blockchain import Block
from tests.support.chains.branches import branch, tip_of, with_wrong_dao
from tests.support.chains.devchain import DevChain, dev_chain


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# ---------------------------------------------------------------- room


async def test_room_is_bounded_by_blocks_and_bytes() -> None:
    async with asyncio.TaskGroup() as tasks:
        for room, sizes, inside in (
            (BlockQueueLimit(max_blocks=2), [1, 1, 1], 2),
            (BlockQueueLimit(max_bytes=100), [60, 40, 1], 2),
            (BlockQueueLimit(max_bytes=100), [60, 41, 1], 1),
            (BlockQueueLimit(max_bytes=100), [101, 1], 1),
        ):
            for size in sizes:
                tasks.create_task(room.acquire(size))
            await turns()
            assert room.blocks == inside
            assert room.bytes == sum(sizes[:inside])
            assert room.has_line
            for size in sizes:
                room.release(size)
                await turns()
            assert (room.blocks, room.bytes, room.has_line) == (0, 0, False)


async def test_the_line_is_kept() -> None:
    room, entered = BlockQueueLimit(max_bytes=100), list[int]()

    async def enter(size: int) -> None:
        await room.acquire(size)
        entered.append(size)

    async with asyncio.TaskGroup() as tasks:
        for size in (90, 50, 1, 2):
            tasks.create_task(enter(size))
        await turns()
        assert entered == [90], "the small ones do not pass the big one"
        room.release(90)
        await turns()
        assert entered == [90, 50, 1, 2]


async def test_who_gives_up_leaves_the_line() -> None:
    room = BlockQueueLimit(max_blocks=1)
    await room.acquire(5)
    loop = asyncio.get_running_loop()
    waiting = [loop.create_task(room.acquire(size)) for size in (1, 2, 3)]
    await turns()
    waiting[0].cancel()
    await turns()
    room.release(5)
    waiting[1].cancel()  # it was let in, but has not noticed yet
    await turns()
    assert [task.cancelled() for task in waiting] == [True, True, False]
    assert (room.blocks, room.bytes, room.has_line) == (1, 3, False)


async def test_who_gives_up_in_the_moment_when_somebody_leaves_takes_no_room() -> None:
    room = BlockQueueLimit(max_blocks=1)
    await room.acquire(5)
    loop = asyncio.get_running_loop()
    waiting = [loop.create_task(room.acquire(size)) for size in (1, 2)]
    await turns()
    waiting[0].cancel()  # it has not noticed yet
    room.release(5)
    await turns()
    assert [task.done() for task in waiting] == [True, True]
    assert [task.cancelled() for task in waiting] == [True, False]
    assert (room.blocks, room.bytes, room.has_line) == (1, 2, False)


# ---------------------------------------------------------------- the service


@contextmanager
def halted(dev: DevChain, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Block]]:
    """The writer does nothing while the context lasts; the blocks that it was given, whole at the end."""
    may_go_on, given, process = threading.Event(), list[Block](), dev.writer.process

    def slow(block: Block, source: Source | None = None) -> Verdict:
        given.append(block)
        assert may_go_on.wait(10)
        return process(block, source)

    monkeypatch.setattr(dev.writer, "process", slow)
    try:
        yield given
    finally:
        may_go_on.set()


async def test_more_blocks_than_there_is_room_for_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await branch(b"ours", 12)
    async with dev_chain() as dev:
        dev.chain.queue_limit = BlockQueueLimit(max_blocks=3)
        async with asyncio.TaskGroup() as tasks:
            with halted(dev, monkeypatch) as given:
                running = [tasks.create_task(dev.chain.process(block)) for block in made]
                await turns()
                assert dev.chain.queue_limit.blocks == 3
                assert dev.chain.queue_limit.has_line
        assert [task.result() for task in running] == [Verdict.BEST] * 12
        assert given == made
        assert (dev.chain.queue_limit.blocks, dev.chain.queue_limit.bytes, dev.chain.queue_limit.has_line) == (
            0,
            0,
            False,
        )
        assert tip_of(dev) == made[-1].hash


async def test_a_block_that_is_in_the_queue_is_not_verified_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await branch(b"ours", 1)
    async with dev_chain() as dev:
        async with asyncio.TaskGroup() as tasks:
            with halted(dev, monkeypatch) as given:
                copies = [tasks.create_task(dev.chain.process(Block.parse(made[0].raw))) for _ in range(5)]
                await turns()
                assert dev.chain.queue_limit.blocks == 1
        assert [task.result() for task in copies] == [Verdict.BEST] * 5
        assert given == made
        assert await dev.chain.process(made[0]) is Verdict.KNOWN
        assert dev.chain.queue_limit.blocks == 0


async def test_its_error_is_everybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await branch(b"ours", 1)
    bad = with_wrong_dao(made[0])
    async with dev_chain() as dev:
        with halted(dev, monkeypatch):
            loop = asyncio.get_running_loop()
            copies = [loop.create_task(dev.chain.process(bad)) for _ in range(2)]
            await turns()
            copies[0].cancel()
        with pytest.raises(CkbError, match="InvalidDAO"):
            await copies[1]
        assert dev.chain.queue_limit.blocks == 0


async def test_a_false_body_does_not_stand_in_for_the_true_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await branch(b"ours", 2)
    false = made[0].replace(transactions=made[1].transactions)
    assert false.hash == made[0].hash
    async with dev_chain() as dev:
        with halted(dev, monkeypatch):
            loop = asyncio.get_running_loop()
            first, second = (loop.create_task(dev.chain.process(block)) for block in (false, made[0]))
            await turns()
            assert dev.chain.queue_limit.blocks == 2
        with pytest.raises(BodyMismatchError):
            await first
        assert await second is Verdict.BEST
        assert dev.chain.queue_limit.blocks == 0
