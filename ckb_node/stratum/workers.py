"""What each worker has done, and how fast it is. No clock in here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakValueDictionary

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.stratum.limits import WORKERS
from ckb_node.stratum.shares import Verdict

RATE_SECONDS: Final = 600.0
"""A worker's hashrate is that of about the last ten minutes."""
_RIGHT: Final = frozenset({Verdict.ACCEPTED, Verdict.BLOCK})


class Rate:
    """Hashes a second, of which older ones count less and less."""

    def __init__(self) -> None:
        self._sum, self._at, self._since = 0.0, 0.0, math.inf

    def add(self, hashes: int, now_s: float) -> None:
        """Work was done now."""
        if self._since == math.inf:
            self._since = self._at = now_s
        self._sum = self._sum * math.exp((self._at - now_s) / RATE_SECONDS) + hashes
        self._at = now_s

    def at(self, now_s: float) -> float:
        """Of the time since the first share, while that is short."""
        age = now_s - self._since
        if age <= 0:
            return 0.0
        weight = RATE_SECONDS * -math.expm1(-age / RATE_SECONDS)
        return self._sum * math.exp((self._at - now_s) / RATE_SECONDS) / weight


@dataclass(slots=True, weakref_slot=True)
class Worker:
    """All connections of a user's name."""

    name: str
    connections: int = 0
    counts: Counter[Verdict] = field(default_factory=Counter)
    hashes: int = 0
    """What the right shares took on average."""
    last_share_ms: int | None = None
    """Of the wall clock."""
    target: int = 0
    """Of the last job that it was given."""
    rate: Rate = field(default_factory=Rate)

    def note(self, verdict: Verdict, hashes: int, now_s: float, now_ms: int) -> None:
        """A share of it was judged."""
        self.counts[verdict] += 1
        if verdict in _RIGHT:
            self.hashes += hashes
            self.last_share_ms = now_ms
            self.rate.add(hashes, now_s)


class Workers:
    """By name, those that were quiet longest leave."""

    def __init__(self) -> None:
        self._by_name: Final[BoundedMap[str, Worker]] = BoundedMap(max_count=WORKERS)
        self._connected: Final[WeakValueDictionary[str, Worker]] = WeakValueDictionary()
        """Also those that have left: connections go on with them, so a name must not get a second one."""
        self.counts: Final[Counter[Verdict]] = Counter()
        """Of all shares since the start."""
        self.rate: Final = Rate()

    def __len__(self) -> int:
        return len(self._by_name)

    def of(self, name: str) -> Worker:
        """A new one when it is not known."""
        worker = self._connected.get(name)
        if worker is None:
            worker = self._connected[name] = Worker(name)
        self._by_name.put(name, worker)
        return worker

    def note(self, worker: Worker, verdict: Verdict, hashes: int, now_s: float, now_ms: int) -> None:
        """A share was judged."""
        self._by_name.put(worker.name, worker)  # the last to leave
        self.counts[verdict] += 1
        worker.note(verdict, hashes, now_s, now_ms)
        if verdict in _RIGHT:
            self.rate.add(hashes, now_s)

    def newest_first(self) -> Iterable[Worker]:
        """Those that did something last come first."""
        return reversed(list(self._by_name.values()))
