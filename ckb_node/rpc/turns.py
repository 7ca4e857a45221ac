"""Whose request begins next when many want to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

Begin = Callable[[], bool]
"""Begins a request; False when there is none any more."""


def _none() -> float:
    return 0.0


class Turns:
    """Lets so many requests begin in each round of the event loop, in the order in which they came."""

    def __init__(self, loop: asyncio.AbstractEventLoop, per_round: int, pause_s: Callable[[], float] = _none) -> None:
        """`pause_s`: how long a round lasts that begins now, at least."""
        self._loop, self._per_round, self._left = loop, per_round, per_round
        self._pause_s = pause_s
        self._waiting: deque[Begin] = deque()
        self._is_armed = False

    async def take(self) -> None:
        """Return when it is the caller's turn."""
        if self.take_now():
            return
        turn: asyncio.Future[None] = self._loop.create_future()
        self.wait(partial(_give, turn))
        await turn

    def take_now(self) -> bool:
        """Take a turn of this round, if one is left and nobody waits."""
        self._arm()
        if not self._left or self._waiting:
            return False
        self._left -= 1
        return True

    def wait(self, begin: Begin) -> None:
        """Call `begin` when it is its turn, behind those that wait."""
        self._arm()
        self._waiting.append(begin)

    def _arm(self) -> None:
        if not self._is_armed:
            self._is_armed = True
            self._await_next_round()

    def _await_next_round(self) -> None:
        pause_s = self._pause_s()
        if pause_s > 0:
            self._loop.call_later(pause_s, self._next_round)
        else:
            self._loop.call_soon(self._next_round)

    def _next_round(self) -> None:
        self._left = self._per_round
        try:
            while self._waiting and self._left:
                self._left -= self._waiting.popleft()()
        finally:
            self._is_armed = bool(self._waiting)
            if self._is_armed:
                self._await_next_round()


def _give(turn: asyncio.Future[None]) -> bool:
    if turn.done():
        return False
    turn.set_result(None)
    return True
