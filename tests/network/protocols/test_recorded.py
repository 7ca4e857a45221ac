"""What a reference node sends is read, and what is made of the same content is the same bytes."""

from __future__ import annotations

from random import Random

import pytest
from coincurve import PrivateKey

from network.identity import peer_id_from_bytes
from network.limits import DISCOVERY, HOLE_PUNCHING, SYNC, Flags
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
from network.multiaddr import Multiaddr
from network.peer import Direction, Peer, PeerIdentity
from network.protocols.alert import AlertKeys, verify_signatures
from network.protocols.discovery import DiscoveryProtocol
from network.protocols.discovery_messages import FoundNodes, get_nodes, nodes, read_message
from network.protocols.hole_punching import HolePunchingProtocol
from network.protocols.hole_punching.handler import TICK
from network.protocols.identify import IdentifyProtocol, LocalIdentity
from network.protocols.own_addresses import OwnAddresses
from tests.support.network import recorded
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FULL_NODE, FakePeer
from tests.support.network.stores import FakeStore

OWN = Multiaddr.parse(f"/ip4/45.2.0.2/tcp/8115/p2p/{recorded.OWN_ID}")
TARGET = Multiaddr.parse(f"/ip4/45.3.0.2/tcp/8115/p2p/{recorded.TARGET_ID}")


def test_identify_is_written_alike() -> None:
    inner = Identify(flag=0x3F, name=recorded.CHAIN.encode(), client_version=b"0.206.0 ( )")
    message = IdentifyMessage(
        listen_addrs=[Address(data=TARGET.to_bytes())], observed_addr=Address(data=OWN.to_bytes()), identify=inner.raw
    )
    assert message.raw == recorded.IDENTIFY


def test_identify_is_taken() -> None:
    store, own, found = FakeStore(), OwnAddresses(recorded.OWN_ID, Random(1)), list[PeerIdentity]()

    def on_identified(peer: Peer, identity: PeerIdentity) -> None:
        del peer
        found.append(identity)

    handler = IdentifyProtocol(
        LocalIdentity(network_name=recorded.CHAIN, client_version="x", flags=Flags(0x3F)),
        own=own,
        store=store,
        scheduler=FakeScheduler(),
        opens=lambda: (SYNC,),
        on_identified=on_identified,
    )
    peer = FakePeer(1, direction=Direction.OUTBOUND, at=TARGET)
    peer.peer_id = recorded.TARGET_ID
    handler.received(peer.connect(handler), recorded.IDENTIFY)
    assert found == [PeerIdentity(Flags(0x3F), "0.206.0 ( )", (TARGET,))]
    assert own.observed() == [OWN]
    assert peer.asked_to_open == [SYNC]


def test_ping_pong_and_time_are_written_alike() -> None:
    assert PingMessage(payload=Ping(nonce=0x42E)).raw == recorded.PING
    assert PingMessage(payload=Pong(nonce=60)).raw == recorded.PONG
    assert Time(timestamp=Time.parse(recorded.TIME).timestamp).raw == recorded.TIME


@pytest.mark.parametrize(("payload", "count"), [(recorded.ANSWER, 3), (recorded.ANNOUNCEMENT, 2)])
def test_nodes_are_read_and_written_alike(payload: bytes, count: int) -> None:
    message = read_message(payload)
    assert isinstance(message, FoundNodes)
    found = list(message.addresses())
    assert len(found) == count
    assert nodes(found, is_announcement=message.is_announcement) == payload


def test_the_question_for_nodes_is_written_alike_and_answered() -> None:
    assert get_nodes(28115, Flags.DISCOVERY | Flags.SYNC | Flags.RELAY) == recorded.GET_NODES
    own = OwnAddresses(recorded.OWN_ID, Random(1))
    handler = DiscoveryProtocol(own=own, store=FakeStore(), scheduler=FakeScheduler(), rng=Random(1))
    peer = FakePeer(1, identity=FULL_NODE).connect(handler)
    handler.received(peer, recorded.GET_NODES)
    assert len(peer.take(DISCOVERY)) == 1
    assert not peer.has_ended


def test_an_alert_is_verified_and_written_alike() -> None:
    alert = Alert.parse(recorded.ALERT)
    keys = AlertKeys(2, frozenset(PrivateKey(bytes([number]) * 32).public_key.format() for number in range(1, 5)))
    verify_signatures(alert, keys)
    body = RawAlert(**{field.name: getattr(alert.body, field.name) for field in RawAlert.FIELDS})
    assert Alert(body=body, signatures=list(alert.signatures)).raw == recorded.ALERT


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (recorded.REQUEST, ConnectionRequest),
        (recorded.DELIVERED, ConnectionRequestDelivered),
        (recorded.SYNC, ConnectionSync),
    ],
)
def test_hole_punching_is_read_and_written_alike(payload: bytes, kind: type) -> None:
    message = HOLE_PUNCHING_MESSAGE.parse(payload)
    assert isinstance(message, kind)
    assert HOLE_PUNCHING_MESSAGE.pack(message.replace(route=list(message.route))) == payload  # type: ignore[attr-defined]


def test_the_answer_of_a_reference_node_behind_a_router_leads_to_it() -> None:
    scheduler, store, punched = FakeScheduler(), FakeStore(), list[tuple[list[Multiaddr], Direction]]()
    own = OwnAddresses(recorded.OWN_ID, Random(1))
    own.observe(1, OWN, "a relay")
    store.punchable = [TARGET]
    handler = HolePunchingProtocol(
        own=own,
        store=store,
        scheduler=scheduler,
        rng=Random(1),
        free_outbound=lambda: 1,
        punch=lambda addresses, direction, _delay: punched.append((list(addresses), direction)),
    )
    relay = FakePeer(1).connect(handler)
    scheduler.advance(TICK)
    (request,) = relay.take(HOLE_PUNCHING)
    sent = HOLE_PUNCHING_MESSAGE.parse(request)
    assert isinstance(sent, ConnectionRequest)
    assert peer_id_from_bytes(sent.to) == recorded.TARGET_ID
    handler.received(relay, recorded.DELIVERED)
    (start,) = relay.take(HOLE_PUNCHING)
    assert start == HOLE_PUNCHING_MESSAGE.pack(ConnectionSync(from_=sent.from_, to=sent.to, route=[]))
    assert punched == [([TARGET], Direction.OUTBOUND)]
    assert not relay.has_ended
