"""What is said on a new connection of this node's before its owner gets it: to a SOCKS5 server, for a WebSocket."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from network.io.stream import NOBODY, Stream
from network.transport import Receiver

__all__ = ["Opening", "OpeningError", "Step"]


class OpeningError(Exception):
    """The connection was lost, or what is there does not answer as it must; one line."""


class Step(Protocol):
    """One conversation. What escapes from `receive` ends the connection."""

    def data_to_send(self) -> bytes: ...

    def receive(self, data: memoryview) -> None: ...

    @property
    def is_done(self) -> bool: ...

    def rest(self) -> bytes:
        """What came behind the conversation."""


class Opening:
    """Takes the steps one after the other, then hands the connection over."""

    def __init__(self, steps: Sequence[Step], hand_over: Callable[[Stream, bytes], Receiver]) -> None:
        """`hand_over` gets the connection when the steps are done, and what came behind them; it gives its receiver."""
        self._steps: Final = deque(steps)
        self._hand_over: Final = hand_over
        self._stream: Stream | None = None
        self._is_given_up = False
        self.done: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        """Set when the connection is handed over; an OpeningError, or what a step raised."""

    def start(self, stream: Stream) -> Receiver:
        """The connection stands: the receiver of its first bytes."""
        if self._is_given_up:
            stream.abort()
            return NOBODY
        self._stream = stream
        if not self._steps:
            return self._finish(stream, b"")
        stream.write([self._steps[0].data_to_send()])
        return self

    def give_up(self) -> bool:
        """Hand nothing over any more; False when that has been done."""
        if self._is_handed_over:
            return False
        self._is_given_up = True
        if self._stream is not None:
            self._stream.abort()
        return True

    @property
    def _is_handed_over(self) -> bool:
        return self.done.done() and not self.done.cancelled() and self.done.exception() is None

    def receive(self, data: memoryview) -> None:
        stream = self._stream
        if stream is None or self.done.done():
            return
        try:
            rest = self._go_on(stream, data)
        except Exception as error:  # noqa: BLE001 - the dial fails by it
            self._fail(error)
            return
        if rest is not None:
            stream.receiver = self._finish(stream, rest)

    def _go_on(self, stream: Stream, data: memoryview) -> bytes | None:
        """What is left for the owner when the last step is done."""
        while self._steps:
            step = self._steps[0]
            step.receive(data)
            if not step.is_done:
                stream.write([step.data_to_send()])
                return None
            self._steps.popleft()
            data = memoryview(step.rest())
            if self._steps:
                stream.write([self._steps[0].data_to_send()])
                if not data:
                    return None
        return bytes(data)

    def _finish(self, stream: Stream, rest: bytes) -> Receiver:
        self.done.set_result(None)
        return self._hand_over(stream, rest)

    def _fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)
        if self._stream is not None:
            self._stream.abort()

    def end_of_stream(self) -> None:
        self._fail(OpeningError("the connection was closed before it was of use"))

    def lost(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(OpeningError(reason))
