"""Networks on loopback within a test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from network.identity import Identity
from network.limits import SYNC, Flags, ProtocolSpec
from network.multiaddr import Multiaddr
from network.peer import Handler, Peer
from network.peer_layer import PeerLayer, PeerLayerSettings
from network.peers.store_files import StoreFiles
from network.protocols.identify import LocalIdentity
from network.service import NetworkService, ServiceSettings
from storage.files import set_aside, write_whole

LOOPBACK = Multiaddr.parse("/ip4/127.0.0.1/tcp/0")
LOCAL = LocalIdentity(
    network_name="/test/00000000", client_version="1.2.3", flags=Flags.SYNC | Flags.DISCOVERY | Flags.RELAY
)


class Notes:
    """A handler of Sync that keeps what comes."""

    def __init__(self) -> None:
        self.came: list[tuple[str, bytes]] = []

    @property
    def protocol(self) -> ProtocolSpec:
        return SYNC

    def opened(self, peer: Peer) -> None:
        peer.send(SYNC, b"hello from " + peer.direction.value.encode())

    def received(self, peer: Peer, payload: bytes) -> None:
        self.came.append((peer.peer_id, payload))

    def closed(self, peer: Peer) -> None:
        """Nothing is kept."""


def service(directory: Path, number: int, listen: Sequence[Multiaddr] = (LOOPBACK,)) -> NetworkService:
    files = StoreFiles(directory, write_whole=write_whole, set_aside=set_aside)
    settings = ServiceSettings(listen=listen, peers=PeerLayerSettings(local=LOCAL, discovery_local_address=True))
    identity = Identity(number.to_bytes(32, "big"))
    return NetworkService(identity, files, settings, lambda: time.time_ns() // 1_000_000)


@asynccontextmanager
async def running(
    directory: Path, number: int, listen: Sequence[Multiaddr] = (LOOPBACK,), handlers: Sequence[Handler] = ()
) -> AsyncIterator[PeerLayer]:
    async with service(directory, number, listen).running(lambda _: handlers or [Notes()], 256) as layer:
        yield layer


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - of both networks
            await asyncio.sleep(0.01)


def address_of(layer: PeerLayer) -> Multiaddr:
    return layer.own.listening[0]
