"""Tells how far the node is: on the terminal as it goes, in the log now and then, and what is wrong at /health."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

from ckb_node.net.connecting import connecting_text
from ckb_node.runtime.live_line import QUIET_LOGGER, live_line
from ckb_node.runtime.tasks import Fault
from ckb_node.sync.facts import SyncFacts
from ckb_node.sync.progress import Phase, Progress, SyncFigures, SyncProgress
from ckb_node.sync.progress_text import log_event, log_fields, progress_line
from consensus.params import Consensus, PowFunc
from network.service import NetworkService

log = structlog.get_logger(QUIET_LOGGER)

SAMPLE_SECONDS: Final = 1.0
SYNCING_SECONDS: Final = 10.0
"""Between two lines of the log while there is much to do."""
RESTING_SECONDS: Final = 60.0
"""Between two that say the same: no new block, or the node stands."""


class LinePace:
    """Which samples become lines of the log."""

    def __init__(self) -> None:
        self._last_at = float("-inf")
        self._last: Progress | None = None

    def is_due(self, progress: Progress, now: float) -> bool:
        """Whether this one does. A change is told at once."""
        due = now - self._last_at >= self._pause(progress)
        if due:
            self._last, self._last_at = progress, now
        return due

    def _pause(self, progress: Progress) -> float:
        last = self._last
        if last is None or (last.stall is None) is not (progress.stall is None):
            return 0.0
        if progress.stall is not None:
            return RESTING_SECONDS
        if progress.phase is not Phase.TIP:
            return SYNCING_SECONDS
        is_new = last.figures.tip.hash != progress.figures.tip.hash or last.phase is not Phase.TIP
        return 0.0 if is_new else RESTING_SECONDS


class ProgressTeller:
    """Takes the samples."""

    def __init__(
        self,
        progress: SyncProgress,
        figures: Callable[[], SyncFigures | None],
        now_ms: Callable[[], int],
        *,
        expects_peers: bool,
    ) -> None:
        """`figures`: None while the network does not run. `expects_peers`: without them there is something to tell."""
        self.progress: Final = progress
        self._figures, self._now_ms = figures, now_ms
        self.expects_peers: Final = expects_peers
        self._pace: Final = LinePace()
        self.draw: Callable[[str], None] | None = None
        """Where the line of a terminal goes."""

    @property
    def faults(self) -> Sequence[Fault]:
        """That sync is stalled, if it is."""
        last = self.progress.last
        if last is None or last.stall is None:
            return ()
        return [Fault("sync", f"no progress ({last.phase.value}): {last.stall.reason}", last.stall.since_ms)]

    @contextmanager
    def on_terminal(self) -> Iterator[None]:
        """While the context lasts, a terminal has a last line that says how far the node is; where peers are
        expected."""
        if not self.expects_peers:
            yield
            return
        with live_line() as self.draw:
            try:
                yield
            finally:
                self.draw = None

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            self.look(loop.time())

    def look(self, now: float) -> None:
        """Take a sample and tell what is to be told."""
        figures = self._figures()
        if figures is None:
            return
        progress = self.progress.sample(figures, now, self._now_ms())
        if progress.phase is Phase.NO_PEERS and not self.expects_peers:
            return
        if self.draw is not None:
            self.draw(progress_line(progress))
        if self._pace.is_due(progress, now):
            tell = log.info if progress.stall is None else log.warning
            tell(log_event(progress), **log_fields(progress))


def progress_teller(
    consensus: Consensus,
    network: NetworkService,
    facts: Callable[[], SyncFacts | None],
    now_ms: Callable[[], int],
) -> ProgressTeller:
    """Of a node. Where nobody has to work for a block, that none comes is no fault; where nobody is configured to be
    dialled, that no peer comes is none."""

    def figures() -> SyncFigures | None:
        seen = facts()
        return None if seen is None else seen.figures(connecting_text(network))

    outbound = network.settings.peers.outbound
    expects_peers = consensus.is_public_chain or bool(outbound.bootnodes or outbound.whitelist)
    progress = SyncProgress(
        consensus.genesis_block.header.timestamp,
        expects_peers=expects_peers,
        expects_blocks=consensus.pow_func is not PowFunc.DUMMY,
    )
    return ProgressTeller(progress, figures, now_ms, expects_peers=expects_peers)
