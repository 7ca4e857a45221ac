"""The chain as the event loop sees it: one writer, events in order, before the caller goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ckb_node.chain.events import ChainChanged, Source, Verdict
from consensus.rules.resolve import UnknownOutPointError
from consensus.types.blockchain import Block, OutPoint
from tests.support.builders.wallet import ALICE_KEY, CKB, Wallet, issued_cell
from tests.support.chains.branches import branch, submit_all, tip_of
from tests.support.chains.devchain import dev_chain


async def test_one_thread_writes_one_block_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await branch(b"ours", 20)
    async with dev_chain() as dev:
        running, threads, overlaps = [], set(), []
        process = dev.writer.process

        def watched(block: Block, source: Source | None = None) -> Verdict:
            threads.add(threading.current_thread())
            running.append(block)
            overlaps.append(len(running))
            try:
                return process(block, source)
            finally:
                running.pop()

        monkeypatch.setattr(dev.writer, "process", watched)
        verdicts = await asyncio.gather(*(dev.chain.process(block) for block in made))
        assert verdicts == [Verdict.BEST] * 20
        assert len(threads) == 1
        assert threads != {threading.main_thread()}
        assert set(overlaps) == {1}
        assert tip_of(dev) == made[-1].hash


async def test_listeners_hear_in_order_before_the_caller() -> None:
    made, longer = await branch(b"ours", 3), await branch(b"longer", 4)
    async with dev_chain() as dev:
        heard: list[tuple[str, int]] = []
        dev.chain.listen(lambda change: heard.append(("first", change.new_tip.number)))
        dev.chain.listen(lambda change: heard.append(("second", change.new_tip.number)))
        dev.chain.listen_side(lambda block: heard.append(("side", block.number)))
        for block in made:
            await dev.chain.submit_block(block)
            assert heard[-2:] == [("first", block.number), ("second", block.number)]
        await submit_all(dev, longer)
        expected = [("side", 1), ("side", 2), ("side", 3), ("first", 4), ("second", 4)]
        assert heard[6:] == expected


async def test_an_event_tells_what_left_and_what_came() -> None:
    made, longer = await branch(b"ours", 3), await branch(b"longer", 4)
    async with dev_chain() as dev:
        changes: list[ChainChanged] = []
        await submit_all(dev, made)
        dev.chain.listen(changes.append)
        await submit_all(dev, longer)
        assert len(changes) == 1
        change = changes[0]
        assert (change.old_tip, change.new_tip) == (made[-1].header, longer[-1].header)
        assert list(change.detached) == made[::-1]
        assert list(change.attached) == longer


async def test_one_call_tells_of_all_orphans_that_followed() -> None:
    made = await branch(b"ours", 4)
    async with dev_chain() as dev:
        heard: list[int] = []
        for block in made[:0:-1]:
            await dev.chain.process(block)
        dev.chain.listen(lambda change: heard.append(change.new_tip.number))
        await dev.chain.process(made[0])
        assert heard == [1, 2, 3, 4]


async def test_a_faulty_listener_does_not_keep_the_event_from_others() -> None:
    made = await branch(b"ours", 1)
    async with dev_chain() as dev:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
        heard: list[int] = []

        def fail(change: ChainChanged) -> None:
            raise RuntimeError("a fault")

        dev.chain.listen(fail)
        dev.chain.listen(lambda change: heard.append(change.new_tip.number))
        await dev.chain.submit_block(made[0])
        assert heard == [1]
        assert [str(fault["exception"]) for fault in faults] == ["a fault"]


async def test_listeners_are_not_told_of_a_closed_chain() -> None:
    made = await branch(b"ours", 1)
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
    async with dev_chain() as dev:
        submission = asyncio.get_running_loop().create_task(dev.chain.process(made[0]))
        await asyncio.sleep(0)
    assert await submission is Verdict.BEST
    assert faults == []


async def test_a_listener_stops_between_two_steps_when_the_chain_is_closed() -> None:
    made = await branch(b"ours", 1)
    steps: list[int] = []
    async with dev_chain() as dev:

        def many(_: ChainChanged) -> Iterator[None]:
            for step in range(100):
                steps.append(step)
                dev.chain.close()
                yield

        dev.chain.listen(many)
        assert await dev.chain.process(made[0]) is Verdict.BEST
    assert steps == [0]


async def test_the_loop_runs_while_a_block_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await branch(b"ours", 1)
    async with dev_chain() as dev:
        may_go_on = threading.Event()
        process = dev.writer.process

        def slow(block: Block, source: Source | None = None) -> Verdict:
            assert may_go_on.wait(10)
            return process(block, source)

        monkeypatch.setattr(dev.writer, "process", slow)
        submission = asyncio.get_running_loop().create_task(dev.chain.process(made[0]))
        for _ in range(5):
            await asyncio.sleep(0)
            assert dev.chain.view().tip_header().number == 0
        may_go_on.set()
        assert await submission is Verdict.BEST


async def test_a_caller_that_gives_up_does_not_stop_the_block() -> None:
    made = await branch(b"ours", 2)
    async with dev_chain() as dev:
        heard: list[int] = []
        dev.chain.listen(lambda change: heard.append(change.new_tip.number))
        submission = asyncio.get_running_loop().create_task(dev.chain.process(made[0]))
        await asyncio.sleep(0)
        submission.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submission
        await dev.chain.process(made[1])
        assert heard == [1, 2]
        assert tip_of(dev) == made[1].hash


async def test_a_view_stays_as_it_was() -> None:
    made = await branch(b"ours", 2)
    async with dev_chain() as dev:
        before = dev.chain.view()
        await submit_all(dev, made)
        assert before.tip_header().number == 0
        assert before.header(made[0].hash) is None
        assert dev.chain.view().tip_header().number == 2


async def test_cycles_are_estimated_without_admission() -> None:
    alice = Wallet(ALICE_KEY)
    async with dev_chain() as dev:
        cell = issued_cell(dev.consensus, alice)
        tx = alice.transfer(dev.consensus, [cell], [(alice.lock, cell[1] - CKB)])
        estimated = await dev.chain.estimate_cycles(tx)
        accepted = await dev.pool.test_accept(tx)
        assert estimated == accepted.cycles > 0
        absent = OutPoint(tx_hash=bytes(32), index=0)
        with pytest.raises(UnknownOutPointError):
            await dev.chain.estimate_cycles(alice.transfer(dev.consensus, [(absent, CKB)], [(alice.lock, CKB)]))


@pytest.mark.parametrize("is_given_up", [False, True])
async def test_what_goes_on_aside_is_waited_for(is_given_up: bool) -> None:
    """Whoever closes the store next finds no thread that reads it, though nobody waits for the answer any more."""
    has_begun, may_end, seen = threading.Event(), threading.Event(), list[int]()
    async with dev_chain() as dev:

        def slow() -> int:
            has_begun.set()
            may_end.wait(30)
            with dev.chain.view() as view:
                seen.append(view.tip_header().number)
            return 7

        asked = asyncio.get_running_loop().create_task(dev.chain.run_in_reader(slow))
        await asyncio.to_thread(has_begun.wait, 30)
        if is_given_up:
            asked.cancel()
        closing = asyncio.get_running_loop().create_task(asyncio.to_thread(dev.chain.close))
        await asyncio.sleep(0.05)
        assert not closing.done()
        may_end.set()
        await closing
        assert seen == [0]
        if not is_given_up:
            assert await asked == 7
