"""HolePunching (protocol 130), row by row of its rules: misuse, intermediates, the target."""

from __future__ import annotations

from math import isqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.codec.layout import U32
from consensus.codec.molecule import pack_parts
from network.messages.peers import (
    HOLE_PUNCHING_MESSAGE,
    ConnectionRequest,
)
from network.multiaddr import Multiaddr
from network.peer import Direction
from network.protocols.hole_punching.handler import MAX_PORTS_OF_HOST
from network.protocols.hole_punching.messages import PunchingMessage
from network.protocols.hole_punching.pending import ANSWER_AGAIN, KEPT
from tests.network.protocols.kit_hole_punching import A, B, C, Node, delivered, ident, request, sync
from tests.support.network.peers import address, peer_id

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


@pytest.mark.parametrize(("field", "status"), [(3, "413"), (4, "414")])
def test_of_too_many_none_is_looked_at(field: int, status: str) -> None:
    """They would be undecodable; half a megabyte of good ones takes a fifth of a second."""
    whole = request(route=[OTHER])
    fields = [whole.raw[start:end] for start, end in map(whole.field_span, range(whole.field_count))]
    fields[field] = pack_parts([b"?"] * 60_000)
    node = Node()
    node.connect(1)
    peer = node.receive(1, U32.pack(0) + pack_parts(fields))
    assert peer.banned is not None
    assert status in peer.banned[1]


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
