"""Topics over real processes: what is good goes from one end to the other, once; what is not goes no further."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from network.libp2p.topics import BLOCKS
from network.peer import Direction
from tests.support.nodes.networks import until
from tests.support.nodes.sides import Judge, Side, needs_libp2p, side

pytestmark = needs_libp2p


async def met(publisher: Side, judges: list[Judge]) -> None:
    """Meshes have formed: what is published reaches everybody."""
    number = 0
    async with asyncio.timeout(30):
        while not all(judge.came for judge in judges):
            publisher.libp2p.publish(BLOCKS, b"good: are you there? %d" % number)
            number += 1
            await asyncio.sleep(0.1)
    for judge in judges:
        judge.came.clear()


async def in_a_row(stack: AsyncExitStack, directory: Path, judges: list[Judge]) -> list[Side]:
    """Each has dialled the one before."""
    sides = list[Side]()
    for number, judge in enumerate(judges, start=1):
        bootnodes = [sides[-1].address] if sides else []
        found = side(directory / str(number), number, bootnodes, topics={BLOCKS: judge})
        sides.append(await stack.enter_async_context(found))
    await until(lambda: all(each.layer.switch.peers() for each in sides))
    return sides


async def test_what_is_good_reaches_everybody_once(tmp_path: Path) -> None:
    judges = [Judge() for _ in range(3)]
    async with AsyncExitStack() as stack:
        first, middle, last = await in_a_row(stack, tmp_path, judges)
        await met(first, judges[1:])
        contents = [b"good %d " % number + bytes(number * 100) for number in range(60)]
        for content in contents:
            first.libp2p.publish(BLOCKS, content)
            middle.libp2p.publish(BLOCKS, content)  # the same under another name
        bad, end = b"bad from the first", b"good end"
        first.libp2p.publish(BLOCKS, bad)
        await until(lambda: bad in judges[1].came)
        first.libp2p.publish(BLOCKS, end)  # what is passed on comes in order
        await until(lambda: all(content in judges[2].came for content in (*contents, end)))
        assert bad not in judges[2].came
        assert set(judges[2].came.values()) == {1}
        assert judges[2].givers == {middle.layer.switch.peer_id}
        assert not any(each.ends for each in (first, middle, last))


async def test_what_was_refused_of_a_forwarder_may_still_be_told_by_the_node_itself(tmp_path: Path) -> None:
    """Else a peer that is not heard could keep each block from the topic: it would only have to be the first."""
    judges = [Judge() for _ in range(3)]
    async with AsyncExitStack() as stack:
        first, middle, _ = await in_a_row(stack, tmp_path, judges)
        await met(first, judges[1:])
        refused, later = b"bad of this forwarder", b"later, refused when the node has it from elsewhere"
        first.libp2p.publish(BLOCKS, refused)
        await until(lambda: refused in judges[1].came)
        middle.libp2p.publish(BLOCKS, refused)
        await until(lambda: refused in judges[2].came)
        first.libp2p.publish(BLOCKS, later)
        await until(lambda: bool(judges[1].later))
        middle.libp2p.publish(BLOCKS, later)
        judges[1].later[0](False)
        await until(lambda: later in judges[2].came)
        assert judges[1].came[later] == judges[2].came[later] == 1


async def test_a_fault_of_the_judge_ends_the_session_and_nothing_else(tmp_path: Path) -> None:
    judges = [Judge(), Judge()]
    async with AsyncExitStack() as stack:
        first, second = await in_a_row(stack, tmp_path, judges)
        await met(first, judges[1:])
        first.libp2p.publish(BLOCKS, b"fault")
        await until(lambda: second.layer.switch.traffic.faults == 1)
        await until(lambda: bool(second.layer.switch.peers()))
        await met(first, judges[1:])
        assert (first.ends, second.ends) == ([], [])


async def test_two_that_dial_each_other_at_once_keep_one_connection_and_go_on_to_gossip(tmp_path: Path) -> None:
    judges = [Judge(), Judge()]
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(side(tmp_path / str(number), number, topics={BLOCKS: judge}))
            for number, judge in enumerate(judges, start=1)
        ]
        for one, other in ((first, second), (second, first)):
            one.libp2p.add(other.address)
        bridges = [each.libp2p.bridge for each in (first, second)]
        for bridge in bridges:
            assert bridge is not None
            bridge.dial()
        await until(lambda: not any(bridge is not None and bridge.is_dialling for bridge in bridges))
        await until(lambda: all(each.layer.switch.connections == 1 for each in (first, second)))
        await met(first, judges[1:])
        await met(second, judges[:1])
        assert {peer.direction for each in (first, second) for peer in each.layer.switch.peers()} == set(Direction)
