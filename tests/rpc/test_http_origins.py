"""Web pages, and names of the node, as the HTTP server sees them."""

from __future__ import annotations

import pytest

from ckb_node.rpc.origin import policy_of
from tests.rpc.kit_http import post, rpc, running


def from_page(
    origin: str, method: bytes = b"POST", host: bytes = b"127.0.0.1:8114", call: bytes = rpc("echo", "x")
) -> bytes:
    """A call, or its preflight, as a browser sends it for a page."""
    body = call if method == b"POST" else b""
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
            assert (await client.answer()).json()["result"] == "x"
            await client.send(from_page(origin, call=rpc("command")))
            assert (await client.answer()).json()["error"]["code"] == -4
        assert not node.services.done
        await client.send(from_page("http://localhost:3000", call=rpc("command")))
        assert "error" not in (await client.answer()).json()
        await client.send(post(rpc("command")))
        assert "error" not in (await client.answer()).json()
        assert node.services.done == ["command", "command"]


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
