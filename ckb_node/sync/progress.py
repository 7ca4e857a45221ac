"""How far the node is with the chain, how fast it goes on, how long it will take, and why it stands when it stands.

Everything is measured: rates over the last minute, the time left by what was done in the last five, and nothing is said
of it before there is something to measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from ckb_node.sync.chain import KnownTip
from ckb_node.sync.meter import Meter

__all__ = ["Phase", "Progress", "Stall", "SyncFigures", "SyncProgress"]

RATE_WINDOW: Final = 60.0
LEFT_WINDOW: Final = 300.0
LEFT_AFTER: Final = 30.0
"""Seconds that are measured before the time left is told."""
DAY_MS: Final = 24 * 60 * 60 * 1000
COMPANY_AFTER: Final = 30.0
"""Seconds with peers after which the node was not alone."""
ASLEEP: Final = 15.0
"""Seconds between two samples from which on this process stood still: then nothing else is to blame."""


class Phase(Enum):
    """What the node does now."""

    NO_PEERS = "no peers"
    HEADERS = "headers"
    BLOCKS = "blocks"
    TIP = "at the tip"


PATIENCE: Final = {Phase.NO_PEERS: 60.0, Phase.HEADERS: 60.0, Phase.BLOCKS: 120.0, Phase.TIP: 1800.0}
"""Seconds without any progress after which the node is said to stand."""
PAUSE: Final = 10.0
"""Seconds without a header or block after which it is told what the node waits for, though that is no fault yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFigures:
    """The parts of sync at one moment. `best_header`: the known header with the most work."""

    tip: KnownTip
    best_header: KnownTip
    peers: int
    """With Sync open."""
    asked: int = 0
    """Those of them that are being asked for headers."""
    in_flight: int = 0
    buffered_bytes: int = 0
    headers_wait: str = ""
    blocks_wait: str = ""
    """What the two wait for, in words without addresses; empty when for nothing."""
    connecting: str = ""
    """How it goes with finding peers, likewise."""

    @property
    def is_behind(self) -> bool:
        """There are blocks to be fetched."""
        return self.best_header.total_difficulty > self.tip.total_difficulty


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing goes on: for how many seconds, since when (ms since 1970), and what it waits for."""

    seconds: float
    since_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What people are shown. `fraction` is 0 to 1; it and `seconds_left` are None while nobody can know."""

    phase: Phase
    figures: SyncFigures
    headers_per_s: float
    blocks_per_s: float
    about: int
    """The height that the phase leads to; estimated by the time of the chain while there are headers to come."""
    fraction: float | None
    seconds_left: float | None
    tip_age_s: float
    pause: Stall | None
    """Nothing has come for a moment. After long it is the stall as well."""
    stall: Stall | None

    @property
    def is_syncing(self) -> bool:
        """There is work to do, or nobody to do it with."""
        return self.phase is not Phase.TIP


class SyncProgress:
    """Takes samples, one a second or so, and remembers what was measured."""

    def __init__(self, genesis_ms: int, *, expects_peers: bool, expects_blocks: bool) -> None:
        """`expects_peers`: somebody is configured to be dialled, or the chain is public. `expects_blocks`: a tip that
        does not move for long is a fault; not so on chains where nobody may be mining."""
        self._genesis_ms: Final = genesis_ms
        self._expects_peers, self._expects_blocks = expects_peers, expects_blocks
        self._headers: Final = Meter(RATE_WINDOW)
        self._blocks: Final = Meter(RATE_WINDOW)
        self._chain_time: Final = Meter(LEFT_WINDOW)
        self._heights: Final = Meter(LEFT_WINDOW)
        self._works_at: Phase | None = None
        """The last phase with peers."""
        self._mark: object = None
        self._moved_at = self._lonely_at = self._company_at = self._sampled_at = 0.0
        self.last: Progress | None = None

    def sample(self, figures: SyncFigures, now: float, wall_ms: int) -> Progress:
        """What is shown of these figures. `now` in seconds of an even clock."""
        phase = _phase_of(figures, wall_ms, expects_blocks=self._expects_blocks)
        self._measure(figures, now, phase)
        about, has_all_headers = self._about(figures, wall_ms)
        pause = self._pause(figures, phase, now, wall_ms)
        stall = pause if pause is not None and pause.seconds >= PATIENCE[phase] else None
        self.last = Progress(
            phase=phase,
            figures=figures,
            headers_per_s=self._headers.rate,
            blocks_per_s=self._blocks.rate,
            about=about,
            fraction=self._fraction(figures, phase, about, wall_ms),
            seconds_left=None if stall else self._left(figures, phase, about, wall_ms, has_all_headers=has_all_headers),
            tip_age_s=max(0, wall_ms - figures.tip.header.timestamp) / 1000,
            pause=pause,
            stall=stall,
        )
        return self.last

    # ------------------------------------------------------------ measuring

    def _measure(self, figures: SyncFigures, now: float, phase: Phase) -> None:
        if self.last is None:
            self._moved_at = self._lonely_at = self._company_at = self._sampled_at = now
        if now - self._sampled_at > ASLEEP:
            self._slept(now - self._sampled_at)
        self._sampled_at = now
        self._note_company(figures, now)
        self._note_moves(figures, now, phase)
        self._headers.add(now, figures.best_header.number)
        self._blocks.add(now, figures.tip.number)
        self._chain_time.add(now, figures.best_header.header.timestamp / 1000)
        self._heights.add(now, figures.tip.number)

    def _slept(self, seconds: float) -> None:
        self._moved_at += seconds
        self._lonely_at += seconds
        self._company_at += seconds
        for meter in (self._headers, self._blocks, self._chain_time, self._heights):
            meter.forget()

    def _note_company(self, figures: SyncFigures, now: float) -> None:
        """Peers that only come and go are none."""
        if figures.peers == 0:
            self._company_at = now
        elif now - self._company_at >= COMPANY_AFTER:
            self._lonely_at = now

    def _note_moves(self, figures: SyncFigures, now: float, phase: Phase) -> None:
        """Whether something has come of the phase. It goes on where peers are lost and come again."""
        if phase is Phase.NO_PEERS:
            return
        mark = _mark_of(figures, phase)
        if phase is not self._works_at:
            self._chain_time.forget()
            self._heights.forget()
        if (phase, mark) != (self._works_at, self._mark):
            self._works_at, self._mark, self._moved_at = phase, mark, now

    # ------------------------------------------------------------ how far, how long

    def _about(self, figures: SyncFigures, wall_ms: int) -> tuple[int, bool]:
        """The height of the whole chain as far as anybody can know, and whether all its headers are here."""
        best = figures.best_header
        missing_ms, known_ms = wall_ms - best.header.timestamp, best.header.timestamp - self._genesis_ms
        if missing_ms <= DAY_MS or figures.asked == 0 or known_ms <= 0:
            return best.number, True
        return best.number + round(best.number * missing_ms / known_ms), False

    def _fraction(self, figures: SyncFigures, phase: Phase, about: int, wall_ms: int) -> float | None:
        match phase:
            case Phase.TIP:
                return 1.0
            case Phase.BLOCKS:
                return figures.tip.number / about if about else None
            case Phase.HEADERS:
                whole = wall_ms - self._genesis_ms
                done = figures.best_header.header.timestamp - self._genesis_ms
                return min(max(done / whole, 0.0), 1.0) if whole > 0 else None
        return None

    def _left(
        self, figures: SyncFigures, phase: Phase, about: int, wall_ms: int, *, has_all_headers: bool
    ) -> float | None:
        """Of this phase, in seconds."""
        match phase:
            case Phase.HEADERS:
                return _left_of((wall_ms - figures.best_header.header.timestamp) / 1000, self._chain_time)
            case Phase.BLOCKS if has_all_headers:
                return _left_of(about - figures.tip.number, self._heights)
        return None

    # ------------------------------------------------------------ standing still

    def _pause(self, figures: SyncFigures, phase: Phase, now: float, wall_ms: int) -> Stall | None:
        if phase is Phase.NO_PEERS and not self._expects_peers:
            return None
        if phase is Phase.TIP and not self._expects_blocks:
            return None
        seconds = now - (self._lonely_at if phase is Phase.NO_PEERS else self._moved_at)
        if seconds < (PAUSE if phase in (Phase.HEADERS, Phase.BLOCKS) else PATIENCE[phase]):
            return None
        return Stall(seconds, wall_ms - round(seconds * 1000), _reason(figures, phase))


def _phase_of(figures: SyncFigures, wall_ms: int, *, expects_blocks: bool) -> Phase:
    if figures.peers == 0:
        return Phase.NO_PEERS
    is_old = wall_ms - figures.best_header.header.timestamp > DAY_MS
    fetches = bool(figures.in_flight or figures.buffered_bytes)
    if is_old and figures.asked and not fetches:
        return Phase.HEADERS
    if figures.is_behind:
        return Phase.BLOCKS
    return Phase.HEADERS if is_old and expects_blocks else Phase.TIP


def _mark_of(figures: SyncFigures, phase: Phase) -> object:
    """What changes with progress."""
    return figures.best_header.total_difficulty if phase is Phase.HEADERS else figures.tip.hash


def _left_of(work: float, meter: Meter) -> float | None:
    if meter.seconds < LEFT_AFTER or meter.rate <= 0:
        return None
    return max(work, 0.0) / meter.rate


def _reason(figures: SyncFigures, phase: Phase) -> str:
    """Whom the node waits for, and for what."""
    match phase:
        case Phase.NO_PEERS:
            return f"no peer is connected; {figures.connecting or 'nobody is known'}"
        case Phase.BLOCKS:
            return figures.blocks_wait or "no block has come"
        case Phase.HEADERS:
            return figures.headers_wait or f"no headers above block {figures.best_header.number} have come"
        case Phase.TIP:
            return f"no new block has come, and none of {figures.peers} peers tells of one"
