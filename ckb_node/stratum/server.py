"""Listens for miners by TCP and TLS, tells them of new rounds, and looks after them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

import structlog

from ckb_node.runtime.client import site_of
from ckb_node.runtime.slices import in_slices
from ckb_node.stratum.connection import MinerConnection
from ckb_node.stratum.desk import Desk
from ckb_node.stratum.gate import Gate, Handshakes
from ckb_node.stratum.limits import HANDSHAKE_SECONDS, LOGIN_SECONDS
from ckb_node.stratum.turns import Turns

log = structlog.get_logger("stratum")

BACKLOG: Final = 1024
"""New connections that may wait: a farm whose router starts anew comes back at once."""
ACCEPTED_AT_ONCE: Final = 8
"""Then others of the event loop have their turn: where a connection waits, taking it does not."""
LOOKED_EVERY_S: Final = 5.0
_REST_S: Final = 0.5
"""After the system had no descriptor for a connection."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that listens; by TLS with a context."""

    socket: socket.socket
    tls: ssl.SSLContext | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.socket.getsockname()[:2]
        return host, port


def listening_socket(host: str, port: int) -> socket.socket:
    """Raises OSError, also socket.gaierror."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class StratumServer:
    """Belongs to the event loop. `run` serves until it is cancelled."""

    def __init__(self, desk: Desk, gate: Gate, now_s: Callable[[], float] = time.monotonic) -> None:
        self._desk, self._gate, self._now_s = desk, gate, now_s
        self.connections: Final[set[MinerConnection]] = set()
        self.turns: Final = Turns()
        self._handshakes: Final = Handshakes()

    async def run(self, listeners: Sequence[Listener]) -> None:
        """Every miner is disconnected at the end; the sockets go on listening."""
        try:
            async with asyncio.TaskGroup() as group:
                for each in listeners:
                    group.create_task(self._accept(each, group))
                group.create_task(self._look())
        finally:
            for connection in list(self.connections):
                connection.abort()

    async def _accept(self, listener: Listener, group: asyncio.TaskGroup) -> None:
        """Refuse before anything is spent on a connection, a TLS handshake least of all."""
        loop = asyncio.get_running_loop()
        for number in count(1):
            if number % ACCEPTED_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                wire, peer = await loop.sock_accept(listener.socket)
            except ConnectionError:
                continue
            except OSError as error:
                log.warning("a miner's connection cannot be taken", reason=error.strerror)
                await asyncio.sleep(_REST_S)
                continue
            address = site_of(peer[0])
            if self._gate.admit(address, self._now_s()):
                group.create_task(self._serve(wire, address, listener.tls))
            else:
                wire.close()

    async def _serve(self, wire: socket.socket, address: str, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        connection = MinerConnection(self._desk, address, self, wire if tls is None else None)
        self.connections.add(connection)
        try:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is None:
                await loop.connect_accepted_socket(lambda: connection, wire)
                return
            async with asyncio.timeout(LOGIN_SECONDS), self._handshakes.turn(address):
                await loop.connect_accepted_socket(
                    lambda: connection, wire, ssl=tls, ssl_handshake_timeout=HANDSHAKE_SECONDS
                )
        except (OSError, ssl.SSLError) as error:  # the miner left, or does not speak TLS
            error.__traceback__ = None  # its frames and it hold each other, and the buffers of TLS
            connection.abort()
            wire.close()

    def ban(self, connection: MinerConnection) -> None:
        """See connection.Keeper."""
        self._gate.ban(connection.address, self._now_s())

    def gone(self, connection: MinerConnection) -> None:
        """See connection.Keeper."""
        self.connections.discard(connection)
        self._gate.leave(connection.address)

    def tell(self, *, is_clean: bool) -> Iterator[None]:
        """Every miner gets the current round, one after the other: first those whose job is one for many. The others
        take twice as long, and so wait for little more, while the first wait for much less."""
        for connection in sorted(self.connections, key=lambda each: each.session.has_own_header):
            if not connection.has_ended:
                connection.session.new_round(is_clean=is_clean)
                yield

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOKED_EVERY_S)
            await in_slices(self._look_once())

    def _look_once(self) -> Iterator[None]:
        for connection in list(self.connections):
            if not connection.has_ended:
                connection.look()
                yield
