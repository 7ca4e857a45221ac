"""What is known to end a host of the library, or to fill it: the process goes on, and honest peers keep working."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from network.libp2p.topics import BLOCKS
from network.limits import MIB
from tests.network.libp2p.kit import Held, Judge, Side, needs_libp2p, side
from tests.support.nodes.networks import LOCAL, Notes, until

pytestmark = [needs_libp2p, pytest.mark.slow]

IDLE = 300
"""Connections that say nothing; all that the library has places for."""


async def attack(target: Side, name: str) -> str:
    """What the attacker says. It must have got so far."""
    command = ["-m", "tests.network.libp2p.attacker", target.address.text, name, LOCAL.network_name]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert b"connected" in output
    return output.decode()


async def greets(directory: Path, target: Side) -> None:
    """An honest peer comes, and both hear each other."""
    async with side(directory, 77, [target.address]) as honest:
        assert isinstance(honest.handler, Notes)
        handler = honest.handler
        await until(lambda: bool(handler.came))
        assert target.ends == []


@pytest.mark.parametrize("name", ["garbage", "key", "streams"])
async def test_what_makes_the_library_raise_ends_one_stream(tmp_path: Path, name: str) -> None:
    async with side(tmp_path / "a", 1, topics={BLOCKS: Judge()}) as target:
        await attack(target, name)
        await greets(tmp_path / "b", target)


async def test_who_does_not_heed_its_windows_is_cut_off(tmp_path: Path) -> None:
    async with side(tmp_path / "a", 1, handler=Held()) as target:
        assert "broken off" in await attack(target, "window")
        async with side(tmp_path / "b", 77, [target.address]) as honest:
            await until(lambda: bool(honest.layer.switch.peers()))
        assert target.ends == []
        await until(lambda: target.libp2p.state is not None and target.libp2p.state.stats is not None)
        state = target.libp2p.state
        assert state is not None
        assert state.stats is not None
        assert state.stats.memory < 300 * MIB


async def test_connections_that_say_nothing_leave_room_for_others(tmp_path: Path) -> None:
    async with side(tmp_path / "a", 1) as target:
        port = target.address.address.port
        assert port is not None
        with ExitStack() as stack:
            for _ in range(IDLE):
                idle = stack.enter_context(socket.socket())
                idle.bind(("127.0.0.2", 0))
                idle.setblocking(False)
                idle.connect_ex(("127.0.0.1", port))
            await greets(tmp_path / "b", target)
