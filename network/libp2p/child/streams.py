"""A stream of a protocol: bytes between libp2p and the node, as many as both give credit for."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import trio
from libp2p.network.stream.exceptions import StreamEOF

from network.libp2p.child.pipe import Pipe
from network.libp2p.messages import CREDIT, MAX_PIECE, Closed, Credit, Data

FIRST_LOOK, LONGEST_LOOK = 0.0005, 0.02
"""Seconds between looks whether the peer has widened its window, of which the library tells nobody; each is twice as
long as the one before. The library gives up after 5 s, the node later."""
CLOSE_WAIT: Final = 5.0
"""Seconds for the peer to close its side, too."""
CREDIT_PIECE: Final = CREDIT // 4
"""Bytes after which credit is given: each is a message."""


class PeerStream:
    """Of one connection; `number` is its name in messages to the node."""

    def __init__(self, pipe: Pipe, conn: int, number: int, stream: Any) -> None:
        self._pipe, self._conn, self.number, self._stream = pipe, conn, number, stream
        self._queue: Final = deque[bytes]()
        self._wake = trio.Event()
        self._credit = CREDIT
        self._has_credit = trio.Event()
        self._is_closing = False
        self._written = 0
        self._is_writing = False

    # --- what the node says ---

    def write(self, data: bytes) -> None:
        """Send to the peer."""
        self._queue.append(data)
        self._wake.set()

    def more_credit(self, size: int) -> None:
        """The node has taken so many bytes."""
        self._credit += size
        self._has_credit.set()

    def close(self) -> None:
        """Behind what was written."""
        self._is_closing = True
        self._wake.set()
        self.more_credit(CREDIT)  # what still comes goes nowhere

    @property
    def is_idle(self) -> bool:
        """Nothing waits to be written."""
        return not self._queue and not self._is_writing

    # --- what runs ---

    async def serve(self) -> None:
        """Until either side closes it. Never raises an Exception."""
        is_reset = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read, nursery.cancel_scope)
                await self._write_all()
                with trio.move_on_after(CLOSE_WAIT):
                    await trio.sleep_forever()
                nursery.cancel_scope.cancel()
        except* Exception:  # noqa: BLE001 - a stream's fault ends the stream
            is_reset = True
        if not self._is_closing:
            self._pipe.send(self._conn, Closed(self.number, is_reset))
        with trio.move_on_after(1.0, shield=True):
            await self._stream.reset()

    async def _read(self, scope: trio.CancelScope) -> None:
        while True:
            while self._credit <= 0:
                self._has_credit = trio.Event()
                await self._has_credit.wait()
            try:
                data = await self._stream.read(min(self._credit, MAX_PIECE))
            except StreamEOF:
                data = b""
            if not data:
                scope.cancel()
                return
            if not self._is_closing:
                self._credit -= len(data)
                self._pipe.send(self._conn, Data(self.number, bytes(data)))
                await self._pipe.room()

    async def _write_all(self) -> None:
        while True:
            self._is_writing = True
            while self._queue:
                await self._write(self._queue.popleft())
            self._is_writing = False
            self._give_credit(1)
            if self._is_closing:
                await self._stream.close()
                return
            self._wake = trio.Event()
            await self._wake.wait()

    async def _write(self, data: bytes) -> None:
        """In pieces that the peer's window has room for: else the library resets the stream after 5 s."""
        muxed = self._stream.muxed_stream
        at = 0
        while at < len(data):
            pause = FIRST_LOOK
            while muxed.send_window <= 0:
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_LOOK)
                if muxed.closed or muxed.send_closed:
                    raise trio.BrokenResourceError
            piece = data[at : at + muxed.send_window]
            await self._stream.write(piece)
            at += len(piece)
        self._written += len(data)
        self._give_credit(CREDIT_PIECE)

    def _give_credit(self, least: int) -> None:
        if self._written >= least:
            self._pipe.send(self._conn, Credit(self.number, self._written))
            self._written = 0
