"""Discovery on libp2p: who asks, what is told, what is believed, and how often."""

from __future__ import annotations

from random import Random

import pytest

from network.identity import Identity
from network.libp2p.book import Book
from network.libp2p.exchange import ASK_AGAIN, MAX_TOLD, MESSAGES_AT_ONCE, DiscoveryOfWires, PeerExchange
from network.libp2p.names import address_bytes, libp2p_id_text, parse_address, parse_address_bytes
from network.limits import DISCOVERY, PING
from network.messages.peers import DiscoveryMessage, GetNodes, Nodes
from network.multiaddr import Multiaddr
from network.peer import Direction
from tests.network.protocols.kit_discovery import get_nodes, node, raw_nodes
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer

PORT = 8117


def place(number: int, port: int = PORT) -> str:
    return f"/ip4/40.{number}.7.9/tcp/{port}"


def named(number: int) -> str:
    return f"{place(number)}/p2p/{libp2p_id_text(Identity(bytes([number + 1]) * 32).public_key)}"


class Case:
    """An exchange with all that it uses; peers are known by numbers."""

    def __init__(self, *, allow_local: bool = False) -> None:
        self.scheduler, self.book, self.ids = FakeScheduler(), Book(Random(1)), dict[int, str]()
        self.port: int | None = PORT
        self.wants_peers = True
        self.exchange = PeerExchange(
            self.scheduler,
            Random(2),
            self.book,
            id_of=self.ids.get,
            listen_port=lambda: self.port,
            wants_peers=lambda: self.wants_peers,
            allow_local=allow_local,
        )

    def peer(self, number: int, direction: Direction = Direction.INBOUND, at: str | None = None) -> FakePeer:
        address = parse_address(named(number)).address
        found = FakePeer(number, direction=direction, at=Multiaddr.parse(at) if at else address)
        found.peer_id = str(address.peer_id)
        self.ids[found.session_id] = named(number).rpartition("/")[2]
        return found.connect(self.exchange)

    def asks(self, peer: FakePeer, count: int = 1000, port: int | None = None) -> list[str]:
        """What it is told."""
        self.exchange.received(peer, get_nodes(count, port))
        (payload,) = peer.take(DISCOVERY)
        message = DiscoveryMessage.parse(payload).payload
        assert isinstance(message, Nodes)
        return sorted(parse_address_bytes(raw).text for each in message.items for raw in each.addresses)

    def tells(self, peer: FakePeer, *addresses: str) -> FakePeer:
        items = [node(address_bytes(parse_address(each))) for each in addresses]
        self.exchange.received(peer, raw_nodes(b"\0", items))
        return peer

    def known(self) -> set[str]:
        return {each.text for each in self.book.due(0.0, 9999, (), lambda _: True)}


def test_the_dialler_asks_and_names_its_port_and_the_other_one_does_not() -> None:
    case = Case()
    (question,) = case.peer(1, Direction.OUTBOUND).take(DISCOVERY)
    message = DiscoveryMessage.parse(question).payload
    assert isinstance(message, GetNodes)
    assert message.listen_port == PORT
    assert case.peer(2).take(DISCOVERY) == []


def test_who_asks_is_told_of_the_others_that_can_be_dialled() -> None:
    case = Case()
    case.peer(1, Direction.OUTBOUND)
    assert case.asks(case.peer(2, at=place(2, 40_000)), port=PORT) == [named(1)]
    assert case.asks(case.peer(3)) == sorted([named(1), named(2)])
    case.book.add(parse_address(named(9)), "teller")
    assert len(case.asks(case.peer(4))) == 2  # nobody has said where 3 listens, and 9 has never answered
    case.book.ended(parse_address(named(9)), 0.0, is_connected=True)
    assert named(9) in case.asks(case.peer(5))
    assert len(case.asks(case.peer(6), count=1)) == 1


def test_who_has_left_is_told_of_no_more() -> None:
    case = Case()
    peer = case.peer(1)
    case.asks(peer, port=PORT)
    case.exchange.closed(peer)
    assert case.asks(case.peer(2)) == []


def test_places_of_this_machine_are_told_and_taken_only_where_they_are_good() -> None:
    local = "/ip4/127.0.0.1/tcp/1/p2p/" + named(7).rpartition("/")[2]
    name = "/dns4/peer.example/tcp/1/p2p/" + named(8).rpartition("/")[2]
    for allow_local in (False, True):
        case = Case(allow_local=allow_local)
        inside = case.peer(1, at="/ip4/127.0.0.1/tcp/40000")
        case.asks(inside, port=PORT)
        assert bool(case.asks(case.peer(2))) is allow_local
        case.tells(case.peer(3, Direction.OUTBOUND), local, name)
        assert case.known() == ({local} if allow_local else set())


def test_answers_are_kept_and_questions_come_again_while_peers_are_wanted() -> None:
    case = Case()
    peer = case.tells(case.peer(1, Direction.OUTBOUND), named(2), named(3))
    assert case.known() == {named(2), named(3)}
    assert not peer.has_ended
    peer.take(DISCOVERY)
    case.scheduler.advance(ASK_AGAIN)
    assert len(peer.take(DISCOVERY)) == 1
    case.wants_peers = False
    case.scheduler.advance(ASK_AGAIN)
    assert peer.take(DISCOVERY) == []


def test_of_a_long_answer_the_beginning_is_read() -> None:
    case = Case()
    case.tells(case.peer(0, Direction.OUTBOUND), *[named(number + 1) for number in range(MAX_TOLD + 9)])
    assert len(case.book) == MAX_TOLD


@pytest.mark.parametrize(
    ("direction", "payload", "reason"),
    [
        (Direction.INBOUND, raw_nodes(b"\0", []), "second answer"),
        (Direction.OUTBOUND, raw_nodes(b"\1", []), "second answer"),
        (Direction.OUTBOUND, raw_nodes(b"\0", [node(b"\x04\x01")]), "undecodable"),
        (Direction.OUTBOUND, b"", "undecodable"),
    ],
)
def test_what_is_not_asked_for_or_not_readable_ends_the_session(
    direction: Direction, payload: bytes, reason: str
) -> None:
    case = Case()
    peer = case.peer(1, direction)
    case.exchange.received(peer, payload)
    assert peer.disconnected is not None
    assert reason in peer.disconnected


def test_the_answer_to_one_question_comes_once() -> None:
    case = Case()
    peer = case.tells(case.peer(1, Direction.OUTBOUND), named(2))
    assert case.tells(peer, named(3)).disconnected is not None
    assert case.known() == {named(2)}


def test_who_asks_without_end_is_read_slowly() -> None:
    case = Case()
    peer = case.peer(1)
    for _ in range(int(MESSAGES_AT_ONCE) + 1):
        case.asks(peer)
    assert peer.held == {DISCOVERY}
    case.scheduler.advance(120.0)
    assert peer.held == set()
    assert not peer.has_ended


class Other:
    """The handler of the other wire."""

    protocol = PING

    def __init__(self) -> None:
        self.calls: list[str] = []

    def opened(self, peer: FakePeer) -> None:
        self.calls.append("opened")

    def received(self, peer: FakePeer, payload: bytes) -> None:
        self.calls.append("received")

    def closed(self, peer: FakePeer) -> None:
        self.calls.append("closed")


def test_each_wire_has_its_own() -> None:
    ckb, libp2p, ids = Other(), Other(), {1}
    wires = DiscoveryOfWires(ckb, libp2p, ids.__contains__)  # type: ignore[arg-type]
    one, two = FakePeer(1), FakePeer(2)
    one.session_id, two.session_id = 1, 2
    for peer in (one, two):
        wires.opened(peer)
    wires.received(one, b"")
    wires.closed(two)
    assert libp2p.calls == ["opened", "received", "closed"]
    assert ckb.calls == ["opened", "closed"]
