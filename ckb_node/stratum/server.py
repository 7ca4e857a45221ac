"""Listens for miners by TCP and TLS, tells them of new rounds, and looks after them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from ckb_node.runtime.client import site_of
from ckb_node.stratum.connection import MinerConnection
from ckb_node.stratum.desk import Desk
from ckb_node.stratum.gate import Gate
from ckb_node.stratum.limits import HANDSHAKE_SECONDS

log = structlog.get_logger("stratum")

BACKLOG: Final = 1024
"""New connections that may wait: a farm whose router starts anew comes back at once."""
LOOKED_EVERY_S: Final = 5.0
SLICE_S: Final = 0.02
"""Miners are told of a job for so long before others of the event loop have their turn."""
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
        while True:
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
        connection = MinerConnection(self._desk, address, self._ended)
        self.connections.add(connection)
        timeout = None if tls is None else HANDSHAKE_SECONDS
        try:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(lambda: connection, wire, ssl=tls, ssl_handshake_timeout=timeout)
        except (OSError, ssl.SSLError):  # the miner left, or does not speak TLS
            connection.abort()
            wire.close()

    def _ended(self, connection: MinerConnection) -> None:
        self.connections.discard(connection)
        self._gate.leave(connection.address)
        if connection.is_banned:
            self._gate.ban(connection.address, self._now_s())

    async def tell(self, *, is_clean: bool, is_late: Callable[[], bool]) -> None:
        """Every miner gets the current round, until `is_late`."""
        await self._each(lambda connection: connection.session.new_round(is_clean=is_clean), is_late)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOKED_EVERY_S)
            await self._each(MinerConnection.look, lambda: False)

    async def _each(self, work: Callable[[MinerConnection], None], is_late: Callable[[], bool]) -> None:
        """In slices of time."""
        slice_end = self._now_s() + SLICE_S
        for connection in list(self.connections):
            if not connection.has_ended:
                work(connection)
            if self._now_s() >= slice_end:
                await asyncio.sleep(0)
                if is_late():
                    return
                slice_end = self._now_s() + SLICE_S
