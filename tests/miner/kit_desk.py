"""A desk that notes what a source does, and work to give out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ckb_node.miner.work import Work

EASY = (1 << 256) - 1
WAIT_S = 20.0


class NotedDesk:
    """See `Desk`."""

    def __init__(self) -> None:
        self.works: list[Work | None] = []
        self.taken: list[str] = []
        self.refused: list[str] = []
        self.states: list[str] = []
        self._changed = asyncio.Event()

    def assign(self, work: Work | None) -> None:
        self.works.append(work)
        self._changed.set()

    def accepted(self, what: str) -> None:
        self.taken.append(what)
        self._changed.set()

    def rejected(self, reason: str) -> None:
        self.refused.append(reason)
        self._changed.set()

    def tell(self, state: str) -> None:
        self.states.append(state)
        self._changed.set()

    @property
    def work(self) -> Work:
        """The last that was given out."""
        assert self.works
        work = self.works[-1]
        assert work is not None
        return work

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds; what may change it calls a method of this desk."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def easy_work(job: str = "job", target: int = EASY, prefix: bytes = b"\1\2\3\4", pow_hash: bytes = b"\5" * 32) -> Work:
    return Work(pow_hash, target, prefix, job, 7)
