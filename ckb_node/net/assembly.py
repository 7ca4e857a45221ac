"""The network as the configuration wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import structlog

from ckb_node.net import addresses
from ckb_node.net.settings import AlertSignatureSection, NetworkSection
from ckb_node.runtime.operator_script import OperatorScript
from ckb_node.runtime.settings import ConfigError
from ckb_node.sync.facts import SyncFacts
from ckb_node.sync.service import SyncService
from consensus.types.blockchain import Block
from network.identity import Identity
from network.limits import ALL_PROTOCOLS, FEELER, FILTER, IDENTIFY, LIGHT_CLIENT, RELAY, SYNC, Flags, ProtocolSpec
from network.messages.protocols import Alert
from network.multiaddr import Multiaddr
from network.outbound import OutboundSettings
from network.peer import Handler, Scheduler
from network.peer_info import AlertMessage
from network.peer_layer import PeerLayer, PeerLayerSettings
from network.peers.registry import RegistrySettings
from network.peers.store_files import StoreFiles
from network.protocols.alert import DEVELOPERS, AlertKeys, AlertProtocol, verify_signatures
from network.protocols.identify import LocalIdentity
from network.protocols.net_time import TimeProtocol
from network.service import NetworkService, ServiceSettings
from network.switch import SwitchSettings
from storage.files import set_aside, write_whole

log = structlog.get_logger("network")

STORE_DIRECTORY = "network/peer_store"


ALWAYS = Flags.COMPATIBILITY | Flags.DISCOVERY | Flags.SYNC
SERVED = {RELAY: Flags.RELAY, LIGHT_CLIENT: Flags.LIGHT_CLIENT, FILTER: Flags.BLOCK_FILTER}
"""What Identify says of this node: what it always serves, and what where the protocol is on."""


def network_service(
    section: NetworkSection,
    identity: Identity,
    network_name: str,
    version: str,
    data_dir: Path,
    now_ms: Callable[[], int],
    *,
    with_filters: bool = True,
) -> NetworkService:
    """Not started yet. Raises ConfigError."""
    enabled = enabled_protocols(section, with_filters=with_filters)
    whitelist = addresses.whitelist(section)
    reuses_port = section.reuse_port_on_linux and section.proxy.proxy_url is None
    settings = ServiceSettings(
        listen=addresses.listen_addresses(section),
        has_web_socket=section.reuse_tcp_with_ws,
        reuses_port=reuses_port,
        trusted_proxies=addresses.trusted_proxies(section),
        proxy=addresses.proxy(section),
        onion_proxy=addresses.onion_proxy(section),
        peers=PeerLayerSettings(
            local=LocalIdentity(network_name=network_name, client_version=version, flags=flags_of(enabled)),
            enabled=enabled,
            public=_public_addresses(section, identity),
            ping_interval=section.ping_interval_secs,
            ping_timeout=section.ping_timeout_secs,
            discovery_local_address=section.discovery_local_address,
            reuses_port=reuses_port,
            registry=_registry_settings(section, whitelist),
            outbound=OutboundSettings(
                interval=section.connect_outbound_interval_secs,
                max_outbound=_max_outbound(section),
                bootnodes=addresses.bootnodes(section),
                whitelist=whitelist,
                with_feelers=FEELER in enabled,
                with_lookout=not (section.disable_block_relay_only_connection or section.whitelist_only),
            ),
            switch=SwitchSettings(max_send_buffer=section.max_send_buffer),
        ),
    )
    files = StoreFiles(data_dir / STORE_DIRECTORY, write_whole=write_whole, set_aside=set_aside)
    return NetworkService(identity, files, settings, now_ms)


def enabled_protocols(section: NetworkSection, *, with_filters: bool = True) -> frozenset[ProtocolSpec]:
    """Sync and Identify are always there; Filter is not where filters are not built."""
    named = {each for each in ALL_PROTOCOLS if each.config_name in section.support_protocols}
    return frozenset((named if with_filters else named - {FILTER}) | {SYNC, IDENTIFY})


def flags_of(enabled: frozenset[ProtocolSpec]) -> Flags:
    """What Identify says."""
    flags = ALWAYS
    for protocol in enabled & SERVED.keys():
        flags |= SERVED[protocol]
    return flags


def _registry_settings(section: NetworkSection, whitelist: Sequence[Multiaddr]) -> RegistrySettings:
    return RegistrySettings(
        max_inbound=section.max_peers - _max_outbound(section),
        max_outbound=_max_outbound(section),
        max_libp2p_outbound=min(section.libp2p.max_outbound_peers, section.max_peers),
        whitelist=frozenset(address.peer_id for address in whitelist if address.peer_id is not None),
        whitelist_only=section.whitelist_only,
        block_relay_only=not section.disable_block_relay_only_connection,
        bootnode_mode=section.bootnode_mode,
    )


def _max_outbound(section: NetworkSection) -> int:
    """Those that are dialled are peers, too."""
    return min(section.max_outbound_peers, section.max_peers)


def _public_addresses(section: NetworkSection, identity: Identity) -> list[Multiaddr]:
    found = addresses.public_addresses(section)
    for address in found:
        if address.peer_id not in (None, identity.peer_id):
            raise ConfigError(
                f"network.public_addresses: `{address}`: names another node, this one is {identity.peer_id}"
            )
    return found


class NodeProtocols:
    """The handlers besides those of the peer layer, made anew whenever the network starts."""

    def __init__(
        self,
        enabled: frozenset[ProtocolSpec],
        version: str,
        keys: AlertKeys,
        script: OperatorScript | None,
        make_sync: Callable[[Scheduler], SyncService],
    ) -> None:
        self._make_sync = make_sync
        self.sync: SyncService | None = None
        """While the network runs."""
        self._enabled, self._version, self._keys, self._script = enabled, version, keys, script
        self._alert: AlertProtocol | None = None

    def handlers(self, layer: PeerLayer) -> Iterable[Handler]:
        """For network.service.NetworkService.running."""
        self._alert = AlertProtocol(layer.scheduler, self._version, self._on_alert, keys=self._keys)
        made: list[Handler] = [TimeProtocol(layer.scheduler, _on_skew), self._alert, *self._begin_sync(layer.scheduler)]
        return [handler for handler in made if handler.protocol in self._enabled]

    def _begin_sync(self, scheduler: Scheduler) -> Sequence[Handler]:
        self.sync = self._make_sync(scheduler)
        self.sync.start()
        return self.sync.handlers

    def facts(self) -> SyncFacts | None:
        """What is told of sync; None while the network does not run."""
        return None if self.sync is None else self.sync.facts

    def stop(self) -> None:
        """The network ends."""
        sync, self.sync = self.sync, None
        if sync is not None:
            sync.stop()

    def announce(self, block: Block) -> None:
        """A miner of this node gave a block, which is stored."""
        if self.sync is not None:
            self.sync.relay.announce(block)

    def alerts(self) -> Sequence[AlertMessage]:
        """What is to be shown now."""
        return () if self._alert is None else self._alert.alerts()

    def publish(self, alert: Alert) -> bool:
        """Show an alert and tell all peers; False when the network does not run. Raises AlertSignatureError."""
        verify_signatures(alert, self._keys)
        if self._alert is None:
            return False
        self._alert.publish(alert)
        return True

    def _on_alert(self, alert: AlertMessage) -> None:
        log.warning("network alert", id=alert.id, priority=alert.priority, message=alert.message)
        if self._script is not None:
            self._script.call(alert.message)


def alert_keys(section: AlertSignatureSection | None) -> AlertKeys:
    """Who may sign alerts. Raises ConfigError."""
    if section is None:
        return DEVELOPERS
    try:
        return AlertKeys(section.signatures_threshold, frozenset(addresses.alert_keys(section)))
    except ValueError as error:
        raise ConfigError(f"alert_signature.public_keys: {error}") from error


def _on_skew(offset_ms: int | None) -> None:
    if offset_ms is None:
        log.info("this machine's clock agrees with those of the peers again")
    else:
        log.warning("this machine's clock is hours away from those of the peers", ahead_s=offset_ms // 1000)
