"""How much of the event loop all peers' transactions together may take: half, in turns that are fair by peer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ckb_node.runtime.fair_queue import FairSlots

__all__ = ["WORK_S", "PeersPace"]

WORK_S: Final = 0.005
"""Work, one piece after the other, before everything else has as much time."""


class PeersPace:
    """`async with` is a turn: it begins when there was rest enough for what was done before. Belongs to the event
    loop."""

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._turns: Final = FairSlots(1)
        self._client = ""
        self._began = 0.0
        self._worked_s = 0.0
        """Since the last rest."""
        self._stopped_at = 0.0

    async def __aenter__(self) -> None:
        client = await self._turns.enter()
        try:
            await self._rest()
        except asyncio.CancelledError:
            self._turns.leave(client, 0.0)
            raise
        self._client, self._began = client, self._clock()

    async def __aexit__(self, *_: object) -> None:
        self._turns.leave(self._client, self._count(self._began))

    async def _rest(self) -> None:
        """Before the turn, not after it: what follows from its work must not have to wait."""
        if self._worked_s < WORK_S:
            return
        rest = self._worked_s - (self._clock() - self._stopped_at)
        self._worked_s = 0.0
        if rest > 0:
            await self._sleep(rest)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Work that waits for no turn; the next turns wait for it."""
        began = self._clock()
        try:
            yield
        finally:
            self._count(began)

    def _count(self, began: float) -> float:
        self._stopped_at = self._clock()
        spent = self._stopped_at - began
        self._worked_s += spent
        return spent
