"""HolePunching (protocol 130) at its originator, its rates and bounds, and whole meetings between handlers."""

from __future__ import annotations

from itertools import pairwise
from math import isqrt
from random import Random

import pytest

from network.limits import HOLE_PUNCHING
from network.multiaddr import Multiaddr
from network.peer import Direction
from network.protocols.hole_punching.handler import MAX_REQUESTS, MESSAGES_AT_ONCE, SETTLE, TICK
from network.protocols.hole_punching.pending import MAX_MEETINGS, MAX_OF_SESSION
from network.protocols.hole_punching.rates import ALL_AT_ONCE, MAX_PAIRS
from tests.network.protocols.kit_hole_punching import A, B, C, Node, delivered, ident, request, sync
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import address

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
