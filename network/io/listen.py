"""Listening: TCP and WebSocket on one port. A connection goes to the switch once its first bytes say what it speaks.

Until then it holds a place among the arrivals, of which there are only so many and for so long: newcomers take the
place of who has kept us waiting the longest.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Protocol

import structlog

from network.ckb_wire.haproxy import HaproxyError, HaproxyHeader
from network.ckb_wire.sniff import Wire, sniff
from network.ckb_wire.websocket import WebSocketError, WebSocketServer
from network.gate import TurnedAway
from network.io.sockets import BACKLOG, Endpoint, endpoint_of, listening_socket
from network.io.stream import NOBODY, Stream
from network.io.web_socket import WebSocketLink
from network.multiaddr import AddressTransport, Multiaddr
from network.transport import Link, Receiver

__all__ = ["MAX_ARRIVALS", "Gateway", "ListenAddress", "Listeners"]

log = structlog.get_logger("network")

ARRIVAL_SECONDS: Final = 5.0
MAX_ARRIVALS: Final = 512
ACCEPTED_AT_ONCE: Final = 16
"""New connections that the event loop takes before it does something else."""


class Gateway(Protocol):
    """Who takes the connections: network.switch.Switch."""

    def turns_away(self, address: Multiaddr) -> TurnedAway | None:
        """Why a connection from here would be of no use."""

    def accepted(self, link: Link, address: Multiaddr, since: float | None = None) -> Receiver | None:
        """None: end the link."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen, and what for."""

    endpoint: Endpoint
    has_tcp: bool = True
    has_web_socket: bool = True


class Listeners:
    """The sockets that listen. `open` takes the ports, `start` takes connections."""

    def __init__(
        self,
        buffer: memoryview,
        trusted_proxies: Collection[str],
        *,
        is_shared: bool,
        max_arrivals: int = MAX_ARRIVALS,
    ) -> None:
        """Proxies by IP address. `is_shared`: dialling sockets may be bound to the ports. `max_arrivals`: connections
        that have not said yet what they speak."""
        self._buffer: Final = buffer
        self._trusted: Final = frozenset(trusted_proxies)
        self._is_shared: Final = is_shared
        self._opened: Final[list[tuple[socket.socket, ListenAddress]]] = []
        self._servers: Final[list[asyncio.Server]] = []
        self._arrivals: Final = _Arrivals(max_arrivals)

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """What is listened on, with the ports that the system chose."""
        return [endpoint_of(listener.getsockname()) for listener, _ in self._opened]

    @property
    def addresses(self) -> Sequence[Multiaddr]:
        """The same as multiaddresses, once for each that is spoken there."""
        found = []
        for (host, port), (_, wanted) in zip(self.endpoints, self._opened, strict=True):
            address = Multiaddr.of_socket(ip_address(host), port)
            found += [address] if wanted.has_tcp else []
            found += [address.with_transport(AddressTransport.WS)] if wanted.has_web_socket else []
        return found

    @property
    def arrivals(self) -> int:
        """Connections that have not said yet what they speak."""
        return len(self._arrivals)

    def open(self, wanted: ListenAddress, *, is_v6_only: bool) -> None:
        """Take a port. OSError when it cannot be had."""
        listener = listening_socket(wanted.endpoint, is_shared=self._is_shared, is_v6_only=is_v6_only)
        self._opened.append((listener, wanted))

    async def start(self, gateway: Gateway) -> None:
        """Take connections from now on."""
        loop = asyncio.get_running_loop()
        for listener, wanted in self._opened:

            def arrive(wanted: ListenAddress = wanted) -> Stream:
                return Stream(self._buffer, lambda stream: self._arrive(stream, wanted, gateway))

            self._servers.append(await loop.create_server(arrive, sock=listener, backlog=ACCEPTED_AT_ONCE))
            with listener.dup() as same:  # the loop takes as many at a time as it lets wait, which are too few
                same.listen(BACKLOG)

    def _arrive(self, stream: Stream, wanted: ListenAddress, gateway: Gateway) -> Receiver:
        try:
            host, port = stream.peername
        except OSError:
            stream.abort()
            return NOBODY
        address = Multiaddr.of_socket(ip_address(host), port)
        is_trusted = host in self._trusted
        if not is_trusted and gateway.turns_away(address) is not None:
            stream.abort()
            return NOBODY
        return _Arrival(stream, address, is_trusted=is_trusted, wanted=wanted, gateway=gateway, place=self._arrivals)

    def close(self) -> None:
        """Take no more connections, and drop those that have not said anything."""
        for server in self._servers:
            server.close()
        for listener, _ in self._opened:
            listener.close()
        self._arrivals.clear()


class _Arrivals:
    """The arrivals in order of their coming."""

    def __init__(self, most: int) -> None:
        self._most: Final = most
        self._waiting: Final[dict[_Arrival, asyncio.TimerHandle]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, arrival: _Arrival) -> None:
        if len(self._waiting) >= self._most:
            next(iter(self._waiting)).refuse()
        self._waiting[arrival] = asyncio.get_running_loop().call_later(ARRIVAL_SECONDS, arrival.refuse)

    def leave(self, arrival: _Arrival) -> None:
        timer = self._waiting.pop(arrival, None)
        if timer is not None:
            timer.cancel()

    def clear(self) -> None:
        for arrival in list(self._waiting):
            arrival.refuse()


class _Arrival:
    """A connection that has not said yet what it speaks."""

    def __init__(
        self,
        stream: Stream,
        address: Multiaddr,
        *,
        is_trusted: bool,
        wanted: ListenAddress,
        gateway: Gateway,
        place: _Arrivals,
    ) -> None:
        self._stream, self._address = stream, address
        self._header: Final = HaproxyHeader() if is_trusted else None
        self._is_trusted: Final = is_trusted
        self._wanted, self._gateway, self._place = wanted, gateway, place
        self._upgrade: WebSocketServer | None = None
        self._since: Final = asyncio.get_running_loop().time()
        self._start = b""
        place.enter(self)

    # ------------------------------------------------------------ Receiver

    def receive(self, data: memoryview) -> None:
        try:
            self._read(data)
        except HaproxyError as error:
            log.debug("a trusted proxy sends a broken header", address=str(self._address), reason=str(error))
            self.refuse()
        except WebSocketError:
            self._leave()
            self._flush()
            self._stream.close()

    def end_of_stream(self) -> None:
        self.refuse()

    def lost(self, reason: str) -> None:
        self._place.leave(self)

    # ------------------------------------------------------------ what it speaks

    def _read(self, data: memoryview) -> None:
        if self._upgrade is not None:
            self._go_on_upgrading(self._upgrade, data)
            return
        start = self._start = self._past_header(data)
        wire = sniff(start)
        if wire is None:
            return
        is_http = wire is Wire.HTTP
        if not (self._wanted.has_web_socket if is_http else self._wanted.has_tcp):
            self.refuse()
        elif is_http:
            self._upgrade = WebSocketServer()
            self._go_on_upgrading(self._upgrade, memoryview(start))
        else:
            self._stream.receiver = self._hand_over(self._stream, self._address, start)

    def _past_header(self, data: memoryview) -> bytes:
        """All that came behind the proxy's header, if there is one. Raises HaproxyError."""
        header = self._header
        if header is None or header.is_done:
            return self._start + bytes(data)
        header.receive(data)
        if header.source is not None:
            self._address = Multiaddr.of_socket(header.source.address, header.source.port or 0)
        return header.rest()

    def _go_on_upgrading(self, upgrade: WebSocketServer, data: memoryview) -> None:
        """Raises WebSocketError."""
        inside = upgrade.receive(data)
        self._flush()
        if not upgrade.is_open:
            return
        address, told = self._address, upgrade.forwarded
        if self._is_trusted and told is not None:
            address = Multiaddr.of_socket(told.address, address.port or 0 if told.port is None else told.port)
        link = WebSocketLink(self._stream, upgrade)
        link.receiver = self._hand_over(link, address.with_transport(AddressTransport.WS), inside)
        self._stream.receiver = link

    def _hand_over(self, link: Link, address: Multiaddr, start: bytes) -> Receiver:
        self._place.leave(self)
        receiver = self._gateway.accepted(link, address, self._since)
        if receiver is None:
            self._stream.abort()
            return NOBODY
        if start:
            receiver.receive(memoryview(start))
        return receiver

    def refuse(self) -> None:
        """End it; whoever it is has not become a peer."""
        self._leave()
        self._stream.abort()

    def _leave(self) -> None:
        self._place.leave(self)
        self._stream.receiver = NOBODY

    def _flush(self) -> None:
        data = b"" if self._upgrade is None else self._upgrade.data_to_send()
        if data:
            self._stream.write([data])
