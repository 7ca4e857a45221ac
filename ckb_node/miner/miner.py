"""The miner: between a source of work and its workers, with what is shown of both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from ckb_node.miner.figures import Figures
from ckb_node.miner.work import MinerError, Source, Work, Workers
from ckb_node.runtime.live_line import live_line

log = structlog.get_logger("miner")

DRAW_S: Final = 1.0
LINE_S: Final = 10.0
"""Where there is no terminal, a line of the log so often."""


class Miner:
    """Runs until `limit` finds were accepted (0: for ever) or `stop` is called. On the event loop."""

    def __init__(
        self,
        source: Source,
        unit: str,
        limit: int = 0,
        *,
        has_luck: bool = True,
        now: Callable[[], float] | None = None,
    ) -> None:
        """`unit`: what the source calls a find, in the plural. `has_luck`: finds are rare events."""
        self.figures: Final = Figures(now or time.monotonic)
        self._source: Final = source
        self._unit: Final = unit
        self._limit: Final = limit
        self._has_luck: Final = has_luck
        self._ended: Final = asyncio.Event()
        self._workers: Workers | None = None

    async def run(self, workers: Workers) -> None:
        """Mine. Raises MinerError."""
        self._workers = workers
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(each) for each in (self._source.run(self), workers.run(), self._show())]
                await self._ended.wait()
                for task in tasks:
                    task.cancel()
        except* MinerError as errors:
            raise _first_of(errors) from None
        finally:
            self.figures.sample(workers.tally())
            log.info(self.figures.summary(self._unit))

    def stop(self) -> None:
        """End `run`."""
        self._ended.set()

    def on_found(self, work: Work, nonce: bytes) -> None:
        """For the workers."""
        if self._ended.is_set():
            return
        self.figures.found += 1
        self._source.found(work, nonce)

    # ------------------------------------------------ what the source needs

    def assign(self, work: Work | None) -> None:
        """Have this solved."""
        if work is not None:
            self.figures.number = work.number
        if self._workers is not None:
            self._workers.assign(work)

    def accepted(self, what: str) -> None:
        """Count it."""
        self.figures.accepted += 1
        log.info("accepted", what=what)
        if self.figures.accepted == self._limit:
            self._workers_rest()
            self.stop()

    def rejected(self, reason: str) -> None:
        """Count it, by reason."""
        self.figures.reject(reason)
        log.warning("refused", reason=reason)

    def tell(self, state: str) -> None:
        """Show it."""
        self.figures.state = state

    def _workers_rest(self) -> None:
        if self._workers is not None:
            self._workers.assign(None)

    async def _show(self) -> None:
        """A live line on a terminal, else a line of the log now and then."""
        with live_line() as draw:
            while True:
                await asyncio.sleep(LINE_S if draw is None else DRAW_S)
                if self._workers is not None:
                    self.figures.sample(self._workers.tally())
                line = self.figures.line(self._unit, has_luck=self._has_luck)
                if draw is None:
                    log.info(line)
                else:
                    draw(line)


def _first_of(errors: BaseExceptionGroup[MinerError]) -> MinerError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found if isinstance(found, MinerError) else MinerError(str(found))
