"""Whom the node dials over libp2p, and when again."""

from __future__ import annotations

from network.identity import Identity
from network.libp2p.dialler import FIRST_PAUSE, LONGEST_PAUSE, LONGEST_REST, MAX_ADDRESSES, OF_USE, Dialler
from network.libp2p.names import Libp2pAddress, libp2p_id_text, parse_address

KEYS = [Identity(bytes([number]) * 32).public_key for number in range(1, 6)]
ADDRESSES = [parse_address(f"/ip4/192.0.2.1/tcp/1/p2p/{libp2p_id_text(key)}") for key in KEYS]


def anybody(_: Libp2pAddress) -> bool:
    return True


def test_no_more_than_there_are_places_and_each_once() -> None:
    dialler = Dialler(ADDRESSES)
    assert dialler.due(0.0, 3, anybody) == ADDRESSES[:3]
    assert dialler.due(0.0, 3, anybody) == []
    assert dialler.due(0.0, 5, anybody) == ADDRESSES[3:]


def test_only_those_that_may_be_dialled() -> None:
    assert Dialler(ADDRESSES).due(0.0, 9, lambda it: it is ADDRESSES[2]) == [ADDRESSES[2]]


def test_who_does_not_answer_is_dialled_again_after_growing_pauses() -> None:
    dialler, now, pauses = Dialler(ADDRESSES[:1]), 0.0, []
    for _ in range(12):
        begun = now
        while not dialler.due(now, 1, anybody):
            now += FIRST_PAUSE / 2
        pauses.append(now - begun)
        dialler.ended(ADDRESSES[0], now, is_connected=False)
    assert pauses[:5] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_PAUSE


def test_who_was_away_for_long_and_comes_back_is_not_waited_for_as_long() -> None:
    """It may be all that joins two networks: for that one they waited 33 s."""
    dialler, now = Dialler(ADDRESSES[:1]), 0.0
    while now < 300.0:
        if dialler.due(now, 1, anybody):
            dialler.ended(ADDRESSES[0], now, is_connected=False)
        now += 1.0
    until = now
    while not dialler.due(until, 1, anybody):
        until += 1.0
    assert until - now <= 15.0


def test_who_never_answers_is_dialled_for_ever() -> None:
    dialler, now = Dialler(ADDRESSES[:1]), 0.0
    for _ in range(1100):  # 2.0 ** 1024 is no float any more
        now += LONGEST_PAUSE
        assert dialler.due(now, 1, anybody) == ADDRESSES[:1]
        dialler.ended(ADDRESSES[0], now, is_connected=False)


def test_those_that_do_not_answer_leave_the_others_their_places() -> None:
    dialler, now, met = Dialler(ADDRESSES), 0.0, set[Libp2pAddress]()
    for _ in range(4):
        found = dialler.due(now, 2, anybody)
        met.update(found)
        now += LONGEST_PAUSE
        for each in found:
            dialler.ended(each, now, is_connected=False)
        now += LONGEST_PAUSE
    assert met == set(ADDRESSES)


def test_who_leaves_at_once_rests_longer_each_time() -> None:
    dialler, now, pauses = Dialler(ADDRESSES[:1]), 0.0, []
    for _ in range(12):
        begun = now
        while not dialler.due(now, 1, anybody):
            now += FIRST_PAUSE / 2
        pauses.append(now - begun)
        dialler.ended(ADDRESSES[0], now, is_connected=True)
    assert pauses[:5] == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_REST


def test_who_comes_back_and_falls_once_more_has_not_been_of_no_use_before() -> None:
    dialler = Dialler(ADDRESSES[:1])
    for number in range(10):
        dialler.due(100.0 * number, 1, anybody)
        dialler.ended(ADDRESSES[0], 100.0 * number, is_connected=number == 9)
    assert dialler.due(910.0, 1, anybody) == []
    assert dialler.due(910.0 + FIRST_PAUSE, 1, anybody) == ADDRESSES[:1]


def test_who_stayed_is_dialled_at_once() -> None:
    dialler = Dialler(ADDRESSES[:1])
    for _ in range(3):
        dialler.due(0.0, 1, anybody)
        dialler.ended(ADDRESSES[0], 0.0, is_connected=False)
    dialler.due(100.0, 1, anybody)
    dialler.ended(ADDRESSES[0], 100.0, is_connected=True)
    assert dialler.due(100.0 + OF_USE, 1, anybody) == ADDRESSES[:1]


def test_a_new_process_may_dial_what_the_last_one_was_dialling() -> None:
    dialler = Dialler(ADDRESSES)
    dialler.due(0.0, 5, anybody)
    dialler.restart()
    assert dialler.due(0.0, 5, anybody) == ADDRESSES


def test_whom_the_operator_adds_is_dialled_at_once_and_as_many_as_there_is_room_for() -> None:
    dialler = Dialler(ADDRESSES[:1])
    dialler.due(0.0, 1, anybody)
    dialler.ended(ADDRESSES[0], 0.0, is_connected=False)
    dialler.add(ADDRESSES[0])
    dialler.add(ADDRESSES[1])
    assert dialler.due(0.1, 9, anybody) == ADDRESSES[:2]
    peer = ADDRESSES[0].text.partition("/p2p/")[2]
    full = Dialler([parse_address(f"/ip4/192.0.2.1/tcp/{port}/p2p/{peer}") for port in range(2, 2 + MAX_ADDRESSES)])
    full.add(ADDRESSES[0])
    assert len(full.due(0.0, 9999, anybody)) == MAX_ADDRESSES
