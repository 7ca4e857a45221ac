"""What is known to end a host of the library, or to fill it: the process goes on, and honest peers keep working."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from network.libp2p.topics import BLOCKS
from network.limits import MIB
from tests.support.nodes.networks import LOCAL, Notes, until
from tests.support.nodes.sides import Held, Judge, Side, needs_libp2p, side

pytestmark = [needs_libp2p, pytest.mark.slow]

RESERVE = 8
"""As in network.libp2p.child.run, which cannot be imported here."""
MULTISTREAM = b"/multistream/1.0.0"
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


async def memory_of(target: Side) -> int:
    await until(lambda: target.libp2p.state is not None and target.libp2p.state.stats is not None)
    state = target.libp2p.state
    assert state is not None
    assert state.stats is not None
    return state.stats.memory


async def test_what_makes_the_library_raise_ends_one_stream_and_fills_nothing(tmp_path: Path) -> None:
    async with side(tmp_path / "a", 1, topics={BLOCKS: Judge()}) as target:
        before = await memory_of(target)
        names = ("garbage", "key", "streams", "control")
        said = dict(zip(names, await asyncio.gather(*(attack(target, name) for name in names)), strict=True))
        assert target.ends == []
        assert "done" in said["control"]
        assert "it dials" not in said["control"]
        assert await memory_of(target) < before + 60 * MIB
        await greets(tmp_path / "b", target)


async def test_who_does_not_heed_its_windows_is_cut_off(tmp_path: Path) -> None:
    async with side(tmp_path / "a", 1, handler=Held()) as target:
        assert "broken off" in await attack(target, "window")
        async with side(tmp_path / "b", 77, [target.address]) as honest:
            await until(lambda: bool(honest.layer.switch.peers()))
        assert target.ends == []
        assert await memory_of(target) < 300 * MIB


async def test_a_process_whose_memory_is_used_up_is_replaced(tmp_path: Path) -> None:
    async with side(tmp_path / "a", 1, handler=Held()) as target:
        assert target.libp2p.process is not None
        process = psutil.Process(target.libp2p.process.pid)
        room = (process.memory_info().vms + 4 * MIB) * RESERVE // (RESERVE - 1)
        process.rlimit(psutil.RLIMIT_AS, (room, room))
        async with asyncio.timeout(60):
            while not target.ends:  # an attacker may be cut off before it has taken as much
                attacks = [attack(target, "window") for _ in range(3)]
                await asyncio.gather(*attacks, return_exceptions=True)
        await target.ready()
        assert "memory" in target.ends[0].lower()
        async with side(tmp_path / "b", 77, [target.address]) as honest:
            await until(lambda: bool(honest.layer.switch.peers()))
        assert len(target.ends) == 1


async def speaks(port: int, protocol: bytes) -> bytes:
    """What a process answers to who wants this instead of Noise."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(bytes([len(each) + 1]) + each + b"\n" for each in (MULTISTREAM, protocol)))
    header = await reader.readexactly(len(MULTISTREAM) + 2)
    assert header[1:] == MULTISTREAM + b"\n"
    answer = await reader.readexactly(4)
    writer.close()
    return answer


async def test_connections_without_noise_are_refused_and_idle_ones_leave_room_for_others(tmp_path: Path) -> None:
    async with side(tmp_path / "a", 1) as target:
        port = target.address.address.port
        assert port is not None
        for protocol in (b"/plaintext/2.0.0", b"/secio/1.0.0", b"/tls/1.0.0"):
            assert await speaks(port, protocol) == b"\x03na\n"
        with ExitStack() as stack:
            for _ in range(IDLE):
                idle = stack.enter_context(socket.socket())
                idle.bind(("127.0.0.2", 0))
                idle.setblocking(False)
                idle.connect_ex(("127.0.0.1", port))
            await greets(tmp_path / "b", target)
