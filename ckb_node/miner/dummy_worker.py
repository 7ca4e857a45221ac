"""The worker of chains with Dummy proof of work: it waits, and any nonce will do."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from ckb_node.miner.delays import Delay
from ckb_node.miner.work import NONCE_SIZE, Tally, Work


class DummyWorker:
    """Each block takes the shortest of the `delays`. New work does not begin the wait anew."""

    def __init__(
        self,
        delays: Sequence[Delay],
        found: Callable[[Work, bytes], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._delays: Final = delays
        self._found: Final = found
        self._sleep: Final = sleep
        self._work: Work | None = None
        self._has_work: Final = asyncio.Event()
        self._tally: Final = Tally()

    def assign(self, work: Work | None) -> None:
        """What is found next is for this."""
        self._work = work
        if work is None:
            self._has_work.clear()
        else:
            self._has_work.set()

    def tally(self) -> Tally:
        """One nonce a block."""
        return self._tally

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._has_work.wait()
            await self._sleep(min(delay() for delay in self._delays) / 1000)
            await self._has_work.wait()
            work = self._work
            if work is not None:
                self._tally.add(1, 1.0)
                self._found(work, secrets.token_bytes(NONCE_SIZE))
            await asyncio.sleep(0)
