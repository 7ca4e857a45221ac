"""Whom the node leaves alone for a while, and why."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from network.peer import Direction, SessionKind
from network.rests import LONG, MAX_PEERS, MAX_REST, REST, Rests
from network.session import Session
from network.traffic import Cause


def a_session(
    *,
    direction: Direction = Direction.OUTBOUND,
    kind: SessionKind = SessionKind.FULL,
    has_synced: bool = True,
    said_goodbye: bool = False,
) -> Session:
    facts = SimpleNamespace(
        peer_id="QmA",
        connected_at=100.0,
        direction=direction,
        kind=kind,
        has_synced=has_synced,
        said_goodbye=said_goodbye,
    )
    return cast(Session, facts)


@pytest.mark.parametrize("cause", [Cause.DISCONNECTED, Cause.WIRE, Cause.OVERLOAD, Cause.FAULT])
@pytest.mark.parametrize("direction", Direction)
def test_whom_this_node_sent_away_rests(cause: Cause, direction: Direction) -> None:
    rests = Rests()
    rests.left(a_session(direction=direction), cause, 110.0)
    assert rests.is_resting("QmA", 110.0 + REST - 1)
    assert not rests.is_resting("QmA", 110.0 + REST)


@pytest.mark.parametrize(("said_goodbye", "has_synced"), [(True, True), (False, False)])
def test_a_peer_that_sends_us_away_rests(said_goodbye: bool, has_synced: bool) -> None:
    rests = Rests()
    rests.left(a_session(said_goodbye=said_goodbye, has_synced=has_synced), Cause.CLOSED_BY_PEER, 110.0)
    assert rests.is_resting("QmA", 111.0)


@pytest.mark.parametrize(
    ("session", "cause"),
    [
        (a_session(), Cause.CLOSED_BY_PEER),  # its process has died, or the line
        (a_session(direction=Direction.INBOUND, said_goodbye=True), Cause.CLOSED_BY_PEER),  # what it wanted, we may not
        (a_session(kind=SessionKind.FEELER), Cause.DISCONNECTED),
        (a_session(direction=Direction.INBOUND, has_synced=False), Cause.DISCONNECTED),  # a feeler of the other end
        (a_session(), Cause.EVICTED),
        (a_session(), Cause.SHUTDOWN),
    ],
)
def test_others_may_come_back_at_once(session: Session, cause: Cause) -> None:
    rests = Rests()
    rests.left(session, cause, 110.0)
    assert not rests.is_resting("QmA", 110.0)


def test_rests_double_until_a_session_was_worth_something() -> None:
    rests, now, seen = Rests(), 0.0, []
    for lasted in (1.0, 1.0, 1.0, 1.0, 1.0, LONG):
        rests.note("QmA", lasted, now)
        seen.append(next(each for each in range(int(MAX_REST) + 1) if not rests.is_resting("QmA", now + each)))
        now += seen[-1]
    assert seen == [300, 600, 1200, 1800, 1800, 300]


def test_what_was_long_ago_does_not_count() -> None:
    rests = Rests()
    rests.note("QmA", 1.0, 0.0)
    rests.note("QmA", 1.0, REST + MAX_REST)
    assert rests.times("QmA", REST + MAX_REST) == 1


def test_the_table_has_a_bound() -> None:
    rests = Rests()
    for number in range(MAX_PEERS + 1):
        rests.note(str(number), 1.0, 0.0)
    assert not rests.is_resting("0", 1.0)
    assert rests.is_resting("1", 1.0)
