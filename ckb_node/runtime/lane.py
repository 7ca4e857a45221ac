"""A lane: threads for work that would hold up the event loop, given out in fair turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Final, TypeVar

from ckb_node.runtime.fair_queue import FairSlots

T = TypeVar("T")

Slices = Generator[bytes, None, None]
"""Work in short steps. What it yields are pieces of a result; an empty piece is a place to stop or to let others on."""

SLICE_S: Final = 0.01
"""A turn of sliced work."""

LOOP_SLICE_S: Final = 0.001
"""A turn on the event loop itself. Whoever waits there needs the loop several times for one answer."""

PIECE_BYTES: Final = 256 << 10
"""A turn ends early when its pieces are so many bytes."""

CHEAP_BYTES: Final = 16 << 10
"""Work that touches so few bytes is done at once: a turn in a thread costs more."""


class Lane:
    """`threads` turns at a time. A turn that has begun is finished although its caller has left; it is the last then.

    Close it before what its work reads is closed.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._slots = FairSlots(threads)
        self._alone = FairSlots(1)
        self._streams: set[_Stream] = set()

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises, from a thread."""
        loop = asyncio.get_running_loop()
        client = await self._slots.enter()
        started = time.monotonic()

        def leave(_: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits for a turn any more
                loop.call_soon_threadsafe(self._slots.leave, client, time.monotonic() - started)

        try:
            done = self._threads.submit(work)
        except RuntimeError:  # closed
            self._slots.leave(client, 0.0)
            raise
        done.add_done_callback(leave)
        try:
            return await asyncio.wrap_future(done)
        finally:
            del done  # its error knows this frame: all that the work held would stay until the next full collection

    async def run_alone(self, work: Callable[[], T]) -> T:
        """As `run`, but one at a time: for work that holds the interpreter lock (GIL) while it lasts."""
        async with self._alone.turn():
            return await self.run(work)

    async def run_priced(self, price: int, work: Callable[[], T]) -> T:
        """`work` at once when it touches few bytes, else as `run`."""
        return work() if price <= CHEAP_BYTES else await self.run(work)

    async def stream(self, slices: Slices) -> AsyncGenerator[bytes, None]:
        """The pieces of sliced work, a turn for each: between turns others have theirs.

        No turn is taken before the last one's piece has been taken, and none any more when the iteration is left.
        """
        stream = _Stream(slices, SLICE_S)
        self._streams.add(stream)
        try:
            is_end = False
            while not is_end:
                piece, is_end = await self.run(stream.go_on)
                if piece:
                    yield piece
        finally:
            self._streams.discard(stream)
            stream.stop()
            with suppress(RuntimeError):  # closed: that closed the work too
                self._threads.submit(stream.close)

    @contextmanager
    def held(self) -> Iterator[None]:
        """No turn begins while the context lasts: something more urgent needs the interpreter."""
        self._slots.hold()
        try:
            yield
        finally:
            self._slots.release()

    def close(self) -> None:
        """Wait for the turns that have begun; there are no more."""
        streams = list(self._streams)
        for stream in streams:
            stream.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for stream in streams:
            stream.close()


class _Stream:
    """Sliced work on its way; one thread at a time goes on with it."""

    def __init__(self, slices: Slices, slice_s: float) -> None:
        self._slices, self._slice_s = slices, slice_s
        self._is_stopped = False
        self._lock = Lock()

    def go_on(self) -> tuple[bytes, bool]:
        """A turn: the pieces in one, and whether they were the last."""
        pieces: list[bytes] = []
        size, end = 0, time.perf_counter() + self._slice_s
        with self._lock:
            for piece in self._slices:
                pieces.append(piece)
                size += len(piece)
                if size >= PIECE_BYTES or self._is_stopped or time.perf_counter() >= end:
                    return b"".join(pieces), False
        return b"".join(pieces), True

    def stop(self) -> None:
        """The turn at hand is the last."""
        self._is_stopped = True

    def close(self) -> None:
        """Let the work release what it holds."""
        with self._lock:
            self._slices.close()


async def in_turns(slices: Slices) -> AsyncGenerator[bytes, None]:
    """The pieces of sliced work that must be done on the event loop, which does other things between turns."""
    stream, is_end = _Stream(slices, LOOP_SLICE_S), False
    try:
        while not is_end:
            piece, is_end = stream.go_on()
            if piece:
                yield piece
            await asyncio.sleep(0)
    finally:
        stream.close()


__all__ = ["CHEAP_BYTES", "PIECE_BYTES", "Lane", "Slices", "in_turns"]
