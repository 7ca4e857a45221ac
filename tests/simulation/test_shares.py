"""What all sessions together may take, who is read when, and what is told of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

from structlog.testing import capture_logs

from network.facts import local_node, remote_nodes
from network.gate import GateLimits
from network.intake import IntakeLimits
from network.limits import DISCONNECT_MESSAGE, RELAY, SYNC
from network.multiaddr import Multiaddr
from network.peer import Peer
from network.peer_info import PeerSyncState
from network.peer_layer import PeerLayerSettings
from network.protocols.identify import LocalIdentity
from network.switch import SwitchSettings
from network.traffic import Cause
from tests.simulation.hostile import WireClient
from tests.simulation.kit_pairs import QUICK, Notes, Pair
from tests.simulation.node import FULL_NODE, NETWORK, SimNode
from tests.simulation.wires import Cable
from tests.simulation.world import World, host_ip


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
        assert node.switch._held.total <= 3_000_000
    assert [client.has_ended for client in clients] == [False] * 4 + [True] * 3 + [False], "those with the most go"


def test_messages_that_wait_for_their_handler_are_counted_until_they_are_handled() -> None:
    world = World(7, Cable(latency=0.01, jitter=0.0, bandwidth=1e12))
    node = small_node(world)
    (client,) = connected(world, node, 1)
    handled = list[bytes]()

    def take_one(peer: Peer, payload: bytes) -> None:
        handled.append(payload)
        peer.hold(SYNC)

    node.beats.received = take_one  # type: ignore[method-assign]
    for _ in range(100):
        client.connection.send(SYNC, bytes(1000), world.clock.now())
    client.flush()
    world.run(1)
    assert node.switch._held.total >= 99 * 1000
    session = node.switch.peer_of(client.identity.peer_id)
    assert session is not None
    while len(handled) < 100:
        session.release(SYNC)
        world.run(0.1)
    assert node.switch._held.total < 1000


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


def test_who_sends_little_does_not_wait_for_the_work_that_others_cause() -> None:
    """Each message of Relay costs half a millisecond; ten peers send 200 of them each, and one sends a single one."""
    world = World(1, QUICK)
    busy = world.add()
    notes, noise = Notes(), Random(1)
    busy.switch.register(notes)
    others = [world.add([busy.address]) for _ in range(11)]
    for node in (busy, *others):
        if node is not busy:
            node.switch.register(Notes())
        node.start()
    world.run(5)
    assert len(busy.switch.peers()) == 11
    came: dict[str, list[float]] = {}

    def work(peer: Peer, _: bytes) -> None:
        world.clock.work(0.0005)
        came.setdefault(peer.peer_id, []).append(world.clock.now())

    notes.on_received = work
    begun = world.clock.now()
    *loud, quiet = others
    for node in loud:
        for _ in range(200):
            node.switch.peers()[0].send(RELAY, noise.randbytes(4000))
    (to_busy,) = quiet.switch.peers()

    def say_little() -> None:
        to_busy.send(RELAY, b"little")

    world.clock.call_later(0.03, say_little)
    world.run(5)
    assert all(len(came[node.identity.peer_id]) == 200 for node in loud)
    (answered,) = came[quiet.identity.peer_id]
    assert answered - begun < 0.15, "the others' work takes a second"
    ends = [came[node.identity.peer_id][-1] for node in loud]
    assert max(ends) - min(ends) < 0.5, "those who send much have their turns"
