"""Telling peers of new transactions: hashes in batches, as many as a peer can ask for before its patience ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from network.budget import Allowance
from network.peer import Scheduler

__all__ = ["MAX_HASHES", "Announcements"]

MAX_HASHES: Final = 32_767
"""Hashes in one message."""
MAX_WAITING: Final = 50_000
"""New transactions while there is nobody to tell, or the chain is being downloaded; the oldest are left out."""
HASHES_AT_ONCE: Final = 20_000
HASHES_PER_S: Final = 4000
"""A peer bans whoever announces 32,767 transactions that nobody has sent it yet: these leave it seconds to ask."""


class _News(NamedTuple):
    tx_hash: bytes
    skipped: Collection[int]


@dataclass(slots=True)
class _Line:
    allowance: Allowance
    waiting: deque[bytes] = field(default_factory=lambda: deque(maxlen=MAX_WAITING))


class Announcements:
    """What is to be told to whom, by session."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler: Final = scheduler
        self._news: Final[deque[_News]] = deque(maxlen=MAX_WAITING)
        self._lines: Final[dict[int, _Line]] = {}

    def __len__(self) -> int:
        """Transactions that nobody was told of yet."""
        return len(self._news)

    def add(self, tx_hash: bytes, skipped: Collection[int]) -> None:
        """All are to be told of it but the peers that have it."""
        self._news.append(_News(tx_hash, skipped))

    def add_for(self, session: int, tx_hashes: Sequence[bytes]) -> None:
        """One peer is to be told of these."""
        self._line(session).waiting.extend(tx_hashes)

    def take(self, sessions: Collection[int]) -> dict[int, Sequence[bytes]]:
        """What to tell these peers now. With no peers the news wait."""
        if not sessions:
            return {}
        now = self._scheduler.now()
        lines = {session: self._line(session) for session in sessions}
        while self._news:
            tx_hash, skipped = self._news.popleft()
            for session, line in lines.items():
                if session not in skipped:
                    line.waiting.append(tx_hash)
        taken = {session: self._take(line, now) for session, line in lines.items()}
        return {session: hashes for session, hashes in taken.items() if hashes}

    def _line(self, session: int) -> _Line:
        line = self._lines.get(session)
        if line is None:
            allowance = Allowance(HASHES_PER_S, HASHES_AT_ONCE, self._scheduler.now())
            line = self._lines[session] = _Line(allowance)
        return line

    def _take(self, line: _Line, now: float) -> Sequence[bytes]:
        count = min(len(line.waiting), MAX_HASHES, int(line.allowance.left(now)))
        if count <= 0:
            return ()
        line.allowance.spend(count, now)
        return [line.waiting.popleft() for _ in range(count)]

    def closed(self, session: int) -> None:
        self._lines.pop(session, None)
