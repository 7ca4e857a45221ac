"""What a session is: what its handlers see, how it ends. Two nodes, or a few."""

from __future__ import annotations

from collections import Counter

import pytest
from structlog.testing import capture_logs

from network.limits import FEELER, RELAY, SYNC
from network.peer import Direction, MessageTooLarge, Peer, SessionKind
from network.traffic import Cause
from tests.simulation.kit_pairs import Pair


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
    assert pair.two.switch._held.total < 3_000_000
    pair.two_peer.release(RELAY)
    pair.world.run(5)
    assert len(pair.two_notes.payloads) == 16
    assert pair.one_peer.queued_bytes == 0
    assert pair.two.switch._held.total == 0


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


MESSAGES = [str(number).encode() for number in range(500)]


def working(pair: Pair, seconds: float) -> Counter[int]:
    """Each message costs so much; how many are handled in each call of the event loop."""
    turns = Counter[int]()

    def work(peer: Peer, payload: bytes) -> None:
        del peer, payload
        turns[pair.world.clock.calls] += 1
        pair.world.clock.work(seconds)

    pair.two_notes.on_received = work
    return turns


def test_messages_that_take_long_are_handled_in_turns() -> None:
    pair = Pair()
    turns = working(pair, 0.001)
    for payload in MESSAGES:
        pair.one_peer.send(RELAY, payload)
    pair.world.run(5)
    assert pair.two_notes.payloads == MESSAGES
    assert max(turns.values()) <= 6, "a round has five milliseconds"


@pytest.mark.parametrize("is_cut", [False, True])
def test_messages_that_have_waited_are_handled_in_turns(is_cut: bool) -> None:
    """Those that are here before the peer has gone are handled all the same."""
    pair = Pair()
    pair.two_notes.on_received = lambda peer, _: peer.hold(RELAY)
    for number in range(30):  # all come before the hold is known
        pair.one_peer.send(RELAY, MESSAGES[number])
    pair.world.run(1)
    turns = working(pair, 0.001)
    pair.two_peer.release(RELAY)
    if is_cut:
        pair.world.clock.call_later(0.002, pair.two_peer.end_of_stream)
    pair.world.run(1)
    assert pair.two_notes.payloads == MESSAGES[:30]
    assert max(turns.values()) <= 6
    assert (not pair.two.switch.peers()) is is_cut
