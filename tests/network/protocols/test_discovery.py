"""Discovery (protocol 1), row by row of its rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.codec.layout import U32
from consensus.codec.molecule import pack_parts
from network.limits import DISCOVERY
from network.messages.peers import DiscoveryMessage, GetNodes
from network.multiaddr import Multiaddr
from network.peer import Direction, SessionKind
from network.peers.known import KnownAddress
from network.protocols.discovery import MESSAGES_AT_ONCE, TICK
from tests.network.protocols.kit_discovery import GET_NODES, Case, get_nodes, node, raw_nodes, told
from tests.support.network.peers import FULL_NODE, address, peer_id

GET_NODES_8115 = bytes.fromhex(
    "3200000008000000000000002600000014000000180000001c0000001e00000001000000e8030000b31f0e00000000000000"
)
NO_NODES = bytes.fromhex("1d0000000800000001000000110000000c0000000d0000000004000000")
LOOPBACK = Multiaddr.parse("/ip4/127.0.0.1/tcp/8115")


def undecodable_nodes(count: int, addresses: int) -> bytes:
    """Nodes of addresses of one byte, which are no vectors of bytes."""
    broken = pack_parts([pack_parts([b"?"] * addresses)])
    return pack_parts([U32.pack(1) + pack_parts([b"\0", pack_parts([broken] * count)])])


# --- asking ---


def test_the_dialler_asks_with_these_bytes() -> None:
    assert Case().peer(direction=Direction.OUTBOUND).take(DISCOVERY) == [GET_NODES]


@pytest.mark.parametrize(
    ("listening", "allow_local", "asked"),
    [
        (address(1, with_id=False), False, GET_NODES_8115),
        (LOOPBACK, False, GET_NODES),
        (LOOPBACK, True, GET_NODES_8115),
    ],
)
def test_it_names_the_port_on_which_it_can_be_reached(listening: Multiaddr, allow_local: bool, asked: bytes) -> None:
    case = Case(listening=[listening], allow_local=allow_local)
    assert case.peer(direction=Direction.OUTBOUND).take(DISCOVERY) == [asked]


def test_who_dials_from_any_port_says_so() -> None:
    (question,) = Case(reuses_port=False).peer(direction=Direction.OUTBOUND).take(DISCOVERY)
    message = DiscoveryMessage.parse(question).payload
    assert isinstance(message, GetNodes)
    assert message.version == 0


def test_the_accepter_asks_nothing() -> None:
    assert Case().peer().take(DISCOVERY) == []


@pytest.mark.parametrize("direction", list(Direction))
def test_sessions_of_blocks_only_take_no_part(direction: Direction) -> None:
    case = Case()
    peer = case.receive(case.peer(direction=direction, kind=SessionKind.BLOCK_RELAY_ONLY), get_nodes())
    case.receive(peer, raw_nodes(b"\1", [node(address(2))]))
    assert peer.sent == []
    assert case.store.told == []
    assert not peer.has_ended
    assert case.scheduler.waiting == 0


# --- answering ---


def test_the_answer_has_one_address_each_with_flags() -> None:
    case = Case()
    case.share(5, 6, 7)
    peer = case.receive(case.peer(), get_nodes())
    assert told(peer) == [(False, [(address(seed), 0x3F) for seed in (5, 6, 7)])]


def test_an_empty_answer_is_these_bytes() -> None:
    case = Case()
    assert case.receive(case.peer(), GET_NODES).take(DISCOVERY) == [NO_NODES]


@pytest.mark.parametrize(("count", "answered"), [(0, 0), (3, 3), (1000, 1000), (4_000_000_000, 1000)])
def test_as_many_as_asked_and_a_thousand_at_most(count: int, answered: int) -> None:
    case = Case()
    case.share(*range(10, 1510))
    ((_, items),) = told(case.receive(case.peer(), get_nodes(count)))
    assert len(items) == answered
    assert len({found for found, _ in items}) == answered


def test_long_names_do_not_make_the_answer_too_long() -> None:
    case = Case(allow_local=True)
    names = [Multiaddr.parse(f"/dns4/{'n' * 200}{number}/tcp/8115/p2p/{peer_id(number)}") for number in range(2000)]
    case.store.shared = [KnownAddress(name, 0x3F, last_connected_ms=1) for name in names]
    (payload,) = case.receive(case.peer(), get_nodes()).take(DISCOVERY)
    assert len(payload) <= DISCOVERY.max_frame


@pytest.mark.parametrize(
    ("required", "found"),
    [(0x0E, [1, 0x0E, 0x3F]), (None, [1, 0x3F]), (0x20, [0x3F]), (0, [1, 0x0E, 0x3F]), (1 << 40, [1, 0x0E, 0x3F])],
)
def test_flags_choose_and_unknown_bits_do_not_count(required: int | None, found: list[int]) -> None:
    case = Case()
    for seed, flags in enumerate((1, 0x0E, 0x3F), start=5):
        case.share(seed, flags=flags)
    ((_, items),) = told(case.receive(case.peer(), get_nodes(flags=required)))
    assert [flags for _, flags in items] == found


def test_nobody_is_told_its_own_address_or_one_that_cannot_be_reached() -> None:
    case = Case()
    case.share(1, 2)
    local = Multiaddr.parse(f"/ip4/192.168.0.1/tcp/8115/p2p/{peer_id(9)}")
    name = Multiaddr.parse(f"/dns4/example.org/tcp/8115/p2p/{peer_id(9)}")
    case.store.shared += [KnownAddress(local, 0x3F, last_connected_ms=1), KnownAddress(name, 0x3F, last_connected_ms=1)]
    assert told(case.receive(case.peer(1), get_nodes())) == [(False, [(address(2), 0x3F)])]


def test_the_shorter_question_of_older_nodes_is_answered() -> None:
    case = Case()
    case.share(5)
    question = get_nodes(flags=None)
    assert len(question) == len(GET_NODES) - 12
    assert told(case.receive(case.peer(), question)) == [(False, [(address(5), 0x3F)])]


def test_a_second_question_ends_the_session() -> None:
    case = Case()
    peer = case.receive(case.receive(case.peer(), get_nodes()), get_nodes())
    assert peer.disconnected == "discovery: second GetNodes"
    assert peer.banned is None
    assert len(told(peer)) == 1


# --- where an inbound peer can be reached ---


def test_the_named_port_is_the_peers_and_is_stored() -> None:
    case = Case()
    peer = case.peer(at=address(1, port=55_000))
    case.receive(peer, get_nodes(port=9000))
    assert case.store.told == [(address(1, port=9000), 0x3F, peer.address)]


def test_an_unreachable_one_is_not_stored_unless_allowed() -> None:
    for allow_local, stored in ((False, 0), (True, 1)):
        case = Case(allow_local=allow_local)
        case.receive(case.peer(at=LOOPBACK.with_peer_id(peer_id(1))), get_nodes(port=9000))
        assert len(case.store.told) == stored


def test_a_peer_that_we_dialled_is_where_we_dialled_it() -> None:
    case = Case()
    peer = case.receive(case.asked(), get_nodes(port=9000))
    assert case.store.told == []
    assert told(peer) == [(False, [])]


@pytest.mark.parametrize(
    ("version", "port", "announced"), [(0, None, None), (1, None, 55_000), (0, 9000, 9000), (1, 9000, 9000)]
)
def test_it_is_announced_where_it_can_be_reached(version: int, port: int | None, announced: int | None) -> None:
    case = Case()
    peer, other = case.peer(1, at=address(1, port=55_000)), case.peer(2)
    case.receive(peer, get_nodes(version=version, port=port))
    case.scheduler.advance(2 * TICK)
    expected = [] if announced is None else [(True, [(address(1, port=announced), int(FULL_NODE.flags))])]
    assert told(other) == expected


# --- answers and announcements of others ---


def test_an_answer_is_stored_with_who_gave_it() -> None:
    case = Case()
    peer = case.asked()
    items = [
        node(address(2), address(2, port=9), flags=0x0E),
        node(address(3), flags=None),
        node(address(4), flags=1 << 63),
    ]
    case.receive(peer, raw_nodes(b"\0", items))
    assert case.store.told == [
        (address(2), 0x0E, peer.address),
        (address(2, port=9), 0x0E, peer.address),
        (address(3), 1, peer.address),
        (address(4), 0, peer.address),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/10.1.1.1/tcp/1",
        "/ip4/127.0.0.1/tcp/1",
        "/dns4/localhost/tcp/8114",
        "/ip6/::1/tcp/1",
        "/ip4/224.0.0.1/tcp/1",
    ],
)
def test_what_nobody_can_reach_is_left_out(text: str) -> None:
    case = Case()
    poison = Multiaddr.parse(f"{text}/p2p/{peer_id(2)}")
    peer = case.receive(case.asked(), raw_nodes(b"\0", [node(poison, address(3))]))
    assert case.store.told_addresses == [address(3)]
    assert not peer.has_ended


def test_a_thousand_are_taken() -> None:
    case = Case()
    peer = case.receive(case.asked(), raw_nodes(b"\0", [node(address(seed)) for seed in range(1000)]))
    assert len(case.store.told) == 100  # the others when the event loop has looked for other work
    case.scheduler.advance(0.0)
    assert len(case.store.told) == 1000
    assert not peer.has_ended


def test_an_answer_is_believed_up_to_the_first_address_that_is_none() -> None:
    case = Case()
    peer = case.receive(case.asked(), raw_nodes(b"\0", [*(node(address(seed)) for seed in range(150)), node(b"\xff")]))
    case.scheduler.advance(0.0)
    assert peer.disconnected == "discovery: undecodable message"


def test_of_a_peer_that_has_left_nothing_more_is_taken() -> None:
    case = Case()
    peer = case.receive(case.asked(), raw_nodes(b"\0", [node(address(seed)) for seed in range(1000)]))
    case.handler.closed(peer)
    case.scheduler.advance(0.0)
    assert len(case.store.told) == 100


def test_an_answer_that_was_not_asked_for_is_not_taken() -> None:
    case = Case()
    peer = case.receive(case.peer(), raw_nodes(b"\0", [node(address(2))]))
    assert case.store.told == []
    assert not peer.has_ended


@pytest.mark.parametrize("direction", list(Direction))
def test_a_second_answer_ends_the_session(direction: Direction) -> None:
    case = Case()
    peer = case.peer(direction=direction)
    for _ in range(2):
        case.receive(peer, raw_nodes(b"\0", [node(address(2))]))
    assert peer.disconnected == "discovery: second answer"
    assert peer.banned is None


def test_an_announcement_may_come_before_the_answer() -> None:
    case = Case()
    peer = case.asked()
    case.receive(peer, raw_nodes(b"\1", [node(address(2))]))
    case.receive(peer, raw_nodes(b"\0", [node(address(3))]))
    case.receive(peer, raw_nodes(b"\1", [node(address(4))]))
    assert case.store.told_addresses == [address(2), address(3), address(4)]
    assert not peer.has_ended


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (raw_nodes(b"\1", [node(address(seed)) for seed in range(11)]), "discovery: too many nodes announced"),
        (raw_nodes(b"\0", [node(address(seed)) for seed in range(1001)]), "discovery: too many nodes in an answer"),
        (
            raw_nodes(b"\1", [node(*(address(1, port=at) for at in range(1, 5)))]),
            "discovery: too many addresses of a node",
        ),
        (undecodable_nodes(60_000, 1), "discovery: too many nodes in an answer"),
        (undecodable_nodes(1, 60_000), "discovery: too many addresses of a node"),
        (undecodable_nodes(1, 1), "discovery: undecodable message"),
        (raw_nodes(b"\2", []), "discovery: undecodable message"),
        (raw_nodes(b"\0", [node(address(1)), node(b"\x91\x02\x00\x01")]), "discovery: undecodable message"),
        (raw_nodes(b"\0", [node(b"\xff" * 600)]), "discovery: undecodable message"),
        (b"", "discovery: undecodable message"),
        (bytes(48), "discovery: undecodable message"),
        (GET_NODES[:-1], "discovery: undecodable message"),
        (GET_NODES + b"\0", "discovery: undecodable message"),
        (GET_NODES[:8] + b"\2" + GET_NODES[9:], "discovery: undecodable message"),
    ],
)
def test_misuse_ends_the_session_without_a_ban(payload: bytes, reason: str) -> None:
    case = Case()
    peer = case.receive(case.asked(), payload)
    assert peer.disconnected == reason
    assert peer.banned is None
    assert case.store.told == []


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_end_the_session(payload: bytes) -> None:
    case = Case()
    peer = case.receive(case.peer(), payload)
    assert peer.has_ended or peer.sent


def test_fields_of_the_future_are_read() -> None:
    case = Case()
    case.share(5)
    peer = case.receive(case.peer(), pack_parts([GET_NODES[8:], b"more"]))
    assert len(told(peer)) == 1


# --- floods ---


def test_nothing_is_left_of_closed_sessions() -> None:
    case = Case()
    peers = [case.asked(seed) for seed in range(1, 20)]
    for _ in range(int(MESSAGES_AT_ONCE) + 1):
        case.receive(peers[0], raw_nodes(b"\1", []))
    case.scheduler.advance(TICK)
    for peer in peers:
        case.handler.closed(peer)
    assert not case.handler._sessions
    assert not len(case.handler._pace)
    assert case.scheduler.waiting == 0
    case.receive(peers[3], get_nodes())
    assert peers[3].sent == []
