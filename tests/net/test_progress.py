"""When a person hears how far the node is."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from ckb_node.net import progress
from ckb_node.net.progress import RESTING_SECONDS, SYNCING_SECONDS, ProgressTeller
from ckb_node.sync.progress import PATIENCE, Phase, SyncFigures, SyncProgress
from tests.support.sync_figures import GENESIS_MS, HEIGHT, NOW_MS, figures


class Told:
    """A teller whose figures the test sets; a look each second."""

    def __init__(self, *, expects_peers: bool = True) -> None:
        self.seen = figures()
        self.drawn: list[str] = []
        measured = SyncProgress(GENESIS_MS, expects_peers=expects_peers, expects_blocks=True)
        self.teller = ProgressTeller(measured, self._figures, lambda: NOW_MS, expects_peers=expects_peers)
        self.teller.draw = self.drawn.append
        self.now = 1000.0

    def _figures(self) -> SyncFigures:
        return self.seen

    def lines(self, seconds: int, seen: SyncFigures) -> list[str]:
        """Levels and events of the lines in so many seconds."""
        self.seen = seen
        with capture_logs() as lines:
            for _ in range(seconds):
                self.now += 1
                self.teller.look(self.now)
        return [f"{line['log_level']}: {line['event']}" for line in lines]


def test_a_line_every_ten_seconds_while_syncing() -> None:
    told = Told()
    assert told.lines(60, figures(tip=5, in_flight=9)) == ["info: downloading blocks"] * int(60 / SYNCING_SECONDS)
    assert len(told.drawn) == 60


def test_a_line_for_each_block_at_the_tip_or_a_minute() -> None:
    told = Told()
    assert told.lines(30, figures(tip=HEIGHT - 3, best=HEIGHT - 3)) == ["info: at the tip"]
    assert told.lines(5, figures(tip=HEIGHT - 2, best=HEIGHT - 2)) == ["info: at the tip"]
    assert told.lines(int(2 * RESTING_SECONDS), figures(tip=HEIGHT - 1, best=HEIGHT - 1)) == ["info: at the tip"] * 2


def test_a_stall_is_told_at_once_and_then_seldom_and_so_is_its_end() -> None:
    told = Told()
    stands, patience = figures(tip=5, blocks_wait="block 6"), int(PATIENCE[Phase.BLOCKS])
    told.lines(patience, stands)
    assert not told.teller.faults
    assert told.lines(121, stands) == ["warning: sync is stalled"] * 3
    (fault,) = told.teller.faults
    assert (fault.name, fault.reason) == ("sync", "no progress (blocks): block 6")
    assert fault.since == NOW_MS - (patience + 120) * 1000
    assert told.lines(1, figures(tip=6)) == ["info: downloading blocks"]
    assert told.teller.faults == ()


def test_a_chain_of_ones_own_without_peers_is_silent() -> None:
    told = Told(expects_peers=False)
    assert told.lines(1000, figures(peers=0)) == []
    assert told.drawn == []
    assert told.teller.faults == ()


async def test_it_looks_until_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SAMPLE_SECONDS", 0.001)
    told = Told()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await told.teller.run()
    assert told.drawn
