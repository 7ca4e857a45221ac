"""A node of the wire's benchmark: sockets and switch as in the real node, protocols that only count.

`python -m tests.benches.wire_node` listens on loopback, prints port and peer id, and ends with its standard input. With
the word `libp2p` behind the ids of protocols it also listens over libp2p, and prints that address instead.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import structlog

from network.gate import GateLimits
from network.identity import Identity, new_identity
from network.intake import IntakeLimits
from network.io.dial import DialOptions, TcpTransport
from network.io.listen import ListenAddress, Listeners
from network.io.scheduler import LoopScheduler
from network.io.stream import receive_buffer
from network.libp2p.service import Libp2pService, Libp2pSettings
from network.limits import ALL_PROTOCOLS, IDENTIFY, Flags, ProtocolSpec
from network.peer import Handler, Peer, PeerIdentity
from network.peer_layer import PeerTables
from network.peers.registry import Registry, RegistrySettings
from network.switch import Switch, SwitchSettings

MANY = 1 << 40
LIMITLESS = SwitchSettings(
    gate=GateLimits(
        at_once=1000,
        at_once_group=1000,
        at_once_address=1000,
        rate=MANY,
        rate_group=MANY,
        rate_address=MANY,
        burst=MANY,
        burst_group=MANY,
        burst_address=MANY,
    ),
    intake=IntakeLimits(rate_peer=MANY, burst_peer=MANY, rate=MANY, burst=MANY),
)
"""What a peer may cause a node is another question than what the wire can carry."""

WARNINGS = structlog.make_filtering_bound_logger(logging.WARNING)

COUNT_SIZE = 8
ACKNOWLEDGED_BYTES = 2 << 20
ACKNOWLEDGED_MESSAGES = 500


@dataclass(frozen=True)
class Layer:
    """What libp2p needs of a peer layer. Satisfies network.libp2p.home.Layer."""

    switch: Switch
    scheduler: LoopScheduler
    registry: Registry


def make_layer(identity: Identity, tasks: asyncio.TaskGroup, buffer: memoryview, handlers: Sequence[Handler]) -> Layer:
    """With the handlers given, and such that do nothing for all other protocols."""
    tables, rng = PeerTables(Random(1)), Random(2)
    scheduler, registry = LoopScheduler(), Registry(RegistrySettings(max_inbound=1000), tables.bans, rng)
    switch = Switch(
        TcpTransport(tasks, buffer, DialOptions()),
        scheduler,
        identity,
        registry=registry,
        store=tables.store,
        bans=tables.bans,
        anchors=tables.anchors,
        entropy=os.urandom,
        settings=LIMITLESS,
    )
    handlers = [*handlers, Introduced(switch)]
    served = {handler.protocol for handler in handlers}
    for handler in (*handlers, *(Idle(protocol) for protocol in ALL_PROTOCOLS if protocol not in served)):
        switch.register(handler)
    return Layer(switch, scheduler, registry)


def make_libp2p(identity: Identity, listen: Sequence[str] = ()) -> Libp2pService:
    """Of a node of the benchmark; not started."""
    settings = Libp2pSettings(
        network_name="/bench/00000000", client_version="bench", spoken=frozenset(ALL_PROTOCOLS), listen=listen
    )
    return Libp2pService(identity, settings)


class Idle:
    """A protocol that is open and not used."""

    def __init__(self, protocol: ProtocolSpec) -> None:
        self.protocol = protocol

    def opened(self, peer: Peer) -> None: ...

    def received(self, peer: Peer, payload: bytes) -> None: ...

    def closed(self, peer: Peer) -> None: ...


class Introduced(Idle):
    """Takes each peer for one that has said who it is: strangers may not stay."""

    def __init__(self, switch: Switch) -> None:
        super().__init__(IDENTIFY)
        self._switch = switch

    def opened(self, peer: Peer) -> None:
        self._switch.identified(peer, PeerIdentity(Flags.COMPATIBILITY, "bench"))


class Counter(Idle):
    """Counts messages, which begin with the number of those that will come, and tells now and then how many came."""

    def __init__(self, protocol: ProtocolSpec) -> None:
        super().__init__(protocol)
        self._came = 0

    def received(self, peer: Peer, payload: bytes) -> None:
        self._came += 1
        total = int.from_bytes(payload[:COUNT_SIZE], "little")
        step = max(1, min(ACKNOWLEDGED_MESSAGES, ACKNOWLEDGED_BYTES // len(payload)))
        if self._came % step == 0 or self._came == total:
            peer.send(self.protocol, self._came.to_bytes(COUNT_SIZE, "little"))
        if self._came == total:
            self._came = 0


async def serve(protocols: Sequence[ProtocolSpec], *, with_libp2p: bool) -> None:
    identity, buffer = new_identity(), receive_buffer()
    async with asyncio.TaskGroup() as tasks:
        layer = make_layer(identity, tasks, buffer, [Counter(protocol) for protocol in protocols])
        if with_libp2p:
            await serve_libp2p(identity, layer, tasks)
            return
        switch = layer.switch
        listeners = Listeners(buffer, (), is_shared=False, max_arrivals=1000)
        listeners.open(ListenAddress(("127.0.0.1", 0)), is_v6_only=False)
        await listeners.start(switch)
        print(listeners.endpoints[0][1], identity.peer_id, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        listeners.close()
        switch.close()


async def serve_libp2p(identity: Identity, layer: Layer, tasks: asyncio.TaskGroup) -> None:
    libp2p = make_libp2p(identity, ["/ip4/127.0.0.1/tcp/0"])
    running = tasks.create_task(libp2p.run(layer))
    while not libp2p.addresses:  # noqa: ASYNC110 - once
        await asyncio.sleep(0.05)
    print(libp2p.addresses[0], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    layer.switch.close()
    running.cancel()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr), wrapper_class=WARNINGS)
    words = sys.argv[1:]
    named = [protocol for protocol in ALL_PROTOCOLS if str(protocol.id) in words]
    asyncio.run(serve(named, with_libp2p="libp2p" in words))
