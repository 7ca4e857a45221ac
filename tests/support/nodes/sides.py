"""Networks that speak libp2p only, each with a process of its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from network.identity import Identity
from network.libp2p.names import Libp2pAddress, parse_address
from network.libp2p.service import Libp2pError, Libp2pService, Libp2pSettings, is_installed
from network.libp2p.topics import TopicHandler
from network.limits import ALL_PROTOCOLS, SYNC
from network.multiaddr import Multiaddr
from network.peer import Handler, Peer
from network.peer_layer import PeerLayer
from tests.support.nodes.networks import LOCAL, Notes, service, until

needs_libp2p = pytest.mark.skipif(not is_installed(), reason="libp2p is not installed: pip install 'ckb-node[libp2p]'")
"""Tests that start the process."""

HOME = "/ip4/127.0.0.1/tcp/0"


class Held:
    """Sync that stops to read each peer after the first message."""

    protocol = SYNC

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.peer: Peer | None = None

    def opened(self, peer: Peer) -> None:
        self.peer = peer
        peer.hold(SYNC)

    def received(self, peer: Peer, payload: bytes) -> None:
        self.sizes.append(len(payload))

    def closed(self, peer: Peer) -> None:
        self.peer = None


class Judge:
    """Good is what begins so; keeps all that came, and the verdicts of what begins with `later`."""

    def __init__(self) -> None:
        self.came: Counter[bytes] = Counter()
        self.later: list[Callable[[bool], None]] = []
        self.givers: set[str] = set()

    def received(self, peer: Peer, data: bytes, verdict: Callable[[bool], None]) -> None:
        self.came[data] += 1
        self.givers.add(peer.peer_id)
        if data.startswith(b"fault"):
            raise RuntimeError("a fault of the judge")
        if data.startswith(b"later"):
            self.later.append(verdict)
            return
        verdict(data.startswith(b"good"))


@dataclass
class Side:
    """One network, and the process that it has now."""

    layer: PeerLayer
    libp2p: Libp2pService
    handler: Handler
    ends: list[str]
    """Why processes have ended."""

    @property
    def address(self) -> Libp2pAddress:
        return parse_address(self.libp2p.addresses[0])

    async def ready(self) -> None:
        await until(lambda: self.libp2p.state is not None)


@asynccontextmanager
async def side(
    directory: Path,
    number: int,
    bootnodes: Sequence[Libp2pAddress] = (),
    handler: Handler | None = None,
    listen: Sequence[Multiaddr] = (),
    *,
    is_ready: bool = True,
    topics: Mapping[int, TopicHandler] | None = None,
    **limits: int,
) -> AsyncIterator[Side]:
    """The process is started again at once when it ends. `listen`: of the CKB wire."""
    handler = handler or Notes()
    settings = Libp2pSettings(
        network_name=LOCAL.network_name,
        client_version=LOCAL.client_version,
        spoken=frozenset(ALL_PROTOCOLS),
        listen=[HOME],
        bootnodes=bootnodes,
        **limits,
    )
    libp2p = Libp2pService(Identity(number.to_bytes(32, "big")), settings)
    libp2p.topics = topics or {}
    async with service(directory, number, listen).running(lambda _: [handler], 256) as layer:
        found = Side(layer, libp2p, handler, [])
        task = asyncio.get_running_loop().create_task(_keep_running(found))
        try:
            if is_ready:
                await found.ready()
            yield found
        finally:
            layer.close()
            await until(lambda: layer.switch.connections == 0)
            task.cancel()
            await asyncio.wait([task])


async def _keep_running(found: Side) -> None:
    while True:
        try:
            await found.libp2p.run(found.layer)
        except Libp2pError as error:
            found.ends.append(str(error))
