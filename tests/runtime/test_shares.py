"""Shares of a common room: who uses most is found by the limit that is nearest."""

from __future__ import annotations

import pytest

from ckb_node.runtime.shares import Shares


def is_over(shares: Shares) -> bool:
    """A question that is asked anew each time."""
    return shares.is_over


def test_the_heaviest_is_by_any_limit() -> None:
    shares = Shares(10, 1000)
    shares.take(1, 6, 10)
    shares.take(2, 1, 700)
    assert shares.heaviest() == 2
    shares.take(1, 2, 0)
    assert shares.heaviest() == 1
    assert is_over(shares) is False
    shares.take(3, 1, 300)
    assert is_over(shares) is True
    shares.give_back(2, 1, 700)
    assert is_over(shares) is False
    assert (list(shares.total), list(shares.of(1)), list(shares.of(2))) == ([9, 310], [8, 10], [0, 0])
    assert len(shares) == 2


def test_nobody_is_the_heaviest_of_an_empty_room() -> None:
    with pytest.raises(ValueError, match="empty"):
        Shares(1).heaviest()


def test_what_one_uses_becomes_anothers() -> None:
    shares = Shares(10, 1000)
    shares.take(1, 2, 20)
    shares.take(2, 3, 30)
    shares.move(1, 2)
    shares.move(9, 2)  # who uses nothing
    assert (list(shares.of(1)), list(shares.of(2)), list(shares.total)) == ([0, 0], [5, 50], [5, 50])
    shares.move(2, 7)
    shares.give_back(7, 5, 50)
    assert len(shares) == 0
