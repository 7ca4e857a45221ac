"""What clients may take of the HTTP server: connections, bytes, time."""

from __future__ import annotations

import asyncio
import errno
import json
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress

import pytest
from structlog.testing import capture_logs

from ckb_node.rpc import guard, http_connection
from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.http import CHUNK_BYTES
from ckb_node.rpc.http_connection import Connection
from tests.rpc.kit_http import Client, no_lingering, post, rpc, running, until


def pause_reading(client: Client) -> None:
    """It takes nothing any more."""
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]


async def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    async with running(body_bytes=1000) as node:
        async with node.client() as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n")
            assert (await client.answer()).status == 413
            assert await client.is_closed()
        async with node.client() as client:
            chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 2)
            assert (await client.answer()).status == 413
        async with node.client() as client:
            await client.send(post(rpc("echo", "x" * 900)))
            assert (await client.answer()).status == 200


async def test_a_client_that_sends_all_of_a_refused_body_still_sees_the_refusal() -> None:
    async with running(body_bytes=1000) as node, node.client() as client:
        await client.send(post(b"x" * 3_000_000))
        assert (await client.answer()).status == 413


async def test_answers_due_before_a_refusal_are_given_first() -> None:
    async with running(body_bytes=1000) as node, node.client() as client:
        await client.send(post(rpc("echo", "good")) + post(b"x" * 2000))
        assert (await client.answer()).json()["result"] == "good"
        assert (await client.answer()).status == 413


def start_of(size: int, sent: int) -> bytes:
    """An upload of which so many bytes come, and no more."""
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b" " * sent


async def test_the_bytes_of_all_requests_together_are_bounded() -> None:
    """The upload that takes longest gives way to newer ones; small requests are always served."""
    async with (
        running(held_bytes=1_000_000) as node,
        node.client() as first,
        node.client() as second,
        node.client() as third,
    ):
        for client in (first, second, third):
            await client.send(start_of(600_000, 500_000))
            await asyncio.sleep(0.05)
        assert await first.is_closed()
        async with node.client() as client:
            await client.send(post(rpc("echo", "small")))
            assert (await client.answer()).status == 200
        for client in (second, third):
            await client.send(b" " * 99_950 + rpc("echo", "large").rjust(50))
            assert (await client.answer()).status == 200
        assert node.server.guard.held_bytes == 0


async def test_what_is_worked_on_does_not_give_way() -> None:
    async with running(held_bytes=500_000) as node, node.client() as worked_on, node.client() as upload:
        await worked_on.send(post(rpc("wait", "x" * 500_000)))
        await node.services.has_started.wait()
        await upload.send(post(b" " * 500_000))
        assert (await upload.answer()).status == 503
        assert await upload.is_closed()
        node.services.gate.set()
        assert (await worked_on.answer()).status == 200
        assert node.server.guard.held_bytes == 0


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    ],
)
async def test_headers_over_the_limit(request_bytes: bytes) -> None:
    async with running() as node, node.client() as client:
        await client.send(request_bytes)
        assert (await client.answer()).status == 431


async def test_a_full_server_lets_the_longest_idle_connection_go() -> None:
    async with running(connections=3) as node, node.client() as busy, node.client() as old, node.client() as young:
        await busy.send(post(rpc("wait", "x")))
        await node.services.has_started.wait()
        for client in (old, young):
            await client.send(post(rpc("echo", "x")))
            assert (await client.answer()).status == 200
        async with node.client() as newcomer:
            await newcomer.send(post(rpc("echo", "new")))
            assert (await newcomer.answer()).status == 200
            assert await old.is_closed()
            await young.send(post(rpc("echo", "x")))
            assert (await young.answer()).status == 200
            node.services.gate.set()
            assert (await busy.answer()).status == 200


async def test_connections_that_never_asked_give_way_before_those_that_did() -> None:
    """Idle connections filled the server, and the first to go was the honest client's, which it keeps open."""
    async with running(connections_per_address=10) as node, AsyncExitStack() as stack, node.client() as honest:
        for _ in range(2):
            await honest.send(post(rpc("echo", "x")))
            assert (await honest.answer()).status == 200
            for _ in range(30):
                await stack.enter_async_context(node.client())
            await until(lambda: len(node.server.guard.connections) == 10)


async def test_a_full_server_of_running_calls_sends_newcomers_away() -> None:
    async with running(connections=2) as node, node.client() as first, node.client() as second:
        for client in (first, second):
            await client.send(post(rpc("wait", "x")))
        await asyncio.sleep(0.05)
        async with node.client() as third:
            assert (await third.answer()).status == 503
            assert await third.is_closed()
        node.services.gate.set()
        for client in (first, second):
            assert (await client.answer()).status == 200


async def test_one_address_cannot_take_all_connections() -> None:
    async with running(connections_per_address=2) as node, node.client() as old, node.client() as young:
        host, port = node.server.address
        for client in (old, young):
            await client.send(post(rpc("wait", "x")))
        await asyncio.sleep(0.05)
        async with node.client() as third:
            assert (await third.answer()).status == 503
        reader, writer = await asyncio.open_connection(host, port, local_addr=("127.0.0.2", 0))
        other = Client(reader, writer)
        await other.send(post(rpc("echo", "other")))
        assert (await other.answer()).json()["result"] == "other"
        writer.close()
        node.services.gate.set()


async def test_idle_connections_keep_nobody_out() -> None:
    async with running(connections=100, connections_per_address=60) as node, AsyncExitStack() as stack:
        async with node.client() as honest:
            for _ in range(150):
                await stack.enter_async_context(node.client())
            await honest.send(post(rpc("echo", "x")))
            assert await honest.is_closed(), "it was idle longest"
        async with node.client() as honest:
            await honest.send(post(rpc("echo", "x")))
            assert (await honest.answer()).status == 200
        assert len(node.server.guard.connections) <= 60


async def test_idle_slow_and_stuck_clients_are_dropped() -> None:
    async with (
        running(idle_seconds=0.3, head_seconds=0.3, request_seconds=0.3) as node,
        node.client() as silent,
        node.client() as slow_head,
        node.client() as slow_body,
    ):
        await slow_head.send(b"POST / HTTP/1.1\r\nHost:")
        await slow_body.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")
        for client in (silent, slow_head, slow_body):
            assert await client.is_closed()


async def test_a_slow_answer_is_not_an_idle_client() -> None:
    async with running(idle_seconds=0.3, head_seconds=0.3, request_seconds=0.3) as node, node.client() as client:
        await client.send(post(rpc("wait", "x")))
        await asyncio.sleep(1.5)
        node.services.gate.set()
        assert (await client.answer()).status == 200


async def test_who_asks_without_end_waits_while_blocks_are_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "HASTY_S", 1000.0)
    monkeypatch.setattr(guard, "BUSY_ROUND_S", 1000.0)
    async with (
        running(is_busy=lambda: True) as node,
        node.client() as hasty,
        node.client() as new,
        node.client() as other,
    ):
        for n in range(10, 11 + guard.SHORT_PER_ROUND):
            await hasty.send(post(rpc("echo", str(n))))
            assert (await hasty.answer()).json()["result"] == str(n)
        await hasty.send(post(rpc("echo", "99")))
        for n in range(10, 11 + guard.HASTY_PER_ROUND):  # their heads are not known
            await new.send(post(rpc("echo", "x" * n)))
            assert (await new.answer()).json()["result"] == "x" * n
        await new.send(post(rpc("echo", "x" * 99)))
        await other.send(post(rpc("echo", "first")))
        assert (await other.answer()).json()["result"] == "first"
        for each in (hasty, new):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await each.reader.read(1)


@pytest.mark.parametrize("has_just_asked", [False, True])
async def test_a_block_does_not_wait_behind_cheap_calls(has_just_asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited in their line, 20 ms for each eight of them while the node was busy."""
    monkeypatch.setattr(http_connection, "HASTY_S", 1000.0)
    monkeypatch.setattr(guard, "BUSY_ROUND_S", 1000.0)
    async with running(is_busy=lambda: True) as node, AsyncExitStack() as stack, node.client() as miner:
        block = post(rpc("echo", "x" * guard.LARGE_BYTES))
        if has_just_asked:
            await miner.send(post(rpc("echo", "x")))
            assert (await miner.answer()).status == 200
        for _ in range(guard.HASTY_PER_ROUND + 5):
            client = await stack.enter_async_context(node.client())
            await client.send(post(rpc("echo", "x")))
            assert (await client.answer()).status == 200
            await client.send(post(rpc("wait", "x")))
        await until(lambda: len(node.services.started) == guard.HASTY_PER_ROUND)
        await miner.send(block)
        assert (await miner.answer()).status == 200
        assert len(node.services.started) == guard.HASTY_PER_ROUND, "the others still wait for their turn"
        node.services.gate.set()


async def test_large_requests_begin_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "HASTY_S", 1000.0)
    monkeypatch.setattr(guard, "BUSY_ROUND_S", 1000.0)
    async with running(is_busy=lambda: True) as node, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(node.client()) for _ in range(guard.LARGE_PER_ROUND + 1)]
        for client in clients:
            await client.send(post(rpc("echo", "x" * guard.LARGE_BYTES)))
            assert (await client.answer()).status == 200
        for client in clients:
            await client.send(post(rpc("wait", "x" * guard.LARGE_BYTES)))
        await until(lambda: len(node.services.started) == guard.LARGE_PER_ROUND)
        await asyncio.sleep(0.1)
        assert len(node.services.started) == guard.LARGE_PER_ROUND
        node.services.gate.set()


async def test_an_answer_that_takes_too_long_is_given_up() -> None:
    async with running(answer_seconds=0.1) as node, node.client() as client:
        await client.send(post(rpc("wait", "x")))
        assert (await client.answer()).status == 408
        assert await client.is_closed()


async def test_a_long_batch_is_streamed_and_bounded_by_the_client() -> None:
    async with running(write_seconds=0.5) as node:
        batch = json.dumps([json.loads(rpc("fill", hex(100_000), identity=n)) for n in range(100)]).encode()
        async with node.client() as client:
            await client.send(post(batch))
            answer = await client.answer()
            assert answer.headers["transfer-encoding"] == "chunked"
            assert [each["id"] for each in answer.json()] == list(range(100))
            await client.send(post(rpc("echo", "next")))
            assert (await client.answer()).json()["result"] == "next"
        async with node.client() as stuck:
            pause_reading(stuck)
            for _ in range(5):
                stuck.writer.write(post(batch))
            await asyncio.sleep(3)
            assert not node.server.guard.connections, "a client that takes nothing is dropped"


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_call_is_stopped_when_its_client_is_gone(is_reset: bool) -> None:
    async with running() as node:
        async with node.client() as client:
            await client.send(post(rpc("wait", "a transaction")))
            await node.services.has_started.wait()
            if is_reset:
                no_lingering(client.writer)
        await node.services.was_cancelled.wait()
        assert not node.services.done
        await until(lambda: not node.server.guard.connections)


async def test_closing_gives_up_what_is_on_the_way() -> None:
    async with running() as node, node.client() as client:
        await client.send(post(rpc("wait", "never")))
        await node.services.has_started.wait()
    assert node.services.done == []
    assert not node.server.guard.connections


async def test_an_answer_that_breaks_off_does_not_look_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: Dispatcher, body: bytes, *_args: object, **_named: object) -> AsyncGenerator[bytes, None]:
        yield b"[" + b" " * CHUNK_BYTES + body
        raise RuntimeError("the database is gone")

    monkeypatch.setattr(Dispatcher, "parts", broken)
    async with running() as node, node.client() as client:
        await client.send(post(b"1"))
        assert b"200 OK" in await client.reader.readuntil(b"\r\n\r\n")
        seen = b""
        with suppress(ConnectionError):
            while piece := await client.reader.read(1 << 16):
                seen += piece
        assert not seen.endswith(b"0\r\n\r\n")
        assert b"HTTP/1.1" not in seen


async def test_a_header_without_end_is_refused_early() -> None:
    async with running() as node:
        for head in (b"POST / HTTP/1.1\r\nX: ", b"POST / HTTP/1.1\r\n", b"POST /"):
            async with node.client() as client:
                await client.send(head)
                client.writer.write(b"a" * 30_000)
                assert (await client.answer()).status == 431


async def test_tiny_chunks_cost_little_and_hold_nobody_up() -> None:
    """Each chunk was an object of its own: 26 bytes for a byte."""
    size = 400_000
    body = rpc("echo", "tiny").rjust(size)
    chunks = b"".join(b"2\r\n%b\r\n" % body[start : start + 2] for start in range(0, size, 2))
    async with running() as node, node.client() as client, node.client() as other:
        tracemalloc.start()
        try:
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks[:-20])
            await other.send(post(rpc("echo", "other")))
            assert (await other.answer()).json()["result"] == "other"
            await client.send(chunks[-20:] + b"0\r\n\r\n")
            assert (await client.answer()).json()["result"] == "tiny"
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 2 * len(chunks) + 4 * size, "the client's own copy is in it"


async def test_clients_that_leave_are_not_worth_a_line() -> None:
    """14,000 requests of one read were answered into a dead connection, with a line of the log for each."""
    with capture_logs() as lines:
        async with running() as node:
            for text in (
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 7000,
                post(rpc("echo", "x")) * 100,
                post(b"1"),
                b"nonsense",
            ):
                for _ in range(10):
                    async with node.client() as attacker:
                        await attacker.send(text)
                        no_lingering(attacker.writer)
            async with asyncio.timeout(5), node.client() as client:
                await client.send(post(rpc("echo", "next")))
                assert (await client.answer()).json()["result"] == "next"
            await until(lambda: not node.server.guard.connections)
    assert lines == []


async def test_a_refusal_to_a_client_that_resets_meanwhile_is_not_worth_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the refusal and the end of our side a client may reset the connection, which cost three tracebacks."""

    def is_gone() -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    with capture_logs() as lines:
        async with running() as node, node.client() as client:
            await until(lambda: bool(node.server.guard.connections))
            (connection,) = node.server.guard.connections
            assert isinstance(connection, Connection)
            monkeypatch.setattr(connection.transport, "write_eof", is_gone)
            await client.send(b"nonsense\r\n\r\n")
            await until(lambda: not node.server.guard.connections)
    assert lines == []


async def test_requests_that_are_read_ahead_are_few() -> None:
    async with running() as node, node.client() as client:
        await client.send(post(rpc("wait", "x")))
        await node.services.has_started.wait()
        sent = 0
        client.writer.transport.set_write_buffer_limits(0)
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while sent < 100 << 20:
                    await client.send(post(b" " * (1 << 20)))
                    sent += 1 << 20
        assert sent < 20 << 20, "what the system's buffers take, and one read"
        assert node.server.guard.held_bytes < 1 << 20


async def test_closing_takes_a_moment_whatever_clients_do() -> None:
    started = 0.0
    async with AsyncExitStack() as stack:
        async with running() as node:
            long = json.dumps([json.loads(rpc("fill", hex(100_000), identity=n)) for n in range(100)]).encode()
            for text in (
                b"",
                b"POST / HTTP/1.1\r\nHost:",
                start_of(1000, 10),
                post(rpc("wait", "x")),
                post(long),
                b"nonsense\r\n\r\n",
                post(b"x", b"Origin: https://evil.example"),
            ):
                client = await stack.enter_async_context(node.client())
                pause_reading(client)
                client.writer.write(text)
            await node.services.has_started.wait()
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < 3
        assert not node.server.guard.connections
