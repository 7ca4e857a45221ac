"""The network on asyncio: it listens, dials, keeps what it knows of peers on disk, and ends in order."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Final

import structlog

from network.identity import Identity
from network.io.dial import MAX_DIALS, DialOptions, TcpTransport
from network.io.listen import MAX_ARRIVALS, ListenAddress, Listeners
from network.io.scheduler import LoopScheduler
from network.io.socks_server import SocksServer
from network.io.stream import os_reason, receive_buffer
from network.multiaddr import AddressTransport, Multiaddr
from network.peer import Handler
from network.peer_layer import PeerLayer, PeerLayerSettings, PeerTables
from network.peers.store_files import Problem, Snapshot, StoreFiles

__all__ = ["ListenError", "NetworkService", "ServiceSettings", "in_use_hint"]

log = structlog.get_logger("network")

STOP_SECONDS: Final = 1.0
"""For connections to end in order; those that do not are cut."""
SAVE_SECONDS: Final = 3600.0
"""Between two saves of what is known of peers."""


class ListenError(OSError):
    """An address cannot be listened on; one line that names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """`listen`: IP addresses with ports, WebSocket beside TCP on each if `has_web_socket`. `reuses_port`: connections
    are dialled from the listening port. `peers`: what `listening` says there is not looked at."""

    listen: Sequence[Multiaddr] = ()
    has_web_socket: bool = True
    reuses_port: bool = True
    trusted_proxies: Sequence[str] = ()
    proxy: SocksServer | None = None
    onion_proxy: SocksServer | None = None
    peers: PeerLayerSettings


@dataclass(frozen=True, slots=True)
class Room:
    """How many connections there may be: sessions, those that have not said what they speak, and dials."""

    sessions: int
    arrivals: int
    dials: int

    @classmethod
    def of(cls, total: int) -> Room:
        """Of so many in all, three quarters are for sessions."""
        arrivals = max(1, min(MAX_ARRIVALS, total // 8))
        dials = max(1, min(MAX_DIALS, total // 8))
        return cls(max(1, total - arrivals - dials), arrivals, dials)


class NetworkService:
    """One node's network. It knows what was saved from the beginning; `layer` is there while it runs."""

    def __init__(
        self, identity: Identity, files: StoreFiles, settings: ServiceSettings, now_ms: Callable[[], int]
    ) -> None:
        """Reads the files; what cannot be read is named in the log, kept aside, and does not stop anything."""
        self.identity: Final = identity
        self.settings: Final = settings
        self._files, self._now_ms = files, now_ms
        self._rng: Final = Random(os.urandom(32))  # noqa: S311 - chooses among peers, makes no keys
        self.tables: Final = PeerTables(self._rng)
        self.layer: PeerLayer | None = None
        for problem in files.load(self.tables.store, self.tables.bans, self.tables.anchors, now_ms()):
            _tell(problem)

    @asynccontextmanager
    async def running(
        self, handlers: Callable[[PeerLayer], Iterable[Handler]], max_connections: int
    ) -> AsyncIterator[PeerLayer]:
        """Listen and dial while the context lasts. `handlers` gives those of the protocols that the peer layer does not
        have itself; `max_connections` are all that there may be, established or not. Raises ListenError."""
        settings, buffer = self.settings, receive_buffer()
        room = Room.of(max_connections)
        listeners = Listeners(
            buffer, settings.trusted_proxies, is_shared=settings.reuses_port, max_arrivals=room.arrivals
        )
        try:
            _listen(listeners, settings)
            async with asyncio.TaskGroup() as dials:
                transport = TcpTransport(dials, buffer, self._dial_options(listeners), max_dials=room.dials)
                layer = self._layer(listeners, transport, room)
                for handler in handlers(layer):
                    layer.switch.register(handler)
                await listeners.start(layer)
                self.layer = layer
                layer.start()
                try:
                    yield layer
                finally:
                    await self._stop(layer, listeners)
        finally:
            listeners.close()

    def _dial_options(self, listeners: Listeners) -> DialOptions:
        settings = self.settings
        sources = listeners.endpoints if settings.reuses_port else ()
        return DialOptions(proxy=settings.proxy, onion_proxy=settings.onion_proxy, sources=sources)

    def _layer(self, listeners: Listeners, transport: TcpTransport, room: Room) -> PeerLayer:
        peers = self.settings.peers
        switch = replace(peers.switch, max_connections=min(room.sessions, peers.switch.max_connections))
        peers = replace(peers, listening=listeners.addresses, switch=switch)
        scheduler = LoopScheduler()
        return PeerLayer(transport, scheduler, self.identity, self.tables, peers, rng=self._rng, entropy=os.urandom)

    async def _stop(self, layer: PeerLayer, listeners: Listeners) -> None:
        listeners.close()
        layer.close()
        deadline = layer.scheduler.now() + STOP_SECONDS
        while layer.switch.connections and layer.scheduler.now() < deadline:  # noqa: ASYNC110 - of the switch
            await asyncio.sleep(0.01)
        self.layer = None
        try:
            await self.save()
        except OSError as error:
            log.error("what is known of peers cannot be saved", reason=os_reason(error))  # noqa: TRY400

    async def save(self) -> None:
        """Write what is known of peers. Raises OSError; each file is as before, or new."""
        tables = self.tables
        snapshot = Snapshot.of(tables.store, tables.bans, tables.anchors, self._now_ms())
        await asyncio.to_thread(self._files.save, snapshot)

    async def save_hourly(self) -> None:
        """Until cancelled. Raises OSError."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await self.save()


def _tell(problem: Problem) -> None:
    kept_as = None if problem.kept_as is None else str(problem.kept_as)
    log.warning(
        "a file about peers is not as it should be", path=str(problem.path), reason=problem.reason, kept_as=kept_as
    )


def in_use_hint(error: OSError) -> str:
    """What to do when a port is taken, to follow the error's reason; empty for other errors."""
    if error.errno != errno.EADDRINUSE:
        return ""
    return "; another program listens there, perhaps a node: stop it, or choose another port"


def _listen(listeners: Listeners, settings: ServiceSettings) -> None:
    """Take all ports. Raises ListenError."""
    has_v4 = any(address.ip is not None and address.ip.version == 4 for address in settings.listen)
    for address, wanted in _wanted(settings).items():
        try:
            listeners.open(wanted, is_v6_only=has_v4)
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {os_reason(error)}{in_use_hint(error)}") from None


def _wanted(settings: ServiceSettings) -> dict[Multiaddr, ListenAddress]:
    """Each host and port once, with what is spoken there."""
    found: dict[Multiaddr, ListenAddress] = {}
    for address in settings.listen:
        if address.ip is None or address.port is None:
            raise ListenError(f"cannot listen on {address}: it is no IP address with a port")
        bare = address.without_peer_id().stored
        is_web = address.transport is AddressTransport.WS
        before = found.get(bare)
        has_tcp = not is_web or (before is not None and before.has_tcp)
        has_web = is_web or settings.has_web_socket or (before is not None and before.has_web_socket)
        found[bare] = ListenAddress((str(address.ip), address.port), has_tcp, has_web)
    return found
