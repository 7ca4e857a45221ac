"""What is shown: rates of the last seconds, refusals by reason, luck."""

from __future__ import annotations

from ckb_node.miner.figures import MAX_REASONS, WINDOW_S, Figures, luck_text, rate_text
from ckb_node.miner.work import Tally


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_that_of_the_window() -> None:
    clock = Clock()
    figures = Figures(clock)
    assert figures.rate == 0
    total = 0
    for second in range(1, 60):
        clock.now += 1
        total += 1000 if second < 40 else 5000
        figures.sample(Tally(total))
    assert figures.rate == 5000
    assert len(figures._samples) <= WINDOW_S + 2


def test_rates_as_text() -> None:
    assert [rate_text(rate) for rate in (0, 999, 1500, 5_210_000, 3e9)] == [
        "0 nonces/s",
        "999 nonces/s",
        "1.50 k nonces/s",
        "5.21 M nonces/s",
        "3.00 G nonces/s",
    ]


def test_luck_by_how_far_it_is_from_what_was_expected() -> None:
    assert luck_text(0, 0.25) == "luck: 0 found, 0.25 expected"
    assert luck_text(100, 100) == "luck 100%, even (100 found, 100.0 expected)"
    assert [luck_text(found, 100).split(", ")[1].split()[0] for found in (70, 85, 95, 115, 130)] == [
        "cold",
        "cool",
        "even",
        "warm",
        "hot",
    ]


def test_refusals_are_counted_by_reason_and_a_pool_cannot_invent_too_many() -> None:
    figures = Figures(Clock())
    for index in range(1000):
        figures.reject(f"reason {index}")
        figures.reject("low")
    assert len(figures.rejected) == MAX_REASONS + 1
    assert figures.refusals == 2000
    figures.reject("\x1b[2J" * 1000)
    assert all(reason.isprintable() and len(reason) < 200 for reason in figures.rejected)


def test_the_line_and_the_summary() -> None:
    clock = Clock()
    figures = Figures(clock)
    figures.state, figures.number, figures.accepted, figures.found = "mining for a:1", 7, 3, 4
    clock.now += 10
    figures.sample(Tally(20_000_000, 2.0))
    assert figures.line("shares", has_luck=True) == (
        "mining for a:1 · block 7 · 2.00 M nonces/s · 3 shares accepted · luck 200%, warm (4 found, 2.0 expected)"
    )
    figures.reject("low")
    assert figures.line("blocks", has_luck=False) == "mining for a:1 · block 7 · 3 blocks accepted, 1 refused"
    assert figures.summary("shares") == "3 shares accepted in 10 s, 2.00 M nonces/s on average; refused 1: low"
