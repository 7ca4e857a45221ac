"""Random transactions, blocks and reorganisations for both pools: the same answers, entries, events and templates.

A third node, in this process, makes the blocks: of what the pools propose and hold, and of what they do not know.
CKB_INTEROP_ROUNDS makes it longer.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.interop.kit_chain import COUNTS, wait_until
from tests.interop.kit_events import Heard, both_heard
from tests.interop.kit_json import hexed
from tests.interop.kit_pools import Walk, walking, without_times

pytestmark = pytest.mark.timeout(24 * 3600)

ROUNDS = int(os.environ.get("CKB_INTEROP_ROUNDS", "1"))
STEPS = 60


def assert_same_events(walk: Walk, theirs: Heard, ours: Heard) -> None:
    """Of transactions: the same of each topic, in any order."""

    def of(heard: Heard, topic: str) -> Counter[str]:
        events = (without_times(each) for each in heard.events[topic])
        pairs = (each if isinstance(each, list) else [each, None] for each in events)
        found = [(entry["transaction"]["hash"], reason, entry) for entry, reason in pairs]
        return Counter(str(each) for each in found if each[0] not in walk.bounced)

    topics = ("new_transaction", "proposed_transaction", "rejected_transaction")
    for topic in topics:
        try:
            wait_until(lambda topic=topic: of(theirs, topic) == of(ours, topic), 10.0)
        except AssertionError:
            told = (of(theirs, topic) - of(ours, topic), of(ours, topic) - of(theirs, topic))
            only = [[each[:300] for each in one] for one in told]
            raise AssertionError(f"{topic}: only the reference tells {only[0]}, only ours {only[1]}") from None
        COUNTS[f"events {topic}"] += len(ours.events[topic])


@pytest.mark.parametrize("seed", range(2 * ROUNDS))
async def test_the_same_pools(tmp_path: Path, seed: int) -> None:
    async with walking(tmp_path, f"pools {seed}") as walk:
        random = walk.random
        with both_heard(walk.pair) as (theirs, ours):
            for _ in range(STEPS):
                action = random.random()
                if action < 0.6:
                    walk.send(walk.transaction())
                elif action < 0.8:
                    await walk.tell_maker(random.sample(walk.sent, min(len(walk.sent), 6)))
                    walk.feed(await walk.mine())
                elif action < 0.9:
                    await walk.tell_maker([walk.transaction()])  # one that the pools do not know, and rivals with
                    walk.feed(*[await walk.mine() for _ in range(random.randrange(1, 4))])
                else:
                    await reorganise(walk, random.randrange(1, 4))
                walk.assert_same()
            assert_same_events(walk, theirs, ours)


async def reorganise(walk: Walk, depth: int) -> None:
    """The last blocks give way to one more of a branch that proposes the same.

    What it would not propose any more stays in the gap for ever in the reference, which no template proposes then; here
    it is pending again.
    """
    chain = walk.maker.chain
    tip = chain.view().tip_header().number
    target = chain.view().main_hash(max(4, tip - depth)) or b""
    await chain.truncate(target)
    held = walk.pair.ours.rpc.call("get_raw_tx_pool")
    hashes = {*held["pending"], *held["proposed"]}
    await walk.tell_maker([tx for tx in walk.sent if hexed(tx.hash) in hashes])
    while chain.view().tip_header().number <= tip:
        await walk.mine()
    view = chain.view()
    blocks = [view.block(view.main_hash(number) or b"") for number in range(max(4, tip - depth) + 1, tip + 2)]
    walk.feed(*[block for block in blocks if block is not None])


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_a_full_pool(tmp_path: Path, seed: int) -> None:
    """Who pays least leaves, with what stands on it, and both tell it alike."""
    async with walking(tmp_path, f"full {seed}", pool={"max_tx_pool_size": 4000}) as walk:
        with both_heard(walk.pair) as (theirs, ours):
            for step in range(STEPS):
                walk.send(walk.transaction())
                if step % 10 == 9:
                    walk.feed(await walk.mine())
                walk.assert_same()
            assert_same_events(walk, theirs, ours)


async def test_what_expires(tmp_path: Path) -> None:
    async with walking(tmp_path, "expiry", pool={"expiry_hours": 0}) as walk:
        with both_heard(walk.pair) as (theirs, ours):
            sent = [walk.transaction() for _ in range(12)]
            for tx in sent:
                walk.send(tx)
            walk.assert_same()
            await asyncio.sleep(0.01)  # it is the clock that makes them too old
            walk.feed(await walk.mine())
            wait_until(lambda: not walk.pair.ours.rpc.call("get_raw_tx_pool")["pending"])
            walk.assert_same()
            assert_same_events(walk, theirs, ours)
            assert len(ours.events["rejected_transaction"]) > 1
