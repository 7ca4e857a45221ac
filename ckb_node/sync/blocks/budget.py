"""How many blocks a peer may be asked for at once: the reference's classes of speed are the least, and what the peer
gives in a second and a round trip, as measured, is the rest."""

from __future__ import annotations

from typing import Final

from ckb_node.sync.blocks import limits

__all__ = ["PeerBudget", "TimeClasses"]

_SAMPLES: Final = 512
_FAST, _NORMAL, _LOW = _SAMPLES // 3, _SAMPLES * 4 // 5, _SAMPLES * 9 // 10
_RATE_SECONDS: Final = 0.2
"""Least time that a rate is measured over."""
_KEPT: Final = 0.6
"""Part of the old rate in the new one."""


class TimeClasses:
    """What counts as a fast, a normal and a slow answer, of all peers together, in milliseconds (reference)."""

    def __init__(self) -> None:
        self.fast, self.normal, self.low = 1000.0, 1250.0, 1500.0
        self._samples: Final[list[float]] = []

    def step(self, elapsed_ms: float) -> int:
        """What a block that took so long adds to its peer's budget."""
        self._samples.append(elapsed_ms)
        if len(self._samples) == _SAMPLES:
            self._learn()
        if elapsed_ms <= self.fast:
            return 2
        if elapsed_ms <= self.normal:
            return 1
        return -1 if elapsed_ms <= self.low else -2

    def _learn(self) -> None:
        self._samples.sort()
        self.fast = (self.fast + self._samples[_FAST]) / 2
        self.normal = (self.normal + self._samples[_NORMAL]) / 2
        self.low = (self.low + self._samples[_LOW]) / 2
        self._samples.clear()


class PeerBudget:
    """Of one peer. Times in seconds of `Scheduler.now`."""

    def __init__(self) -> None:
        self._class: int = limits.FIRST_BUDGET
        self.rate = 0.0
        """Blocks a second while it is asked for some; 0.0 before that is known."""
        self.round_trip = 0.0
        """Shortest time to the first block of a question, as seen lately."""
        self.has_answered = False
        """`round_trip` is known."""
        self._first_asked_at: float | None = None
        self._since = 0.0
        self._count = 0

    def limit(self, block_size: float) -> int:
        """Blocks that may be in flight, when they are expected to have so many bytes."""
        measured = self.rate * (self.round_trip + limits.AHEAD_SECONDS)
        most = max(limits.MIN_BUDGET, int(limits.MAX_PEER_BYTES / block_size))
        return min(limits.MAX_BUDGET, most, max(self._class, int(measured)))

    def seconds_for(self, blocks: int) -> float:
        """How long it takes to get so many; at least what is not known."""
        return self.round_trip + (blocks / self.rate if self.rate else 0.0)

    def asked(self, now: float) -> None:
        """A question was sent, with nothing in flight before."""
        self._first_asked_at, self._count = now, 0

    def received(self, now: float) -> None:
        """A block that was asked for has come."""
        if self._first_asked_at is not None:
            self._note_round_trip(now - self._first_asked_at)
            self._first_asked_at, self._since = None, now
            return
        self._count += 1
        seconds = now - self._since
        if seconds >= _RATE_SECONDS:
            rate = self._count / seconds
            self.rate = rate if not self.rate else _KEPT * self.rate + (1 - _KEPT) * rate
            self._since, self._count = now, 0

    def step(self, change: int, *, may_fall: bool) -> None:
        """Move by the class of an answer (reference)."""
        if change > 0 or may_fall:
            self._class = max(limits.MIN_BUDGET, min(limits.MAX_CLASS_BUDGET, self._class + change))

    def halve(self) -> None:
        """Others had to be asked for what this peer did not give in time."""
        self._class = max(limits.MIN_BUDGET, self._class >> 1)
        self.rate /= 2

    def _note_round_trip(self, seconds: float) -> None:
        known, self.has_answered = self.round_trip, True
        self.round_trip = seconds if not known else min(seconds, known + (seconds - known) / 8)
