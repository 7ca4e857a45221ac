"""Keeps something derived in step with the main chain: the cell index, the block filters.

A follower works in a thread of its own, a batch of blocks at a time, so that neither the chain nor the event loop waits
for it. After a failure it opens its database again and goes on from what is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import structlog

from ckb_node.chain.events import ChainChanged
from storage.chain_store import ChainView
from storage.errors import StorageError

log = structlog.get_logger(__name__)

T = TypeVar("T")

PAUSE_SECONDS = 0.5
"""Between two looks whether the chain still takes many blocks at once."""

FAR_BEHIND = 10_000
"""So many blocks behind the tip are worth a line in the log."""


class FollowedChain(Protocol):
    """What a follower needs of the chain service."""

    def view(self) -> ChainView:
        """The newest committed state of the main chain."""

    def listen(self, listener: Callable[[ChainChanged], None], /) -> None:
        """Call `listener` on the event loop after each change of the tip."""

    @property
    def is_taking_runs(self) -> bool:
        """Many blocks are being written at once: the node is far behind, and has no time for anything else."""


class Derived(Protocol):
    """What follows the chain. All is called in the follower's thread; whatever is raised ends the step."""

    def step(self, view: ChainView) -> int:
        """Follow a batch of blocks of the view's main chain, after what is not on it was rolled back; the height of the
        last block followed."""

    def reopen(self) -> None:
        """Make the database usable after a step has failed, and forget what was remembered of it."""

    def close(self) -> None:
        """Close the database."""


@dataclass(slots=True)
class _Waiter:
    """`make` is called when all changes up to the number `changes` have been followed."""

    changes: int
    make: Callable[[], Any]
    made: asyncio.Future[Any]


class ChainFollower:
    """Belongs to the event loop, but for `step`. `name`, a plural, is for the log and the thread."""

    def __init__(self, chain: FollowedChain, derived: Derived, name: str) -> None:
        self._chain: Final = chain
        self._derived: Final = derived
        self._name: Final = name
        self._has_failed = self._is_far_behind = False
        self._changes = 0
        """Of the chain, so far."""
        self._followed = -1
        """So many changes have been followed to the end; fewer while a step is under way."""
        self._waiters: list[_Waiter] = []
        self._writer: Final = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._wake: Final = asyncio.Event()
        self._asked: Final = asyncio.Event()
        chain.listen(self._on_change)

    def _on_change(self, _: ChainChanged) -> None:
        self._changes += 1
        self._wake.set()

    async def run(self) -> None:
        """Follow the main chain until cancelled. May be called again after it has raised, whatever it was.

        While the node downloads the chain it waits, unless somebody asks: both work in one interpreter, and the chain
        would come at two thirds of its speed (decision 39).
        """
        loop = asyncio.get_running_loop()
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._until_chain_has_time()
            if not await loop.run_in_executor(self._writer, self.step):
                self._wake.set()
            self._serve_waiters()

    async def _until_chain_has_time(self) -> None:
        """Or until somebody asks."""
        while self._chain.is_taking_runs and not self._waiters:
            self._asked.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_SECONDS):
                    await self._asked.wait()

    def step(self) -> bool:
        """Follow a batch of blocks; True when the tip of the chain is reached. After a failure, which is raised, the
        next step opens the database again."""
        if self._has_failed:
            self._followed = -1  # the reopened database may lack its end, or be rebuilt
            self._derived.reopen()
        self._has_failed = True
        changes = self._changes
        with self._chain.view() as view:
            tip, reached = view.tip_header().number, self._derived.step(view)
        is_done = reached >= tip
        if is_done:
            self._followed = changes
        self._has_failed = False
        self._log_progress(reached, tip, is_done=is_done)
        return is_done

    def _log_progress(self, reached: int, tip: int, *, is_done: bool) -> None:
        if not self._is_far_behind and tip - reached >= FAR_BEHIND:
            self._is_far_behind = True
            log.info(f"{self._name} are built in the background", number=reached, tip=tip)
        elif self._is_far_behind and is_done:
            self._is_far_behind = False
            log.info(f"{self._name} have reached the tip", number=reached)

    async def when_current(self, make: Callable[[], T], wait_s: float) -> T:
        """What `make` returns when all changes of the chain before this call have been followed. It is called on the
        event loop between two steps, so it never sees a half-followed change. Raises TimeoutError after `wait_s`."""
        if self.is_current:
            return make()
        made: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(self._changes, make, made)
        self._waiters.append(waiter)
        self._asked.set()
        try:
            async with asyncio.timeout(wait_s):
                return await made
        finally:
            self._waiters = [each for each in self._waiters if each is not waiter]

    @property
    def is_current(self) -> bool:
        """All changes of the chain have been followed."""
        return self._followed >= self._changes

    def _serve_waiters(self) -> None:
        ready = [each for each in self._waiters if each.changes <= self._followed]
        self._waiters = [each for each in self._waiters if each.changes > self._followed]
        for waiter in ready:
            if waiter.made.done():
                continue
            try:
                waiter.made.set_result(waiter.make())
            except StorageError as error:
                waiter.made.set_exception(error)

    def close(self) -> None:
        """Finish the batch at hand, stop the thread and close the database."""
        self._writer.shutdown(wait=True, cancel_futures=True)
        self._derived.close()
