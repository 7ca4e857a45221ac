"""What an address is good for, by its times: the reference's limits, and clocks that were set back."""

from __future__ import annotations

import pytest

from network.limits import Flags
from network.peers.known import REQUIRED_FLAGS, KnownAddress, serves
from tests.network.peers.kit import DAY, HOUR, MINUTE, NOW, address


def known(*, connected: int = 0, tried: int = 0, attempts: int = 0) -> KnownAddress:
    return KnownAddress(address("11.0.0.1"), 1, "", connected, tried, attempts)


@pytest.mark.parametrize(
    ("one", "is_connectable"),
    [
        (known(), True),
        (known(attempts=2, tried=NOW - HOUR), True),
        (known(attempts=3, tried=NOW - MINUTE - 1), False),
        (known(attempts=3, tried=NOW - MINUTE), True),  # the last dial may still be under way
        (known(attempts=9, connected=NOW - 8 * DAY, tried=NOW - HOUR), True),
        (known(attempts=10, connected=NOW - 8 * DAY, tried=NOW - HOUR), False),
        (known(attempts=10, connected=NOW - 7 * DAY, tried=NOW - HOUR), True),
        (known(attempts=10, connected=NOW - 8 * DAY, tried=NOW - DAY - 1), True),
    ],
)
def test_what_is_worth_another_dial(one: KnownAddress, is_connectable: bool) -> None:
    assert one.is_connectable(NOW) is is_connectable


def test_the_word_of_a_peer_gives_dials_back_after_a_while() -> None:
    one = known(attempts=3, tried=NOW - 5 * MINUTE)
    one.mark_told(2, NOW)
    assert (one.flags, one.attempts) == (2, 3)
    one.mark_told(4, NOW + 6 * MINUTE)
    assert (one.flags, one.attempts) == (4, 0)


def test_the_word_of_a_peer_changes_nothing_of_what_we_saw_ourselves() -> None:
    one = known(attempts=3, connected=NOW - DAY, tried=NOW - HOUR)
    one.mark_told(2, NOW)
    assert (one.flags, one.attempts) == (1, 3)


def test_a_dial_without_answer_lets_others_go_first_for_a_time_that_doubles() -> None:
    one, spans = known(connected=NOW), list[int]()
    for _ in range(8):
        one.mark_tried(NOW)
        spans.append(next(minutes for minutes in range(200) if not one.is_resting(NOW + minutes * MINUTE + 1)))
    assert spans == [2, 4, 8, 16, 32, 64, 64, 64]


def test_times_in_the_future_do_not_spoil_an_address() -> None:
    one = known(connected=NOW + DAY, tried=NOW + DAY)
    assert one.connected_within(3 * DAY, NOW)
    assert one.has_rested_since_connected(NOW)
    assert not one.was_tried_within(MINUTE, NOW)


@pytest.mark.parametrize(
    ("flags", "required", "expected"),
    [
        (Flags.SYNC | Flags.DISCOVERY | Flags.RELAY, REQUIRED_FLAGS, True),
        (Flags.COMPATIBILITY, REQUIRED_FLAGS, True),
        (Flags.SYNC | Flags.DISCOVERY, REQUIRED_FLAGS, False),
        (Flags.COMPATIBILITY, Flags.SYNC, False),
        (0x3F | 1 << 40, REQUIRED_FLAGS | Flags.BLOCK_FILTER, True),
        (0, 0, True),
    ],
)
def test_what_a_peer_serves(flags: int, required: int, expected: bool) -> None:
    assert serves(flags, required) is expected
