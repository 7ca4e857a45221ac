"""How often hole punching is heard: by session and kind of message, by pair of ends, and in all."""

from __future__ import annotations

from typing import Final

from network.budget import Allowance, Allowances
from network.protocols.hole_punching.messages import PunchingMessage

__all__ = ["PunchingRates", "SessionRates"]

SESSION_RATE: Final = 30.0
"""Messages of one kind a second, and at once, of one session."""
PAIR_RATE: Final = 1.0
"""Messages of one kind a second from one originator to one target."""
ALL_RATE: Final = 200.0
ALL_AT_ONCE: Final = 400.0
"""Messages of all sessions, which the reference does not bound."""
MAX_PAIRS: Final = 2048


class SessionRates:
    """Of one session; 30 a second of each kind."""

    __slots__ = ("_allowances",)

    def __init__(self) -> None:
        self._allowances: Final[dict[type[PunchingMessage], Allowance]] = {}

    def allow(self, message: PunchingMessage, now: float) -> bool:
        kind = type(message)
        allowance = self._allowances.get(kind)
        if allowance is None:
            allowance = self._allowances[kind] = Allowance(SESSION_RATE, SESSION_RATE, now)
        return _take(allowance, now)


class PunchingRates:
    """Of all sessions."""

    def __init__(self, now: float) -> None:
        self._all: Final = Allowance(ALL_RATE, ALL_AT_ONCE, now)
        self._pairs: Final = Allowances[tuple[bytes, bytes, type[PunchingMessage]]](
            PAIR_RATE, PAIR_RATE, max_keys=MAX_PAIRS
        )

    def allow(self, message: PunchingMessage, now: float) -> bool:
        """Whether one more message of this kind goes from one end to the other. In a large network most that come have
        come before on another way: they cost little, and do not count among all."""
        key = (message.from_, message.to, type(message))
        if self._pairs.left(key, now) < 1.0 or not _take(self._all, now):
            return False
        self._pairs.spend(key, 1.0, now)
        return True


def _take(allowance: Allowance, now: float) -> bool:
    if allowance.left(now) < 1.0:
        return False
    allowance.spend(1.0, now)
    return True
