"""Cables between hosts: streams of bytes in order, each with a latency and a bandwidth, that can be cut.

Bytes of one connection stay in order, as TCP keeps them; those of different connections overtake each other, since
each piece has its own jitter. A lost packet is what it is to a program: a pause. What a receiver does not read stays
with the sender, whose `buffered_bytes` grow.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Protocol

from network.multiaddr import Multiaddr
from network.transport import Dialling, Link, Receiver
from tests.simulation.clock import Clock, SimTimer

CONNECT_TIMEOUT: Final = 5.0
RECEIVE_WINDOW: Final = 256 * 1024
"""Bytes that are on their way in one direction at once, read or not."""
MAX_PIECE: Final = 64 * 1024


class Acceptor(Protocol):
    """Who listens."""

    def accepted(self, link: Link, address: Multiaddr) -> Receiver | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """What lies between two hosts. Seconds one way; bytes a second; shares of 1."""

    latency: float = 0.040
    jitter: float = 0.020
    bandwidth: float = 4_000_000.0
    loss: float = 0.0
    """Share of pieces that come a round trip later."""
    cut: float = 0.0
    """Share of connections that break within `cut_within` seconds."""
    cut_within: float = 60.0
    refuse: float = 0.0
    """Share of dials that fail."""


class Wires:
    """All hosts and what is between them."""

    def __init__(self, clock: Clock, rng: random.Random, cable: Cable | None = None) -> None:
        self.clock: Final = clock
        self.rng: Final = rng
        self.cable = cable or Cable()
        self._listeners: Final[dict[tuple[str, int], Acceptor]] = {}
        self._sides: Final[dict[str, int]] = {}
        self._unplugged: Final[dict[str, None]] = {}
        self._next_port: Final[dict[str, int]] = {}
        self.ends: Final[dict[End, None]] = {}
        """Both ends of each live connection."""

    def listen(self, ip: str, port: int, acceptor: Acceptor) -> None:
        """A program starts on a host; one that was unplugged is there again, and knows nothing of old connections."""
        if ip in self._unplugged:
            del self._unplugged[ip]
            self.stop(ip)
        self._listeners[ip, port] = acceptor

    def close_port(self, ip: str, port: int | None = None) -> None:
        """Nobody listens on a host any more, or on one port of it; its connections are as before."""
        for key in [key for key in self._listeners if key[0] == ip and port in (None, key[1])]:
            del self._listeners[key]

    def unplug(self, ip: str) -> None:
        """The host is gone without a word: nothing reaches it, nothing comes from it."""
        self._unplugged[ip] = None
        self.close_port(ip)

    def stop(self, ip: str) -> None:
        """The program on the host has ended: nobody listens, its connections are reset."""
        self.close_port(ip)
        for end in [end for end in self.ends if end.host == ip]:
            end.abort()

    def part(self, sides: Sequence[Sequence[str]]) -> None:
        """Hosts on different sides do not reach each other from now on; hosts on none reach all."""
        self._sides.clear()
        for number, hosts in enumerate(sides):
            self._sides.update(dict.fromkeys(hosts, number))

    def mend(self) -> None:
        """All hosts reach each other again. What was on its way arrives."""
        self._sides.clear()
        for end in list(self.ends):
            end.pump()

    def is_unplugged(self, ip: str) -> bool:
        return ip in self._unplugged

    def reach(self, one: str, other: str) -> bool:
        if one in self._unplugged or other in self._unplugged:
            return False
        one_side, other_side = self._sides.get(one), self._sides.get(other)
        return one_side is None or other_side is None or one_side == other_side

    def connect(self, host: str, ip: str, port: int, dialling: Dialling, source_port: int | None = None) -> SimTimer:
        """One host dials another. The timer is of the attempt, and can be cancelled."""
        cable, rng = self.cable, self.rng
        listener = self._listeners.get((ip, port))
        if not self.reach(host, ip):
            return self.clock.call_later(CONNECT_TIMEOUT, lambda: dialling.failed("timed out"))
        round_trip = 2 * (cable.latency + cable.jitter * rng.random())
        if listener is None or rng.random() < cable.refuse:
            return self.clock.call_later(round_trip, lambda: dialling.failed("refused"))
        port_of_dialler = self._port(host) if source_port is None else source_port
        return self.clock.call_later(round_trip, lambda: self._connected(host, port_of_dialler, ip, port, dialling))

    def _connected(self, host: str, source_port: int, ip: str, port: int, dialling: Dialling) -> None:
        listener = self._listeners.get((ip, port))
        if listener is None:
            dialling.failed("refused")
            return
        near, far = End(self, host), End(self, ip)
        near.other, far.other = far, near
        self.ends[near] = self.ends[far] = None
        far.take(listener.accepted(far, tcp_address(host, source_port)))
        near.take(dialling.connected(near))
        if self.rng.random() < self.cable.cut:
            self.clock.call_later(self.rng.random() * self.cable.cut_within, near.cut)

    def _port(self, host: str) -> int:
        port = self._next_port.get(host, 40_000)
        self._next_port[host] = port + 1
        return port


class End:
    """One end of a connection. Satisfies network.transport.Link."""

    def __init__(self, wires: Wires, host: str) -> None:
        self.wires: Final = wires
        self.host: Final = host
        self.other: End = self
        self.receiver: Receiver | None = None
        self.bytes_written = 0
        self._outgoing: Final[deque[bytes]] = deque()
        self._outgoing_size = 0
        self._on_the_way = 0
        self._arrived: Final[deque[bytes]] = deque()
        self._is_paused = self._is_closing = self._is_over = False
        self._has_ended_stream = False
        self._last_arrival = 0.0

    def take(self, receiver: Receiver | None) -> None:
        """Who reads here; None: nobody, the connection is refused."""
        self.receiver = receiver
        if receiver is None:
            self.abort()
        else:
            self._deliver()

    @property
    def is_over(self) -> bool:
        return self._is_over

    @property
    def is_dead(self) -> bool:
        """The host is unplugged: nothing leaves, nothing is read."""
        return self.wires.is_unplugged(self.host)

    @property
    def buffered_bytes(self) -> int:
        return self._outgoing_size

    def write(self, data: Sequence[bytes | bytearray]) -> None:
        if self._is_over or self._is_closing:
            return
        for piece in data:
            self.bytes_written += len(piece)
            self._outgoing_size += len(piece)
            self._outgoing.append(bytes(piece))
        self.pump()

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        self.wires.clock.call_later(0.0, self._deliver)

    def close(self) -> None:
        if not self._is_closing and not self._is_over:
            self._is_closing = True
            self.pump()

    def abort(self) -> None:
        if self._is_over:
            return
        self._finish("aborted")
        other, wires = self.other, self.wires
        if not self.is_dead and wires.reach(self.host, other.host):
            wires.clock.call_later(wires.cable.latency, lambda: other.finish("reset by peer"))

    def cut(self) -> None:
        """Both sides lose the connection, as when a router forgets it."""
        self.finish("broken")
        self.other.finish("broken")

    def finish(self, reason: str) -> None:
        if not self._is_over and not self.is_dead:
            self._finish(reason)

    def _finish(self, reason: str) -> None:
        self._is_over = True
        self.wires.ends.pop(self, None)
        self._outgoing.clear()
        self._arrived.clear()
        self._outgoing_size = 0
        receiver = self.receiver
        if receiver is not None:
            self.wires.clock.call_later(0.0, lambda: receiver.lost(reason))

    def pump(self) -> None:
        """Send what the window allows."""
        wires, other = self.wires, self.other
        if self._is_over or self.is_dead or not wires.reach(self.host, other.host):
            return
        while self._outgoing and self._on_the_way < RECEIVE_WINDOW:
            piece = self._next_piece()
            self._on_the_way += len(piece)
            self._send(lambda piece=piece: other.arrive(piece), len(piece))  # type: ignore[misc]
        if self._is_closing and not self._outgoing and not self._has_ended_stream:
            self._has_ended_stream = True
            self._send(other.arrive_end, 1)

    def _next_piece(self) -> bytes:
        piece = self._outgoing.popleft()
        if len(piece) > MAX_PIECE:
            self._outgoing.appendleft(piece[MAX_PIECE:])
            piece = piece[:MAX_PIECE]
        self._outgoing_size -= len(piece)
        return piece

    def _send(self, call: Callable[[], None], size: int) -> None:
        """In order: never before what was sent earlier."""
        cable, rng, clock = self.wires.cable, self.wires.rng, self.wires.clock
        delay = cable.latency + cable.jitter * rng.random()
        if rng.random() < cable.loss:
            delay += 2 * cable.latency
        arrival = max(clock.now() + delay, self._last_arrival) + size / cable.bandwidth
        self._last_arrival = arrival
        clock.call_at(arrival, call)

    def arrive(self, piece: bytes) -> None:
        if not self._is_over and not self.is_dead:
            self._arrived.append(piece)
            self._deliver()

    def arrive_end(self) -> None:
        """The peer has closed its side. When both have, the connection is over."""
        if self._is_over or self.is_dead:
            return
        if self._arrived:  # first what was sent before
            self.wires.clock.call_later(0.01, self.arrive_end)
            return
        if self.receiver is not None:
            self.receiver.end_of_stream()
        if self._has_ended_stream:
            self.finish("closed")
            self.other.finish("closed")

    def _deliver(self) -> None:
        while self._arrived and self.receiver is not None and not self._is_paused and not self._is_over:
            piece = self._arrived.popleft()
            self.other.acknowledge(len(piece))
            self.receiver.receive(memoryview(piece))

    def acknowledge(self, size: int) -> None:
        """The other end has read."""
        self._on_the_way -= size
        if self._outgoing or self._is_closing:
            self.wires.clock.call_later(0.0, self.pump)


def tcp_address(ip: str, port: int) -> Multiaddr:
    """`/ip4|ip6/…/tcp/…`"""
    return Multiaddr.parse(f"/ip{ip_address(ip).version}/{ip}/tcp/{port}")
