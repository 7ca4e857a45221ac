"""What people are told of sync: the phase, rates and time left that were measured, and why a node stands.

The complaints are those of operators of this and similar nodes, see docs/decisions and the issue of sync.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ckb_node.sync.progress import PATIENCE, Phase, Progress, SyncFigures, SyncProgress
from tests.support.sync_figures import GENESIS_MS, HEIGHT, NOW_MS, figures


class Watched:
    """A node that is looked at once a second."""

    def __init__(self, *, expects_peers: bool = True, expects_blocks: bool = True) -> None:
        self.progress = SyncProgress(GENESIS_MS, expects_peers=expects_peers, expects_blocks=expects_blocks)
        self.now = 1000.0

    def look(self, seen: SyncFigures, seconds: float = 1.0) -> Progress:
        self.now += seconds
        return self.progress.sample(seen, self.now, NOW_MS)

    def watch(self, seconds: int, at: Callable[[int], SyncFigures]) -> Progress:
        """`at` gives the figures of each second."""
        progress = self.look(at(0))
        for second in range(1, seconds + 1):
            progress = self.look(at(second))
        return progress


# ---------------------------------------------------------------- phases


@pytest.mark.parametrize(
    ("seen", "phase"),
    [
        (figures(tip=0, best=0, peers=0), Phase.NO_PEERS),
        (figures(tip=0, best=5000, asked=1), Phase.HEADERS),
        (figures(tip=0, best=5000, asked=1, in_flight=3), Phase.BLOCKS),
        (figures(tip=0, best=5000, asked=1, buffered_bytes=3), Phase.BLOCKS),
        (figures(tip=10, best=5000), Phase.BLOCKS),
        (figures(tip=10, best=HEIGHT, asked=1), Phase.BLOCKS),
        (figures(tip=5000, best=5000), Phase.HEADERS),
        (figures(asked=8), Phase.TIP),
        (figures(), Phase.TIP),
    ],
)
def test_phases(seen: SyncFigures, phase: Phase) -> None:
    progress = Watched().look(seen)
    assert progress.phase is phase
    assert progress.is_syncing is (phase is not Phase.TIP)
    assert progress.stall is None


def test_a_dev_chain_whose_miner_rests_is_at_its_tip() -> None:
    watched = Watched(expects_peers=False, expects_blocks=False)
    assert watched.watch(4000, lambda _: figures(tip=5000, best=5000)).phase is Phase.TIP
    assert watched.look(figures(tip=5000, best=5000)).stall is None
    assert watched.watch(4000, lambda _: figures(tip=5000, best=5000, peers=0)).stall is None


# ---------------------------------------------------------------- rates, percentage, time left


def test_headers_rate_fraction_and_time_left() -> None:
    progress = Watched().watch(100, lambda second: figures(tip=0, best=50_000 * second, asked=1))
    assert progress.headers_per_s == pytest.approx(50_000)
    assert progress.fraction == pytest.approx(0.5)
    assert progress.about == pytest.approx(HEIGHT, rel=0.001)
    assert progress.seconds_left == pytest.approx(100, rel=0.01)


def test_blocks_rate_fraction_and_time_left() -> None:
    progress = Watched().watch(400, lambda second: figures(tip=1000 * second, best=HEIGHT, in_flight=99))
    assert progress.blocks_per_s == pytest.approx(1000)
    assert progress.fraction == pytest.approx(0.04)
    assert progress.seconds_left == pytest.approx((HEIGHT - 400_000) / 1000)


def test_the_time_left_follows_the_last_minutes() -> None:
    """Complaint 15: the first blocks are empty and fast; what was fast an hour ago says nothing."""

    def height(second: int) -> int:
        return min(second, 1000) * 2000 + max(second - 1000, 0) * 10

    progress = Watched().watch(1400, lambda second: figures(tip=height(second), in_flight=99))
    assert progress.seconds_left == pytest.approx((HEIGHT - height(1400)) / 10)


def test_the_time_left_is_unknown_and_not_zero() -> None:
    """Complaint 15: "0 minutes"."""
    watched = Watched()
    assert watched.look(figures(tip=0, best=HEIGHT, in_flight=9)).seconds_left is None  # nothing is measured yet
    assert watched.watch(20, lambda second: figures(tip=second, in_flight=9)).seconds_left is None
    assert watched.watch(20, lambda second: figures(tip=20 + second, in_flight=9)).seconds_left is not None
    stands = watched.watch(200, lambda _: figures(tip=40, in_flight=9))
    assert (stands.stall is not None, stands.seconds_left) == (True, None)
    more_headers = figures(tip=50, best=5000, asked=1, in_flight=9)
    assert watched.watch(100, lambda _: more_headers).seconds_left is None  # nobody knows how many blocks there are
    assert watched.look(figures(peers=0, tip=5)).seconds_left is None


def test_the_whole_is_estimated_while_headers_come() -> None:
    progress = Watched().look(figures(tip=HEIGHT // 4, best=HEIGHT // 2, asked=1, in_flight=5))
    assert progress.about == pytest.approx(HEIGHT, rel=0.001)
    assert progress.fraction == pytest.approx(0.25, rel=0.001)


@pytest.mark.parametrize("best", [0, 1])
def test_a_chain_that_only_begins(best: int) -> None:
    progress = Watched().look(figures(tip=0, best=best, asked=1, in_flight=1))
    assert (progress.about, progress.fraction) in [(0, 0.0), (HEIGHT, 0.0)]


def test_a_clock_before_genesis() -> None:
    progress = SyncProgress(NOW_MS + 1, expects_peers=True, expects_blocks=True)
    assert progress.sample(figures(tip=0, best=5, asked=1), 1.0, NOW_MS).fraction is None


# ---------------------------------------------------------------- standing still


@pytest.mark.parametrize(
    ("seen", "phase", "reason"),
    [
        (figures(peers=0, connecting="3 addresses are known"), Phase.NO_PEERS, "connected; 3 addresses are known"),
        (figures(peers=0), Phase.NO_PEERS, "nobody is known"),
        (figures(tip=0, best=5000, asked=1), Phase.HEADERS, "no headers above block 5000 have come"),
        (figures(tip=5000, best=5000, headers_wait="all 8 peers"), Phase.HEADERS, "all 8 peers"),
        (figures(tip=5, blocks_wait="block 6, asked for 30 s ago"), Phase.BLOCKS, "block 6, asked for 30 s ago"),
        (figures(tip=5), Phase.BLOCKS, "no block has come"),
        (figures(), Phase.TIP, "none of 8 peers tells of one"),
    ],
)
def test_a_stall_says_what_it_waits_for(seen: SyncFigures, phase: Phase, reason: str) -> None:
    """Complaints 1, 8, 9 and 14: a node that stands and says nothing of it."""
    watched, patience = Watched(), int(PATIENCE[phase])
    assert watched.watch(patience - 1, lambda _: seen).stall is None
    stall = watched.look(seen).stall
    assert stall is not None
    assert reason in stall.reason
    assert stall.since_ms == NOW_MS - patience * 1000


def test_a_step_forward_ends_it() -> None:
    watched = Watched()
    assert watched.watch(500, lambda _: figures(tip=5, in_flight=9)).stall is not None
    assert watched.look(figures(tip=6, in_flight=9)).stall is None


def test_what_comes_without_leading_on_is_no_step() -> None:
    """Blocks that are withheld: others come, and new headers too, but the next block does not."""
    stall = Watched().watch(200, lambda second: figures(tip=5, best=9000 + second, buffered_bytes=second)).stall
    assert stall is not None


def test_blocks_have_their_time_after_the_headers() -> None:
    watched = Watched()
    watched.watch(1000, lambda second: figures(tip=0, best=second * 100, asked=1))
    assert watched.watch(60, lambda _: figures(tip=0, in_flight=9)).stall is None


def test_peers_that_come_and_go_hide_nothing() -> None:
    """Complaint 13: many short sessions, and no progress."""
    stalls = [
        Watched.look(watched, figures(tip=5, peers=second // 10 % 2, in_flight=second // 10 % 2)).stall
        for watched in [Watched()]
        for second in range(400)
    ]
    assert all(stall is not None for stall in stalls[200:])


def test_nobody_is_to_blame_while_this_process_slept() -> None:
    """Complaint 16: a laptop that was closed, SIGSTOP."""
    watched = Watched()
    watched.watch(60, lambda second: figures(tip=second, in_flight=9))
    progress = watched.look(figures(tip=60, in_flight=9), seconds=3600)
    assert (progress.stall, progress.seconds_left) == (None, None)
    assert watched.watch(100, lambda _: figures(tip=60, in_flight=9)).stall is None
    assert watched.watch(60, lambda _: figures(tip=60, in_flight=9)).stall is not None
