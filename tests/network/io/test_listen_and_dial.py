"""Connections from end to end, on loopback."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest

from network.gate import TurnedAway
from network.io import listen
from network.io.dial import DialOptions
from network.io.listen import ListenAddress
from network.io.socks_server import SocksServer
from network.io.stream import RECEIVE_BYTES
from network.multiaddr import AddressTransport, Multiaddr
from tests.network.io.kit import PEER, START, Call, Gate, address_of, dialling, listening

LONG = START + bytes(range(256)) * 40_000


async def test_bytes_go_both_ways_and_close_ends_both() -> None:
    gate, call = Gate(), Call()
    async with listening(gate) as listeners, dialling() as transport:
        transport.dial(address_of(listeners), call)
        dialled = await call.end()
        dialled.link.write([START, b"hello"])
        accepted = await gate.next_end()
        assert await accepted.until_bytes(9) == START + b"hello"
        accepted.link.write([b"back"])
        assert await dialled.until_bytes(4) == b"back"
        accepted.link.write([b"end"])
        accepted.link.close()
        assert await dialled.until_bytes(3) == b"end"
        await dialled.until_gone()
        await accepted.until_gone()
        dialled.link.write([b"nobody"])
        assert dialled.link.buffered_bytes == 0


async def test_long_messages_wait_for_a_slow_reader_and_are_counted() -> None:
    gate, call = Gate(), Call()
    async with listening(gate) as listeners, dialling() as transport:
        transport.dial(address_of(listeners), call)
        dialled = await call.end()
        dialled.link.write([START])
        accepted = await gate.next_end()
        accepted.link.pause_reading()
        for _ in range(4):
            dialled.link.write([LONG[:100], LONG[100:]])
        assert len(LONG) < dialled.link.buffered_bytes <= 4 * len(LONG)
        accepted.link.resume_reading()
        assert await accepted.until_bytes(len(START) + 4 * len(LONG)) == START + 4 * LONG
        assert dialled.link.buffered_bytes == 0
        assert len(LONG) > RECEIVE_BYTES
        dialled.link.abort()
        await dialled.until_gone()
        await accepted.until_gone()


async def test_close_sends_what_waits() -> None:
    gate, call = Gate(), Call()
    async with listening(gate) as listeners, dialling() as transport:
        transport.dial(address_of(listeners), call)
        dialled = await call.end()
        dialled.link.write([START])
        accepted = await gate.next_end()
        for _ in range(4):
            dialled.link.write([LONG])
        dialled.link.close()
        dialled.link.write([b"too late"])
        assert await accepted.until_bytes(len(START) + 4 * len(LONG))
        await accepted.until_gone()
        assert not accepted.received
        await dialled.until_gone()


async def test_the_dialler_comes_from_the_port_on_which_it_listens() -> None:
    here, there, call = Gate(), Gate(), Call()
    async with AsyncExitStack() as stack:
        own, other = [await stack.enter_async_context(listening(gate)) for gate in (here, there)]
        async with dialling(DialOptions(sources=own.endpoints)) as transport:
            transport.dial(address_of(other), call)
            (await call.end()).link.write([START])
            accepted = await there.next_end()
            assert accepted.address is not None
            assert accepted.address.port == own.endpoints[0][1]
            # A second connection between the same two ports cannot be; another port takes its place.
            again = Call()
            transport.dial(address_of(other), again)
            (await again.end()).link.write([START])
            second = await there.next_end()
            assert second.address is not None
            assert second.address.port != own.endpoints[0][1]


async def test_ipv6() -> None:
    gate = Gate()
    async with listening(gate, ListenAddress(("::1", 0))) as listeners, dialling() as transport:
        port = listeners.endpoints[0][1]
        assert str(listeners.addresses[0]) == f"/ip6/::1/tcp/{port}"
        call = Call()
        transport.dial(address_of(listeners), call)
        (await call.end()).link.write([START])
        accepted = await gate.next_end()
        assert str(accepted.address).startswith("/ip6/::1/tcp/")


async def test_a_name_of_ipv4() -> None:
    gate, call = Gate(), Call()
    async with listening(gate) as listeners, dialling() as transport:
        port = listeners.endpoints[0][1]
        transport.dial(Multiaddr.parse(f"/dns4/localhost/tcp/{port}/p2p/{PEER}"), call)
        await call.end()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/ip4/127.0.0.1/tcp/{port}", "refused"),
        ("/dns4/no-such-host.invalid/tcp/{port}", "cannot be resolved"),
        (f"/dns4/{'a' * 100}.invalid/tcp/1", "cannot be resolved"),
        ("/ip4/127.0.0.1/tcp/{port}/wss", "TLS"),
        ("/ip4/127.0.0.1", "names no host and port"),
        ("/memory/5", "names no host and port"),
        (f"/onion3/{'a' * 56}:8115", "through Tor"),
    ],
)
async def test_why_a_dial_fails(text: str, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    call = Call()
    async with dialling() as transport:
        transport.dial(Multiaddr.parse(f"{text.format(port=port)}/p2p/{PEER}"), call)
        assert reason in await call.reason()


async def test_a_cancelled_dial_tells_nothing() -> None:
    call = Call()
    async with dialling() as transport:
        transport.dial(Multiaddr.parse(f"/ip4/127.0.0.1/tcp/1/p2p/{PEER}"), call).cancel()
    assert not call.is_over


async def test_who_is_turned_away_gets_nothing() -> None:
    for gate in (Gate(refused=TurnedAway.BANNED), Gate(is_full=True)):
        call = Call()
        async with listening(gate) as listeners, dialling() as transport:
            transport.dial(address_of(listeners), call)
            dialled = await call.end()
            dialled.link.write([START])
            await dialled.until_gone()
            assert listeners.arrivals == 0
        assert gate.ends.empty()


async def test_who_says_nothing_gives_way_to_newcomers() -> None:
    gate, calls = Gate(), [Call() for _ in range(5)]
    async with listening(gate, max_arrivals=3) as listeners, dialling() as transport:
        for call in calls:
            transport.dial(address_of(listeners), call)
            await call.end()
            while listeners.arrivals == 0:  # noqa: ASYNC110 - of the listener
                await asyncio.sleep(0)
        for call in calls[:2]:
            await (await call.end()).until_gone()
        assert listeners.arrivals == 3
        (await calls[4].end()).link.write([START])
        await gate.next_end()
        assert listeners.arrivals == 2


async def test_silence_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "ARRIVAL_SECONDS", 0.05)
    gate, call = Gate(), Call()
    async with listening(gate) as listeners, dialling() as transport:
        transport.dial(address_of(listeners), call)
        await (await call.end()).until_gone()
        assert listeners.arrivals == 0


# ---------------------------------------------------------------- proxies


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 8115\r\n", "/ip4/192.0.2.7/tcp/4000"),
        (b"PROXY TCP6 2001:db8::1 ::1 4000 8115\r\n", "/ip6/2001:db8::1/tcp/4000"),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_a_trusted_proxy_says_where_a_connection_comes_from(header: bytes, address: str, piece: int) -> None:
    gate, call = Gate(), Call()
    async with listening(gate, trusted=["127.0.0.1"]) as listeners, dialling() as transport:
        transport.dial(address_of(listeners), call)
        end, data = await call.end(), header + START + b"rest"
        for at in range(0, len(data), piece):
            end.link.write([data[at : at + piece]])
            await asyncio.sleep(0)
        accepted = await gate.next_end()
        assert str(accepted.address) == address
        assert await accepted.until_bytes(8) == START + b"rest"


@pytest.mark.parametrize("data", [b"PROXY TCP4 x\r\n", b"PROXY " + b"x" * 200, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"])
async def test_a_broken_header_of_a_proxy_ends_the_connection(data: bytes) -> None:
    gate, call = Gate(), Call()
    async with listening(gate, trusted=["127.0.0.1"]) as listeners, dialling() as transport:
        transport.dial(address_of(listeners), call)
        end = await call.end()
        end.link.write([data])
        await end.until_gone()
    assert gate.ends.empty()


async def test_who_is_not_trusted_cannot_say_where_it_comes_from() -> None:
    gate, call = Gate(), Call()
    async with listening(gate, trusted=["192.0.2.1"]) as listeners, dialling() as transport:
        transport.dial(address_of(listeners), call)
        end = await call.end()
        end.link.write([b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 8115\r\n", START])
        await end.until_gone()  # it looks like HTTP, and is none
    assert gate.ends.empty()


class SocksProxy:
    """A SOCKS5 server that takes every user, keeps what it is asked for, and connects to one place."""

    def __init__(self, target: tuple[str, int], reply: int = 0) -> None:
        self._target, self._reply = target, reply
        self.users: list[bytes] = []
        self.asked: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        methods = await reader.readexactly((await reader.readexactly(2))[1])
        if 2 in methods:
            writer.write(b"\x05\x02")
            self.users.append(await _pair(reader))
            writer.write(b"\x01\x00")
        else:
            writer.write(b"\x05\x00")
        kind = (await reader.readexactly(4))[3]
        size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        self.asked.append(await reader.readexactly(size + 2))
        writer.write(bytes([5, self._reply, 0, 1]) + bytes(6))
        if self._reply == 0:
            there, back = await asyncio.open_connection(*self._target)
            back.write(await reader.readexactly(9))
            writer.write(await there.readexactly(4))
            back.close()
        await writer.drain()
        writer.close()


async def _pair(reader: asyncio.StreamReader) -> bytes:
    user = await reader.readexactly((await reader.readexactly(2))[1])
    return user + b":" + await reader.readexactly((await reader.readexactly(1))[0])


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("/ip4/192.0.2.7/tcp/8115", bytes([192, 0, 2, 7, 31, 179])),
        ("/dns4/host.example/tcp/8115", b"host.example\x1f\xb3"),  # nobody here resolves it
        (f"/onion3/{'a' * 56}:8115", b"a" * 56 + b".onion\x1f\xb3"),
    ],
)
async def test_a_proxy_is_asked_for_the_place(text: str, asked: bytes) -> None:
    gate = Gate()
    async with listening(gate) as listeners:
        proxy = SocksProxy(listeners.endpoints[0])
        async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            way = SocksServer("127.0.0.1", port)
            options = DialOptions(proxy=way, onion_proxy=way, sources=listeners.endpoints)
            async with dialling(options) as transport:
                for _ in range(2):
                    call = Call()
                    transport.dial(Multiaddr.parse(f"{text}/p2p/{PEER}"), call)
                    end = await call.end()
                    end.link.write([START, b"hello"])
                    accepted = await gate.next_end()
                    assert await accepted.until_bytes(9) == START + b"hello"
                    accepted.link.write([b"back"])
                    assert await end.until_bytes(4) == b"back"
    assert proxy.asked == [asked, asked]
    first, second = proxy.users
    assert first != second
    assert len(first) == 8 + 1 + 16


async def test_a_proxy_that_refuses() -> None:
    proxy = SocksProxy(("127.0.0.1", 1), reply=5)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        call = Call()
        async with dialling(DialOptions(proxy=SocksServer("127.0.0.1", port, has_random_users=False))) as transport:
            transport.dial(Multiaddr.parse(f"/ip4/192.0.2.7/tcp/1/p2p/{PEER}"), call)
            assert "connection refused" in await call.reason()
    assert proxy.users == []


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400\r\n", b"\x05\xff", b""])
async def test_a_proxy_that_is_none(answer: bytes) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        call = Call()
        way = SocksServer("127.0.0.1", server.sockets[0].getsockname()[1])
        async with dialling(DialOptions(proxy=way)) as transport:
            transport.dial(Multiaddr.parse(f"/ip4/192.0.2.7/tcp/1/p2p/{PEER}"), call)
            assert await call.reason()


# ---------------------------------------------------------------- WebSocket


async def test_web_socket_and_tcp_on_one_port() -> None:
    gate = Gate()
    async with listening(gate) as listeners, dialling() as transport:
        assert [address.transport for address in listeners.addresses] == [AddressTransport.TCP, AddressTransport.WS]
        for suffix in ("/ws", ""):
            call = Call()
            transport.dial(address_of(listeners, suffix), call)
            dialled = await call.end()
            dialled.link.write([START, b"hello"])
            accepted = await gate.next_end()
            assert str(accepted.address).endswith("/ws") is bool(suffix)
            assert await accepted.until_bytes(9) == START + b"hello"
            accepted.link.write([LONG])
            assert await dialled.until_bytes(len(LONG)) == LONG
            accepted.link.close()
            await dialled.until_gone()
            await accepted.until_gone()


@pytest.mark.parametrize(("has_tcp", "suffix", "fits"), [(True, "", True), (True, "/ws", False), (False, "", False)])
async def test_only_what_is_wanted_is_spoken(has_tcp: bool, suffix: str, fits: bool) -> None:
    gate, call = Gate(), Call()
    wanted = ListenAddress(("127.0.0.1", 0), has_tcp=has_tcp, has_web_socket=not has_tcp)
    async with listening(gate, wanted) as listeners, dialling() as transport:
        transport.dial(address_of(listeners, suffix), call)
        if suffix:
            assert await call.reason()
            return
        end = await call.end()
        end.link.write([START])
        if fits:
            await gate.next_end()
        else:
            await end.until_gone()
