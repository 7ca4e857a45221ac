"""Room for answers that clients have not taken yet: so many bytes, of each client a part."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ckb_node.rpc.errors import Code, RpcError

MAX_BYTES: Final = 128 << 20
SHARE: Final = 4
"""A client may hold this part of all."""
WAIT_S: Final = 10.0
"""A call that needs room waits so long for others to take their answers."""


class AnswerRoom:
    """Counts bytes of large answers on their way. What is held may exceed the limit by the answers of calls that began
    while there was room. Belongs to the event loop."""

    def __init__(self, max_bytes: int = MAX_BYTES, wait_s: float = WAIT_S) -> None:
        self._max_bytes, self._wait_s = max_bytes, wait_s
        self._by_client: Counter[str] = Counter()
        self._freed = asyncio.Event()
        self.held_bytes = 0

    async def wait(self, client: str) -> None:
        """Return when a large answer may be begun. Raises RpcError when no room comes in time."""
        if self._has_room(client):
            return
        try:
            async with asyncio.timeout(self._wait_s):
                while not self._has_room(client):
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            held = self._by_client[client]
            raise RpcError(
                Code.ServerIsBusy,
                f"{self.held_bytes} bytes of answers wait to be read, {held} of them by this client; try again later",
            ) from None

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
            self._freed.set()
