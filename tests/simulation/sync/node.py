"""A simulated node that syncs and relays: the real peer layer and the real handlers over a chain and a pool without
threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.initial_download import InitialDownload
from ckb_node.filters.builder import FilterBuilder
from ckb_node.sync.relay.blocks import RelayFigures
from ckb_node.sync.relay.gossip import NodeGossip
from ckb_node.sync.service import SyncService
from ckb_node.sync.serving.settings import ServingSection
from consensus.params import Consensus
from network.libp2p.names import Libp2pAddress
from network.limits import ALL_PROTOCOLS, DISCOVERY, FEELER, HOLE_PUNCHING
from network.multiaddr import Multiaddr
from network.outbound import OutboundSettings
from network.peer import Handler
from network.peer_layer import PeerLayer, PeerLayerSettings, PeerTables
from network.peers.registry import RegistrySettings
from network.protocols.identify import LocalIdentity
from network.session import Session
from network.traffic import Cause
from storage.errors import StorageError
from storage.filters import FilterStore
from tests.simulation.libp2p import SimLibp2p
from tests.simulation.node import FULL_NODE, NETWORK, SimNode
from tests.simulation.sync.chain import ChainCosts, SimChain
from tests.simulation.sync.pool import SimPool
from tests.simulation.sync.stores import SimStore
from tests.simulation.sync.traffic import Departure, Traffic, tapped
from tests.simulation.wires import Wires

REDIAL: Final = 5.0
"""Seconds between looks at which neighbours are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """What a node is, in each of its lives. `neighbours`: whom it dials; None: whom it finds by discovery from
    `bootnodes`."""

    name: str
    ip: str
    seed: int
    consensus: Consensus
    neighbours: Sequence[Multiaddr] | None = None
    bootnodes: Sequence[Multiaddr] = ()
    costs: ChainCosts = field(default_factory=ChainCosts)
    max_inbound: int = 117
    max_outbound: int = 8
    with_filters: bool = False
    """It builds block filters, and serves them."""
    libp2p: Sequence[Libp2pAddress] | None = None
    """Whom it dials over libp2p; None: it does not speak that."""
    gossip_loss: float = 0.0
    finds_libp2p: bool = False
    """It finds further peers there by those that it knows, and has no other wire."""

    def layer_settings(self) -> PeerLayerSettings:
        local = LocalIdentity(network_name=NETWORK, client_version=self.name, flags=FULL_NODE)
        if self.neighbours is None:
            return PeerLayerSettings(local=local)
        finding = {DISCOVERY, FEELER, HOLE_PUNCHING}
        return PeerLayerSettings(
            local=local,
            enabled=frozenset(ALL_PROTOCOLS) - finding,
            outbound=OutboundSettings(with_feelers=False, with_lookout=False, interval=REDIAL),
        )

    def registry_settings(self) -> RegistrySettings:
        if self.neighbours is None:
            return RegistrySettings(max_inbound=self.max_inbound, max_outbound=self.max_outbound)
        count = max(1, len(self.neighbours))
        return RegistrySettings(max_inbound=self.max_inbound, max_outbound=count, block_relay_only=False)


class SyncNode(SimNode):
    """One life of a node; `store` and `tables` outlive it."""

    def __init__(
        self, plan: NodePlan, wires: Wires, traffic: Traffic, store: SimStore, tables: PeerTables | None = None
    ) -> None:
        self.plan, self.store, self.traffic = plan, store, traffic
        self.chain: Final = SimChain(plan.consensus, store, wires.clock, costs=plan.costs)
        self.pool: Final = SimPool(self.chain, wires.clock)
        self.seen: Final[dict[bytes, float]] = {}
        """When each block came onto its main chain, for the first time in this life."""
        self.reorgs: Final[list[int]] = []
        """Depths of reorganisations."""
        self.filters: Final = FilterStore.in_memory() if plan.with_filters else None
        self.chain.listen(self._on_change)
        self.chain.service.on_storage_failure = self._end_soon
        super().__init__(
            wires,
            plan.name,
            plan.ip,
            seed=plan.seed,
            bootnodes=plan.bootnodes if plan.neighbours is None else plan.neighbours,
            registry=plan.registry_settings(),
            settings=plan.layer_settings(),
            tables=tables,
            handlers=self._handlers,
        )
        self.libp2p: Final = self._make_libp2p()
        self._stop_gossip: Callable[[], None] = lambda: None
        self._note_departures()
        traffic.lives[self.identity.peer_id] += 1

    def _handlers(self, layer: PeerLayer) -> Iterable[Handler]:
        self.sync = SyncService(
            self.chain, self.pool, layer.scheduler, InitialDownload(), RelayFigures(), ServingSection(), self.filters
        )
        return tapped(self.sync.handlers, self.identity.peer_id, self.traffic)

    def _make_libp2p(self) -> SimLibp2p | None:
        plan = self.plan
        if plan.libp2p is None:
            return None
        return SimLibp2p(self.wires, plan.ip, self.identity, NETWORK, plan.name, plan.libp2p, plan.gossip_loss)

    def _start_libp2p(self) -> None:
        if self.libp2p is None:
            return
        cycles = self.plan.consensus.max_block_cycles
        gossip = NodeGossip(self.sync.relay, self.pool, cycles, self.libp2p.publish)
        if self.plan.finds_libp2p:
            self.switch.register(self.libp2p.home.exchange(self.layer, allow_local=False))
        self.libp2p.home.topics, self._stop_gossip = gossip.topics, gossip.stop
        self.libp2p.start(self.layer)

    def _note_departures(self) -> None:
        """Why sessions end is known to the switch alone."""
        left, now = self.switch.left, self.wires.clock.now

        def noted(session: Session, cause: Cause, reason: str) -> None:
            self.traffic.departures.append(Departure(now(), self.name, str(session.address.ip), cause, reason))
            left(session, cause, reason)

        self.switch.left = noted  # type: ignore[method-assign]

    def start(self) -> None:
        super().start()
        self.sync.start()
        self._start_libp2p()
        self._build_filters()

    def stop(self) -> None:
        super().stop()
        self._end()

    def kill(self) -> None:
        """The process is gone; what its disk has stays."""
        if self.is_running:
            super().kill()
            self._end()

    def unplug(self) -> None:
        """The host is gone without a word."""
        self.is_running = False
        self.wires.unplug(self.ip)
        self.layer.close()
        self._end()

    def _end_soon(self, _: StorageError) -> None:
        """The chain cannot be written any more."""
        self.wires.clock.call_later(0.0, self.kill)

    def _end(self) -> None:
        if self.libp2p is not None:
            self.libp2p.stop()
        self._stop_gossip()
        self.sync.stop()
        self.pool.close()
        self.chain.kill(self.rng)

    @property
    def syncing(self) -> int:
        """Sessions."""
        return len(self.switch.peers())

    @property
    def tip(self) -> bytes:
        return self.chain.tip().hash

    @property
    def height(self) -> int:
        return self.chain.tip().number

    def _build_filters(self) -> None:
        if self.filters is not None:
            builder = FilterBuilder(self.filters)
            with self.chain.view() as view:
                while not builder.step(view):
                    pass

    def _on_change(self, change: ChainChanged) -> None:
        now = self.wires.clock.now()
        self._build_filters()
        for block in change.attached:
            self.seen.setdefault(block.hash, now)
        if change.detached:
            self.reorgs.append(len(change.detached))
