"""Fair queueing: of all waiting clients, the one that has used least is served next."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from operator import itemgetter
from typing import Final, Generic, TypeVar

from ckb_node.runtime.client import CLIENT

T = TypeVar("T")

EXPECTED_COST: Final = 0.01
"""Charged for a turn when it begins, so that a client's simultaneous turns count before their costs are known."""

MAX_REMEMBERED: Final = 1000
"""Clients whose virtual time is kept; above this, those that are least ahead are forgotten."""


class FairLine(Generic[T]):
    """Start-time fair queueing by client. Costs are in any one unit.

    Each client has a virtual time, which advances by the cost of its turns; a new client, or one that paused, starts at
    the time of the last turn. So a client with few calls never waits behind another client's many.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._times: dict[str, float] = {}
        self._waiting: dict[str, deque[tuple[int, T]]] = {}
        self._arrivals = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, client: str, item: T) -> None:
        """Enqueue an item behind the client's other items."""
        self._arrivals += 1
        self._waiting.setdefault(client, deque()).append((self._arrivals, item))

    def discard(self, client: str, item: T) -> None:
        """Remove an item, if it is in the queue."""
        kept = deque(each for each in self._waiting.get(client, ()) if each[1] is not item)
        if kept:
            self._waiting[client] = kept
        else:
            self._waiting.pop(client, None)

    def take(self) -> tuple[str, T]:
        """The next item and its client, who is charged EXPECTED_COST. KeyError when the queue is empty."""
        if not self._waiting:
            raise KeyError("the queue is empty")
        client = min(self._waiting, key=self._place)
        items = self._waiting[client]
        item = items.popleft()[1]
        if not items:
            del self._waiting[client]
        self.begin(client)
        return client, item

    def begin(self, client: str) -> None:
        """A turn of the client begins: it is charged EXPECTED_COST."""
        self._now = self._time_of(client)
        self.charge(client, EXPECTED_COST)

    def charge(self, client: str, cost: float) -> None:
        """Advance a client's virtual time; a negative cost corrects an earlier charge."""
        self._times[client] = self._time_of(client) + cost
        if len(self._times) > MAX_REMEMBERED:
            most = sorted(self._times.items(), key=itemgetter(1), reverse=True)[: MAX_REMEMBERED // 2]
            self._times = {each: time for each, time in most if time > self._now}

    def _time_of(self, client: str) -> float:
        return max(self._now, self._times.get(client, 0.0))

    def _place(self, client: str) -> tuple[float, int]:
        return self._time_of(client), self._waiting[client][0][0]


class FairSlots:
    """A semaphore of `count` slots whose waiters are served fairly by client. Belongs to the event loop."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._line: FairLine[asyncio.Future[None]] = FairLine()
        self._holds = 0

    async def enter(self) -> str:
        """Wait for a slot; the name of the client, which is that of the task (CLIENT)."""
        client = CLIENT.get()
        if self._free and not self._holds and not self._line:
            self._free -= 1
            self._line.begin(client)
            return client
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.add(client, turn)
        self._give()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(client, 0.0)
            else:
                self._line.discard(client, turn)
            raise
        return client

    def leave(self, client: str, cost: float) -> None:
        """Release a slot that was used for `cost` seconds."""
        self._line.charge(client, cost - EXPECTED_COST)
        self._free += 1
        self._give()

    @property
    def is_awaited(self) -> bool:
        """Somebody waits for a slot."""
        return bool(self._line)

    def hold(self) -> None:
        """Grant no slots until `release`; granted ones stay valid."""
        self._holds += 1

    def release(self) -> None:
        """The end of one `hold`."""
        self._holds -= 1
        self._give()

    def turn(self) -> _Turn:
        """Hold a slot while the context lasts."""
        return _Turn(self)

    def _give(self) -> None:
        while self._free and not self._holds and self._line:
            _, turn = self._line.take()
            if not turn.done():
                self._free -= 1
                turn.set_result(None)


class _Turn:
    """A slot that is held while the context lasts. A class: `asynccontextmanager` takes twice as long."""

    __slots__ = ("_client", "_slots", "_started")

    def __init__(self, slots: FairSlots) -> None:
        self._slots = slots
        self._client, self._started = "", 0.0

    async def __aenter__(self) -> None:
        self._client = await self._slots.enter()
        self._started = time.monotonic()

    async def __aexit__(self, *_: object) -> None:
        self._slots.leave(self._client, time.monotonic() - self._started)
