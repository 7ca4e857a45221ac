"""A lane: a thread pool for work that would block the event loop, shared fairly among clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Final, TypeVar

from ckb_node.runtime import loop_turns
from ckb_node.runtime.fair_queue import FairSlots

T = TypeVar("T")

Slices = Generator[bytes, None, None]
"""Work in short steps. It yields pieces of a result; an empty piece marks a point where it can be interrupted."""

SLICE_S: Final = 0.01
"""Longest turn of sliced work."""

PIECE_BYTES: Final = 256 << 10
"""A turn ends early when its pieces are so many bytes."""

LIFE_S: Final = 900.0
"""Longest life of sliced work, most of which its client's pace takes. It may hold a view of a database, which then
keeps all that was deleted since."""

CHEAP_BYTES: Final = 16 << 10
"""Work on at most this many bytes runs at once: a turn in a thread costs more."""


class TooLongError(Exception):
    """A result was not made and taken within LIFE_S."""

    def __init__(self) -> None:
        super().__init__(f"the answer was not taken within {LIFE_S:.0f} s")


class Lane:
    """`threads` turns at a time. A turn that has begun is finished even if its caller has left, and is then the last.

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
            with suppress(RuntimeError):  # the loop is closed, so no turn is awaited
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
            # The exception refers to this frame: the cycle would keep the result alive until a full collection.
            del done

    async def run_alone(self, work: Callable[[], T]) -> T:
        """As `run`, but one at a time: for work that holds the interpreter lock (GIL) while it lasts."""
        async with self._alone.turn():
            return await self.run(work)

    async def run_priced(self, price: int, work: Callable[[], T]) -> T:
        """`work` at once when it touches few bytes, else as `run`."""
        return work() if price <= CHEAP_BYTES else await self.run(work)

    async def stream(self, slices: Slices) -> AsyncGenerator[bytes, None]:
        """The pieces of sliced work, one turn each; other work runs between turns.

        The next turn starts when the last piece was consumed, and none when the iteration has ended. Raises
        TooLongError; what the work holds is released when the time is up, though no piece is asked for.
        """
        stream, is_end = _Stream(slices, SLICE_S), False
        self._streams.add(stream)
        life = asyncio.get_running_loop().call_later(LIFE_S, self._expire, stream)
        try:
            while not is_end:
                piece, is_end = await self.run(stream.go_on)
                if piece:
                    yield piece
        finally:
            life.cancel()
            self._streams.discard(stream)
            if not is_end:
                stream.stop()
                self._close_soon(stream)

    def _expire(self, stream: _Stream) -> None:
        stream.expire()
        self._close_soon(stream)

    def _close_soon(self, stream: _Stream) -> None:
        with suppress(RuntimeError):  # closed: that closed the work too
            self._threads.submit(stream.close)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No turn begins while the context lasts: more urgent work needs the GIL."""
        self._slots.hold()
        try:
            yield
        finally:
            self._slots.release()

    def close(self) -> None:
        """Wait for the turns that have begun; start no more."""
        streams = list(self._streams)
        for stream in streams:
            stream.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for stream in streams:
            stream.close()


class _Stream:
    """Sliced work in progress; one thread at a time continues it."""

    def __init__(self, slices: Slices, slice_s: float) -> None:
        self._slices, self._slice_s = slices, slice_s
        self._is_stopped = self._is_expired = False
        self._lock = Lock()

    def go_on(self) -> tuple[bytes, bool]:
        """A turn: the pieces in one, and whether they were the last. Raises TooLongError."""
        pieces: list[bytes] = []
        size, end = 0, time.perf_counter() + self._slice_s
        with self._lock:
            if self._is_expired:
                raise TooLongError
            for piece in self._slices:
                pieces.append(piece)
                size += len(piece)
                if size >= PIECE_BYTES or self._is_stopped or time.perf_counter() >= end:
                    return b"".join(pieces), False
        return b"".join(pieces), True

    def stop(self) -> None:
        """The turn at hand is the last."""
        self._is_stopped = True

    def expire(self) -> None:
        """The turn at hand is the last, and the next an error: what was given is no whole result."""
        self._is_expired = self._is_stopped = True

    def end(self) -> None:
        """Expire between two turns."""
        self.expire()
        self.close()

    def close(self) -> None:
        """Let the work release what it holds."""
        with self._lock:
            self._slices.close()


async def in_turns(slices: Slices) -> AsyncGenerator[bytes, None]:
    """The pieces of sliced work that must be done on the event loop, in its turns. Raises TooLongError."""
    stream, is_end = _Stream(slices, loop_turns.LOOP_SLICE_S), False
    life = asyncio.get_running_loop().call_later(LIFE_S, stream.end)
    try:
        while not is_end:
            piece, is_end = await loop_turns.loop_turn(stream.go_on)
            if piece:
                yield piece
            await asyncio.sleep(0)
    finally:
        life.cancel()
        stream.close()


__all__ = ["CHEAP_BYTES", "PIECE_BYTES", "Lane", "Slices", "TooLongError", "in_turns"]
