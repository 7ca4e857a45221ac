"""One TCP connection. Bytes come in by a buffer that all connections of the loop share, and go out without waiting."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from network.io.sockets import Endpoint, endpoint_of
from network.transport import Receiver

__all__ = ["NOBODY", "RECEIVE_BYTES", "Stream", "os_reason", "receive_buffer"]

RECEIVE_BYTES: Final = 256 << 10
"""Of one connection that are read before others have their turn."""

UNSENT_BYTES: Final = 1 << 20
"""The transport takes so much before it has sent something; the rest waits here, where it is counted once and not with
each write."""

RESUME_BYTES: Final = 256 << 10

CLOSING_SECONDS: Final = 5.0
"""A peer that does not read has so long to take the last bytes."""


class _Nobody:
    """The receiver of a connection that nobody wants any more."""

    def receive(self, data: memoryview) -> None:
        """They come too late."""

    def end_of_stream(self) -> None:
        """Nothing is expected."""

    def lost(self, reason: str) -> None:
        """It was given up before."""


NOBODY: Final = _Nobody()


def receive_buffer() -> memoryview:
    """The buffer for all connections of one event loop."""
    return memoryview(bytearray(RECEIVE_BYTES))


def os_reason(error: OSError) -> str:
    """The system's words for an error, without its number."""
    return (os.strerror(error.errno) if error.errno else error.strerror) or type(error).__name__


class Stream(asyncio.BufferedProtocol):
    """A connection (network.transport.Link) with its receiver. The receiver may change on the way: the new one gets
    what comes after."""

    def __init__(self, buffer: memoryview, start: Callable[[Stream], Receiver]) -> None:
        """`start` gives the first receiver, when the connection stands."""
        self._buffer: Final = buffer
        self._start: Final = start
        self.receiver: Receiver = NOBODY
        self._transport: asyncio.Transport | None = None
        self._is_full = self._is_closing = False
        self._waiting: Final[deque[bytes]] = deque()
        self._waiting_bytes = 0
        self._end: asyncio.TimerHandle | None = None

    @property
    def peername(self) -> Endpoint:
        """The other end's address. OSError when it is gone already."""
        name = None if self._transport is None else self._transport.get_extra_info("peername")
        if not name:
            raise OSError("the peer is gone")
        return endpoint_of(name)

    @property
    def buffered_bytes(self) -> int:
        """Bytes that the peer's system has not taken."""
        if self._transport is None:
            return 0
        return self._waiting_bytes + self._transport.get_write_buffer_size()

    # ------------------------------------------------------------ asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what loops make of a TCP socket
        transport.set_write_buffer_limits(UNSENT_BYTES, RESUME_BYTES)
        self._transport = transport
        self.receiver = self._start(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.receiver.receive(self._buffer[:nbytes])

    def eof_received(self) -> bool:
        """The receiver decides what follows: the connection stays open in the other direction."""
        self.receiver.end_of_stream()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._forget_waiting()
        if self._end is not None:
            self._end.cancel()
        receiver, self.receiver = self.receiver, NOBODY
        receiver.lost(_reason(exc))

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        while self._waiting and not self._is_full and self._transport is not None:
            piece = self._waiting.popleft()
            self._waiting_bytes -= len(piece)
            self._transport.write(piece)
        if self._is_closing and not self._waiting and self._transport is not None:
            self._transport.close()

    # ------------------------------------------------------------ the owner's calls

    def write(self, data: Sequence[bytes | bytearray]) -> None:
        """Send in order, now or when there is room. The pieces must never change afterwards."""
        if self._transport is None or self._is_closing or not data:
            return
        if self._is_full:
            self._waiting.append(b"".join(data))
            self._waiting_bytes += len(self._waiting[-1])
        elif len(data) == 1:
            self._transport.write(data[0])
        else:
            self._transport.writelines(data)

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Send what waits, then end the connection; a peer that does not take it has CLOSING_SECONDS."""
        if self._transport is None or self._is_closing:
            return
        self._is_closing = True
        if not self._waiting:
            self._transport.close()
        if self.buffered_bytes:
            self._end = asyncio.get_running_loop().call_later(CLOSING_SECONDS, self.abort)

    def abort(self) -> None:
        """End the connection now; what waits is thrown away."""
        self._is_closing = True
        self._forget_waiting()
        if self._transport is not None:
            self._transport.abort()

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0


def _reason(error: Exception | None) -> str:
    if error is None:
        return "the connection is closed"
    return os_reason(error) if isinstance(error, OSError) else type(error).__name__
