"""How hard shares are: how fast the difficulty follows a miner's rate, and its bounds."""

from __future__ import annotations

import random

import pytest

from ckb_node.stratum.vardiff import (
    Vardiff,
    VardiffRules,
    hashes_of,
    share_target,
    shown_difficulty,
    target_hashes,
)

RULES = VardiffRules(10.0, 1 << 32, 1 << 10, 1 << 60)


@pytest.mark.parametrize(
    ("difficulty", "target"), [(1, 1 << 224), (0.5, 1 << 225), (65536, 1 << 208), (2**-16, 1 << 240)]
)
def test_difficulty_one_is_the_target_of_two_to_the_224(difficulty: float, target: int) -> None:
    assert share_target(hashes_of(difficulty)) == target
    assert shown_difficulty(target) == difficulty
    assert target_hashes(target) == pytest.approx(hashes_of(difficulty), abs=1)


def test_no_difficulty_is_too_small() -> None:
    assert hashes_of(1e-30) == 1
    assert share_target(1) == (1 << 256) - 1
    assert target_hashes((1 << 256) - 1) == 1


def mine(vardiff: Vardiff, rate: float, seconds: int, seed: int) -> float:
    """Shares come by chance; the difficulty at the end."""
    rng = random.Random(seed)
    for second in range(seconds):
        if second % 5 == 0:
            vardiff.look(second)
        now = second + rng.expovariate(rate / vardiff.hashes)
        while now < second + 1:
            vardiff.note(vardiff.hashes)
            vardiff.look(now)
            now += rng.expovariate(rate / vardiff.hashes)
    return vardiff.hashes


@pytest.mark.parametrize("rate", [1e6, 1e9, 1e12, 6e13])
@pytest.mark.parametrize("seed", range(3))
def test_a_miner_finds_a_share_about_every_interval(rate: float, seed: int) -> None:
    hashes = mine(Vardiff(RULES, 0.0), rate, 3600, seed)
    assert rate * 10 / 4 < hashes < rate * 10 * 4


def test_a_fast_miner_is_slowed_down_before_its_time() -> None:
    vardiff = Vardiff(RULES, 0.0)
    for _ in range(23):
        vardiff.note(vardiff.hashes)
        assert not vardiff.look(1.0)
    vardiff.note(vardiff.hashes)
    assert vardiff.look(1.0)
    assert vardiff.hashes == 4 << 32


def test_a_rate_that_is_nearly_right_changes_nothing() -> None:
    vardiff = Vardiff(RULES, 0.0)
    for _ in range(5):
        vardiff.note(vardiff.hashes)
    assert not vardiff.look(60.0)
    assert vardiff.hashes == 1 << 32


def test_bounds() -> None:
    rules = VardiffRules(10.0, 1 << 40, 1 << 30, 1 << 35)
    vardiff = Vardiff(rules, 0.0)
    assert vardiff.hashes == 1 << 35
    vardiff.suggest(1, 0.0)
    assert vardiff.hashes == 1 << 30
    assert not vardiff.look(3600.0)  # there is nothing easier
    vardiff.suggest(1 << 50, 3600.0)
    assert vardiff.hashes == 1 << 35
