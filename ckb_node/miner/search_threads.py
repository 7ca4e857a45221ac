"""Threads that search for nonces by the kernel, which lets go of Python's lock while it works."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Final

from ckb_node.miner.nonces import behind, slices, tried
from ckb_node.miner.work import MinerError, Tally, Work
from consensus.params import PowFunc
from consensus.rules.pow import find_nonce_bytes

MAX_WAITING: Final = 64
"""Found nonces that wait for the event loop; a thread with one more waits."""
WAIT_S: Final = 0.05
END_S: Final = 5.0


class _Assignment:
    """What the threads work on; its work may get another target."""

    def __init__(self, work: Work | None) -> None:
        self.work = work


class SearchThreads:
    """Belongs to the event loop, which calls `found` with work and nonce."""

    def __init__(self, function: PowFunc, count: int, found: Callable[[Work, bytes], None]) -> None:
        self.count: Final = count
        self._function: Final = function
        self._found: Final = found
        self._tallies: Final = [Tally() for _ in range(count)]
        self._assigned = _Assignment(None)
        self._changed: Final = threading.Condition()
        self._room: Final = threading.BoundedSemaphore(MAX_WAITING)
        self._stopped = False

    def assign(self, work: Work | None) -> None:
        """Search for this; what continues the search under way goes on where that is."""
        before = self._assigned
        if work is not None and before.work is not None and work.continues(before.work):
            before.work = work
            return
        with self._changed:
            self._assigned = _Assignment(work)
            self._changed.notify_all()

    def tally(self) -> Tally:
        """What all threads did."""
        return sum(self._tallies, Tally())

    async def run(self) -> None:
        """Search until cancelled. Raises MinerError when a thread fails."""
        loop = asyncio.get_running_loop()
        failed: asyncio.Future[None] = loop.create_future()
        threads = [
            threading.Thread(target=self._run, args=(loop, failed, index), name=f"search-{index}", daemon=True)
            for index in range(self.count)
        ]
        for each in threads:
            each.start()
        try:
            await failed
        finally:
            self._stop()
            for each in threads:
                each.join(END_S)

    def _stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _run(self, loop: asyncio.AbstractEventLoop, failed: asyncio.Future[None], index: int) -> None:
        try:
            for assigned in self._assignments():
                self._search(loop, assigned, index)
        except Exception as error:  # noqa: BLE001 - whatever it is, the miner must not go on with a thread less
            reason = MinerError(f"a thread of the search failed: {type(error).__name__}: {error}")
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_fail, failed, reason)

    def _assignments(self) -> Iterator[_Assignment]:
        """Each of them that this thread gets to see, until the end."""
        seen = _Assignment(None)
        while True:
            with self._changed:
                while self._assigned is seen and not self._stopped:
                    self._changed.wait()
                seen = self._assigned
            if self._stopped:
                return
            yield seen

    def _search(self, loop: asyncio.AbstractEventLoop, assigned: _Assignment, index: int) -> None:
        """All nonces of this thread, while nothing else is assigned."""
        if assigned.work is None:
            return
        for first, count in slices(assigned.work.prefix, index, self.count):
            nonce, left = first, count
            while left > 0:
                work = assigned.work
                if self._stopped or self._assigned is not assigned or work is None:
                    return
                found = find_nonce_bytes(self._function, work.pow_hash, work.target, nonce, left)
                done = left if found is None else tried(nonce, found)
                self._tallies[index].add(done, work.chance)
                left -= done
                if found is not None:
                    self._report(loop, assigned, work, found)
                    nonce = behind(found) if left else nonce

    def _report(self, loop: asyncio.AbstractEventLoop, assigned: _Assignment, work: Work, nonce: bytes) -> None:
        while not self._room.acquire(timeout=WAIT_S):
            if self._stopped or self._assigned is not assigned:
                return
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._take, work, nonce)

    def _take(self, work: Work, nonce: bytes) -> None:
        self._room.release()
        self._found(work, nonce)


def _fail(failed: asyncio.Future[None], reason: MinerError) -> None:
    if not failed.done():
        failed.set_exception(reason)
