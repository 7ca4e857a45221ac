"""Peers that break the rules: the node stays as it is, and honest sessions go on."""

from __future__ import annotations

import pytest

from network.ckb_wire.yamux.frames import DATA, HEADER, SYN, ping
from network.limits import DISCOVERY, IDENTIFY, PING, SYNC
from network.messages.peers import Ping, PingMessage
from network.multiaddr import Multiaddr
from network.peer import Direction
from network.peer_layer import PeerLayerSettings
from network.protocols.identify import LocalIdentity
from network.switch import SwitchSettings
from network.traffic import Cause
from tests.simulation.hostile import Flooder, Nameless, RawClient, WireClient
from tests.simulation.node import FULL_NODE, NETWORK, SimNode
from tests.simulation.world import World, host_ip

MAX_DELAY = 0.2
"""Seconds that a beat may take on the simulated cables: they take 60 ms at most."""


def quiet_network(seed: int, count: int = 6) -> World:
    """All are connected with all: gossip alone may leave a pair of them apart for a day."""
    world = World(seed)
    world.start(world.add_many(count))
    world.run(6)
    for number, node in enumerate(world.nodes):
        for other in world.nodes[:number]:
            node.switch.dial(other.address)
    assert world.run_until(lambda: all(node.syncing >= count - 1 for node in world.nodes), limit=600) is not None
    return world


def assert_honest_unharmed(world: World, victim: SimNode) -> None:
    """All honest nodes still hear each other, as fast as ever."""
    for node in world.nodes:
        node.beats.interval = 1.0
    world.run(11)
    begin = len(victim.beats.delays)
    world.run(5)
    assert victim.syncing >= len(world.nodes) - 1
    assert len(victim.beats.delays) - begin >= 4 * (len(world.nodes) - 1)
    assert max(victim.beats.delays[begin:]) < MAX_DELAY
    assert all(node.switch.traffic.faults == 0 for node in world.nodes)
    for node in world.nodes[1:]:
        assert world.clock.now() - node.beats.last_heard[victim.identity.peer_id] < 2.0


def assert_gone(world: World, victim: SimNode) -> None:
    """Nothing of those who were turned away is left."""
    assert victim.switch.handshakes == 0
    assert victim.switch.connections == victim.syncing


@pytest.mark.parametrize("many", [False, True], ids=["one address", "many addresses"])
def test_two_thousand_silent_connections(many: bool) -> None:
    world = quiet_network(1)
    victim = world.nodes[0]
    clients = [RawClient(world.wires, host_ip(1000 + number) if many else "99.1.1.1") for number in range(2000)]
    for client in clients:
        client.connect(victim)
    most = 0
    for _ in range(20):
        world.run(0.25)
        most = max(most, victim.switch.handshakes)
    assert most <= (256 if many else 48)
    assert_honest_unharmed(world, victim)
    world.run(10)
    assert all(client.is_lost for client in clients)
    assert_gone(world, victim)


def test_hundreds_of_peers_from_everywhere_take_only_free_places() -> None:
    world = quiet_network(13)
    victim = world.nodes[0]
    clients = [WireClient(world.wires, host_ip(1000 + number), seed=number) for number in range(300)]
    for number, client in enumerate(clients):
        client.connect(victim)
        if number % 10 == 0:
            world.run(0.5)
    world.run(5)
    assert len(victim.switch.peers()) <= 125
    assert victim.switch.traffic.left[Cause.EVICTED] > 150
    assert {node.name for node in world.nodes[1:]} < set(victim.peer_names), "who has been there longest stays"
    assert_honest_unharmed(world, victim)


def test_an_honest_newcomer_gets_in_during_a_flood() -> None:
    world = quiet_network(2)
    victim = world.nodes[0]

    def flood() -> None:
        for _ in range(50):
            RawClient(world.wires, "99.1.1.1").connect(victim)
        if world.clock.now() < end:
            world.clock.call_later(1.0, flood)

    end = world.clock.now() + 120
    flood()
    newcomer = world.add([victim.address])
    newcomer.start()
    assert world.run_until(lambda: newcomer.syncing > 0, limit=10) is not None
    assert world.run_until(lambda: newcomer.syncing >= len(world.nodes) - 1, limit=300) is not None
    assert_honest_unharmed(world, victim)


def test_handshakes_that_stop_at_every_byte() -> None:
    world = quiet_network(3)
    victim = world.nodes[0]
    whole = WireClient(world.wires, "99.1.1.1", seed=1)
    whole.connect(victim)
    world.run(3)
    assert SYNC in whole.open
    for limit in range(0, 600, 3):
        WireClient(world.wires, host_ip(2000 + limit), seed=limit, limit=limit).connect(victim)
    world.run(20)
    assert_honest_unharmed(world, victim)
    world.run(40)
    assert victim.switch.handshakes == 0
    assert victim.switch.connections == victim.syncing


@pytest.mark.parametrize(
    "garbage",
    [b"\0" * 4096, b"\xff" * 4096, b"GET / HTTP/1.1\r\n\r\n", (5).to_bytes(4, "big") + b"hello", b"\0\0\0\0"],
    ids=["zeros", "ones", "http", "small frame", "empty frame"],
)
def test_garbage_instead_of_a_handshake(garbage: bytes) -> None:
    world = quiet_network(4)
    victim = world.nodes[0]
    client = RawClient(world.wires, "99.1.1.1", garbage)
    client.connect(victim)
    world.run(10)
    assert client.is_lost
    assert victim.switch.traffic.failed_handshakes.total() == 1
    assert_gone(world, victim)
    assert_honest_unharmed(world, victim)


def test_a_peer_of_another_chain_is_banned_whatever_its_port() -> None:
    world = quiet_network(5)
    victim = world.nodes[0]
    client = WireClient(world.wires, "99.1.1.1", network="/ckb/92b197aa")
    client.connect(victim)
    world.run(3)
    assert client.has_ended
    assert victim.switch.traffic.bans == 1
    again = WireClient(world.wires, "99.1.1.1", seed=2)
    again.connect(victim)
    world.run(3)
    assert again.received == b""
    assert victim.switch.traffic.turned_away["banned"] == 1
    world.run(300)
    later = WireClient(world.wires, "99.1.1.1", seed=3)
    later.connect(victim)
    world.run(3)
    assert SYNC in later.open
    assert_honest_unharmed(world, victim)


def test_a_peer_without_sync_is_sent_away() -> None:
    world = quiet_network(6)
    victim = world.nodes[0]
    client = WireClient(world.wires, "99.1.1.1", protocols=(DISCOVERY,))
    client.connect(victim)
    world.run(5)
    assert DISCOVERY in client.open
    world.run(45)
    assert client.has_ended
    assert_gone(world, victim)


def test_a_peer_that_never_reads_holds_a_bounded_number_of_bytes() -> None:
    world = quiet_network(7)
    victim = world.nodes[0]
    client = WireClient(world.wires, "99.1.1.1")
    client.connect(victim)
    world.run(3)
    session = victim.switch.peer_of(client.identity.peer_id)
    assert session is not None
    assert client.link is not None
    client.link.pause_reading()
    most = 0
    for _ in range(100):
        session.send(SYNC, world.rng.randbytes(1024 * 1024))
        most = max(most, session.queued_bytes)
        world.run(0.01)
    assert 16 * 1024 * 1024 < most < 26 * 1024 * 1024
    assert victim.switch.peer_of(client.identity.peer_id) is None
    world.run(10)
    assert victim.switch.connections == len(world.nodes) - 1
    assert_honest_unharmed(world, victim)


def test_a_flood_of_invented_addresses_does_not_win_the_dials() -> None:
    world = quiet_network(8, count=12)
    victim = world.nodes[0]
    flooders = [Flooder(world.wires, host_ip(3000 + number), seed=number, every=5.0) for number in range(20)]
    for flooder in flooders:
        flooder.connect(victim)
    world.run(300)
    assert sum(flooder.told for flooder in flooders) > 10_000
    assert len(victim.tables.store) <= 16_384
    names = set(victim.peer_names) - {"hostile"}
    assert len(names) == len(world.nodes) - 1
    outbound = {peer.peer_id for peer in victim.switch.peers() if peer.direction is Direction.OUTBOUND}
    assert outbound <= {node.identity.peer_id for node in world.nodes}
    assert_honest_unharmed(world, victim)


def test_lies_of_identify_are_not_passed_on() -> None:
    world = quiet_network(9)
    victim = world.nodes[0]
    foreign = Multiaddr.parse("/ip4/150.1.2.3/tcp/8115").with_peer_id(world.nodes[1].identity.peer_id)
    own = victim.address
    client = WireClient(world.wires, "99.1.1.1", listening=[foreign, own])
    client.connect(victim)
    world.run(60)
    assert victim.tables.store.get(foreign) is None
    assert_honest_unharmed(world, victim)


def test_too_many_messages_are_read_slowly_and_nobody_else_waits() -> None:
    world = quiet_network(10)
    victim = world.nodes[0]
    client = WireClient(world.wires, "99.1.1.1", protocols=(SYNC,))
    client.connect(victim)
    world.run(3)
    beat = str(world.clock.now()).encode()
    for _ in range(2000):
        client.send(SYNC, beat)
    world.run(5)
    assert_honest_unharmed(world, victim)
    assert not client.has_ended


def test_a_flood_of_pings_is_answered_slowly_and_costs_its_window() -> None:
    world = quiet_network(12)
    victim = world.nodes[0]
    client = WireClient(world.wires, "99.1.1.1", protocols=(SYNC, PING))
    client.connect(victim)
    world.run(3)
    before = victim.switch.traffic.by_protocol[PING].messages_in
    question = PingMessage(payload=Ping(nonce=1)).raw
    for _ in range(100_000):
        client.connection.send(PING, question, world.clock.now())
    client.flush()
    for _ in range(20):
        world.run(1)
        assert victim.switch._held.total < 1_200_000
    assert victim.switch.traffic.by_protocol[PING].messages_in - before < 200
    assert_honest_unharmed(world, victim)
    assert client.connection.queued_bytes > 1_000_000
    assert not client.has_ended


def test_identify_is_said_once() -> None:
    world = quiet_network(11)
    victim = world.nodes[0]
    client = WireClient(world.wires, "99.1.1.1")
    client.connect(victim)
    world.run(3)
    client.send(IDENTIFY, client.identify())
    world.run(3)
    assert client.has_ended
    assert_gone(world, victim)


def test_who_does_not_identify_itself_is_sent_away() -> None:
    """Sync alone would make a peer of who may be of any chain."""
    world = quiet_network(14)
    victim = world.nodes[0]
    client = Nameless(world.wires, "99.1.1.1")
    client.connect(victim)
    world.run(5)
    assert SYNC in client.open
    world.run(45)
    assert client.has_ended
    assert_gone(world, victim)


def test_answers_below_protocols_do_not_pile_up_for_a_peer_that_never_reads() -> None:
    """A peer may have yamux answer its pings, pay for them with other traffic, and answer ours without reading them."""
    settings = SwitchSettings(max_send_buffer=65_536)
    world = World(15)
    local = LocalIdentity(network_name=NETWORK, client_version="victim", flags=FULL_NODE)
    victim = world.add([], settings=PeerLayerSettings(local=local, switch=settings))
    victim.start()
    client = WireClient(world.wires, "99.1.1.1")
    client.connect(victim)
    world.run(3)
    session = victim.switch.peer_of(client.identity.peer_id)
    assert session is not None
    assert client.link is not None
    client.link.pause_reading()
    most, nowhere = 0, HEADER.pack(DATA, 0, 99, 1024) + bytes(1024)
    for _ in range(200):
        client.send_frames(300 * (ping(SYN, 7) + nowhere))
        world.run(0.1)
        most = max(most, session.queued_bytes)
    assert most < 2 * 65_536
    assert victim.switch.peer_of(client.identity.peer_id) is None
    assert victim.switch.traffic.left[Cause.OVERLOAD] == 1
