"""Eviction of an inbound session: each protected class, then the largest network group."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from network.peers.eviction import victim_of
from tests.support.fuzz import examples

DRAWS = 60


@dataclass(frozen=True)
class One:
    session_id: int
    group: str = "1.1"
    ping_ms: int | None = 100
    last_ping_ms: int | None = 50_000
    last_useful_ms: int | None = None
    connected_ms: int = 1000


def crowd(count: int, **fields: object) -> list[One]:
    """Sessions that are all alike but for the id and the time of connection."""
    return [replace(One(number, connected_ms=1000 + number), **fields) for number in range(count)]  # type: ignore[arg-type]


def victims(inbound: list[One]) -> set[int]:
    """Who may be chosen."""
    return {victim_of(inbound, Random(seed)).session_id for seed in range(DRAWS)}


def test_the_longer_connected_half_of_what_is_left_stays() -> None:
    # 8 by ping and 8 by sign of life are the first ones here, 20 are left, and the younger 10 of them may go
    assert victims(crowd(36)) == set(range(26, 36))


def test_the_shortest_round_trips_stay_to_the_millisecond() -> None:
    inbound = crowd(36)
    for number in range(28, 36):
        inbound[number] = replace(inbound[number], ping_ms=99)
    assert victims(inbound).isdisjoint(range(28, 36))


def test_who_never_answered_a_ping_has_the_longest_round_trip() -> None:
    inbound = [replace(one, ping_ms=None if one.session_id < 8 else 10_000) for one in crowd(16)]
    # the 8 that answered stay; the others protect nobody by sign of life, being 8; the younger half of them may go
    assert victims(inbound) == {4, 5, 6, 7}


def test_the_latest_signs_of_life_stay() -> None:
    inbound = crowd(36)
    for number in range(28, 36):
        inbound[number] = replace(inbound[number], last_ping_ms=50_001, ping_ms=500)
    assert victims(inbound).isdisjoint(range(28, 36))


def test_the_latest_bringers_of_something_valid_stay() -> None:
    inbound = crowd(36)
    for number in range(30, 36):
        inbound[number] = replace(inbound[number], last_useful_ms=40_000, ping_ms=500)
    assert victims(inbound).isdisjoint(range(30, 36))


def test_useless_sessions_are_not_protected_as_bringers() -> None:
    assert victims(crowd(10, last_useful_ms=None)) == victims(crowd(10))


def test_the_largest_network_group_goes() -> None:
    inbound = crowd(36)
    for number in (29, 31, 33):
        inbound[number] = replace(inbound[number], group="2.2")
    for number in (26, 27, 28, 30, 32, 34, 35):
        inbound[number] = replace(inbound[number], group=f"3.{number}")
    assert victims(inbound) == {29, 31, 33}


def test_a_few_sessions_protect_only_the_longer_connected_half() -> None:
    assert victims(crowd(1)) == {0}
    assert victims(crowd(2)) == {1}
    assert victims(crowd(8)) == {4, 5, 6, 7}


SESSIONS = st.lists(
    st.builds(
        One,
        session_id=st.integers(0, 10**6),
        group=st.sampled_from(["1.1", "2.2", "3.3"]),
        ping_ms=st.none() | st.integers(0, 5000),
        last_ping_ms=st.none() | st.integers(0, 10**5),
        last_useful_ms=st.none() | st.integers(0, 10**5),
        connected_ms=st.integers(0, 10**5),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda one: one.session_id,
)


@settings(max_examples=examples(100))
@given(SESSIONS, st.integers(0, 2**32))
def test_somebody_always_goes_and_never_the_first_of_a_class(inbound: list[One], seed: int) -> None:
    victim = victim_of(inbound, Random(seed))
    assert victim in inbound
    if len(inbound) > 8 and victim.ping_ms is not None:
        assert sum((one.ping_ms is not None, one.ping_ms or 0) <= (True, victim.ping_ms) for one in inbound) > 8
