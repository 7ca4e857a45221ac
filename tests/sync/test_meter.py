"""How fast something grows."""

from __future__ import annotations

import pytest

from ckb_node.sync.meter import Meter


def test_the_rate_is_that_of_the_window() -> None:
    meter = Meter(60.0)
    assert (meter.rate, meter.seconds) == (0.0, 0.0)
    meter.add(0.0, 5)
    assert (meter.rate, meter.seconds) == (0.0, 0.0)
    for second in range(1, 301):
        meter.add(second, 5 + (second * 10 if second <= 150 else 1500 + (second - 150) * 2))
    assert meter.rate == pytest.approx(2.0)
    assert 60.0 <= meter.seconds <= 61.0


def test_many_samples_cost_no_more() -> None:
    meter = Meter(10.0)
    for step in range(10_000):
        meter.add(step / 100, step)
    assert len(meter._samples) <= 12
    assert meter.rate == pytest.approx(100.0)


def test_what_falls_begins_anew() -> None:
    meter = Meter(60.0)
    meter.add(0.0, 100)
    meter.add(10.0, 200)
    meter.add(20.0, 50)
    assert meter.rate == 0.0
    meter.add(30.0, 150)
    assert meter.rate == pytest.approx(10.0)


def test_what_is_forgotten() -> None:
    meter = Meter(60.0)
    meter.add(0.0, 1)
    meter.add(1.0, 2)
    meter.forget()
    assert (meter.rate, meter.seconds) == (0.0, 0.0)
