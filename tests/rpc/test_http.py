"""The HTTP server over loopback, by hand-written bytes: framing, order, ends."""

from __future__ import annotations

import asyncio
import json

import pytest

from ckb_node.rpc.http import serving
from ckb_node.rpc.registry import Module
from tests.rpc.kit_http import METHODS, Services, post, rpc, running
from tests.support.asking import dispatcher_of


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


async def test_a_half_closed_connection_gets_its_answers() -> None:
    async with running() as node, node.client() as client:
        await client.send(post(rpc("wait", "x")) + post(rpc("echo", "y")))
        client.writer.write_eof()
        await asyncio.sleep(0.05)
        node.services.gate.set()
        assert (await client.answer()).json()["result"] == "x"
        assert (await client.answer()).json()["result"] == "y"
        assert await client.is_closed()


async def test_an_address_in_use() -> None:
    async with running() as node:
        host, port = node.server.address
        with pytest.raises(OSError, match="in use"):
            async with serving(node.tasks, dispatcher_of(Services(), [Module.CHAIN], [METHODS]), host, port):
                pass


async def test_ipv6() -> None:
    async with running(host="::1") as node:
        assert node.server.address[0] == "::1"
        async with node.client() as client:
            await client.send(post(rpc("echo", "six")).replace(b"Host: x", b"Host: [::1]:8114"))
            assert (await client.answer()).json()["result"] == "six"


async def test_continue_comes_only_before_its_own_answer() -> None:
    """Of a pipelined request it landed in the middle of the answer before it."""
    async with running() as node, node.client() as client:
        batch = json.dumps([json.loads(rpc("fill", hex(100_000), identity=n)) for n in range(30)]).encode()
        head, end, body = post(rpc("echo", "x"), b"Expect: 100-continue").partition(b"\r\n\r\n")
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(post(batch) + head + end)
        await asyncio.sleep(0.2)
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        assert [each["id"] for each in (await client.answer()).json()] == list(range(30))
        assert (await client.answer(has_body=False)).status == 100
        await client.send(body)
        assert (await client.answer()).json()["result"] == "x"
