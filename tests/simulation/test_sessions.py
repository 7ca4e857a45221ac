"""What a session is: who may have one, what its handlers see, how it ends. Two nodes, or a few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from network.dialling import NoDial
from network.facts import local_node, remote_nodes
from network.gate import GateLimits
from network.intake import IntakeLimits
from network.ip import IpAddress
from network.limits import DISCONNECT_MESSAGE, FEELER, IDENTIFY, RELAY, SYNC, ProtocolSpec
from network.multiaddr import Multiaddr
from network.peer import Direction, MessageTooLarge, Peer, SessionKind
from network.peer_info import PeerSyncState
from network.peer_layer import PeerLayerSettings
from network.peers.bans import network_of
from network.peers.registry import RegistrySettings
from network.protocols.identify import LocalIdentity
from network.session import Session
from network.switch import SwitchSettings
from network.traffic import Cause
from tests.simulation.hostile import WireClient
from tests.simulation.node import FULL_NODE, NETWORK, SimNode
from tests.simulation.wires import Cable
from tests.simulation.world import World, host_ip

QUICK = Cable(latency=0.01, jitter=0.0, bandwidth=1e9)


class Notes:
    """A handler of Relay that notes what happens, and does what a test wants."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes]] = []
        self.on_received: Callable[[Peer, bytes], None] = lambda _peer, _payload: None
        self.peers: list[Peer] = []
        self.depth = 0

    @property
    def protocol(self) -> ProtocolSpec:
        return RELAY

    def opened(self, peer: Peer) -> None:
        self.peers.append(peer)
        self._note("opened", b"")

    def received(self, peer: Peer, payload: bytes) -> None:
        self._note("received", payload)
        self.depth += 1
        try:
            self.on_received(peer, payload)
        finally:
            self.depth -= 1

    def closed(self, peer: Peer) -> None:
        del peer
        self._note("closed", b"")

    def _note(self, what: str, payload: bytes) -> None:
        assert self.depth == 0, "a handler is never called from within a call of its own"
        self.calls.append((what, payload))

    @property
    def payloads(self) -> list[bytes]:
        return [payload for what, payload in self.calls if what == "received"]


class Pair:
    """Two connected nodes with Relay; `one` has dialled `two`."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World(1, QUICK)
        self.two, self.two_notes = self._add()
        self.one, self.one_notes = self._add(self.two.address)
        self.two.start()
        self.one.start()
        self.world.run(2)

    def _add(self, *bootnodes: Multiaddr) -> tuple[SimNode, Notes]:
        node, notes = self.world.add(bootnodes), Notes()
        node.switch.register(notes)
        return node, notes

    @property
    def one_peer(self) -> Session:
        """What `one` sees of `two`."""
        (peer,) = self.one.switch.peers()
        return peer

    @property
    def two_peer(self) -> Session:
        (peer,) = self.two.switch.peers()
        return peer


def ip_of(node: SimNode) -> IpAddress:
    ip = node.place.ip
    assert ip is not None
    return ip


def test_a_session_and_its_messages() -> None:
    pair = Pair()
    seen, other = pair.one_peer, pair.two_peer
    assert (seen.direction, other.direction) == (Direction.OUTBOUND, Direction.INBOUND)
    assert seen.peer_id == pair.two.identity.peer_id
    assert other.address == pair.one.address, "nodes dial from the port on which they listen"
    assert seen.kind is other.kind is SessionKind.FULL
    assert seen.version_of(RELAY) == other.version_of(RELAY) == "3"
    assert seen.identity is not None
    assert seen.identity.client_version == pair.two.name
    payloads = [bytes([number]) * 100_000 for number in range(20)]
    assert all(seen.send(RELAY, payload) for payload in payloads)
    assert other.send(RELAY, b"back")
    pair.world.run(2)
    assert pair.two_notes.payloads == payloads
    assert pair.one_notes.payloads == [b"back"]
    traffic = pair.two.switch.traffic.by_protocol[RELAY]
    assert (traffic.messages_in, traffic.bytes_in) == (20, 2_000_000)
    assert (traffic.messages_out, traffic.bytes_out) == (1, 4)


def test_a_protocol_that_is_not_open_sends_nothing() -> None:
    pair = Pair()
    assert not pair.one_peer.send(FEELER, b"x")
    assert pair.one_peer.version_of(FEELER) is None


def test_the_reason_is_told_before_the_end() -> None:
    pair = Pair()
    with capture_logs() as lines:
        pair.one_peer.disconnect("useless outbound peer in IBD")
        assert pair.one.switch.peers() == []
        pair.world.run(2)
    reasons = {line["reason"] for line in lines if line["event"] == "peer left"}
    assert reasons == {"useless outbound peer in IBD", "it said: useless outbound peer in IBD"}
    assert pair.one.switch.traffic.left[Cause.DISCONNECTED] == 1
    assert pair.two.switch.traffic.left[Cause.CLOSED_BY_PEER] == 1
    assert pair.one.switch.connections == pair.two.switch.connections == 0


def test_a_long_reason_is_cut() -> None:
    pair = Pair()
    with capture_logs() as lines:
        pair.one_peer.disconnect("ü" * 5000)
        pair.world.run(2)
    assert {len(line["reason"]) for line in lines if line["event"] == "peer left"} == {200}


def test_a_session_after_its_end_does_nothing() -> None:
    pair = Pair()
    peer = pair.one_peer
    peer.disconnect("goodbye")
    for _ in range(2):
        assert not peer.send(RELAY, b"late")
        peer.open(SYNC)
        peer.close(RELAY)
        peer.hold(RELAY)
        peer.release(RELAY)
        peer.disconnect("again")
        peer.ban(100, "too late")
        assert peer.version_of(RELAY) is None
        pair.world.run(5)
    assert len(pair.one.tables.bans) == 0


def test_handlers_hear_of_the_end_once_and_not_within_their_own_call() -> None:
    pair = Pair()
    pair.two_notes.on_received = lambda peer, _: peer.disconnect("enough")
    for _ in range(3):
        pair.one_peer.send(RELAY, b"message")
    pair.world.run(3)
    assert [what for what, _ in pair.two_notes.calls] == ["opened", "received", "closed"]
    assert [what for what, _ in pair.one_notes.calls] == ["opened", "closed"]


def test_a_protocol_closes_alone() -> None:
    pair = Pair()
    pair.one_peer.close(RELAY)
    pair.world.run(1)
    assert [what for what, _ in pair.one_notes.calls] == ["opened", "closed"]
    assert [what for what, _ in pair.two_notes.calls] == ["opened", "closed"]
    assert pair.one_peer.version_of(SYNC) is not None
    assert not pair.one_peer.send(RELAY, b"late")


def test_held_messages_come_in_order_after_the_release() -> None:
    pair = Pair()
    pair.two_notes.on_received = lambda peer, payload: peer.hold(RELAY) if payload == b"3" else None
    for number in range(10):
        pair.one_peer.send(RELAY, str(number).encode())
    pair.world.run(2)
    assert pair.two_notes.payloads == [b"0", b"1", b"2", b"3"]
    assert pair.two.beats.peers, "other protocols go on"
    pair.two_peer.release(RELAY)
    assert len(pair.two_notes.payloads) == 4, "not within the call"
    pair.one_peer.send(RELAY, b"10")
    pair.world.run(2)
    assert pair.two_notes.payloads == [str(number).encode() for number in range(11)]


def test_a_handler_that_releases_and_holds_again() -> None:
    pair = Pair()
    payloads = [str(number).encode() for number in range(20)]

    def one_at_a_time(peer: Peer, _: bytes) -> None:
        peer.hold(RELAY)
        pair.world.clock.call_later(0.1, lambda: peer.release(RELAY))

    pair.two_notes.on_received = one_at_a_time
    for payload in payloads:
        pair.one_peer.send(RELAY, payload)
    pair.world.run(1)
    assert 5 <= len(pair.two_notes.payloads) <= 12
    pair.world.run(3)
    assert pair.two_notes.payloads == payloads


def test_a_held_peer_is_slowed_down_by_its_window() -> None:
    pair = Pair()
    pair.two_peer.hold(RELAY)
    for _ in range(16):
        pair.one_peer.send(RELAY, pair.world.rng.randbytes(1_000_000))
    pair.world.run(5)
    assert pair.one_peer.queued_bytes > 13_000_000, "at most the window is under way"
    assert pair.two.switch._held_total < 3_000_000
    pair.two_peer.release(RELAY)
    pair.world.run(5)
    assert len(pair.two_notes.payloads) == 16
    assert pair.one_peer.queued_bytes == 0
    assert pair.two.switch._held_total == 0


def test_a_message_of_our_own_that_is_too_large_harms_nobody() -> None:
    pair = Pair()
    with pytest.raises(MessageTooLarge):
        pair.one_peer.send(RELAY, pair.world.rng.randbytes(RELAY.max_frame + 1))
    pair.one_peer.send(RELAY, b"fine")
    pair.world.run(1)
    assert pair.two_notes.payloads == [b"fine"]


def test_a_handlers_fault_ends_the_session_that_it_served_and_no_other() -> None:
    pair = Pair()
    third, _ = pair._add(pair.two.address)
    third.start()
    pair.world.run(2)

    def fail(peer: Peer, payload: bytes) -> None:
        del peer, payload
        raise ZeroDivisionError

    pair.two_notes.on_received = fail
    pair.one_peer.send(RELAY, b"message")
    with capture_logs() as lines:
        pair.world.run(2)
    assert [line for line in lines if line["log_level"] == "error"]
    assert pair.two.switch.traffic.faults == 1
    assert pair.two.switch.traffic.left[Cause.FAULT] == 1
    assert [peer.peer_id for peer in pair.two.switch.peers()] == [third.identity.peer_id]


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
    monkeypatch.setattr(two.switch, "_is_tie", lambda *_: False)
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


def small_node(world: World, **switch: object) -> SimNode:
    """A node with small limits of the switch."""
    settings = PeerLayerSettings(
        local=LocalIdentity(network_name=NETWORK, client_version="small", flags=FULL_NODE),
        switch=replace(SwitchSettings(), **switch),  # type: ignore[arg-type]
    )
    node = world.add(settings=settings)
    node.start()
    return node


def connected(world: World, node: SimNode, count: int) -> list[WireClient]:
    clients = [WireClient(world.wires, host_ip(500 + number), seed=number) for number in range(count)]
    for client in clients:
        client.connect(node)
    world.run(3)
    assert len(node.switch.peers()) == count
    return clients


def test_all_together_may_have_so_many_bytes_waiting() -> None:
    world = World(6, QUICK)
    node = small_node(world, max_send_total=8_000_000)
    clients = connected(world, node, 10)
    for client in clients:
        assert client.link is not None
        client.link.pause_reading()
    for turn in range(40):
        for number, client in enumerate(clients):
            session = node.switch.peer_of(client.identity.peer_id)
            if session is not None and (number == 0 or turn < 2):
                session.send(SYNC, world.rng.randbytes(500_000))
        world.run(0.01)
    waiting = sum(peer.queued_bytes for peer in node.switch.peers())
    assert waiting < 8_000_000 + 16 * 1024 * 1024
    assert node.switch.peer_of(clients[0].identity.peer_id) is None, "who has the most goes first"
    assert node.switch.traffic.left[Cause.OVERLOAD] >= 1


def test_all_together_may_have_so_many_bytes_of_unfinished_messages() -> None:
    world = World(7, QUICK)
    node = small_node(world, max_held_total=3_000_000)
    clients = connected(world, node, 8)
    for number, client in enumerate(clients):
        client.cut_after(300_000 + 100_000 * number)
        client.send(SYNC, world.rng.randbytes(2_000_000))
        world.run(1)
        assert node.switch._held_total <= 3_000_000
    assert [client.has_ended for client in clients] == [False] * 4 + [True] * 3 + [False], "those with the most go"


def test_a_loud_peer_is_read_slowly_and_a_quiet_one_at_once() -> None:
    world = World(8, QUICK)
    node = small_node(world, intake=IntakeLimits(rate_peer=100_000.0, burst_peer=100_000.0))
    loud, quiet = connected(world, node, 2)
    for _ in range(20):
        loud.send(SYNC, "".join(world.rng.choices("0123456789", k=100_000)).encode())
    world.run(0.2)
    begin = world.clock.now()
    quiet.send(SYNC, str(begin).encode())
    world.run(0.1)
    assert node.beats.last_heard[quiet.identity.peer_id] - begin < 0.05
    world.run(4.7)
    assert node.switch.traffic.bytes_in < 1_000_000
    assert not loud.has_ended
    world.run(30)
    assert node.switch.traffic.by_protocol[SYNC].messages_in >= 20, "nothing is lost"


def test_many_small_messages_are_handled_in_turns() -> None:
    world = World(9, Cable(latency=0.01, jitter=0.0, bandwidth=1e12))
    node = small_node(world)
    (client,) = connected(world, node, 1)
    turns = Counter[int]()

    def note(peer: Peer, payload: bytes) -> None:
        del peer, payload
        turns[world.clock.calls] += 1

    node.beats.received = note  # type: ignore[method-assign]
    for _ in range(5000):
        client.connection.send(SYNC, b"1", world.clock.now())
    client.flush()
    world.run(2)
    assert turns.total() == 5000
    assert max(turns.values()) <= 1024
    assert len(turns) >= 5


def test_lines_of_the_log_are_bounded() -> None:
    world = World(10, QUICK)
    node = small_node(world, gate=GateLimits(rate=1e6, rate_group=1e6, rate_address=1e6, burst_address=1e6))
    with capture_logs() as lines:
        for number in range(400):
            client = WireClient(world.wires, host_ip(500 + number % 100), seed=number)
            client.connect(node)
            world.run(0.2)
            if client.link is not None:
                client.link.abort()
        world.run(10)
    assert node.switch.traffic.sessions > 200
    told = [line for line in lines if line["event"] in ("peer connected", "peer left")]
    assert len(told) < 110 + 2 * world.clock.now()
    assert len(told) < node.switch.traffic.sessions
    assert any("lines_left_out" in line for line in lines)


def test_the_goodbye_of_a_peer_is_the_reason_that_is_noted() -> None:
    pair = Pair()
    client = WireClient(pair.world.wires, "99.1.1.1", protocols=(SYNC, DISCONNECT_MESSAGE))
    client.connect(pair.two)
    pair.world.run(3)
    with capture_logs() as lines:
        client.send(DISCONNECT_MESSAGE, b"bye\n\x1b[31mred")
        pair.world.run(2)
    (reason,) = [line["reason"] for line in lines if line["event"] == "peer left"]
    assert reason == "it said: bye\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[31mred"
    assert client.has_ended


def test_what_rpc_shows() -> None:
    pair = Pair()
    pair.one.layer.own.add_public(Multiaddr.parse("/dns4/node.example/tcp/8115"))
    own = local_node(pair.one.layer)
    assert (own.node_id, own.version, own.active, own.connections) == (
        pair.one.identity.peer_id,
        pair.one.name,
        True,
        1,
    )
    texts = [address.address for address in own.addresses]
    assert texts == [str(pair.one.address), f"/dns4/node.example/tcp/8115/p2p/{own.node_id}"]
    assert {protocol.id for protocol in own.protocols} == {0, 1, 2, 3, 4, 100, 101, 130}
    state = PeerSyncState(inflight_count=7)
    pair.one.layer.ping.ping_all()
    pair.world.run(3)
    (seen,) = remote_nodes(pair.one.layer, {pair.one_peer.session_id: state}.get)
    assert (seen.node_id, seen.version, seen.is_outbound) == (pair.two.identity.peer_id, pair.two.name, True)
    assert seen.sync_state is state
    assert 4000 < seen.connected_duration < 5100
    assert seen.last_ping_duration == 20
    assert seen.addresses[0].address == str(pair.two.address)
    assert dict(seen.protocols) == dict.fromkeys((0, 1, 2, 4, 100, 101, 130), "3")
    (other,) = remote_nodes(pair.two.layer, lambda _: None)
    assert not other.is_outbound
    assert other.sync_state is None
    assert other.last_ping_duration is None
