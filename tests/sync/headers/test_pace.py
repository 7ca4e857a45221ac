"""When a peer that sends headers is too slow."""

from __future__ import annotations

from ckb_node.sync.headers.pace import BLOCK_SECONDS, FAR_SECONDS, HEADERS_PER_SECOND, WINDOW, Pace, Verdict

NOW = 1_700_000_000_000
FAR_BACK = NOW - 1000 * 24 * 3600 * 1000
NORMAL = round(WINDOW * HEADERS_PER_SECOND)
"""Headers of a window."""


def windows(*counts: int) -> list[Verdict]:
    """Verdicts after windows in which so many headers came, 10 s of chain time each."""
    pace, at, found = Pace(), FAR_BACK, list[Verdict]()
    for count in counts:
        end = at + count * BLOCK_SECONDS * 1000
        pace.waits(WINDOW)
        if count:
            pace.sent(count, at, end)
        at = end
        found.append(pace.look(at, NOW))
    return found


def test_fast_enough() -> None:
    assert windows(NORMAL, NORMAL) == [Verdict.FINE] * 2


def test_nothing_or_too_little_comes() -> None:
    assert windows(0) == [Verdict.TOO_SLOW]
    assert windows(NORMAL // 4 - 1) == [Verdict.TOO_SLOW]


def test_one_slow_window_is_forgiven_who_was_fast_before() -> None:
    assert windows(2 * NORMAL, NORMAL // 2, NORMAL // 2) == [Verdict.FINE, Verdict.FINE, Verdict.FINE]
    assert windows(NORMAL, NORMAL // 2) == [Verdict.FINE, Verdict.TOO_SLOW]
    assert windows(NORMAL // 2) == [Verdict.TOO_SLOW]


def test_no_verdict_before_a_window_is_over() -> None:
    pace = Pace()
    pace.waits(WINDOW - 0.1)
    assert pace.look(FAR_BACK, NOW) is Verdict.FINE
    pace.waits(0.1)
    assert pace.look(FAR_BACK, NOW) is Verdict.TOO_SLOW


def test_time_in_which_nothing_was_asked_does_not_count() -> None:
    pace = Pace()
    for _ in range(100):
        assert pace.look(FAR_BACK, NOW) is Verdict.FINE


def test_many_headers_of_little_chain_time_are_progress() -> None:
    pace = Pace()
    pace.waits(WINDOW)
    pace.sent(NORMAL, FAR_BACK, FAR_BACK + 1000)
    assert pace.look(FAR_BACK, NOW) is Verdict.FINE


def test_near_the_end_headers_are_no_measure_until_the_end_is_far_again() -> None:
    pace = Pace()
    pace.waits(10 * WINDOW)
    assert pace.look(NOW - 1000, NOW) is Verdict.FINE
    pace.waits(10 * WINDOW)
    assert pace.look(NOW - 1000, NOW) is Verdict.FINE
    later = NOW + round(FAR_SECONDS) * 1000
    assert pace.look(NOW, later) is Verdict.FINE
    assert pace.look(NOW, later + 1000) is Verdict.BEGIN_ANEW
    assert pace.look(NOW, later + 1000) is Verdict.FINE  # what it waited before is forgotten
    pace.waits(WINDOW)
    assert pace.look(NOW, later + 1000) is Verdict.TOO_SLOW


def test_a_best_header_of_the_future_is_near_the_end() -> None:
    pace = Pace()
    pace.waits(10 * WINDOW)
    assert pace.look(NOW + 10_000, NOW) is Verdict.FINE
