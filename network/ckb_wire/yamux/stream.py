"""One stream of a yamux session: its windows, and the bytes that wait for them."""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from network.ckb_wire.yamux.frames import INITIAL_WINDOW

__all__ = ["Buffer", "Stream", "StreamConsumer"]

Buffer = bytes | bytearray | memoryview

SMALL: Final = 4096
"""Pieces below this size are gathered into one: what a queue costs is then about what it holds."""
GATHERED: Final = 64 << 10


class StreamConsumer(Protocol):
    """Takes what comes on a stream. It may close or reset the stream from within these calls."""

    def data(self, data: bytes, start: int, end: int) -> int:
        """The next bytes are data[start:end], of any length. Gives where it has stopped: the rest is for another turn,
        see Session.proceed."""

    def finished(self) -> None:
        """The peer has closed the stream, which is gone on this side, too."""

    def was_reset(self) -> None:
        """The peer has reset or refused the stream."""


class Stream:
    """What a session knows of a stream. Its owner sets `consumer`; the rest is the session's."""

    __slots__ = (
        "_queue",
        "consumed",
        "consumer",
        "held",
        "id",
        "is_finished",
        "is_held",
        "is_open",
        "queued",
        "receive_window",
        "send_window",
        "waiting_since",
    )

    def __init__(self, stream_id: int, receive_window: int) -> None:
        self.id: Final = stream_id
        self.consumer: StreamConsumer
        self.is_open = True
        self.is_held = False
        self.is_finished = False
        """The peer closed the stream, and something is held."""
        self.receive_window = receive_window
        """Bytes that may still come."""
        self.consumed = 0
        """Bytes that were used up since the last window update."""
        self.held = bytearray()
        """What came while the stream was held, or its consumer had enough."""
        self.send_window = INITIAL_WINDOW
        """Bytes that may still be sent."""
        self._queue: Final = deque[Buffer]()
        self.queued = 0
        """Bytes in the queue."""
        self.waiting_since: float | None = None
        """When the queue began to wait or the peer last widened its window; None when nothing waits."""

    def queue(self, prefix: bytes, body: bytes) -> None:
        """Add to what will be sent; `body` is kept, not copied, unless it is small."""
        size = len(prefix) + len(body)
        self.queued += size
        queue = self._queue
        if size >= SMALL:
            queue.append(prefix)
            queue.append(body)
            return
        last = queue[-1] if queue else None
        if type(last) is not bytearray or len(last) >= GATHERED:
            last = bytearray()
            queue.append(last)
        last += prefix
        last += body

    def take(self, limit: int) -> tuple[int, list[Buffer]]:
        """What may be sent now, at most `limit` bytes: their number and the pieces."""
        allowed = min(limit, self.send_window)
        if self.queued <= allowed:
            taken, pieces = self.queued, list(self._queue)
            self._queue.clear()
            self.waiting_since = None
        else:
            taken, pieces = allowed, self._take_some(allowed)
        self.queued -= taken
        self.send_window -= taken
        return taken, pieces

    def _take_some(self, wanted: int) -> list[Buffer]:
        pieces = list[Buffer]()
        queue = self._queue
        while wanted:
            piece = queue.popleft()
            if len(piece) > wanted:
                view = memoryview(piece)
                queue.appendleft(view[wanted:])
                piece = view[:wanted]
            pieces.append(piece)
            wanted -= len(piece)
        return pieces

    def clear(self) -> None:
        """Forget all that waits, in both directions."""
        self.is_open = False
        self._queue.clear()
        self.queued = 0
        self.waiting_since = None
        self.held = bytearray()
