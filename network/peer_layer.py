"""The peer layer put together: switch, tables, the protocols about peers, and the outbound service. No I/O: a node runs
it on asyncio, the simulator on a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from network.gate import TurnedAway
from network.identity import Identity
from network.limits import ALL_PROTOCOLS, IDENTIFY, ProtocolSpec
from network.multiaddr import Multiaddr
from network.outbound import OutboundService, OutboundSettings
from network.peer import Direction, Handler, Scheduler, SessionKind
from network.peers.anchors import Anchors
from network.peers.bans import BanList
from network.peers.registry import Registry, RegistrySettings
from network.peers.store import PeerStore
from network.protocols.disconnect_message import DisconnectMessageProtocol
from network.protocols.discovery import DiscoveryProtocol
from network.protocols.feeler import FeelerProtocol
from network.protocols.hole_punching import HolePuncher, HolePunchingProtocol
from network.protocols.identify import IdentifyProtocol, LocalIdentity
from network.protocols.own_addresses import OwnAddresses
from network.protocols.ping import INTERVAL, TIMEOUT, PingProtocol
from network.rests import Rests
from network.switch import Switch, SwitchSettings
from network.transport import Link, Receiver, Transport

__all__ = ["PeerLayer", "PeerLayerSettings", "PeerTables"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLayerSettings:
    """`enabled`: the protocols that are spoken; Identify, and Sync, are always. `ping_interval` and `ping_timeout` in
    seconds."""

    local: LocalIdentity
    enabled: frozenset[ProtocolSpec] = frozenset(ALL_PROTOCOLS)
    listening: Sequence[Multiaddr] = ()
    public: Sequence[Multiaddr] = ()
    ping_interval: float = INTERVAL
    ping_timeout: float = TIMEOUT
    discovery_local_address: bool = False
    reuses_port: bool = True
    registry: RegistrySettings = field(default_factory=RegistrySettings)
    outbound: OutboundSettings = field(default_factory=OutboundSettings)
    switch: SwitchSettings = field(default_factory=SwitchSettings)


class PeerTables:
    """What is known of peers and outlives a run."""

    def __init__(self, rng: Random) -> None:
        self.bans: Final = BanList()
        self.store: Final = PeerStore(rng, self.bans)
        self.anchors: Final = Anchors()


class PeerLayer:
    """One node among its peers."""

    def __init__(
        self,
        transport: Transport,
        scheduler: Scheduler,
        identity: Identity,
        tables: PeerTables,
        settings: PeerLayerSettings,
        *,
        rng: Random,
        entropy: Callable[[int], bytes],
    ) -> None:
        """`entropy` must be of the system's, but in tests; `rng` chooses among addresses and peers."""
        self.settings: Final = settings
        self.scheduler: Final = scheduler
        self.tables: Final = tables
        self.registry: Final = Registry(settings.registry, tables.bans, rng)
        self.rests: Final = Rests()
        self.switch: Final = Switch(
            transport,
            scheduler,
            identity,
            registry=self.registry,
            store=tables.store,
            bans=tables.bans,
            anchors=tables.anchors,
            rests=self.rests,
            entropy=entropy,
            settings=settings.switch,
        )
        self.punches: Final = HolePuncher(transport, scheduler, rng, self._met)
        self.own: Final = OwnAddresses(identity.peer_id, rng, listening=settings.listening)
        for address in settings.public:
            self.own.add_public(address)
        for address in (*settings.listening, *settings.public):
            self.switch.dials.add_own(address)
        self.outbound: Final = OutboundService(
            self.switch, self.registry, tables.store, tables.bans, self.rests, scheduler, rng, settings.outbound
        )
        self.ping: Final = PingProtocol(
            scheduler, self.registry, interval=settings.ping_interval, timeout=settings.ping_timeout
        )
        for handler in self._base_handlers(rng):
            if handler.protocol is IDENTIFY or handler.protocol in settings.enabled:
                self.switch.register(handler)

    def _base_handlers(self, rng: Random) -> Sequence[Handler]:
        """The protocols about peers; those of the chain are registered by whoever serves them."""
        settings, store, scheduler = self.settings, self.tables.store, self.scheduler
        return [
            IdentifyProtocol(
                settings.local,
                own=self.own,
                store=store,
                scheduler=scheduler,
                opens=lambda: self.switch.protocols,
                on_identified=self.switch.identified,
            ),
            self.ping,
            DiscoveryProtocol(
                own=self.own,
                store=store,
                scheduler=scheduler,
                rng=rng,
                allow_local=settings.discovery_local_address,
                reuses_port=settings.reuses_port,
            ),
            FeelerProtocol(store, scheduler.wall_ms),
            DisconnectMessageProtocol(self.switch.said_goodbye),
            HolePunchingProtocol(
                own=self.own,
                store=store,
                scheduler=scheduler,
                rng=rng,
                free_outbound=lambda: self.registry.missing_outbound,
                punch=self.punches.punch,
                allow_local=settings.discovery_local_address,
            ),
        ]

    def turns_away(self, address: Multiaddr) -> TurnedAway | None:
        """See Switch.turns_away."""
        return self.switch.turns_away(address)

    def accepted(self, link: Link, address: Multiaddr, since: float | None = None) -> Receiver | None:
        """Somebody has connected to this node, see Switch.accepted; or it is a peer that we are about to meet."""
        met = self.punches.accepted(link, address) if self.switch.turns_away(address) is None else None
        return self.switch.accepted(link, address, since) if met is None else met

    def _met(self, link: Link, address: Multiaddr, direction: Direction) -> Receiver:
        """Two nodes have dialled each other in agreement."""
        return self.switch.begin(link, address, direction, SessionKind.FULL, self.scheduler.now())

    def start(self) -> None:
        """Dial. All protocols must be registered."""
        self.outbound.start(self.tables.anchors.take())

    def close(self) -> None:
        """See Switch.close."""
        self.outbound.stop()
        self.punches.close()
        self.switch.close()
