"""When the initial download is over although the tip is old."""

from __future__ import annotations

import pytest

from ckb_node.sync.chain import KnownTip
from ckb_node.sync.headers.stale import QUIET_SECONDS, StaleTip
from tests.sync.headers.kit_headers import GENESIS, branch

HEADERS = branch(GENESIS, 3)
TIP = KnownTip(HEADERS[0], 20)


def look(stale: StaleTip, best: KnownTip = TIP, *, now: float, tip: KnownTip = TIP) -> bool:
    return stale.is_end(tip, best, now)


def test_nobody_has_more_for_a_while() -> None:
    stale = StaleTip(0, 0.0)
    assert not look(stale, now=0.0)
    stale.heard("somebody")
    assert not look(stale, now=QUIET_SECONDS - 1)
    assert look(stale, now=QUIET_SECONDS)


def test_a_node_that_hears_from_nobody_goes_on_waiting() -> None:
    stale = StaleTip(0, 0.0)
    assert not look(stale, now=0.0)
    assert not look(stale, now=100 * QUIET_SECONDS)


def test_a_better_header_begins_the_wait_anew() -> None:
    stale = StaleTip(0, 0.0)
    stale.heard("before")
    look(stale, now=0.0)
    better = KnownTip(HEADERS[1], 30)
    assert not look(stale, better, now=QUIET_SECONDS)
    assert not look(stale, better, now=3 * QUIET_SECONDS, tip=better)  # nobody has been heard since
    stale.heard("after")
    assert look(stale, better, now=3 * QUIET_SECONDS, tip=better)


@pytest.mark.parametrize(
    ("min_chain_work", "tip", "best"),
    [
        (0, KnownTip(GENESIS, 20), KnownTip(GENESIS, 20)),  # a node that has nothing has nothing to serve
        (20, TIP, TIP),  # the least work of the chain is not there
        (0, TIP, KnownTip(HEADERS[1], 21)),  # blocks are still to come
    ],
)
def test_what_must_be_there_besides(min_chain_work: int, tip: KnownTip, best: KnownTip) -> None:
    stale = StaleTip(min_chain_work, 0.0)
    look(stale, best, now=0.0, tip=tip)
    stale.heard("somebody")
    assert not look(stale, best, now=2 * QUIET_SECONDS, tip=tip)


def test_many_witnesses_are_no_burden() -> None:
    stale = StaleTip(19, 0.0)
    look(stale, now=0.0)
    for number in range(10_000):
        stale.heard(f"peer {number}")
    assert look(stale, now=QUIET_SECONDS)
    assert len(stale._witnesses) < 100
