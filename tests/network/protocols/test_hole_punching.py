"""HolePunching (protocol 130), row by row of its rules, and whole meetings between handlers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.identity import peer_id_to_bytes
from network.limits import HOLE_PUNCHING
from network.messages.peers import (
    HOLE_PUNCHING_MESSAGE,
    Address,
    ConnectionRequest,
    ConnectionRequestDelivered,
    ConnectionSync,
)
from network.multiaddr import Multiaddr
from network.peer import Direction
from network.protocols.hole_punching import HolePunchingProtocol
from network.protocols.hole_punching.handler import MAX_PORTS_OF_HOST, MAX_REQUESTS, MESSAGES_AT_ONCE, SETTLE, TICK
from network.protocols.hole_punching.messages import PunchingMessage
from network.protocols.hole_punching.pending import ANSWER_AGAIN, KEPT, MAX_MEETINGS, MAX_OF_SESSION
from network.protocols.hole_punching.rates import ALL_AT_ONCE, MAX_PAIRS
from network.protocols.own_addresses import OwnAddresses
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer, address, peer_id
from tests.support.network.stores import FakeStore

Punched = tuple[list[Multiaddr], Direction]
"""Addresses, and as whom."""

A, B, C = 1001, 1002, 1003
"""Nodes that are not connected with ours."""


def ident(seed: object) -> bytes:
    return peer_id_to_bytes(peer_id(seed))


class Node:
    """A node with this protocol alone."""

    def __init__(
        self,
        seed: int = 0,
        scheduler: FakeScheduler | None = None,
        *,
        has_address: bool = True,
        allow_local: bool = False,
    ) -> None:
        self.seed = seed
        self.scheduler, self.store = scheduler or FakeScheduler(), FakeStore()
        self.own = OwnAddresses(peer_id(seed), Random(seed))
        if has_address:
            self.own.add_public(address(seed))
        self.free_outbound = 0
        self.punched: list[Punched] = []
        self.delay = -1.0
        self.peers: dict[int, FakePeer] = {}
        self.handler = HolePunchingProtocol(
            own=self.own,
            store=self.store,
            scheduler=self.scheduler,
            rng=Random(seed),
            free_outbound=lambda: self.free_outbound,
            punch=self._punch,
            allow_local=allow_local,
        )

    def _punch(self, addresses: Sequence[Multiaddr], direction: Direction, delay: float) -> None:
        self.punched.append((list(addresses), direction))
        self.delay = delay

    def connect(self, *seeds: int) -> Sequence[FakePeer]:
        """Sessions with other nodes."""
        for seed in seeds:
            self.peers[seed] = FakePeer(seed).connect(self.handler)
        return [self.peers[seed] for seed in seeds]

    def receive(self, seed: int, message: PunchingMessage | bytes) -> FakePeer:
        payload = message if isinstance(message, bytes) else HOLE_PUNCHING_MESSAGE.pack(message)
        self.handler.received(self.peers[seed], payload)
        return self.peers[seed]

    def sent(self) -> list[tuple[int, PunchingMessage]]:
        """To whom and what, since the last look."""
        found: list[tuple[int, PunchingMessage]] = []
        for seed, peer in self.peers.items():
            for payload in peer.take(HOLE_PUNCHING):
                message = HOLE_PUNCHING_MESSAGE.parse(payload)
                assert isinstance(message, ConnectionRequest | ConnectionRequestDelivered | ConnectionSync)
                found.append((seed, message))
        return found

    @property
    def meetings(self) -> int:
        return len(self.handler._meetings)


def request(
    from_: int = A,
    to: int = B,
    *,
    hops: int = 6,
    route: Sequence[bytes] = (),
    listening: Sequence[Multiaddr | bytes] | None = None,
) -> ConnectionRequest:
    return ConnectionRequest(
        from_=ident(from_), to=ident(to), max_hops=hops, route=route, listen_addrs=_addresses(listening, from_)
    )


def delivered(
    from_: int = A,
    to: int = B,
    *,
    route: Sequence[bytes] = (),
    sync_route: Sequence[bytes] = (),
    listening: Sequence[Multiaddr | bytes] | None = None,
) -> ConnectionRequestDelivered:
    return ConnectionRequestDelivered(
        from_=ident(from_), to=ident(to), route=route, sync_route=sync_route, listen_addrs=_addresses(listening, to)
    )


def sync(from_: int = A, to: int = B, *, route: Sequence[bytes] = ()) -> ConnectionSync:
    return ConnectionSync(from_=ident(from_), to=ident(to), route=route)


def _addresses(listening: Sequence[Multiaddr | bytes] | None, owner: int) -> list[Address]:
    items = [address(owner)] if listening is None else listening
    return [Address(data=item if isinstance(item, bytes) else item.to_bytes()) for item in items]


def read(items: Sequence[Address]) -> list[Multiaddr]:
    return [Multiaddr.from_bytes(item.data) for item in items]


# --- misuse: a ban of a day each ---

OTHER = ident("other")
UDP = b"\x91\x02\x00\x01"
MANY = [address(A, port=port) for port in range(1, 26)]
MANY_OF_TO = [address(B, port=port) for port in range(1, 26)]


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"", "undecodable"),
        (bytes(100), "undecodable"),
        (b"\3\0\0\0" + HOLE_PUNCHING_MESSAGE.pack(sync())[4:], "undecodable"),
        (HOLE_PUNCHING_MESSAGE.pack(sync())[:-1], "undecodable"),
        (HOLE_PUNCHING_MESSAGE.pack(sync()) + b"\0", "undecodable"),
        (request().replace(from_=b"\x12\x20" + bytes(31)), "411"),
        (request().replace(from_=b"\x12\x21" + bytes(32)), "411"),
        (delivered().replace(from_=b""), "411"),
        (sync().replace(from_=bytes(34)), "411"),
        (request().replace(to=b""), "412"),
        (delivered().replace(to=bytes(34)), "412"),
        (sync().replace(to=ident(B) + b"\0"), "412"),
        (request(listening=[]), "414"),
        (request(listening=MANY), "414"),
        (request(listening=[UDP]), "414"),
        (request(listening=[address(B)]), "414"),
        (delivered(listening=[]), "414"),
        (delivered(listening=MANY_OF_TO), "414"),
        (delivered(listening=[UDP]), "414"),
        (delivered(listening=[address(A)]), "414"),
        (request(hops=7), "410"),
        (request(hops=255), "410"),
        (request(route=[OTHER] * 7), "413"),
        (request(route=[b"no"]), "413"),
        (delivered(route=[OTHER] * 7), "413"),
        (delivered(route=[b"no"]), "413"),
        (delivered(sync_route=[OTHER] * 7), "413"),
        (delivered(sync_route=[b"no"]), "413"),
        (sync(route=[OTHER] * 7), "413"),
        (sync(route=[b"no"]), "413"),
    ],
)
def test_misuse_is_banned_for_a_day_and_goes_nowhere(message: PunchingMessage | bytes, status: str) -> None:
    node = Node()
    node.connect(*range(1, 10))
    peer = node.receive(1, message)
    assert peer.banned is not None
    assert peer.banned[0] == 86_400
    assert status in peer.banned[1]
    assert node.sent() == []


@given(st.binary(max_size=300))
def test_any_other_bytes_are_banned(payload: bytes) -> None:
    node = Node()
    node.connect(1)
    assert node.receive(1, payload).banned


@pytest.mark.parametrize(
    "message",
    [
        request(hops=6, route=[OTHER] * 5, listening=MANY[:24]),
        request(listening=[address(A, with_id=False), address(A)]),
        delivered(route=[OTHER] * 6, sync_route=[OTHER] * 6, listening=MANY_OF_TO[:24]),
        sync(route=[OTHER] * 6),
    ],
)
def test_the_limits_themselves_are_good(message: PunchingMessage) -> None:
    node = Node()
    node.connect(1, 2)
    assert not node.receive(1, message).has_ended


# --- an intermediate ---


def test_a_request_goes_to_its_target_with_us_on_the_route() -> None:
    node = Node()
    node.connect(1, 2, 3, B)
    node.receive(1, request(hops=6, route=[OTHER]))
    assert node.sent() == [(B, request(hops=5, route=[OTHER, ident(0)]))]


@pytest.mark.parametrize("sessions", [2, 4, 9, 16, 100])
def test_or_to_a_few_others(sessions: int) -> None:
    node = Node()
    node.connect(*range(1, sessions + 1))
    node.receive(1, request())
    sent = node.sent()
    assert len(sent) == max(isqrt(sessions) - 1, 1)
    assert len({seed for seed, _ in sent}) == len(sent)
    assert all(seed != 1 and message == request(hops=5, route=[ident(0)]) for seed, message in sent)


def test_never_to_who_had_it() -> None:
    node = Node()
    node.connect(1, 2, A)
    node.receive(1, request(route=[ident(2)]))
    assert node.sent() == []


@pytest.mark.parametrize(
    "message",
    [
        request(hops=0),
        request(route=[OTHER, ident(0)]),
        request(from_=0, listening=[address(0)]),
        request(route=[OTHER] * 6),  # with us it were seven, and the next one would ban us
    ],
)
def test_a_request_may_end_here(message: ConnectionRequest) -> None:
    node = Node()
    node.connect(1, 2, B)
    peer = node.receive(1, message)
    assert node.sent() == []
    assert not peer.has_ended


@pytest.mark.parametrize(
    ("received", "to", "sent"),
    [
        (delivered(route=[OTHER, ident(2)], sync_route=[OTHER]), 2, delivered(route=[OTHER], sync_route=[OTHER])),
        (delivered(), A, delivered()),
        (sync(route=[OTHER, ident(2)]), 2, sync(route=[OTHER])),
        (sync(), B, sync()),
        (delivered(from_=0, route=[ident(2)]), 2, delivered(from_=0)),
    ],
)
def test_answers_and_starts_go_along_their_route(received: PunchingMessage, to: int, sent: PunchingMessage) -> None:
    node = Node()
    node.connect(1, 2, A, B)
    node.receive(1, received)
    assert node.sent() == [(to, sent)]


@pytest.mark.parametrize("message", [delivered(route=[OTHER]), delivered(from_=C), sync(route=[OTHER]), sync(to=C)])
def test_or_nowhere_when_the_next_is_gone(message: PunchingMessage) -> None:
    node = Node()
    node.connect(1, 2, A, B)
    peer = node.receive(1, message)
    assert node.sent() == []
    assert not peer.has_ended


# --- the target ---


def test_the_target_answers_along_the_route_and_dials_when_it_is_told() -> None:
    node = Node()
    node.connect(1, 2)
    first, second = ident("first"), ident("second")
    node.receive(1, request(to=0, route=[first, second]))
    answer = delivered(to=0, route=[first], sync_route=[second, first], listening=[address(0)])
    assert node.sent() == [(1, answer)]
    assert node.punched == []
    node.receive(2, sync(to=0))
    assert node.punched == [([address(A)], Direction.INBOUND)]
    assert 0 < node.delay < 0.2  # the dialler comes first


def test_an_answer_without_a_route_comes_from_a_neighbour() -> None:
    node = Node()
    node.connect(A)
    node.receive(A, request(to=0))
    assert node.sent() == []  # it is connected already
    node.connect(1)
    node.receive(1, request(from_=C, to=0))
    assert node.sent() == [(1, delivered(from_=C, to=0, listening=[address(0)]))]


def test_a_meeting_takes_place_once() -> None:
    node = Node()
    node.connect(1)
    node.receive(1, request(to=0))
    for _ in range(3):
        node.receive(1, sync(to=0))
        node.scheduler.advance(2)
    assert len(node.punched) == 1


def test_nobody_is_dialled_who_did_not_ask() -> None:
    node = Node()
    node.connect(1)
    peer = node.receive(1, sync(to=0))
    assert node.punched == []
    assert not peer.has_ended


def test_the_same_is_answered_again_after_two_minutes() -> None:
    node = Node()
    node.connect(1)
    node.receive(1, request(to=0))
    node.scheduler.advance(ANSWER_AGAIN - 1)
    node.receive(1, request(to=0))
    assert len(node.sent()) == 1
    node.scheduler.advance(2)
    node.receive(1, request(to=0))
    assert len(node.sent()) == 1


def test_addresses_are_kept_for_five_minutes() -> None:
    for wait, dials in ((KEPT - 1, 1), (KEPT, 0)):
        node = Node()
        node.connect(1)
        node.receive(1, request(to=0))
        node.scheduler.advance(wait)
        node.receive(1, sync(to=0))
        assert len(node.punched) == dials


@pytest.mark.parametrize(
    "text",
    [
        "/dns4/example.org/tcp/8115",
        "/ip4/44.1.1.1/tcp/8115/ws",
        "/ip4/127.0.0.1/tcp/8115",
        "/ip4/192.168.1.1/tcp/8115",
        "/ip4/44.1.1.1/tcp/0",
        "/ip4/44.1.1.1",
        "/tcp/8115",
        f"/onion3/{'a' * 56}:8115",
    ],
)
def test_only_hosts_and_ports_that_can_be_reached_are_dialled(text: str) -> None:
    node = Node()
    node.connect(1)
    node.receive(1, request(to=0, listening=[Multiaddr.parse(text)]))
    assert node.sent() == []
    assert node.meetings == 0
    node.scheduler.advance(2)
    node.receive(1, request(to=0, listening=[Multiaddr.parse(text), address(A)]))
    node.receive(1, sync(to=0))
    assert node.punched == [([address(A)], Direction.INBOUND)]


def test_a_private_network_may_be_allowed() -> None:
    node = Node(allow_local=True)
    node.connect(1)
    local = Multiaddr.parse(f"/ip4/192.168.1.1/tcp/8115/p2p/{peer_id(A)}")
    node.receive(1, request(to=0, listening=[local]))
    node.receive(1, sync(to=0))
    assert node.punched == [([local], Direction.INBOUND)]


def test_a_host_is_dialled_at_four_ports_at_most() -> None:
    node = Node()
    node.connect(1)
    node.receive(1, request(to=0, listening=[*MANY[:20], address(A), address(A)]))
    node.receive(1, sync(to=0))
    assert node.punched == [(MANY[:MAX_PORTS_OF_HOST], Direction.INBOUND)]


def test_without_an_address_of_its_own_a_node_does_not_answer() -> None:
    node = Node(has_address=False)
    node.connect(1)
    peer = node.receive(1, request(to=0))
    assert node.sent() == []
    assert not peer.has_ended
    node.own.observe(7, address(0, with_id=False), "somebody")
    node.scheduler.advance(2)
    node.receive(1, request(to=0))
    assert len(node.sent()) == 1


# --- the originator ---


def originator(sessions: int = 1, wanted: int = 1, *targets: int) -> Node:
    node = Node()
    node.free_outbound = wanted
    node.store.punchable = [address(seed) for seed in targets or (B,)]
    node.connect(*range(1, sessions + 1))
    return node


def test_every_five_minutes_a_request_for_each_missing_peer() -> None:
    node = originator(1, 2, A, B, C)
    node.scheduler.advance(TICK - 1)
    assert node.sent() == []
    node.scheduler.advance(1)
    requests = [request(from_=0, to=to, listening=[address(0)]) for to in (A, B)]
    assert node.sent() == [(1, requests[0]), (1, requests[1])]


@pytest.mark.parametrize("sessions", [1, 3, 9, 16, 100])
def test_requests_go_to_a_few_sessions(sessions: int) -> None:
    node = originator(sessions)
    node.scheduler.advance(TICK)
    assert len({seed for seed, _ in node.sent()}) == max(isqrt(sessions) - 1, 1)


@pytest.mark.parametrize("reason", ["enough peers", "no address", "nobody to look for", "connected", "itself"])
def test_no_request_without_need_or_hope(reason: str) -> None:
    node = originator(3)
    if reason == "enough peers":
        node.free_outbound = 0
    elif reason == "no address":
        node.own.remove_public(address(0))
    elif reason == "nobody to look for":
        node.store.punchable = []
    elif reason == "connected":
        node.connect(B)
    else:
        node.store.punchable = [address(0)]
    node.scheduler.advance(3 * TICK)
    assert node.sent() == []


def test_requests_wait_for_a_peer_but_not_for_one_that_stays() -> None:
    node = originator()
    node.scheduler.advance(TICK / 2)
    node.handler.closed(node.peers[1])
    node.scheduler.advance(TICK)
    node.connect(2)
    node.scheduler.advance(SETTLE)
    assert [seed for seed, _ in node.sent()] == [2]


def test_without_sessions_nothing_is_done() -> None:
    assert Node().scheduler.waiting == 0


def test_an_answer_is_followed_by_a_start_and_after_half_a_round_trip_by_dials() -> None:
    node = originator()
    node.scheduler.advance(TICK)
    node.sent()
    node.scheduler.advance(3)
    first, second = ident("first"), ident("second")
    node.receive(1, delivered(from_=0, sync_route=[second, first]))
    assert node.sent() == [(1, sync(from_=0, route=[second]))]
    assert node.punched == [([address(B)], Direction.OUTBOUND)]
    assert node.delay == 1.5


def test_an_answer_counts_once_and_for_what_was_asked() -> None:
    node = originator()
    node.scheduler.advance(TICK)
    node.sent()
    for to in (C, B, B):
        peer = node.receive(1, delivered(from_=0, to=to))
        node.scheduler.advance(2)
        assert not peer.has_ended
    assert node.sent() == [(1, sync(from_=0))]
    assert len(node.punched) == 1


def test_an_answer_after_five_minutes_is_too_late() -> None:
    node = originator()
    node.scheduler.advance(TICK)
    node.sent()
    node.free_outbound = 0
    node.scheduler.advance(TICK)
    node.receive(1, delivered(from_=0))
    assert node.sent() == []


def test_an_answer_without_a_place_to_dial_starts_the_other_side_only() -> None:
    node = originator()
    node.scheduler.advance(TICK)
    node.sent()
    node.receive(1, delivered(from_=0, listening=[Multiaddr.parse("/ip4/127.0.0.1/tcp/22")]))
    node.scheduler.advance(TICK - 1)
    assert node.punched == []


# --- rates and bounds ---


def test_thirty_messages_of_a_kind_and_second_are_heard() -> None:
    node = Node()
    node.connect(1, B)
    for from_ in range(2000, 2040):
        node.receive(1, request(from_=from_))
    node.receive(1, sync())
    assert len(node.sent()) == 31
    node.scheduler.advance(1)
    for from_ in range(2100, 2140):
        node.receive(1, request(from_=from_))
    assert len(node.sent()) == 30
    assert not node.peers[1].has_ended


def test_one_message_of_a_kind_and_second_from_one_end_to_the_other() -> None:
    node = Node()
    node.connect(1, 2, B)
    for _ in range(5):
        node.receive(1, request())
        node.receive(2, request())
    assert len(node.sent()) == 1
    node.scheduler.advance(1)
    node.receive(2, request())
    assert len(node.sent()) == 1


def test_all_sessions_together_are_bounded() -> None:
    node = Node()
    node.connect(B, *range(1, 50))
    for seed in range(1, 50):
        for number in range(30):
            node.receive(seed, request(from_=2000 + 100 * seed + number))
    assert len(node.sent()) == ALL_AT_ONCE
    assert len(node.handler._rates._pairs) <= MAX_PAIRS


def test_a_flood_is_read_slowly() -> None:
    node = Node()
    (peer,) = node.connect(1)
    for _ in range(int(MESSAGES_AT_ONCE)):
        node.receive(1, sync())
    assert peer.held == {HOLE_PUNCHING}
    node.scheduler.advance(1)
    assert not peer.held


def test_misuse_is_punished_also_of_who_is_too_fast() -> None:
    node = Node()
    node.connect(1)
    for _ in range(100):
        node.receive(1, sync())
    assert node.receive(1, b"").banned


def test_one_session_cannot_drive_out_the_meetings_of_others() -> None:
    node = Node()
    node.connect(1, 2)
    node.receive(2, request(from_=A, to=0))
    for from_ in range(2000, 2000 + 2 * MAX_MEETINGS):
        node.receive(1, request(from_=from_, to=0))
        node.scheduler.advance(0.1)
    assert node.meetings == MAX_OF_SESSION + 1
    node.receive(2, sync(from_=A, to=0))
    assert len(node.punched) == 1


def test_meetings_are_bounded_in_all() -> None:
    node = Node()
    node.connect(*range(1, 30))
    for seed in range(1, 30):
        for number in range(MAX_OF_SESSION):
            node.receive(seed, request(from_=2000 + 100 * seed + number, to=0))
            node.scheduler.advance(0.01)
    assert node.meetings == MAX_MEETINGS


def test_requests_are_bounded() -> None:
    node = originator(1, 10_000, *range(2000, 2500))
    node.scheduler.advance(TICK)
    assert len(node.handler._requests) == MAX_REQUESTS
    assert len(node.sent()) == MAX_REQUESTS


def test_nothing_is_left_of_closed_sessions() -> None:
    node = originator(5)
    node.receive(1, request(to=0))
    assert node.meetings == len(node.sent()) == 1
    for peer in node.peers.values():
        node.handler.closed(peer)
    assert node.meetings == 0
    assert not node.handler._sessions
    assert node.scheduler.waiting == 0
    node.receive(1, request(to=0, from_=C))
    assert node.sent() == []


def test_the_end_of_an_older_session_is_not_the_end_of_a_newer_one() -> None:
    node = Node()
    (older,) = node.connect(1)
    (newer,) = node.connect(1)
    node.handler.closed(older)
    assert node.receive(1, b"").banned
    assert newer.banned


# --- whole meetings ---


class Net:
    """Nodes with links between them; messages take a tenth of a second."""

    def __init__(self, *links: tuple[int, int]) -> None:
        self.scheduler = FakeScheduler()
        self.nodes = {seed: Node(seed, self.scheduler) for seed in sorted({end for link in links for end in link})}
        for left, right in links:
            self.nodes[left].connect(right)
            self.nodes[right].connect(left)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            sent = [(seed, to, message) for seed, node in self.nodes.items() for to, message in node.sent()]
            self.scheduler.advance(0.1)
            for seed, to, message in sent:
                self.nodes[to].receive(seed, message)

    def is_unpunished(self) -> bool:
        return not any(peer.has_ended for node in self.nodes.values() for peer in node.peers.values())


@pytest.mark.parametrize("between", range(1, 7))
def test_two_nodes_meet_over_a_chain_of_others(between: int) -> None:
    chain = list(range(1, between + 3))
    net = Net(*pairwise(chain))
    first, last = net.nodes[chain[0]], net.nodes[chain[-1]]
    first.free_outbound = 1
    first.store.punchable = [address(chain[-1])]
    net.run(TICK + 5)
    assert first.punched == [([address(chain[-1])], Direction.OUTBOUND)]
    assert last.punched == [([address(chain[0])], Direction.INBOUND)]
    assert net.is_unpunished()


def test_a_chain_that_is_too_long_leads_nowhere() -> None:
    chain = list(range(1, 10))
    net = Net(*pairwise(chain))
    net.nodes[1].free_outbound = 1
    net.nodes[1].store.punchable = [address(9)]
    net.run(TICK + 5)
    assert not any(node.punched for node in net.nodes.values())
    assert net.is_unpunished()


def test_in_a_dense_network_a_request_is_answered_once_and_nobody_is_banned() -> None:
    rng = Random(7)
    seeds = list(range(1, 41))
    links = {tuple(sorted(rng.sample(seeds, 2))) for _ in range(300)} - {(1, 2)}
    net = Net(*((left, right) for left, right in links))
    net.nodes[1].free_outbound = 1
    net.nodes[1].store.punchable = [address(2)]
    net.run(TICK + 5)
    assert net.nodes[1].punched == [([address(2)], Direction.OUTBOUND)]
    assert net.nodes[2].punched == [([address(1)], Direction.INBOUND)]
    assert net.is_unpunished()
