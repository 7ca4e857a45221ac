"""What RPC's module Net sees and does: the network, and how far the chain is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import Protocol

import structlog

from ckb_node.chain.initial_download import InitialDownload, has_enough_work
from ckb_node.chain.service import ChainService
from ckb_node.runtime.tasks import Fault
from ckb_node.sync.facts import SyncFacts
from ckb_node.sync.state import SyncState
from network.facts import local_node, remote_nodes
from network.libp2p.names import is_libp2p_address, parse_address
from network.libp2p.service import Libp2pService
from network.messages.protocols import Alert
from network.multiaddr import Multiaddr
from network.peer_info import AlertMessage, BannedAddress, LocalNode, RemoteNode
from network.peers.bans import Ban
from network.service import NetworkService

log = structlog.get_logger("network")

FAULT_PRIORITY = 20
FAULT_NOTICE_MS = 60_000
FAST_MS, NORMAL_MS, LOW_MS = 1000, 1250, 1500
"""What counts as a fast, a normal and a slow answer before any has come."""


class AlertDesk(Protocol):
    """Who keeps the developers' notices."""

    def alerts(self) -> Sequence[AlertMessage]:
        """What is to be shown now."""
        ...

    def publish(self, alert: Alert) -> bool:
        """Show it and tell all peers; False when the network does not run. Raises AlertSignatureError."""
        ...


class NetView:
    """Satisfies ckb_node.rpc.services.NetService. Before the network runs there are no peers."""

    def __init__(
        self,
        chain: ChainService,
        network: NetworkService,
        version: str,
        now_ms: Callable[[], int],
        faults: Callable[[], Sequence[Fault]] = tuple,
        alerts: AlertDesk | None = None,
        download: InitialDownload | None = None,
        facts: Callable[[], SyncFacts | None] = lambda: None,
        libp2p: Libp2pService | None = None,
    ) -> None:
        """`faults`: parts of the node that do not work now. `alerts`: notices of the developers. `download`: that of
        sync. `facts`: of sync, while the network runs."""
        self._chain, self._network, self._version, self._now_ms = chain, network, version, now_ms
        self._faults, self._alerts, self._facts = faults, alerts, facts
        self._libp2p = libp2p
        self._is_active = True
        self._download = download or InitialDownload()

    # ------------------------------------------------------------ peers

    def local_node(self) -> LocalNode:
        layer = self._network.layer
        if layer is None:
            node_id = self._network.identity.peer_id
            return LocalNode(version=self._version, node_id=node_id, active=self._is_active)
        return local_node(layer, () if self._libp2p is None else self._libp2p.addresses)

    def peers(self) -> Sequence[RemoteNode]:
        layer = self._network.layer
        facts = self._facts()
        if layer is None:
            return []
        return remote_nodes(layer, (lambda _: None) if facts is None else facts.peer_state)

    def set_active(self, *, active: bool) -> None:
        """Whether the node listens to what peers say of the chain."""
        self._is_active = active
        if (layer := self._network.layer) is not None:
            layer.switch.set_active(active=active)

    def add_node(self, address: str) -> None:
        """Connect to a multiaddress that ends in /p2p/<peer id>, of either wire."""
        if (layer := self._network.layer) is None:
            return
        if is_libp2p_address(address):
            self._add_libp2p(address)
            return
        obstacle = layer.switch.dial(Multiaddr.parse(address), on_end=lambda reason: _tell(address, reason))
        if obstacle is not None:
            _tell(address, obstacle.value)

    def _add_libp2p(self, address: str) -> None:
        if self._libp2p is None:
            _tell(address, "libp2p is off")
        else:
            self._libp2p.add(parse_address(address))

    def remove_node(self, peer_id: str) -> None:
        """Disconnect a peer."""
        if (layer := self._network.layer) is not None:
            layer.switch.remove_node(peer_id)

    def ping_peers(self) -> None:
        if (layer := self._network.layer) is not None:
            layer.ping.ping_all()

    # ------------------------------------------------------------ bans

    def banned(self) -> Sequence[BannedAddress]:
        """Bans that have not run out."""
        bans = self._network.tables.bans.current(self._now_ms())
        return [BannedAddress(str(ban.network), ban.until, ban.reason, ban.created) for ban in bans]

    def ban(self, address: str, until: int, reason: str) -> None:
        """Ban an IP address or network until a time (ms); who is connected from there leaves."""
        network, now = ip_network(address), self._now_ms()
        if (layer := self._network.layer) is not None:
            layer.switch.ban_network(network, until, reason)
        else:
            self._network.tables.bans.add(Ban(network, until, reason, now, is_manual=True), now)

    def unban(self, address: str) -> None:
        self._network.tables.bans.remove(ip_network(address))

    def clear_bans(self) -> None:
        self._network.tables.bans.clear()

    # ------------------------------------------------------------ chain

    def is_initial_block_download(self) -> bool:
        """The tip is older than a day; once it was not, never again in this run."""
        return self._download.is_on(self._chain.view().tip_header().timestamp, self._now_ms())

    def sync_state(self) -> SyncState:
        facts = self._facts()
        return self._state_without_peers() if facts is None else facts.state(self._chain.orphan_count)

    def _state_without_peers(self) -> SyncState:
        consensus, view = self._chain.consensus, self._chain.view()
        tip = view.tip_header()
        ext = view.block_ext(tip.hash)
        work = 0 if ext is None else ext.total_difficulty
        return SyncState(
            ibd=self.is_initial_block_download(),
            assume_valid_target_reached=self._chain.assume_valid.is_reached,
            assume_valid_target=self._chain.assume_valid.last,
            min_chain_work_reached=has_enough_work(work, consensus.min_chain_work),
            min_chain_work=consensus.min_chain_work,
            best_known_block_number=tip.number,
            best_known_block_timestamp=tip.timestamp,
            orphan_blocks_count=self._chain.orphan_count,
            inflight_blocks_count=0,
            unverified_tip_number=tip.number,
            unverified_tip_hash=tip.hash,
            tip_number=tip.number,
            tip_hash=tip.hash,
            fast_time=FAST_MS,
            normal_time=NORMAL_MS,
            low_time=LOW_MS,
        )

    def alerts(self) -> Sequence[AlertMessage]:
        """The developers' notices; what does not work in this node is told the same way."""
        notice_until = self._now_ms() + FAULT_NOTICE_MS
        own = [
            AlertMessage(at, FAULT_PRIORITY, notice_until, f"{fault.name} does not work: {fault.reason}")
            for at, fault in enumerate(self._faults(), start=1)
        ]
        return own if self._alerts is None else [*own, *self._alerts.alerts()]

    def send_alert(self, alert: Alert) -> bool:
        """Show an alert and tell all peers; False when there is no network. Raises AlertSignatureError."""
        return self._alerts is not None and self._alerts.publish(alert)


def _tell(address: str, reason: str | None) -> None:
    """Why an operator's wish was not fulfilled; None when it was."""
    if reason is not None:
        log.warning("add_node: no connection", address=address, reason=reason)
