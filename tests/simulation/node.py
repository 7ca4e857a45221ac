"""A simulated node: the real peer layer on a simulated cable, with a stand-in for sync."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from random import Random
from typing import Final

from network.identity import Identity
from network.limits import SYNC, Flags, ProtocolSpec
from network.multiaddr import Multiaddr
from network.peer import Direction, Handler, Peer
from network.peer_layer import PeerLayer, PeerLayerSettings, PeerTables
from network.peers.registry import RegistrySettings
from network.protocols.identify import LocalIdentity
from network.transport import Dialling
from tests.simulation.clock import Clock, SimTimer
from tests.simulation.wires import Wires, tcp_address

PORT: Final = 8115
FULL_NODE: Final = Flags.COMPATIBILITY | Flags.DISCOVERY | Flags.SYNC | Flags.RELAY
NETWORK: Final = "/ckb_sim/00000000"


class SimTransport:
    """Satisfies network.transport.Transport. Dials from the listening port, as nodes on Linux do."""

    def __init__(self, wires: Wires, ip: str, source_port: int | None = PORT) -> None:
        self._wires, self._ip, self._source_port = wires, ip, source_port

    def dial(self, address: Multiaddr, dialling: Dialling) -> SimTimer:
        if address.ip is None or address.port is None:
            return self._wires.clock.call_later(0.0, lambda: dialling.failed("no such host"))
        return self._wires.connect(self._ip, str(address.ip), address.port, dialling, self._source_port)


class Beats:
    """A stand-in for Sync: every so often every peer gets the time, and it is noted how late it comes."""

    def __init__(self, clock: Clock, interval: float = 10.0) -> None:
        self._clock, self.interval = clock, interval
        self.peers: Final[dict[int, Peer]] = {}
        self.delays: Final[list[float]] = []
        self.last_heard: Final[dict[str, float]] = {}
        """By peer id."""
        self._is_beating = False

    @property
    def protocol(self) -> ProtocolSpec:
        return SYNC

    def opened(self, peer: Peer) -> None:
        self.peers[peer.session_id] = peer
        if not self._is_beating:
            self._is_beating = True
            self._clock.call_later(self.interval, self._beat)

    def received(self, peer: Peer, payload: bytes) -> None:
        now = self._clock.now()
        self.last_heard[peer.peer_id] = now
        try:
            self.delays.append(now - float(payload.decode()))
        except ValueError:
            peer.ban(300, "no time")

    def closed(self, peer: Peer) -> None:
        del self.peers[peer.session_id]

    def _beat(self) -> None:
        self._is_beating = bool(self.peers)
        if self._is_beating:
            self._clock.call_later(self.interval, self._beat)
        for peer in self.peers.values():
            peer.send(SYNC, str(self._clock.now()).encode())


class SimNode:
    """A node on a host of its own."""

    def __init__(
        self,
        wires: Wires,
        name: str,
        ip: str,
        *,
        seed: int,
        bootnodes: Sequence[Multiaddr] = (),
        registry: RegistrySettings | None = None,
        settings: PeerLayerSettings | None = None,
        tables: PeerTables | None = None,
        handlers: Callable[[PeerLayer], Iterable[Handler]] | None = None,
    ) -> None:
        """The key follows from seed and name. `tables`: of an earlier run. `handlers`: those of the chain's protocols;
        without them Sync is played by `beats`."""
        self.name, self.ip = name, ip
        self.wires: Final = wires
        self.rng: Final = Random(f"{seed}:{name}")
        self.identity: Final = Identity(sha256(f"{seed}:{name}".encode()).digest())
        self.place: Final = tcp_address(ip, PORT)
        self.address: Final = self.place.with_peer_id(self.identity.peer_id)
        self.tables: Final = tables or PeerTables(self.rng)
        registry = registry or RegistrySettings()
        base = settings or PeerLayerSettings(
            local=LocalIdentity(network_name=NETWORK, client_version=name, flags=FULL_NODE)
        )
        self.layer: Final = PeerLayer(
            SimTransport(wires, ip),
            wires.clock,
            self.identity,
            self.tables,
            replace(
                base,
                listening=[self.place],
                registry=registry,
                outbound=replace(
                    base.outbound, bootnodes=[*base.outbound.bootnodes, *bootnodes], max_outbound=registry.max_outbound
                ),
            ),
            rng=self.rng,
            entropy=self.rng.randbytes,
        )
        self.switch: Final = self.layer.switch
        self.beats: Final = Beats(wires.clock)
        for handler in (self.beats,) if handlers is None else handlers(self.layer):
            self.switch.register(handler)
        self.is_running = False

    def start(self) -> None:
        self.is_running = True
        self.wires.listen(self.ip, PORT, self.layer)
        self.layer.start()

    def stop(self) -> None:
        """An ordered end."""
        self.is_running = False
        self.layer.close()
        self.wires.close_port(self.ip)

    def kill(self) -> None:
        """The process is gone; the system resets its connections."""
        self.is_running = False
        self.layer.close()
        self.wires.stop(self.ip)

    @property
    def peer_names(self) -> list[str]:
        """By what the peers call themselves."""
        return sorted(peer.identity.client_version for peer in self.switch.peers() if peer.identity is not None)

    @property
    def outbound(self) -> list[Peer]:
        return [peer for peer in self.switch.peers() if peer.direction is Direction.OUTBOUND]

    @property
    def syncing(self) -> int:
        """Peers with Sync open."""
        return len(self.beats.peers)
