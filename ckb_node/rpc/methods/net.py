"""Module Net: this node and its peers."""

from __future__ import annotations

from ipaddress import ip_network

from ckb_node.rpc.errors import invalid_params
from ckb_node.rpc.node_results import (
    BannedAddressJson,
    LocalNodeJson,
    RemoteNodeJson,
    SyncStateJson,
    banned_json,
    local_node_json,
    remote_node_json,
    sync_state_json,
)
from ckb_node.rpc.params import Bool, Text, Uint64
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import Clock, Services
from consensus.codec.layout import U64_MAX
from network.identity import is_peer_id
from network.libp2p.names import is_libp2p_address
from network.multiaddr import MultiaddrError, verify_multiaddr

METHODS = Methods(Module.NET)

DEFAULT_BAN_MS = 24 * 60 * 60 * 1000
MAX_REASON = 1000
MAX_SHOWN = 200
"""Characters of a parameter in an error message."""


@METHODS.method
def local_node_info(services: Services) -> LocalNodeJson:
    """This node: version, id, addresses, protocols, and the number of its connections."""
    return local_node_json(services.net.local_node())


@METHODS.method
def get_peers(services: Services) -> list[RemoteNodeJson]:
    """The connected peers."""
    return [remote_node_json(peer) for peer in services.net.peers()]


@METHODS.method
def get_banned_addresses(services: Services) -> list[BannedAddressJson]:
    """Bans that have not run out."""
    return [banned_json(ban) for ban in services.net.banned()]


@METHODS.method
def clear_banned_addresses(services: Services) -> None:
    """Lift all bans."""
    services.net.clear_bans()


@METHODS.method
def set_ban(
    services: Services,
    address: Text,
    command: Text,
    ban_time: Uint64 | None = None,
    absolute: Bool | None = None,
    reason: Text | None = None,
) -> None:
    """Ban an IP address or network, or lift the ban.

    `address` is an IP address or a network such as `192.0.2.0/24`; `command` is `insert` or `delete`. `ban_time` is
    the length in milliseconds (default: a day), or with `absolute` the time in milliseconds since 1970 when it ends.
    """
    network = _network_text(address)
    if command == "delete":
        services.net.unban(network)
        return
    if command != "insert":
        # sic: the text names params[1] and shows the address, as the reference does
        raise invalid_params(f"Expected `params[1]` to be in the list [insert, delete], got {address[:MAX_SHOWN]}")
    services.net.ban(network, _ban_end(services.clock, ban_time, absolute), (reason or "")[:MAX_REASON])


def _ban_end(clock: Clock, ban_time: int | None, absolute: bool | None) -> int:
    if absolute:
        return ban_time or 0
    return min(clock.now_ms() + (DEFAULT_BAN_MS if ban_time is None else ban_time), U64_MAX)


def _network_text(address: str) -> str:
    """The address in its usual writing; a network's host bits are cleared. One address is a network of itself."""
    try:
        network = ip_network(address, strict=False)
    except ValueError:
        raise invalid_params(f"Expected `params[0]` to be a valid IP address, got {address[:MAX_SHOWN]}") from None
    return str(network)


@METHODS.method
def sync_state(services: Services) -> SyncStateJson:
    """How far the node is, and what it knows of better chains."""
    return sync_state_json(services.net.sync_state())


@METHODS.method
def set_network_active(services: Services, state: Bool) -> None:
    """Switch all connections on or off."""
    services.net.set_active(active=state)


@METHODS.method
def add_node(services: Services, peer_id: Text, address: Text) -> None:
    """Connect to a node by its multiaddress; the peer id is added where the address has none. A peer id of libp2p
    (`16Uiu2HA…`, `12D3KooW…`) means a connection over libp2p, if that is on. -32602 for a bad one."""
    _verify_address(address, f"Error parsing address '{address[:MAX_SHOWN]}': ")
    if "/p2p/" not in address:
        named, address = address, f"{address}/p2p/{peer_id}"
        _verify_address(address, f"Error adding peer ID to address: {named[:MAX_SHOWN]}, err: ")
    services.net.add_node(address)


def _verify_address(address: str, beginning: str) -> None:
    try:
        if not is_libp2p_address(address):
            verify_multiaddr(address)
    except MultiaddrError as error:
        raise invalid_params(f"{beginning}{error}") from None


@METHODS.method
def remove_node(services: Services, peer_id: Text) -> None:
    """Disconnect a node and keep it away. -32602 for what is no peer id."""
    if not is_peer_id(peer_id):
        raise invalid_params(f"Error parsing peer_id: {peer_id[:MAX_SHOWN]}, err: invalid peer id, expected `Qm…`")
    services.net.remove_node(peer_id)


@METHODS.method
def ping_peers(services: Services) -> None:
    """Ask all peers for a sign of life now."""
    services.net.ping_peers()


@METHODS.method(is_always_open=True)
def ping(services: Services) -> str:
    """`pong`: the node answers."""
    del services
    return "pong"
