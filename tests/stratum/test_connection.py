"""A connection on loopback: lines in any pieces and at any time, and what is left of a miner that goes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from ckb_node.stratum import connection as connection_module
from ckb_node.stratum.connection import MinerConnection
from ckb_node.stratum.limits import LINE_BYTES, UNREAD_BYTES, UNSENT_BYTES
from ckb_node.stratum.turns import Turns
from consensus.crypto.difficulty import compact_to_target
from tests.stratum.kit import Bench, easy_job
from tests.stratum.kit_net import NetMiner, Serving, miner, serving
from tests.support.chains.devchain import dev_chain, dev_consensus

BLOCK = compact_to_target(dev_consensus().genesis_epoch.compact_target)
PING = b'{"id":1,"method":"mining.ping","params":[]}\n'


class Keeper:
    """Nobody else."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.banned = self.left = 0

    def ban(self, _: MinerConnection) -> None:
        self.banned += 1

    def gone(self, _: MinerConnection) -> None:
        self.left += 1


class FakeTransport(asyncio.Transport):
    """Notes what a connection wants of it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.reads: list[bool] = []
        self.ended = ""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low

    def is_closing(self) -> bool:
        return bool(self.ended)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.reads.append(False)

    def resume_reading(self) -> None:
        self.reads.append(True)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Half:
    """A connection whose other end is the test."""

    def __init__(self) -> None:
        self.keeper, self.transport = Keeper(), FakeTransport()
        self.connection = MinerConnection(Bench(easy_job()).desk, "127.0.0.1", self.keeper)
        self.connection.connection_made(self.transport)

    def receive(self, data: bytes) -> None:
        while data:
            buffer = self.connection.get_buffer(-1)
            part, data = data[: len(buffer)], data[len(buffer) :]
            buffer[: len(part)] = part
            self.connection.buffer_updated(len(part))

    @property
    def answers(self) -> list[Any]:
        return [json.loads(line) for line in self.transport.written.splitlines()]

    async def heard(self) -> None:
        """Until nothing waits."""
        async with asyncio.timeout(10):
            while self.keeper.turns._waiting:  # noqa: ASYNC110 - of the loop's own calls
                await asyncio.sleep(0)


async def test_no_more_is_read_while_lines_wait() -> None:
    half = Half()
    half.receive(PING)
    assert half.transport.reads == []
    half.receive(PING * (UNREAD_BYTES // len(PING)))
    assert (half.transport.reads[-1], half.answers) == (False, [])
    await half.heard()
    assert half.transport.reads[-1]
    assert len(half.answers) == 1 + UNREAD_BYTES // len(PING)


@pytest.mark.parametrize("size", [LINE_BYTES, LINE_BYTES + 1])
async def test_a_line_has_so_many_bytes_and_no_more(size: int) -> None:
    half = Half()
    half.receive(PING[:-2].ljust(size - 1) + b"}\n" + PING)
    await half.heard()
    assert (len(half.answers), half.keeper.banned) == ((2, 0) if size == LINE_BYTES else (0, 1))


async def test_what_was_sent_before_the_end_is_heard() -> None:
    half = Half()
    half.receive(PING + PING)
    half.connection.connection_lost(None)
    assert half.keeper.left == 0
    await half.heard()
    assert len(half.answers) == 2
    assert half.keeper.left == 1


async def test_a_fault_ends_that_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    half = Half()
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    monkeypatch.setattr(half.connection.session, "line", lambda _: 1 // 0)
    half.receive(PING)
    await half.heard()
    assert [type(each) for each in faults] == [ZeroDivisionError]
    assert (half.transport.ended, half.keeper.left) == ("aborted", 1)


async def test_a_miner_that_is_dropped_and_does_not_read_is_gone_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "CLOSE_SECONDS", 0.01)
    half = Half()
    half.transport.unsent = 100
    half.connection.drop("a reason")
    assert half.transport.ended == "closed"
    async with asyncio.timeout(10):
        while half.transport.ended != "aborted":  # noqa: ASYNC110 - of the loop's own calls
            await asyncio.sleep(0.001)
    assert half.keeper.left == 0  # it counts until the system has let it go
    half.connection.connection_lost(None)
    assert half.keeper.left == 1


async def test_who_was_dropped_before_its_handshake_gets_no_connection() -> None:
    keeper, transport = Keeper(), FakeTransport()
    connection = MinerConnection(Bench(easy_job()).desk, "127.0.0.1", keeper)
    connection.drop("no login")
    connection.connection_made(transport)
    assert (keeper.left, transport.ended) == (1, "aborted")


async def test_who_has_left_too_much_unread_is_cut_off() -> None:
    half = Half()
    half.transport.unsent = UNSENT_BYTES + 1
    half.connection.send(b"x")
    assert half.transport.ended == "aborted"


async def test_a_block_of_a_miner_that_hangs_up_is_not_lost() -> None:
    async with dev_chain() as dev, serving(dev) as server, miner(server) as one:
        await one.join()
        await one.until_job(1)
        one.send("mining.submit", ["worker", one.job[0], one.find(BLOCK)], 9)
        one.writer.write_eof()
        await one.closed()
        await nobody_left(server)
        while server.service.desk.found.total == 0 or server.service._under_way:  # noqa: ASYNC110 - of the chain
            await asyncio.sleep(0.01)
        with dev.chain.view() as view:
            assert view.tip_header().number == 1


async def test_half_a_line_is_not_heard_at_the_end() -> None:
    async with dev_chain() as dev, serving(dev) as server:
        async with miner(server) as one:
            one.writer.write(PING + PING[:-1])
            await one.answer(1)
        await nobody_left(server)


async def nobody_left(server: Serving) -> None:
    """All connections are gone, and their numbers given back."""
    async with asyncio.timeout(10):
        while server.service.connection_count or server.service._server.connections:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert not server.service.desk.nonces._used


async def test_two_at_once_share_no_bytes() -> None:
    """They are read into one buffer."""
    async with dev_chain() as dev, serving(dev) as server, miner(server) as one, miner(server) as other:
        pieces: list[tuple[NetMiner, bytes]] = []
        for number in range(20):
            for who, name in ((one, b"one"), (other, b"other")):
                line = b'{"id":%d,"method":"mining.subscribe","params":["%s"]}\n' % (number, name * 10)
                pieces += [(who, line[:17]), (who, line[17:])]
        for who, piece in pieces:
            who.writer.write(piece)
            await who.writer.drain()
        for who in (one, other):
            assert [(await who.read())["id"] for _ in range(20)] == [*range(20)]
