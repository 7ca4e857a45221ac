"""Discovery (protocol 1): addresses of peers are announced to others."""

from __future__ import annotations

from random import Random

import pytest

from network.limits import DISCOVERY, Flags
from network.multiaddr import Multiaddr
from network.peer import Direction
from network.protocols.discovery import ANNOUNCE_AGAIN, ANNOUNCED_AT_ONCE, TICK, DiscoveryProtocol
from network.protocols.discovery_messages import nodes
from tests.network.protocols.kit_discovery import Case, get_nodes, node, raw_nodes, told
from tests.support.network.peers import FULL_NODE, address, peer_id


def test_a_peer_is_announced_to_three_others_at_the_next_tick_but_one() -> None:
    case = Case()
    dialled = case.asked(1)
    others = [case.peer(seed) for seed in range(2, 12)]
    case.scheduler.advance(TICK)
    assert [told(other) for other in others] == [[]] * 10
    case.scheduler.advance(TICK)
    heard = [messages for messages in map(told, others) if messages]
    assert heard == [[(True, [(dialled.address, int(FULL_NODE.flags))])]] * 3
    assert told(dialled) == []


def test_once_a_day_and_to_others_than_those_who_know() -> None:
    case = Case()
    case.asked(1)
    others = [case.peer(seed) for seed in range(2, 12)]
    case.scheduler.advance(2 * TICK)
    first = {other.session_id for other in others if told(other)}
    case.scheduler.advance(ANNOUNCE_AGAIN - 2 * TICK)
    assert not any(told(other) for other in others)
    case.scheduler.advance(3 * TICK)
    assert first.isdisjoint(other.session_id for other in others if told(other))


def test_who_has_told_an_address_is_not_told_it() -> None:
    case = Case()
    dialled, other = case.asked(1), case.peer(2)
    case.receive(other, raw_nodes(b"\1", [node(dialled.address)]))
    case.scheduler.advance(3 * TICK)
    assert told(other) == []


def test_who_got_an_address_in_an_answer_is_not_told_it() -> None:
    case = Case()
    case.share(1)
    case.asked(1)
    other = case.receive(case.peer(2), get_nodes())
    assert len(told(other)) == 1
    case.scheduler.advance(3 * TICK)
    assert told(other) == []


def test_ten_are_queued_for_one_peer() -> None:
    case = Case()
    listener = case.peer(1)
    dialled = [case.asked(seed) for seed in range(2, 60)]
    for peer in dialled:  # so that all of them are announced to the listener
        case.handler._sessions[peer.session_id].queue = [(address(99), Flags(1))] * 10
    case.handler._rng = _First(listener.session_id, case.handler)
    case.scheduler.advance(TICK)
    case.scheduler.advance(TICK)
    assert [len(items) for _, items in told(listener)] == [10]


class _First(Random):
    """Chooses a session whenever it may."""

    def __init__(self, session_id: int, handler: DiscoveryProtocol) -> None:
        super().__init__(1)
        self._session_id, self._handler = session_id, handler

    def sample(self, population, k, *, counts=None):  # type: ignore[no-untyped-def] # the base class has no types here
        del counts
        chosen = [item for item in population if item.peer.session_id == self._session_id]
        return (chosen + [item for item in population if item not in chosen])[:k]


def test_a_peer_that_identifies_itself_later_is_announced_later() -> None:
    case = Case()
    late = case.asked(1)
    late.identity = None
    other = case.peer(2)
    case.scheduler.advance(3 * TICK)
    assert told(other) == []
    late.identity = FULL_NODE
    case.scheduler.advance(2 * TICK)
    assert len(told(other)) == 1


@pytest.mark.parametrize("text", ["/ip4/127.0.0.1/tcp/8115", "/dns4/example.org/tcp/8115"])
def test_what_others_cannot_reach_is_not_announced(text: str) -> None:
    case = Case()
    case.peer(1, Direction.OUTBOUND, at=Multiaddr.parse(f"{text}/p2p/{peer_id(1)}"))
    other = case.peer(2)
    case.scheduler.advance(3 * TICK)
    assert told(other) == []


def test_announcements_are_taken_as_fast_as_honest_nodes_send_them() -> None:
    case = Case()
    peer = case.peer(1)
    for start in range(0, 1000, 10):
        case.receive(peer, nodes([(address(start + at), Flags(0x3F)) for at in range(10)], is_announcement=True))
    assert len(case.store.told) == ANNOUNCED_AT_ONCE
    assert DISCOVERY in peer.held
    assert not peer.has_ended
    for _ in range(20):
        case.scheduler.advance(TICK)
        case.receive(peer, nodes([(address(2000 + at), Flags(0x3F)) for at in range(10)], is_announcement=True))
    assert len(case.store.told) == ANNOUNCED_AT_ONCE + 200
