"""Wanted transactions: bounded, and no peer keeps another's announcements out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ckb_node.sync.relay.wanted import ASK_NEXT_AFTER, ASKED_AT_ONCE, WantedTransactions
from tests.support.fuzz import examples


def hashes(count: int, seed: int = 0) -> list[bytes]:
    return [(seed * 1_000_000 + serial).to_bytes(32, "big") for serial in range(count)]


def anything(_: int) -> int:
    return 1000


def test_each_peer_has_its_share_of_a_full_table() -> None:
    wanted = WantedTransactions(100)
    wanted.announce(1, hashes(500, 1))
    assert (wanted.count(1), len(wanted)) == (100, 100)
    wanted.announce(2, hashes(30, 2))
    assert (wanted.count(1), wanted.count(2)) == (70, 30)
    wanted.announce(1, hashes(500, 3))
    assert (wanted.count(1), wanted.count(2)) == (70, 30)
    wanted.announce(2, hashes(500, 4))
    assert (wanted.count(1), wanted.count(2)) == (50, 50)


def test_the_oldest_stay() -> None:
    wanted = WantedTransactions(10)
    first = hashes(10)
    wanted.announce(1, first)
    wanted.announce(1, hashes(10, 1))
    assert wanted.ask(0.0, anything) == {1: first}


def test_asking_again_and_again() -> None:
    wanted = WantedTransactions()
    (tx_hash,) = hashes(1)
    for session in (1, 2, 3):
        wanted.announce(session, [tx_hash])
    now = 0.0
    for session in (1, 2, 3):
        assert wanted.ask(now, anything) == {session: [tx_hash]}
        assert wanted.is_asked_of(tx_hash, session)
        assert wanted.ask(now + ASK_NEXT_AFTER - 1, anything) == {}
        now += ASK_NEXT_AFTER
    assert wanted.ask(now, anything) == {}
    assert len(wanted) == 0


def test_what_has_come_is_forgotten_of_all() -> None:
    wanted = WantedTransactions()
    (tx_hash,) = hashes(1)
    for session in (1, 2, 3):
        wanted.announce(session, [tx_hash])
    wanted.ask(0.0, anything)
    assert list(wanted.take(tx_hash)) == [2, 3]
    assert [wanted.count(session) for session in (1, 2, 3)] == [0, 0, 0]
    assert wanted.outstanding(1) == 0
    assert list(wanted.take(tx_hash)) == []


steps = st.lists(
    st.tuples(
        st.sampled_from(["announce", "ask", "take", "forget"]), st.integers(1, 3), st.integers(0, 6), st.integers(0, 40)
    ),
    max_size=60,
)


@given(steps)
@settings(max_examples=examples(200), deadline=None)
def test_sums_are_those_of_a_look_at_all(trail: list[tuple[str, int, int, int]]) -> None:
    wanted, pool, now = WantedTransactions(8), hashes(7), 0.0
    asked: dict[bytes, int] = {}
    for step, session, which, wait in trail:
        now += wait
        if step == "announce":
            wanted.announce(session, [pool[which], pool[(which + session) % 7]])
        elif step == "ask":
            for each, chosen in wanted.ask(now, lambda _: 3).items():
                asked |= dict.fromkeys(chosen, each)
        elif step == "take":
            wanted.take(pool[which])
        else:
            while wanted.forget(session, 3):
                pass
        assert sum(wanted.count(each) for each in (1, 2, 3)) <= 8
        assert (len(wanted) == 0) == (sum(wanted.count(each) for each in (1, 2, 3)) == 0)
        for each in (1, 2, 3):
            assert wanted.outstanding(each) == sum(wanted.is_asked_of(tx_hash, each) for tx_hash in pool)
            assert wanted.outstanding(each) <= wanted.count(each)


def test_not_more_than_so_many_are_asked_for_at_once_and_peers_take_turns() -> None:
    wanted = WantedTransactions()
    for session in (1, 2):
        wanted.announce(session, hashes(5000, session))
    asked = [wanted.ask(now, lambda _: 10_000) for now in (0.0, 0.1, 0.2)]
    counts = [{session: len(chosen) for session, chosen in each.items()} for each in asked]
    assert counts == [{1: ASKED_AT_ONCE}, {2: ASKED_AT_ONCE}, {1: 904, 2: 904}]
    assert wanted.ask(40.0, anything) == {}
    assert len(wanted) == 10_000 - ASKED_AT_ONCE, "they are given up as slowly"


def test_a_peer_that_has_gone_is_forgotten_piece_by_piece() -> None:
    wanted = WantedTransactions()
    wanted.announce(1, hashes(10, 1))
    wanted.announce(2, hashes(10, 1))
    assert wanted.forget(1, 6)
    assert wanted.ask(0.0, lambda session: 100 if session == 2 else 0) == {2: hashes(10, 1)[:6]}
    assert not wanted.forget(1, 6)
    assert wanted.ask(0.0, anything) == {2: hashes(10, 1)[6:]}
