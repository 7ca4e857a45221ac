"""RPC by TCP and WebSocket: answers, batches, subscriptions, bounds."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from contextlib import AsyncExitStack, suppress

import pytest
from aiohttp import ClientSession, WSServerHandshakeError

from ckb_node.rpc import subscriptions
from ckb_node.rpc.methods.subscription import METHODS
from ckb_node.rpc.origin import policy_of
from ckb_node.rpc.subscriptions import Topic
from tests.rpc.kit_http import Services, no_lingering, post, rpc, until
from tests.rpc.kit_streams import TRANSPORTS, streams
from tests.support.asking import ask, dispatcher_of
from tests.support.nodes.speakers import LineSpeaker, SocketSpeaker, Speaker, subscribed

HEADER = Topic.NEW_TIP_HEADER


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def transport_of(client: Speaker) -> asyncio.Transport:
    """The client's end of the connection."""
    if isinstance(client, LineSpeaker):
        found: object = client.writer.transport
    else:
        assert isinstance(client, SocketSpeaker)
        assert client.socket._response.connection is not None
        found = client.socket._response.connection.transport
    assert isinstance(found, asyncio.Transport)
    return found


async def test_requests_of_a_connection_are_answered_in_order(transport: str) -> None:
    async with streams() as node, node.speaker(transport) as client:
        for n in range(3):
            await client.send(rpc("echo", f"{n}", identity=n))
        assert [(await client.hear())["result"] for _ in range(3)] == ["0", "1", "2"]


async def test_batches_notifications_and_nonsense(transport: str) -> None:
    async with streams() as node, node.speaker(transport) as client:
        await client.send(b"[%b,%b]" % (rpc("echo", "a"), rpc("echo", "b", identity=2)))
        assert [each["result"] for each in await client.hear()] == ["a", "b"]
        await client.send(b'{"jsonrpc":"2.0","method":"echo","params":["silent"]}')
        await client.send(b"{")
        assert (await client.hear())["error"]["code"] == -32700
        await client.send(b"")
        assert (await client.hear())["error"]["code"] == -32700


async def test_long_answers_are_whole(transport: str) -> None:
    async with streams() as node, node.speaker(transport) as client:
        await client.send(rpc("fill", hex(3_000_000)))
        assert len((await client.hear())["result"]) == 3_000_000


async def test_events_come_to_subscribers_of_their_topic(transport: str) -> None:
    async with streams() as node, node.speaker(transport) as client, node.speaker(transport) as other:
        headers, blocks = await subscribed(client, HEADER), await subscribed(client, Topic.NEW_TIP_BLOCK)
        assert re.fullmatch(r"0x[0-9a-f]{32}", headers)
        assert headers != blocks
        theirs = await subscribed(other, HEADER)
        node.tell(HEADER, {"number": "0x1"})
        node.tell(Topic.NEW_TIP_BLOCK, "block")
        heard = [await client.hear() for _ in range(2)]
        assert {"jsonrpc": "2.0", "method": "subscribe"}.items() <= heard[0].items()
        told = {each["params"]["subscription"]: each["params"]["result"] for each in heard}
        assert told == {headers: '{"number": "0x1"}', blocks: '"block"'}, "a text that is JSON"
        assert (await other.hear())["params"]["subscription"] == theirs


async def test_after_unsubscribe_there_are_no_events(transport: str) -> None:
    async with streams() as node, node.speaker(transport) as client, node.speaker(transport) as other:
        identity = await subscribed(client, HEADER)
        await other.send(rpc("unsubscribe", identity))
        assert (await other.hear())["result"] is False, "the subscription of another connection"
        await client.send(rpc("unsubscribe", identity))
        assert (await client.hear())["result"] is True
        node.tell(HEADER, "unheard")
        await client.send(rpc("unsubscribe", identity))
        assert (await client.hear())["result"] is False
    assert node.hub.count == 0


async def test_a_subscription_ends_with_its_connection(transport: str) -> None:
    async with streams() as node:
        async with node.speaker(transport) as client:
            await subscribed(client, HEADER)
            assert node.hub.is_used(HEADER)
        await until(lambda: node.hub.count == 0)
        assert not node.guards[transport].connections


async def test_events_come_while_an_answer_is_worked_out(transport: str) -> None:
    async with streams() as node, node.speaker(transport) as client:
        await subscribed(client, HEADER)
        await client.send(rpc("wait", "x"))
        await node.services.has_started.wait()
        node.tell(HEADER, 1)
        assert (await client.hear())["params"]["result"] == "1"
        node.services.gate.set()
        assert (await client.hear())["result"] == "x"


async def test_no_event_comes_before_the_id_that_it_bears(transport: str) -> None:
    async with streams() as node, node.speaker(transport) as client:
        await client.send(b"[%b,%b]" % (rpc("subscribe", HEADER.value), rpc("wait", "x")))
        await node.services.has_started.wait()
        node.tell(HEADER, "early")
        node.services.gate.set()
        identity = (await client.hear())[0]["result"]
        assert (await client.hear())["params"] == {"subscription": identity, "result": '"early"'}


async def test_a_client_that_leaves_stops_its_call(transport: str) -> None:
    async with streams() as node, node.speaker(transport) as client:
        await client.send(rpc("wait", "x"))
        await node.services.has_started.wait()
        if isinstance(client, LineSpeaker):
            no_lingering(client.writer)
            client.writer.close()
        else:
            transport_of(client).abort()
        await node.services.was_cancelled.wait()


async def test_a_slow_subscriber_loses_the_oldest_and_is_told(transport: str) -> None:
    async with streams() as node, node.speaker(transport) as client:
        await subscribed(client, HEADER)
        await client.send(rpc("wait", "x"))  # events wait behind the lock of an answer on its way
        await node.services.has_started.wait()
        for n in range(subscriptions.MAX_EVENTS + 7):
            node.tell(HEADER, n)
        heard = [await client.hear() for _ in range(subscriptions.MAX_EVENTS)]
        assert [each["params"]["result"] for each in heard] == [str(n) for n in range(7, subscriptions.MAX_EVENTS + 7)]
        assert heard[0]["params"]["dropped"] == 7
        assert all("dropped" not in each["params"] for each in heard[1:])
        assert node.hub.lost == 7
        node.services.gate.set()


async def test_a_subscriber_that_reads_nothing_costs_no_memory_and_is_dropped(transport: str) -> None:
    async with streams(write_seconds=1.0) as node, node.speaker(transport) as client:
        await subscribed(client, HEADER)
        transport_of(client).pause_reading()
        text = "x" * 100_000
        (connection,) = node.guards[transport].connections

        async def tell() -> None:
            while True:
                node.tell(HEADER, text)
                await asyncio.sleep(0.001)

        async with asyncio.TaskGroup() as group:
            telling = group.create_task(tell())
            await until(lambda: connection.unsent.size > 0)
            assert connection.unsent.size < 2_000_000
            await until(lambda: not node.guards[transport].connections)
            telling.cancel()


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def asked(way: str, request: bytes) -> bytes:
    """A request as bytes."""
    if way == "http":
        return post(request)
    return request + b"\n" if way == "tcp" else HANDSHAKE + bytes([0x81, 0x80 | len(request), 0, 0, 0, 0]) + request


@pytest.mark.parametrize("least_bytes_s", [1 << 10, 1 << 30])
@pytest.mark.parametrize("way", ["http", "tcp", "ws"])
async def test_who_takes_a_whole_answer_too_slowly_is_gone(way: str, least_bytes_s: int) -> None:
    """A few bytes now and then kept a client's share of the room for answers."""
    loop = asyncio.get_running_loop()
    async with streams(write_seconds=0.5, write_bytes_s=least_bytes_s) as node:
        server = node.guards["tcp" if way == "tcp" else "ws"]
        with socket.socket() as slow:
            slow.setblocking(False)
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(slow, node.addresses["tcp" if way == "tcp" else "ws"])
            await until(lambda: len(server.connections) == 1)
            (connection,) = server.connections
            assert connection.unsent.wire is not None
            wire = connection.unsent.wire.get_extra_info("socket")
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            await loop.sock_sendall(slow, asked(way, rpc("fill", hex(4 << 20))))
            await until(lambda: connection.unsent.size > 0)
            is_slow = least_bytes_s > 1 << 20
            end = loop.time() + (10.0 if is_slow else 1.5)
            while server.connections and loop.time() < end:
                with suppress(ConnectionError):
                    await loop.sock_recv(slow, 2048)
                await asyncio.sleep(0.02)
            assert bool(server.connections) is not is_slow
            if not is_slow:
                assert node.services.room.held_bytes
        await until(lambda: not server.connections and not node.services.room.held_bytes)


async def test_subscriptions_of_a_connection_are_bounded(transport: str) -> None:
    async with streams() as node, node.speaker(transport) as client:
        for _ in range(subscriptions.MAX_OF_CLIENT):
            await subscribed(client, HEADER)
        await client.send(rpc("subscribe", HEADER.value))
        assert (await client.hear())["error"]["code"] == -32000


async def test_all_subscriptions_are_bounded(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MAX_SUBSCRIPTIONS", 1)
    async with streams() as node, node.speaker(transport) as client, node.speaker(transport) as other:
        await subscribed(client, HEADER)
        await other.send(rpc("subscribe", HEADER.value))
        assert (await other.hear())["error"]["code"] == -32000


async def test_an_unknown_topic_is_refused(transport: str) -> None:
    async with streams() as node, node.speaker(transport) as client:
        await client.send(rpc("subscribe", "weather"))
        error = (await client.hear())["error"]
        assert error["code"] == -32602
        assert "`new_tip_header`" in error["message"]


async def test_http_has_no_subscriptions() -> None:
    async with streams() as node:
        host, port = node.addresses["ws"]
        async with ClientSession() as session:
            async with session.post(f"http://{host}:{port}/", data=rpc("subscribe", HEADER.value)) as answer:
                error = (await answer.json())["error"]
            async with session.post(f"http://{host}:{port}/", data=rpc("unsubscribe", "0x0")) as answer:
                assert (await answer.json())["result"] is False
    assert error["code"] == -32601
    assert error["message"].startswith("Method not found: `subscribe` needs a connection that stays open")
    assert "`rpc.ws_listen_address`" in error["message"]


async def test_messages_are_bounded(transport: str) -> None:
    async with streams(body_bytes=100_000) as node, node.speaker(transport) as client:
        await client.send(b" " * 200_000)
        assert await client.is_closed()
        await until(lambda: not node.guards[transport].connections)


async def test_held_requests_are_bounded() -> None:
    async with streams(held_bytes=300_000) as node, node.speaker("tcp") as first, node.speaker("tcp") as second:
        for client in (first, second):
            assert isinstance(client, LineSpeaker)
            client.writer.write(b" " * 250_000)
        assert await first.is_closed(), "who has sent longest gives way"
        assert node.guards["tcp"].held_bytes < 300_000


async def test_half_a_line_has_its_time() -> None:
    async with streams(request_seconds=0.1) as node, node.speaker("tcp") as client:
        assert isinstance(client, LineSpeaker)
        client.writer.write(b"{")
        assert await client.is_closed()


async def test_the_last_line_needs_no_end() -> None:
    async with streams() as node, node.speaker("tcp") as client:
        assert isinstance(client, LineSpeaker)
        client.writer.write(rpc("echo", "a") + b"\r\n" + rpc("echo", "b"))
        client.writer.write_eof()
        assert [(await client.hear())["result"] for _ in range(2)] == ["a", "b"]
        assert await client.is_closed()


async def test_a_browser_cannot_post_lines() -> None:
    async with streams() as node, node.speaker("tcp") as client:
        assert isinstance(client, LineSpeaker)
        client.writer.write(post(b"\n" + rpc("command") + b"\n", b"Origin: https://evil.example"))
        assert await client.is_closed()
        assert node.services.done == []


async def test_web_pages_of_other_machines_open_no_socket() -> None:
    async with streams() as node:
        with pytest.raises(WSServerHandshakeError) as refused:
            async with node.speaker("ws", headers={"Origin": "https://evil.example"}):
                pass
        assert refused.value.status == 403


async def test_web_pages_that_are_let_in_do_not_command() -> None:
    page = "https://dapp.example"
    policy = policy_of([page], [])
    async with streams(policy) as node, node.speaker("ws", headers={"Origin": page}) as client:
        await client.send(rpc("command"))
        assert (await client.hear())["error"]["code"] == -4
        await subscribed(client, HEADER)
        await client.send(rpc("subscribe", "log"))
        assert (await client.hear())["error"]["code"] == -4


async def test_at_the_bound_idle_connections_give_way_and_subscribers_stay(transport: str) -> None:
    async with streams(connections=3) as node, AsyncExitStack() as stack:
        listening = await stack.enter_async_context(node.speaker(transport))
        await subscribed(listening, HEADER)
        idle = [await stack.enter_async_context(node.speaker(transport)) for _ in range(2)]
        newest = await stack.enter_async_context(node.speaker(transport))
        await newest.send(rpc("echo", "in"))
        assert (await newest.hear())["result"] == "in"
        assert await idle[0].is_closed()
        node.tell(HEADER, 1)
        assert (await listening.hear())["params"]["result"] == "1"


async def test_a_request_for_no_socket_is_refused() -> None:
    async with streams() as node, ClientSession() as session:
        host, port = node.addresses["ws"]
        async with session.get(f"http://{host}:{port}/") as answer:
            assert answer.status == 400
        async with session.get(f"http://{host}:{port}/ping") as answer:
            assert await answer.text() == "pong"


async def test_closing_takes_a_moment_whatever_clients_do(transport: str) -> None:
    async with AsyncExitStack() as stack:
        async with streams() as node:
            listening = await stack.enter_async_context(node.speaker(transport))
            await subscribed(listening, HEADER)
            busy = await stack.enter_async_context(node.speaker(transport))
            await busy.send(rpc("wait", "x"))
            await node.services.has_started.wait()
            await stack.enter_async_context(node.speaker(transport))
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < 5
        assert not node.guards[transport].connections
        assert node.hub.count == 0


async def test_many_subscribers_hear_every_event() -> None:
    async with streams(connections=400, connections_per_address=400) as node, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(node.speaker("tcp")) for _ in range(200)]
        for client in clients:
            await subscribed(client, HEADER)
        for n in range(5):
            node.tell(HEADER, n)
        for client in clients:
            assert [(await client.hear())["params"]["result"] for _ in range(5)] == ["0", "1", "2", "3", "4"]


def test_a_feed_keeps_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MAX_EVENT_BYTES", 1000)
    feed = subscriptions.Feed()
    for _ in range(10):
        feed.add(b"x" * 400)
    assert (feed.first, feed.end) == (8, 10)
    feed.add(b"y" * 5000)
    assert (feed.first, feed.end, feed.text(10)) == (10, 11, b"y" * 5000)
    feed.lose(3)
    assert (feed.first, feed.end) == (14, 14)


async def test_without_its_module_there_is_no_subscribe() -> None:
    dispatcher = dispatcher_of(Services(), [], [METHODS])
    answer = await ask(dispatcher, json.loads(rpc("subscribe", "log")))
    assert answer["error"]["code"] == -32601
