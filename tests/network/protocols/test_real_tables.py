"""The protocols over the real store and table of peers."""

from __future__ import annotations

from random import Random

from network.limits import ALERT, DISCOVERY, FEELER, IDENTIFY, PING, Flags
from network.peer import Direction, Peer, PeerIdentity, SessionKind
from network.peers.bans import BanList
from network.peers.registry import Admitted, Registry, RegistrySettings
from network.peers.store import PeerStore
from network.protocols.discovery import DiscoveryProtocol
from network.protocols.feeler import FeelerProtocol
from network.protocols.hole_punching import HolePunchingProtocol
from network.protocols.identify import IdentifyProtocol, LocalIdentity
from network.protocols.own_addresses import OwnAddresses
from network.protocols.ping import PingProtocol
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FULL_NODE, FakePeer, address, peer_id


class Node:
    """The protocols of one node; sessions are made by hand."""

    def __init__(self, seed: int, scheduler: FakeScheduler, flags: int = 0x3F) -> None:
        self.seed, self.scheduler = seed, scheduler
        bans = BanList()
        self.store = PeerStore(Random(seed), bans)
        self.registry = Registry(RegistrySettings(), bans, Random(seed))
        self.own = OwnAddresses(peer_id(seed), Random(seed), listening=[address(seed)])
        self.identify = IdentifyProtocol(
            LocalIdentity(network_name="/ckb/92b197aa", client_version="test", flags=Flags(flags)),
            own=self.own,
            store=self.store,
            scheduler=scheduler,
            opens=lambda: (DISCOVERY, PING, ALERT),
            on_identified=_remember,
        )
        self.discovery = DiscoveryProtocol(own=self.own, store=self.store, scheduler=scheduler, rng=Random(seed))
        self.ping = PingProtocol(scheduler, self.registry)
        self.feeler = FeelerProtocol(self.store, scheduler.wall_ms)
        self.hole_punching = HolePunchingProtocol(
            own=self.own,
            store=self.store,
            scheduler=scheduler,
            rng=Random(seed),
            free_outbound=lambda: self.registry.missing_outbound,
            punch=lambda _addresses, _direction, _delay: None,
        )

    def admit(self, peer: FakePeer) -> FakePeer:
        admitted = self.registry.admit(
            peer.session_id, peer.peer_id, peer.address, peer.direction, peer.kind, now_ms=0, wall_ms=0
        )
        assert isinstance(admitted, Admitted)
        return peer


def _remember(peer: Peer, identity: PeerIdentity) -> None:
    assert isinstance(peer, FakePeer)
    peer.identity = identity


def session(dialler: Node, accepter: Node, kind: SessionKind = SessionKind.FULL) -> tuple[FakePeer, FakePeer]:
    """How each sees the other. Identify has been exchanged."""
    there = FakePeer(accepter.seed, direction=Direction.OUTBOUND, kind=kind)
    here = FakePeer(dialler.seed, at=address(dialler.seed, port=50_000))
    dialler.admit(there).connect(dialler.identify)
    accepter.admit(here).connect(accepter.identify)
    exchange(dialler, accepter, there, here)
    return there, here


def exchange(dialler: Node, accepter: Node, there: FakePeer, here: FakePeer) -> None:
    """Deliver what was sent until nothing is."""
    while there.sent or here.sent:
        for protocol, one, other in (
            (IDENTIFY, dialler.identify, accepter.identify),
            (DISCOVERY, dialler.discovery, accepter.discovery),
            (PING, dialler.ping, accepter.ping),
        ):
            for payload in there.take(protocol):
                other.received(here, payload)
            for payload in here.take(protocol):
                one.received(there, payload)


def test_two_nodes_learn_of_each_other_and_of_whom_they_know() -> None:
    scheduler = FakeScheduler()
    dialler, accepter = Node(1, scheduler), Node(2, scheduler)
    for seed in range(10, 20):
        accepter.store.add_connected(address(seed), 0x3F, scheduler.wall_ms())
    there, here = session(dialler, accepter)
    assert there.asked_to_open == [DISCOVERY, PING, ALERT]
    here.connect(accepter.discovery)
    there.connect(dialler.discovery)
    exchange(dialler, accepter, there, here)
    known = {found.address for found in dialler.store}
    assert known == {address(2), *(address(seed) for seed in range(10, 20))}
    dialled = accepter.store.get(address(1))  # where it listens, not the port it came from
    assert dialled is not None
    assert not dialled.was_connected
    assert accepter.store.get(address(1, port=50_000)) is None


def test_pings_reach_the_table() -> None:
    scheduler = FakeScheduler()
    dialler, accepter = Node(1, scheduler), Node(2, scheduler)
    there, here = session(dialler, accepter)
    there.connect(dialler.ping)
    here.connect(accepter.ping)
    dialler.ping.ping_all()
    (ping,) = there.take(PING)
    scheduler.advance(0.05)
    accepter.ping.received(here, ping)
    exchange(dialler, accepter, there, here)
    seen = dialler.registry.get(there.session_id)
    assert seen is not None
    assert seen.ping_ms == 50
    answered = accepter.registry.get(here.session_id)
    assert answered is not None
    assert answered.last_ping_ms is not None


def test_a_feeler_makes_a_told_address_a_tried_one() -> None:
    scheduler = FakeScheduler()
    dialler, accepter = Node(1, scheduler), Node(2, scheduler)
    dialler.store.add_told(address(2), 0x3F, scheduler.wall_ms(), address(7))
    there, _ = session(dialler, accepter, SessionKind.FEELER)
    assert there.asked_to_open == [FEELER]
    there.connect(dialler.feeler)
    assert there.disconnected == "feeler connection"
    known = dialler.store.get(address(2))
    assert known is not None
    assert known.was_connected


def test_of_those_that_were_never_reached_one_is_asked_for_through_others() -> None:
    scheduler = FakeScheduler()
    node = Node(1, scheduler)
    node.store.add_told(address(9), 0x3F, scheduler.wall_ms(), address(7))
    relay = node.admit(FakePeer(2, identity=FULL_NODE)).connect(node.hole_punching)
    scheduler.advance(301)
    assert len(relay.sent) == 1
