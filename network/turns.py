"""Whose bytes are handled when there is more to do than time: work goes on in rounds of a few milliseconds, and between
rounds the event loop looks who else has sent something. Who has cost little lately need not wait for the next round."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from network.budget import Allowance
from network.peer import Scheduler, Timer

__all__ = ["Turns"]

ROUND: Final = 0.003
"""Seconds. A new client of RPC waits for four or five of them: to be accepted, to be read, to be answered."""
AFTER: Final = 0.003
"""Seconds more for all together who have cost little: a crowd of newcomers must not take a tenth of a second."""
RATE: Final = 0.004
"""Of this node's time, so much is a modest part for one peer: of all peers together, half of it."""
BURST: Final = 0.005
"""Seconds that it may cost at once and still be modest."""
SHORT: Final = 0.001
"""Seconds of a modest peer after the end of a round."""
SLICE: Final = 256 * 1024
SHORT_SLICE: Final = 4 * 1024
MANY_EVENTS: Final = 512
FEW_EVENTS: Final = 16


class Turns:
    """The rounds of one node."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler: Final = scheduler
        self._left = ROUND
        self._waiting: Final[deque[Callable[[], None]]] = deque()
        self._modest: Final[deque[Callable[[], None]]] = deque()
        """Those who have cost little wait before the others."""
        self._timer: Timer | None = None

    def enter(self) -> Allowance:
        """Seconds that a new peer may cost and be modest."""
        return Allowance(RATE, BURST, self._scheduler.now())

    @property
    def is_over(self) -> bool:
        """The time of this round is used up."""
        return self._left <= 0.0

    def has_place(self, peer: Allowance, now: float) -> bool:
        """The round is over, and this peer need not wait all the same."""
        return self._left > -AFTER and peer.left(now) > 0.0

    @property
    def share(self) -> float:
        """Seconds of a round for each of those who wait."""
        return ROUND / (1 + len(self._waiting) + len(self._modest))

    @property
    def seconds(self) -> float:
        """For the handlers of what is there, before others are thought of."""
        return SHORT if self.is_over else min(self._left, self.share)

    @property
    def _is_crowded(self) -> bool:
        return bool(self._waiting) or bool(self._modest) or self.is_over

    @property
    def slice_size(self) -> int:
        """Bytes to be handled before others are thought of."""
        return SHORT_SLICE if self._is_crowded else SLICE

    @property
    def max_events(self) -> int:
        """Messages and the like to be handled before others are thought of."""
        return FEW_EVENTS if self._is_crowded else MANY_EVENTS

    def spend(self, peer: Allowance, begun: float) -> float:
        """What was begun then for a peer is done; the time now."""
        now = self._scheduler.now()
        seconds = now - begun
        peer.spend(seconds, now)
        self._left -= seconds
        if self._left <= 0.0:
            self._arm()
        return now

    def put_off(self, call: Callable[[], None], peer: Allowance, wait: float) -> None:
        """Call after `wait` seconds; at once means in a later round, after those who wait and have cost no more."""
        now = self._scheduler.now()
        if wait > 0.0:
            self._scheduler.call_later(wait, call)
        else:
            (self._modest if peer.left(now) > 0.0 else self._waiting).append(call)
            self._arm()

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._scheduler.call_later(0.0, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._left = ROUND
        for line in (self._modest, self._waiting):
            for _ in range(len(line)):
                if self.is_over:
                    break
                line.popleft()()
        if self._modest or self._waiting:
            self._arm()
