"""Who may have a session: bans, one session for each key, dials, evictions, the end of a node."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from network.dialling import NoDial
from network.limits import IDENTIFY, RELAY, SYNC
from network.multiaddr import Multiaddr
from network.peer import Direction, SessionKind
from network.peers.bans import network_of
from network.peers.registry import RegistrySettings
from network.traffic import Cause
from tests.simulation.hostile import WireClient
from tests.simulation.kit_pairs import QUICK, Pair, ip_of
from tests.simulation.node import SimNode
from tests.simulation.wires import Cable
from tests.simulation.world import World, host_ip


def test_a_ban_is_told_and_keeps_the_address_away_whatever_its_port_and_key() -> None:
    pair = Pair()
    with capture_logs() as lines:
        pair.two_peer.ban(300, "bad block")
        pair.world.run(2)
    assert any(line.get("reason") == "it said: Ban for 300 seconds, reason: bad block" for line in lines)
    assert pair.two.switch.traffic.bans == 1
    assert pair.two.tables.bans.is_banned(ip_of(pair.one), pair.world.clock.wall_ms())
    assert pair.two.tables.store.get(pair.one.address) is None
    other = WireClient(pair.world.wires, pair.one.ip, seed=7)
    other.connect(pair.two)
    pair.world.run(3)
    assert other.received == b""
    assert pair.two.switch.traffic.turned_away["banned"] > 0
    assert pair.two.switch.dial(pair.one.address) is NoDial.BANNED
    pair.world.run(300)
    assert pair.two.switch.dial(pair.one.address) is None


def test_the_operators_ban_ends_sessions_of_the_network() -> None:
    pair = Pair()
    network = network_of(ip_of(pair.one))
    pair.two.switch.ban_network(network, pair.world.clock.wall_ms() + 60_000, "spam")
    pair.world.run(2)
    assert pair.two.switch.peers() == []
    assert pair.two.switch.traffic.left[Cause.BANNED] == 1


def test_whitelisted_peers_are_not_banned_and_get_in_from_banned_addresses() -> None:
    world = World(1, QUICK)
    settings = RegistrySettings(max_outbound=8)
    friend = SimNode(world.wires, "friend", host_ip(50), seed=1)
    registry = replace(settings, whitelist=frozenset({friend.identity.peer_id}))
    node = world.add(registry=registry)
    node.start()
    friend.start()
    now = world.clock.wall_ms()
    node.switch.ban_network(network_of(ip_of(friend)), now + 10_000_000, "everything there")
    assert friend.switch.dial(node.address) is None
    world.run(3)
    (peer,) = node.switch.peers()
    assert peer.is_whitelisted
    peer.ban(300, "bad block")
    world.run(3)
    assert node.switch.peers() == [peer]
    stranger = WireClient(world.wires, friend.ip, seed=7)
    stranger.connect(node)
    world.run(3)
    assert node.switch.traffic.refused["the IP address is banned"] == 1


def test_one_session_for_each_key() -> None:
    pair = Pair()
    first = WireClient(pair.world.wires, "99.1.1.1", seed=1)
    second = WireClient(pair.world.wires, "99.1.1.1", seed=1)
    first.connect(pair.two)
    pair.world.run(7)
    second.connect(pair.two)
    pair.world.run(3)
    assert not first.has_ended
    assert second.has_ended
    assert len([peer for peer in pair.two.switch.peers() if peer.peer_id == first.identity.peer_id]) == 1


@pytest.mark.parametrize("seed", range(6))
def test_two_nodes_that_dial_each_other_at_once_have_one_session(seed: int) -> None:
    world = World(seed, Cable(latency=0.05, jitter=0.05))
    one, two = world.add(), world.add()
    one.start()
    two.start()
    world.run(1)
    ends: list[str | None] = []
    assert one.switch.dial(two.address, on_end=ends.append) is None
    assert two.switch.dial(one.address, on_end=ends.append) is None
    world.run(5)
    assert ends == [None, None]
    (seen_by_one,), (seen_by_two,) = one.switch.peers(), two.switch.peers()
    assert seen_by_one.direction is not seen_by_two.direction
    world.run(60)
    assert one.switch.peers() == [seen_by_one]
    assert two.switch.peers() == [seen_by_two]
    assert one.syncing == two.syncing == 1
    assert one.switch.connections == two.switch.connections == 1


@pytest.mark.parametrize("seed", range(8))
def test_one_session_also_with_a_node_that_closes_what_comes_later(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the reference does, whose id is the smaller one or the larger one."""
    world = World(seed, Cable(latency=0.05, jitter=0.05))
    one, two = world.add(), world.add()
    monkeypatch.setattr(two.switch._ties, "_is_tie", lambda *_: False)
    one.start()
    two.start()
    world.run(1)
    assert one.switch.dial(two.address) is None
    assert two.switch.dial(one.address) is None
    world.run(5)
    (seen_by_one,), (seen_by_two,) = one.switch.peers(), two.switch.peers()
    assert seen_by_one.direction is not seen_by_two.direction
    assert one.switch.connections == two.switch.connections == 1
    world.run(60)
    assert one.syncing == two.syncing == 1


@pytest.mark.parametrize("seed", range(8))
def test_a_feeler_that_meets_a_full_dial_leaves_it_the_place(seed: int) -> None:
    """Only the end that has dialled it knows that it is a feeler."""
    world = World(seed, Cable(latency=0.05, jitter=0.05))
    one, two = world.add(), world.add()
    one.start()
    two.start()
    world.run(1)
    assert one.switch.dial(two.address, SessionKind.FEELER) is None
    assert two.switch.dial(one.address) is None
    world.run(8)
    (seen_by_one,), (seen_by_two,) = one.switch.peers(), two.switch.peers()
    assert (seen_by_one.direction, seen_by_two.direction) == (Direction.INBOUND, Direction.OUTBOUND)
    assert one.switch.connections == two.switch.connections == 1
    assert one.syncing == two.syncing == 1


def test_a_second_connection_that_talks_too_much_meanwhile_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("network.session.MAX_PARKED", 0)
    world = World(1, Cable(latency=0.05, jitter=0.0))
    one, two = world.add(), world.add()
    one.start()
    two.start()
    world.run(1)
    one.switch.dial(two.address)
    two.switch.dial(one.address)
    world.run(5)
    assert len(one.switch.peers()) == len(two.switch.peers()) <= 1


def test_a_node_recognises_itself() -> None:
    world = World(1, QUICK)
    node, other = world.add(), world.add()
    node.start()
    assert node.switch.dial(node.address) is NoDial.SELF
    strange = node.place.with_peer_id(other.identity.peer_id)
    hidden = Multiaddr.parse(f"/ip4/{node.ip}/tcp/8115/ws").with_peer_id(other.identity.peer_id)
    assert node.switch.dial(strange) is NoDial.SELF
    assert node.switch.dial(hidden) is NoDial.SELF
    world.wires.listen("55.1.1.1", 8115, node.switch)  # an address that it does not know it has
    unknown = Multiaddr.parse("/ip4/55.1.1.1/tcp/8115").with_peer_id(other.identity.peer_id)
    faults: list[str | None] = []
    assert node.switch.dial(unknown, on_end=faults.append) is None
    world.run(8)
    assert len(faults) == 1
    assert faults[0] is not None
    assert "connect-self" in node.switch.traffic.failed_handshakes
    assert node.switch.dial(unknown) is NoDial.SELF
    assert node.switch.connections == 0


def test_who_dials_a_wrong_peer_gets_none() -> None:
    pair = Pair()
    wrong = pair.two.place.with_peer_id(pair.one.identity.peer_id)
    third, _ = pair._add()
    faults: list[str | None] = []
    assert third.switch.dial(wrong, on_end=faults.append) is None
    pair.world.run(8)
    assert faults[0] is not None
    assert third.switch.traffic.failed_handshakes["wrong-peer"] == 1
    assert third.switch.peers() == []


def test_why_an_address_is_not_dialled() -> None:
    pair = Pair()
    switch = pair.one.switch
    assert switch.dial(pair.two.place) is NoDial.NO_PLACE
    assert switch.dial(pair.two.address) is NoDial.CONNECTED
    elsewhere = Multiaddr.parse("/ip4/55.1.1.1/tcp/8115").with_peer_id(pair.world.add().identity.peer_id)
    faults: list[str | None] = []
    assert switch.dial(elsewhere, on_end=faults.append) is None
    assert switch.dial(elsewhere) is NoDial.DIALLING
    assert not switch.may_dial(elsewhere)
    pair.world.run(1)
    assert faults == ["refused"]
    assert switch.may_dial(elsewhere)
    pair.one.layer.close()
    assert switch.dial(elsewhere) is NoDial.CLOSED


def test_a_dial_that_never_ends_is_given_up() -> None:
    world = World(1, QUICK)
    node, other = world.add(), world.add()

    class Never:
        def cancel(self) -> None:
            self.is_cancelled = True

    never = Never()
    node.switch.dials._transport = type("Silent", (), {"dial": lambda *_: never})()
    faults: list[str | None] = []
    assert node.switch.dial(other.address, on_end=faults.append) is None
    world.run(181)
    assert faults == ["timed out"]
    assert never.is_cancelled
    assert len(node.switch.dials) == 0


def test_inactive_a_node_hears_nothing_of_the_chain() -> None:
    pair = Pair()
    pair.two.switch.set_active(active=False)
    pair.one_peer.send(RELAY, b"lost")
    pair.world.run(1)
    pair.two.switch.set_active(active=True)
    pair.one_peer.send(RELAY, b"heard")
    pair.world.run(1)
    assert pair.two_notes.payloads == [b"heard"]
    assert pair.two.switch.traffic.by_protocol[IDENTIFY].messages_in == 1


def test_remove_node() -> None:
    pair = Pair()
    assert not pair.one.switch.remove_node(pair.one.identity.peer_id)
    with capture_logs() as lines:
        assert pair.one.switch.remove_node(pair.two.identity.peer_id)
        pair.world.run(2)
    assert any(line.get("reason") == "it said: disconnect manually" for line in lines)
    assert pair.two.switch.peers() == []


def test_a_full_node_evicts_for_a_newcomer_and_says_so() -> None:
    world = World(3, QUICK)
    node = world.add(registry=RegistrySettings(max_inbound=20))
    node.start()
    clients = [WireClient(world.wires, host_ip(500 + number), seed=number) for number in range(25)]
    for client in clients:
        client.connect(node)
        world.run(0.5)
    world.run(3)
    assert len(node.switch.peers()) == 20
    assert node.switch.traffic.left[Cause.EVICTED] == 5
    assert sum(client.has_ended for client in clients) == 5
    assert not clients[-1].has_ended


def test_a_bootnode_makes_room_before_it_is_full() -> None:
    world = World(3, QUICK)
    node = world.add(registry=RegistrySettings(max_inbound=20, bootnode_mode=True))
    node.start()
    for number in range(60):
        WireClient(world.wires, host_ip(500 + number), seed=number).connect(node)
        world.run(0.5)
    assert len(node.switch.peers()) <= 11
    assert node.switch.traffic.left[Cause.EVICTED] > 30
    assert node.switch.traffic.faults == 0


def test_more_outbound_sessions_than_wanted_only_relay_blocks_and_become_anchors() -> None:
    world = World(4, QUICK)
    others = [world.add() for _ in range(5)]
    node = world.add(registry=RegistrySettings(max_outbound=2))
    world.start([*others, node], within=0.1)
    world.run(1)
    for other in others:
        assert node.switch.dial(other.address) is None
        world.run(1)
    kinds = [peer.kind for peer in node.switch.peers()]
    assert kinds.count(SessionKind.FULL) == 2
    assert kinds.count(SessionKind.BLOCK_RELAY_ONLY) == 2
    assert len(kinds) == 4
    assert node.switch.traffic.refused["all outbound sessions are taken"] == 1
    relays = [peer.address for peer in node.switch.peers() if peer.kind is SessionKind.BLOCK_RELAY_ONLY]
    assert list(node.tables.anchors) == relays
    node.stop()
    world.run(3)
    again = world.reborn(node)
    again.start()
    world.run(3)
    assert {peer.address for peer in again.switch.peers()} >= set(relays)


def test_a_stopped_node_is_gone_within_two_seconds() -> None:
    world = World(5, QUICK)
    node = world.add()
    node.start()
    clients = [WireClient(world.wires, host_ip(500 + number), seed=number) for number in range(100)]
    for client in clients:
        client.connect(node)
    world.run(4)
    assert len(node.switch.peers()) == 100
    for client in clients[:50]:  # those do not even read the goodbye
        assert client.link is not None
        client.link.pause_reading()
        session = node.switch.peer_of(client.identity.peer_id)
        assert session is not None
        session.send(SYNC, world.rng.randbytes(1_000_000))
    for client in clients[-10:]:  # and those have just been sent away
        session = node.switch.peer_of(client.identity.peer_id)
        assert session is not None
        session.disconnect("useless outbound peer in IBD")
    node.layer.close()
    world.run(1.9)
    assert node.switch.connections == 0
    assert node.switch.traffic.left[Cause.SHUTDOWN] == 90
    assert all(not node.layer.registry.get(number) for number in range(200))
