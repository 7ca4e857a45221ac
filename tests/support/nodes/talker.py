"""A peer that is only as much of a node as a session needs: its handshake, Identify, the protocols that it opens."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from network.ckb_wire.connection import WireConnection
from network.ckb_wire.events import Ended, Established, Event, Opened, Received
from network.ckb_wire.secio import SecioHandshake
from network.identity import new_identity
from network.limits import ALL_PROTOCOLS, IDENTIFY, PING, Flags, ProtocolSpec
from network.messages.peers import Address, IdentifyMessage, Ping, PingMessage, Pong
from network.multiaddr import Multiaddr
from network.peer import Direction
from network.protocols.identify import LocalIdentity

READ_BYTES = 64 << 10
DEADLINE_S = 1.0
"""How often timers of the wire are looked at."""


@dataclass(frozen=True)
class Target:
    """The node that is talked to."""

    ip: str
    port: int
    peer_id: str
    network_name: str


class Over(Exception):  # noqa: N818 - how each session ends
    """The session is at its end; the message says why."""


class Talker:
    """A session that we have dialled. Raises Over and OSError."""

    def __init__(
        self,
        target: Target,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        protocols: tuple[ProtocolSpec, ...],
    ) -> None:
        self._target, self._protocols = target, protocols
        self._reader, self._writer = reader, writer
        handshake = SecioHandshake(new_identity(), entropy=os.urandom, expected_peer=target.peer_id)
        self._wire = WireConnection(handshake, Direction.OUTBOUND, ALL_PROTOCOLS, now=time.monotonic())
        self.open: set[ProtocolSpec] = set()
        self.on_pong: Callable[[int], None] = lambda _: None

    async def begin(self) -> None:
        """Until all protocols are open."""
        await self.flush()
        while not self.open.issuperset(self._protocols):
            await self.read()

    async def read(self) -> None:
        """What comes next, and what it demands; returns after a while also when nothing comes."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                data = await self._reader.read(READ_BYTES)
        except TimeoutError:
            self._take(self._wire.advance(time.monotonic()))
        else:
            if not data:
                raise Over("the node has closed the connection")
            self._take(self._wire.receive(memoryview(data), time.monotonic()))
            while self._wire.is_behind:
                self._take(self._wire.proceed(time.monotonic()))
        await self.flush()

    async def send(self, protocol: ProtocolSpec, payload: bytes) -> None:
        self._wire.send(protocol, payload, time.monotonic())
        await self.flush()

    def encoded(self, protocol: ProtocolSpec, payload: bytes) -> bytes:
        """What goes over the wire for a message, for `send_raw`."""
        self._wire.send(protocol, payload, time.monotonic())
        return b"".join(self._wire.data_to_send())

    async def send_raw(self, data: bytes) -> None:
        """Bytes of the wire."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self, protocol: ProtocolSpec) -> None:
        """Nothing more on a protocol."""
        self.open.discard(protocol)
        self._wire.close_protocol(protocol, time.monotonic())
        await self.flush()

    async def reopen(self, protocol: ProtocolSpec) -> None:
        """Close it, and ask for it again."""
        await self.close(protocol)
        self._wire.open(protocol, time.monotonic())
        await self.flush()

    async def read_for(self, seconds: float) -> None:
        """What comes in so much time."""
        end = time.monotonic() + seconds
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while time.monotonic() < end:
                    await self.read()

    async def flush(self) -> None:
        data = b"".join(self._wire.data_to_send())
        if data:
            self._writer.write(data)
            await self._writer.drain()

    def _take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Established():
                    self._wire.open(IDENTIFY, time.monotonic())
                case Opened(protocol):
                    self._opened(protocol)
                case Received(protocol, payload):
                    self._received(protocol, payload)
                case Ended(reason, detail):
                    raise Over(f"{reason.value}: {detail}")

    def _opened(self, protocol: ProtocolSpec) -> None:
        self.open.add(protocol)
        if protocol is IDENTIFY:
            self._wire.send(IDENTIFY, identify_message(self._target), time.monotonic())

    def _received(self, protocol: ProtocolSpec, payload: bytes) -> None:
        now = time.monotonic()
        if protocol is IDENTIFY:
            for other in self._protocols:
                self._wire.open(other, now)
        elif protocol is PING:
            message = PingMessage.parse(payload).payload
            if isinstance(message, Pong):
                self.on_pong(message.nonce)
            elif isinstance(message, Ping):
                self._wire.send(PING, PingMessage(payload=Pong(nonce=message.nonce)).raw, now)


@asynccontextmanager
async def talking(
    target: Target, connected: socket.socket, protocols: tuple[ProtocolSpec, ...]
) -> AsyncIterator[Talker]:
    """A session in which all protocols are open. Raises Over and OSError."""
    reader, writer = await asyncio.open_connection(sock=connected)
    try:
        talker = Talker(target, reader, writer, protocols)
        await talker.begin()
        yield talker
    finally:
        writer.transport.abort()


def identify_message(target: Target) -> bytes:
    """What a node says of itself that listens nowhere."""
    identity = LocalIdentity(
        network_name=target.network_name, client_version="0.0.0 (a soak test)", flags=Flags.COMPATIBILITY | Flags.SYNC
    )
    seen = Multiaddr.parse(f"/ip4/{target.ip}/tcp/{target.port}/p2p/{target.peer_id}")
    observed = Address(data=seen.to_bytes())
    return IdentifyMessage(listen_addrs=[], observed_addr=observed, identify=identity.encode()).raw


def ping(nonce: int) -> bytes:
    return PingMessage(payload=Ping(nonce=nonce)).raw


async def connect(target: Target, source: str) -> socket.socket:
    """A TCP connection from one of this host's addresses. OSError."""
    made = socket.socket()
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        made.bind((source, 0))
        async with asyncio.timeout(5.0):
            await asyncio.get_running_loop().sock_connect(made, (target.ip, target.port))
    except BaseException:
        made.close()
        raise
    return made
