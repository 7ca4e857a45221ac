"""The limit of blocks that wait to be verified, in number and bytes; callers wait until there is room."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

MAX_BLOCKS: Final = 1024
MAX_BYTES: Final = 64 << 20


class BlockQueueLimit:
    """Counts blocks and their bytes; callers beyond the limit wait in order. Belongs to the event loop.

    A block that is larger than the limit of bytes is admitted when it is the only one.
    """

    def __init__(self, max_blocks: int = MAX_BLOCKS, max_bytes: int = MAX_BYTES) -> None:
        self._max_blocks, self._max_bytes = max_blocks, max_bytes
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.blocks = self.bytes = 0

    @property
    def has_line(self) -> bool:
        """Callers wait for room: no more blocks should be requested."""
        return bool(self._line)

    async def acquire(self, size: int) -> None:
        """Return when there is room for a block of `size` bytes, which is taken then."""
        if not self._line and self._fits(size):
            self._take(size)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = size, turn
        self._line.append(place)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.release(size)
            elif place in self._line:
                self._line.remove(place)
                self._admit_waiting()
            raise

    def take(self, size: int) -> None:
        """Take room whether there is any or not: for a caller that bounds by itself how much it gives at once."""
        self._take(size)

    def release(self, size: int) -> None:
        """A block for which room was acquired is decided."""
        self.blocks -= 1
        self.bytes -= size
        self._admit_waiting()

    def _fits(self, size: int) -> bool:
        return self.blocks < self._max_blocks and (self.bytes + size <= self._max_bytes or self.blocks == 0)

    def _take(self, size: int) -> None:
        self.blocks += 1
        self.bytes += size

    def _admit_waiting(self) -> None:
        """In order: a small block does not overtake a large one. Cancelled waiters stay until they reach the front."""
        while self._line:
            size, turn = self._line[0]
            if not turn.cancelled():
                if not self._fits(size):
                    return
                self._take(size)
                turn.set_result(None)
            self._line.popleft()
