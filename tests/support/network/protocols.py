"""All protocols about peers, of one node over its real tables, and good messages of each."""

from __future__ import annotations

from random import Random

from network.identity import peer_id_to_bytes
from network.limits import PING, SYNC, Flags
from network.messages.peers import (
    HOLE_PUNCHING_MESSAGE,
    Address,
    ConnectionRequest,
    ConnectionRequestDelivered,
    ConnectionSync,
    Identify,
    IdentifyMessage,
    Ping,
    PingMessage,
    Pong,
)
from network.messages.protocols import Alert, RawAlert, Time
from network.peer import Handler
from network.peers.bans import BanList
from network.peers.registry import Registry, RegistrySettings
from network.peers.store import PeerStore
from network.protocols.alert import AlertProtocol
from network.protocols.disconnect_message import DisconnectMessageProtocol
from network.protocols.discovery import DiscoveryProtocol
from network.protocols.discovery_messages import get_nodes, nodes
from network.protocols.feeler import FeelerProtocol
from network.protocols.hole_punching import HolePunchingProtocol
from network.protocols.identify import IdentifyProtocol, LocalIdentity
from network.protocols.net_time import TimeProtocol
from network.protocols.own_addresses import OwnAddresses
from network.protocols.ping import PingProtocol
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import address, peer_id

OWN_ID = peer_id("self")


class ProtocolNode:
    """All protocols of a node over its real tables."""

    def __init__(self) -> None:
        self.scheduler, rng, bans = FakeScheduler(), Random(1), BanList()
        scheduler = self.scheduler
        self.store, own = PeerStore(rng, bans), OwnAddresses(OWN_ID, rng, listening=[address(0)])
        registry = Registry(RegistrySettings(), bans, rng)
        made: list[Handler] = [
            IdentifyProtocol(
                LocalIdentity(network_name="/ckb/92b197aa", client_version="x", flags=Flags(0x3F)),
                own=own,
                store=self.store,
                scheduler=scheduler,
                opens=lambda: (PING, SYNC),
                on_identified=lambda _peer, _identity: None,
            ),
            PingProtocol(scheduler, registry),
            DiscoveryProtocol(own=own, store=self.store, scheduler=scheduler, rng=rng),
            FeelerProtocol(self.store, scheduler.wall_ms),
            DisconnectMessageProtocol(lambda _peer, _text: None),
            TimeProtocol(scheduler, lambda _offset: None),
            AlertProtocol(scheduler, "1.0.0", lambda _alert: None),
            HolePunchingProtocol(
                own=own,
                store=self.store,
                scheduler=scheduler,
                rng=rng,
                free_outbound=lambda: 0,
                punch=lambda _addresses, _direction, _delay: None,
            ),
        ]
        self.handlers = {handler.protocol: handler for handler in made}

    def handler_of(self, sample: str) -> Handler:
        """Of the protocol of one of `samples`."""
        name = sample.partition("/")[0]
        return next(handler for spec, handler in self.handlers.items() if spec.config_name == name)


def samples() -> dict[str, bytes]:
    """Good messages, by `config_name` of the protocol and kind: `Ping/pong`."""
    one, two = peer_id_to_bytes(peer_id(1)), peer_id_to_bytes(OWN_ID)
    listening, place = [Address(data=address(1).to_bytes())], Address(data=address(0).to_bytes())
    inner = Identify(flag=0x3F, name=b"/ckb/92b197aa", client_version=b"x").raw
    body = RawAlert(notice_until=1, id=1, cancel=0, priority=1, message=b"m", min_version=b"1.0.0", max_version=None)
    request = ConnectionRequest(from_=one, to=two, max_hops=6, route=[one], listen_addrs=listening)
    delivered = ConnectionRequestDelivered(from_=two, to=one, route=[], sync_route=[one], listen_addrs=listening)
    return {
        "Identify": IdentifyMessage(listen_addrs=listening, observed_addr=place, identify=inner).raw,
        "Ping/ping": PingMessage(payload=Ping(nonce=1)).raw,
        "Ping/pong": PingMessage(payload=Pong(nonce=1)).raw,
        "Discovery/get": get_nodes(8115, Flags(0x0E)),
        "Discovery/nodes": nodes([(address(2), Flags(1)), (address(3), Flags(1))], is_announcement=True),
        "Time": Time(timestamp=1).raw,
        "Alert": Alert(body=body, signatures=[bytes([1]) * 65] * 2).raw,
        "HolePunching/request": HOLE_PUNCHING_MESSAGE.pack(request),
        "HolePunching/delivered": HOLE_PUNCHING_MESSAGE.pack(delivered),
        "HolePunching/sync": HOLE_PUNCHING_MESSAGE.pack(ConnectionSync(from_=one, to=two, route=[one])),
        "Feeler": b"x",
        "DisconnectMessage": b"ping timeout",
    }
