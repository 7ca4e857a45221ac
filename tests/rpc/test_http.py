"""The HTTP server over loopback, by hand-written bytes: framing, order, bounds, disconnects."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from ckb_node.lanes.client import CLIENT
from ckb_node.lanes.lane import Lane, Slices
from ckb_node.rpc.calls import Beside
from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.guard import HttpLimits
from ckb_node.rpc.http import CHUNK_BYTES, HttpServer, serving
from ckb_node.rpc.origin import OriginPolicy, policy_of
from ckb_node.rpc.params import Text, Uint32
from ckb_node.rpc.registry import Methods, Module
from tests.rpc.asking import dispatcher_of


class Services:
    """What the slow method waits for."""

    miner = None

    def __init__(self) -> None:
        self.lane = Lane("test", 2)
        self.gate = asyncio.Event()
        self.started: list[str] = []
        self.has_started = asyncio.Event()
        self.was_cancelled = asyncio.Event()
        self.done: list[str] = []


METHODS = Methods(Module.CHAIN)


@METHODS.method
def echo(services: Any, text: Text) -> str:
    """Answers its text."""
    return text


@METHODS.method
def fill(services: Any, size: Uint32) -> str:
    """Answers so many characters."""
    return "x" * size


@METHODS.method
def cut(services: Any) -> Beside[list[int]]:
    """A long answer whose end cannot be had."""

    def pieces() -> Slices:
        yield b"[" + b"1," * 500_000
        yield b"1," * 500_000
        raise ZeroDivisionError

    return Beside(pieces())


@METHODS.method
def who(services: Any) -> str:
    """Under which name the client has its share."""
    return CLIENT.get()


@METHODS.method
async def wait(services: Services, text: Text) -> str:
    """Answers when the gate opens."""
    services.started.append(text)
    services.has_started.set()
    try:
        await services.gate.wait()
    except asyncio.CancelledError:
        services.was_cancelled.set()
        raise
    services.done.append(text)
    return text


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds; `running` bounds the time."""
    while not condition():  # noqa: ASYNC110 - many things may make it hold
        await asyncio.sleep(0.01)


@dataclass
class Answer:
    """A parsed response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, has_body: bool = True) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
        elif has_body:
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split()[1]), headers, body)

    async def is_closed(self) -> bool:
        try:
            async with asyncio.timeout(5):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True


@dataclass
class Running:
    """A server and what its methods see."""

    server: HttpServer
    services: Services

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection(*self.server.address)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def running(policy: OriginPolicy | None = None, host: str = "127.0.0.1", **limits: Any) -> AsyncIterator[Running]:
    services = Services()
    dispatcher = dispatcher_of(services, [Module.CHAIN], [METHODS])
    async with asyncio.timeout(30), serving(dispatcher, host, 0, HttpLimits(**limits), policy) as server:
        yield Running(server, services)


def post(body: bytes, *headers: bytes, path: bytes = b"/") -> bytes:
    lines = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def rpc(method: str, *params: Any, identity: int = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": params}).encode()


async def test_a_call_on_any_path_keeps_the_connection_open() -> None:
    async with running() as node, node.client() as client:
        for path in (b"/", b"/any/path?x=1"):
            await client.send(post(rpc("echo", "hello"), path=path))
            answer = await client.answer()
            assert (answer.status, answer.json()["result"]) == (200, "hello")
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "connection" not in answer.headers


async def test_connection_close_and_http_10_end_the_connection() -> None:
    async with running() as node:
        body = rpc("echo", "x")
        old = b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        for request in (post(body, b"Connection: close"), old):
            async with node.client() as client:
                await client.send(request)
                answer = await client.answer()
                assert answer.headers["connection"] == "close"
                assert await client.is_closed()


async def test_a_long_answer_to_http_10_ends_with_the_connection() -> None:
    async with running() as node, node.client() as client:
        body = rpc("fill", hex(3 << 20))
        await client.send(b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        head, _, text = (await client.reader.read()).partition(b"\r\n\r\n")
        assert b"content-length" not in head
        assert b"chunked" not in head
        assert len(json.loads(text)["result"]) == 3 << 20


async def test_an_answer_that_is_cut_does_not_look_whole() -> None:
    async with running() as node, node.client() as client:
        await client.send(post(rpc("cut")))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()


async def test_local_clients_have_a_share_for_each_connection() -> None:
    async with running() as node, node.client() as one, node.client() as other:
        names = []
        for client in (one, one, other):
            await client.send(post(rpc("who")))
            names.append((await client.answer()).json()["result"])
        assert names[0] == names[1] != names[2]


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with running() as node, node.client() as client:
        await client.send(post(rpc("wait", "first")) + b"".join(post(rpc("echo", str(n))) for n in range(100)))
        await asyncio.sleep(0.05)
        node.services.gate.set()
        results = [(await client.answer()).json()["result"] for _ in range(101)]
        assert results == ["first", *(str(n) for n in range(100))]


async def test_a_slow_call_does_not_hold_up_other_connections() -> None:
    async with running() as node, node.client() as slow, node.client() as quick:
        await slow.send(post(rpc("wait", "slow")))
        await quick.send(post(rpc("echo", "quick")))
        assert (await quick.answer()).json()["result"] == "quick"
        node.services.gate.set()
        assert (await slow.answer()).json()["result"] == "slow"


async def test_requests_may_come_byte_by_byte_and_in_chunks() -> None:
    async with running() as node, node.client() as client:
        for byte in post(rpc("echo", "slow")):
            await client.send(bytes([byte]))
        assert (await client.answer()).json()["result"] == "slow"
        body = rpc("echo", "chunks")
        parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:10], body[10:]))
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n")
        assert (await client.answer()).json()["result"] == "chunks"


async def test_notifications_get_204_without_a_body() -> None:
    async with running() as node, node.client() as client:
        for body in (b'{"jsonrpc":"2.0","method":"nothing"}', b'[{"jsonrpc":"2.0","method":"nothing"}]'):
            await client.send(post(body))
            answer = await client.answer(has_body=False)
            assert answer.status == 204
            assert "content-length" not in answer.headers
        await client.send(post(rpc("echo", "still there")))
        assert (await client.answer()).status == 200


async def test_bad_json_is_a_json_rpc_error_with_status_200() -> None:
    async with running() as node, node.client() as client:
        await client.send(post(b"nonsense"))
        answer = await client.answer()
        assert (answer.status, answer.json()["error"]["code"]) == (200, -32700)


async def test_ping_preflight_and_other_methods() -> None:
    async with running() as node, node.client() as client:
        await client.send(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer()).body == b"pong"
        for method in (b"GET / ", b"GET /x ", b"PUT / ", b"DELETE / "):
            await client.send(method + b"HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await client.answer()
            assert answer.status == 405
            assert b"POST or OPTIONS is required" in answer.body
        await client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer()).status == 405
        await client.send(b"OPTIONS / HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost\r\n\r\n")
        answer = await client.answer()
        assert answer.status == 200
        assert {"access-control-allow-methods", "access-control-allow-headers"} <= answer.headers.keys()


async def test_expect_continue() -> None:
    async with running() as node, node.client() as client:
        request = post(rpc("echo", "x"), b"Expect: 100-continue")
        head, _, body = request.partition(b"\r\n\r\n")
        await client.send(head + b"\r\n\r\n")
        assert (await client.answer(has_body=False)).status == 100
        await client.send(body)
        assert (await client.answer()).status == 200


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


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00",
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_not_http(request_bytes: bytes) -> None:
    async with running() as node, node.client() as client:
        await client.send(request_bytes)
        assert (await client.answer()).status == 400
        assert await client.is_closed()


UPGRADES = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    b"connection: upgrade\r\nupgrade:h2c",
    b"Connection: Upgrade\r\nUpgrade: websocket",
    b"Connection: Upgrade\r\nUpgrade: TLS/1.0",
    b"Upgrade: h2c",
]


@pytest.mark.parametrize("offer", UPGRADES)
async def test_an_upgrade_is_not_done_and_the_request_is_served(offer: bytes) -> None:
    async with running() as node, node.client() as client:
        offering = post(rpc("echo", "offer"), offer)
        await client.send(offering)
        assert (await client.answer()).json()["result"] == "offer"
        head, end, body = offering.partition(b"\r\n\r\n")
        for part in (head + end, body, b"GET /ping HTTP/1.1\r\nHost: x\r\n" + offer + end):
            await client.send(part)
            await asyncio.sleep(0.02)
        assert (await client.answer()).json()["result"] == "offer"
        assert (await client.answer()).body == b"pong"
        await client.send(post(rpc("echo", "plain")))
        assert (await client.answer()).json()["result"] == "plain"


@pytest.mark.parametrize("offer", UPGRADES)
async def test_requests_behind_an_offer_of_an_upgrade_are_not_lost(offer: bytes) -> None:
    """All in one piece; the server may also close, but must not keep the client waiting."""
    async with running() as node, node.client() as client:
        await client.send(post(rpc("echo", "1"), offer) + post(rpc("echo", "2")) + post(rpc("echo", "3"), offer))
        assert [(await client.answer()).json()["result"] for _ in range(3)] == ["1", "2", "3"]


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
            stuck.reader._transport.pause_reading()  # type: ignore[attr-defined]
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
                client.writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        await node.services.was_cancelled.wait()
        assert not node.services.done
        await until(lambda: not node.server.guard.connections)


async def test_a_half_closed_connection_gets_its_answers() -> None:
    async with running() as node, node.client() as client:
        await client.send(post(rpc("wait", "x")) + post(rpc("echo", "y")))
        client.writer.write_eof()
        await asyncio.sleep(0.05)
        node.services.gate.set()
        assert (await client.answer()).json()["result"] == "x"
        assert (await client.answer()).json()["result"] == "y"
        assert await client.is_closed()


async def test_closing_gives_up_what_is_on_the_way() -> None:
    async with running() as node, node.client() as client:
        await client.send(post(rpc("wait", "never")))
        await node.services.has_started.wait()
    assert node.services.done == []
    assert not node.server.guard.connections


async def test_an_address_in_use() -> None:
    async with running() as node:
        host, port = node.server.address
        with pytest.raises((OSError, ExceptionGroup)):
            async with serving(dispatcher_of(Services(), [Module.CHAIN], [METHODS]), host, port):
                pass


async def test_an_answer_that_breaks_off_does_not_look_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: Dispatcher, body: bytes, *_args: object) -> AsyncGenerator[bytes, None]:
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


def from_page(origin: str, method: bytes = b"POST", host: bytes = b"127.0.0.1:8114") -> bytes:
    """A call, or its preflight, as a browser sends it for a page."""
    body = rpc("echo", "x") if method == b"POST" else b""
    lines = [
        method + b" / HTTP/1.1",
        b"Host: " + host,
        b"Origin: " + origin.encode(),
        b"Content-Length: %d" % len(body),
    ]
    if method == b"OPTIONS":
        lines += [b"Access-Control-Request-Method: POST", b"Access-Control-Request-Headers: content-type"]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://192.168.1.5"])
@pytest.mark.parametrize("method", [b"POST", b"OPTIONS", b"GET"])
async def test_a_page_of_another_machine_is_refused(origin: str, method: bytes) -> None:
    async with running() as node, node.client() as client:
        await client.send(from_page(origin, method))
        answer = await client.answer()
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert b"cors_origins" in answer.body
        assert not node.services.started


@pytest.mark.parametrize("method", [b"POST", b"OPTIONS"])
async def test_pages_of_this_machine_and_listed_ones_are_served(method: bytes) -> None:
    async with running(policy_of(["https://dapp.example"], [])) as node, node.client() as client:
        for origin in ("http://localhost:3000", "http://[::1]:5173", "https://dapp.example"):
            await client.send(from_page(origin, method))
            answer = await client.answer()
            assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")


async def test_one_list_of_origins_lets_all_pages_in() -> None:
    async with running(policy_of(["*"], [])) as node, node.client() as client:
        for origin in ("https://evil.example", "null"):
            await client.send(from_page(origin, host=b"node.example"))
            assert (await client.answer()).status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: evil.example:8114\r\nContent-Length: 0\r\n\r\n",
        b"POST http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost\r\nOrigin: http://b.example\r\n\r\n",
    ],
)
async def test_a_name_that_is_not_of_this_node(request_bytes: bytes) -> None:
    async with running() as node:
        async with node.client() as client:
            await client.send(request_bytes)
            assert (await client.answer()).status == 403
            assert await client.is_closed()
        async with node.client() as client:
            await client.send(b"POST http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1")
            assert (await client.answer()).status == 200


async def test_ipv6() -> None:
    async with running(host="::1") as node:
        assert node.server.address[0] == "::1"
        async with node.client() as client:
            await client.send(post(rpc("echo", "six")).replace(b"Host: x", b"Host: [::1]:8114"))
            assert (await client.answer()).json()["result"] == "six"
