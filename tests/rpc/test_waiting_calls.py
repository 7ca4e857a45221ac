"""Short calls of clients that ask without end wait for their turn as they came, and are not parsed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ckb_node.rpc import guard, http_connection
from ckb_node.rpc.http_connection import Connection
from ckb_node.rpc.origin import OriginPolicy
from tests.rpc.kit_http import Client, Running, post, running, until
from tests.rpc.kit_http import rpc as request_of

ECHO, COMMAND = post(request_of("echo", "a")), post(request_of("command"))
PAGE = b"Origin: https://dapp.example"


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """All clients are hasty, and one of them has its turn in a round, which lasts."""
    monkeypatch.setattr(http_connection, "HASTY_S", 100.0)
    monkeypatch.setattr(guard, "SHORT_PER_ROUND", 1)
    monkeypatch.setattr(guard, "BUSY_ROUND_S", 0.1)
    async with running(OriginPolicy(frozenset({PAGE.partition(b" ")[2].decode()})), is_busy=lambda: True) as node:
        yield node


async def said(client: Client, data: bytes) -> bytes:
    await client.send(data)
    return (await client.answer()).body


async def until_one_waits(node: Running, client: Client, data: bytes) -> None:
    """Send calls until one has to wait."""
    for _ in range(2):
        await said(client, data)
    await client.send(data)
    await until(lambda: bool(held(node)))


def held(node: Running) -> list[Connection]:
    return [each for each in node.server.guard.connections if isinstance(each, Connection) and each.is_held]


async def test_many_calls_in_their_order(node: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    plainly = Connection.data_received

    def noted(connection: Connection, data: bytes) -> None:
        parsed.append(data)
        plainly(connection, data)

    monkeypatch.setattr(Connection, "data_received", noted)
    async with node.client() as client, node.client() as other:
        for number in range(10):
            text = str(number)
            for each in (client, other):
                await each.send(post(request_of("echo", text)))
            for each in (client, other):
                assert (await each.answer()).json()["result"] == text
    assert len(parsed) == 2, "the first of each"


async def test_what_comes_behind_a_call_that_waits(node: Running) -> None:
    async with node.client() as client:
        await until_one_waits(node, client, ECHO)
        await client.send(ECHO + COMMAND)
        for _ in range(2):
            assert (await client.answer()).json()["result"] == "a"
        assert (await client.answer()).json()["result"] is None


async def test_a_client_that_closes_its_side_has_its_answer(node: Running) -> None:
    async with node.client() as client:
        await until_one_waits(node, client, ECHO)
        client.writer.write_eof()
        assert (await client.answer()).json()["result"] == "a"
        assert await client.is_closed()


async def test_a_call_whose_client_leaves_is_not_answered(node: Running) -> None:
    async with node.client() as client:
        await said(client, COMMAND)
        node.services.done.clear()
        await until_one_waits(node, client, ECHO)
        client.writer.transport.abort()
        await until(lambda: not node.server.guard.connections)
    async with node.client() as client:
        assert b'"a"' in await said(client, ECHO)


async def test_a_page_gets_no_more_than_before(node: Running) -> None:
    """Whose head is that of a page stays so, whatever comes behind it."""
    page = post(request_of("command"), PAGE)
    async with node.client() as client:
        await said(client, post(request_of("echo", "a"), PAGE))
        await said(client, COMMAND)
        node.services.done.clear()
        for _ in range(5):
            assert b"error" in await said(client, page)
        assert not node.services.done
        assert b"result" in await said(client, COMMAND)
