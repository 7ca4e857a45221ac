"""The node's long-lived tasks: which of them may fail alone, which end the node, and what is degraded now.

The failure of a vital task ends the node: the chain cannot be written any more. A restartable task fails alone:
indexer, block filters, readmission, the dev miner. The others go on, and it is restarted after growing pauses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Self

import structlog

from consensus.lookup import ChainDataError
from storage.errors import StorageCorrupt, StorageError

log = structlog.get_logger("node")

Run = Callable[[], Awaitable[None]]
"""Does the work of a task until it is cancelled."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds. A task is restarted `first` after its first failure, then after pauses that double up to `longest`; one
    that has run for `healthy_after` counts as working."""

    first: float = 1.0
    longest: float = 300.0
    healthy_after: float = 10.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A restartable task that has failed and does not work yet. `reason` names no path; `since` in ms since 1970."""

    name: str
    reason: str
    since: int
    failures: int = 1


class Tasks:
    """Runs tasks while its context lasts; belongs to the event loop."""

    def __init__(self, now_ms: Callable[[], int], pauses: Pauses | None = None) -> None:
        self._now_ms: Final = now_ms
        self._pauses: Final = pauses or Pauses()
        self._group: Final = asyncio.TaskGroup()
        self._running: Final[list[asyncio.Task[None]]] = []
        self._faults: Final[dict[str, Fault]] = {}
        self._failure: Exception | None = None
        self._has_failed: Final = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for task in self._running:
            task.cancel()
        await self._group.__aexit__(kind, error, at)

    @property
    def faults(self) -> Sequence[Fault]:
        """What is degraded now."""
        return list(self._faults.values())

    def start_vital(self, name: str, run: Run) -> None:
        """Run a task whose error ends the node, see `until`."""
        self._start(name, partial(self._run_vital, run))

    def start_restartable(self, name: str, run: Run) -> None:
        """Run a task that fails alone and is started again."""
        self._start(name, partial(self._run_restartable, name, run))

    def _start(self, name: str, run: Run) -> None:
        async def work() -> None:  # called when the task begins, which one that is cancelled first never does
            await run()

        self._running.append(self._group.create_task(work(), name=name))

    async def until(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set. Raises the error of the vital task that failed before."""
        waiting = [self._group.create_task(event.wait()) for event in (stop, self._has_failed)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
        if self._failure is not None:
            raise self._failure

    async def _run_vital(self, run: Run) -> None:
        try:
            await run()
        except Exception as error:  # noqa: BLE001 - raised by `until`
            self._failure = self._failure or error
            self._has_failed.set()

    async def _run_restartable(self, name: str, run: Run) -> None:
        pause = self._pauses.first
        while True:
            healthy = asyncio.get_running_loop().call_later(self._pauses.healthy_after, self._works_again, name)
            try:
                await run()
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not take the node along
                if name not in self._faults:
                    pause = self._pauses.first
                self._note(name, first_error(error), pause)
            else:
                self._works_again(name)
                return
            finally:
                healthy.cancel()
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._pauses.longest)

    def _note(self, name: str, error: Exception, pause: float) -> None:
        before = self._faults.get(name)
        since, failures = (self._now_ms(), 1) if before is None else (before.since, before.failures + 1)
        self._faults[name] = Fault(name, public_reason(error), since, failures)
        fields = {"task": name, "failures": failures, "again_in_s": pause, "reason": str(error) or type(error).__name__}
        if isinstance(error, StorageCorrupt):
            fields["cure"] = "stop the node and remove this directory: what is in it is built again from the chain"
        if isinstance(error, StorageError | ChainDataError | OSError):
            log.error("a part of the node does not work; the chain goes on", **fields)
        else:
            log.error("a part of the node does not work; the chain goes on", **fields, exc_info=error)

    def _works_again(self, name: str) -> None:
        if self._faults.pop(name, None) is not None:
            log.info("a part of the node works again", task=name)


def first_error(error: Exception) -> Exception:
    """The first real error inside task groups' wrappings."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def public_reason(error: Exception) -> str:
    """What strangers may read of an error: no paths of this machine."""
    match error:
        case StorageError():
            return error.reason
        case OSError():
            return error.strerror or type(error).__name__
        case ChainDataError():
            return str(error)
    return type(error).__name__
