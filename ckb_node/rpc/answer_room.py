"""Room for answers that clients have not taken yet: so many bytes, of each client a part."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from ckb_node.runtime.client import CLIENT
from ckb_node.runtime.lane import CHEAP_BYTES, Lane

T = TypeVar("T")

MAX_BYTES: Final = 128 << 20
HEX_DIGITS: Final = 2
"""Of a byte: an answer is about so many times what the call touches."""
SHARE: Final = 4
"""A client may hold this part of all."""
WAIT_S: Final = 10.0
"""A call that needs room waits so long for others to take their answers."""


class NoRoomError(Exception):
    """Too many bytes of answers wait to be read, `of_client` of them by the client that asks."""

    def __init__(self, held_bytes: int, of_client: int) -> None:
        super().__init__(
            f"{held_bytes} bytes of answers wait to be read, {of_client} of them by this client; try again later"
        )
        self.held_bytes: Final = held_bytes
        self.of_client: Final = of_client


class AnswerRoom:
    """Counts bytes of large answers on their way. What is held may exceed the limit by the answers of calls that began
    while there was room. Belongs to the event loop."""

    def __init__(self, max_bytes: int = MAX_BYTES, wait_s: float = WAIT_S) -> None:
        self._max_bytes, self._wait_s = max_bytes, wait_s
        self._by_client: Counter[str] = Counter()
        self._room_freed = asyncio.Event()
        self.held_bytes = 0

    async def wait(self, client: str) -> None:
        """Return when a large answer may be begun. Raises NoRoomError when no room comes in time."""
        if self._has_room(client):
            return
        try:
            async with asyncio.timeout(self._wait_s):
                while not self._has_room(client):
                    self._room_freed.clear()
                    await self._room_freed.wait()
        except TimeoutError:
            raise NoRoomError(self.held_bytes, self._by_client[client]) from None

    def _has_room(self, client: str) -> bool:
        return self.held_bytes < self._max_bytes and self._by_client[client] < self._max_bytes // SHARE

    @contextmanager
    def holding(self, client: str, size: int) -> Iterator[None]:
        """An answer of `size` bytes waits to be taken while the context lasts."""
        self.held_bytes += size
        self._by_client[client] += size
        try:
            yield
        finally:
            self.held_bytes -= size
            self._by_client[client] -= size
            if not self._by_client[client]:
                del self._by_client[client]
            self._room_freed.set()

    async def run_priced(self, lane: Lane, price: int, work: Callable[[], T]) -> T:
        """`work`, which makes an answer of `price` bytes; in the lane when they are many, as soon as there is room.

        The answers of those that wait for the lane count already: else any number began while there was room.
        """
        if price <= CHEAP_BYTES:
            return work()
        client = CLIENT.get()
        await self.wait(client)
        with self.holding(client, HEX_DIGITS * price):
            return await lane.run(work)
