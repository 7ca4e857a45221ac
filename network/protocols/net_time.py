"""Time (protocol 102): does this machine's clock agree with those of its peers? It is never adjusted.

The accepter tells its time once. Different from the reference, which counts all messages of everyone: only nodes that
we dialled are asked, and each session counts once, so that nobody can shift the median by talking a lot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from consensus.errors import MoleculeError
from network.limits import TIME, ProtocolSpec
from network.messages.protocols import Time
from network.peer import Direction, Peer, Scheduler
from network.peers.penalties import Misbehaviour, apply_penalty
from network.protocols.pace import MessagePace

__all__ = ["MAX_SAMPLES", "MIN_SAMPLES", "TOLERANCE_MS", "TimeProtocol"]

TOLERANCE_MS: Final = 7_200_000
MIN_SAMPLES: Final = 5
MAX_SAMPLES: Final = 11

MESSAGES_PER_SECOND: Final = 1.0
MESSAGES_AT_ONCE: Final = 16.0
"""An honest peer sends one."""


class TimeProtocol:
    """Satisfies network.peer.Handler."""

    def __init__(self, scheduler: Scheduler, on_skew: Callable[[int | None], None]) -> None:
        """`on_skew` is told when the clock is found to be off by more than two hours (ms; positive: ahead of the
        peers), and None when it is found right again. It is not told the same twice."""
        self._scheduler, self._on_skew = scheduler, on_skew
        self._offsets: Final[deque[int]] = deque(maxlen=MAX_SAMPLES)
        self._counted: Final[set[int]] = set()
        self._pace: Final = MessagePace(scheduler, TIME, rate=MESSAGES_PER_SECOND, burst=MESSAGES_AT_ONCE)
        self._is_skewed = False

    @property
    def protocol(self) -> ProtocolSpec:
        return TIME

    @property
    def offset_ms(self) -> int | None:
        """This clock minus the peers' (median); None while too few were heard."""
        if len(self._offsets) < MIN_SAMPLES:
            return None
        ordered = sorted(self._offsets)
        middle = len(ordered) // 2
        return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2

    def opened(self, peer: Peer) -> None:
        if peer.direction is Direction.INBOUND:
            peer.send(TIME, Time(timestamp=self._scheduler.wall_ms()).raw)

    def closed(self, peer: Peer) -> None:
        self._counted.discard(peer.session_id)
        self._pace.forget(peer)

    def received(self, peer: Peer, payload: bytes) -> None:
        self._pace.spend(peer)
        try:
            timestamp = Time.parse(payload).timestamp
        except MoleculeError:
            apply_penalty(peer, Misbehaviour.TIME_UNDECODABLE)
            return
        if peer.direction is Direction.INBOUND or peer.session_id in self._counted:
            return
        self._counted.add(peer.session_id)
        self._offsets.append(self._scheduler.wall_ms() - timestamp)
        self._look()

    def _look(self) -> None:
        offset = self.offset_ms
        is_skewed = offset is not None and abs(offset) > TOLERANCE_MS
        if is_skewed != self._is_skewed:
            self._is_skewed = is_skewed
            self._on_skew(offset if is_skewed else None)
