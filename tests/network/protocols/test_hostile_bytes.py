"""Whatever comes, no handler raises: it would be taken for a fault of ours."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.identity import peer_id_to_bytes
from network.limits import PING, SYNC, Flags, ProtocolSpec
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
from network.peer import Direction, Handler
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
from tests.support.network.peers import FULL_NODE, FakePeer, address, peer_id

OWN_ID = peer_id("self")


class Node:
    """All protocols of a node over its real tables."""

    def __init__(self) -> None:
        scheduler, rng, bans = FakeScheduler(), Random(1), BanList()
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

    def receive(self, protocol: ProtocolSpec, payload: bytes, direction: Direction) -> FakePeer:
        """From a new session, twice."""
        handler = self.handlers[protocol]
        peer = FakePeer(1, direction=direction, identity=FULL_NODE).connect(handler)
        for _ in range(2):
            handler.received(peer, payload)
        handler.closed(peer)
        return peer


def samples() -> dict[str, bytes]:
    """Good messages, by protocol and kind."""
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


SAMPLES = samples()


def protocol_of(node: Node, name: str) -> ProtocolSpec:
    return next(spec for spec in node.handlers if spec.config_name == name.partition("/")[0])


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("name", list(SAMPLES))
def test_cut_off_at_each_byte(name: str, direction: Direction) -> None:
    node = Node()
    for end in range(len(SAMPLES[name])):
        node.receive(protocol_of(node, name), SAMPLES[name][:end], direction)
    assert len(node.store) <= 4


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("name", list(SAMPLES))
def test_each_byte_changed(name: str, direction: Direction) -> None:
    node = Node()
    for at in range(len(SAMPLES[name])):
        for change in (0x01, 0x80, 0xFF):
            changed = bytearray(SAMPLES[name])
            changed[at] ^= change
            node.receive(protocol_of(node, name), bytes(changed), direction)


@pytest.mark.parametrize("fill", [bytes, lambda size: b"\xff" * size, lambda size: Random(1).randbytes(size)])
@pytest.mark.parametrize("name", list(SAMPLES))
def test_as_large_as_may_be(name: str, fill: Callable[[int], bytes]) -> None:
    node = Node()
    protocol = protocol_of(node, name)
    node.receive(protocol, fill(protocol.max_frame - protocol.has_flag_byte), Direction.INBOUND)
    assert len(node.store) == 0


@given(st.sampled_from(list(SAMPLES)), st.data(), st.sampled_from(list(Direction)))
def test_pieces_moved_about(name: str, data: st.DataObject, direction: Direction) -> None:
    node, sample = Node(), SAMPLES[name]
    start = data.draw(st.integers(0, len(sample)))
    end = data.draw(st.integers(start, len(sample)))
    at = data.draw(st.integers(0, len(sample)))
    mixed = (
        sample[:at] + sample[start:end] * data.draw(st.integers(0, 4)) + data.draw(st.binary(max_size=8)) + sample[at:]
    )
    node.receive(protocol_of(node, name), mixed, direction)
