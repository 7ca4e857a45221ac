"""The stream inside a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from network.ckb_wire.websocket import WebSocketClient, WebSocketError, WebSocketServer
from network.io.stream import NOBODY, Stream
from network.transport import Receiver

__all__ = ["ClientUpgrade", "WebSocketLink"]


SLICE: Final = 8192
"""Bytes that are read at once."""
MAX_TURN: Final = 256
"""Frames after which others have their turn."""


class WebSocketLink:
    """A link (network.transport.Link) for its owner, and the receiver of its TCP stream, once the upgrade is done."""

    def __init__(self, stream: Stream, end: WebSocketClient | WebSocketServer) -> None:
        self._stream, self._end = stream, end
        self._has_ended = self._is_paused = self._is_at_end = False
        self._unread = b""
        """What came and waits for another turn, or for the owner; the stream is paused meanwhile."""
        self._turn: asyncio.Handle | None = None
        self.receiver: Receiver = NOBODY
        """Of the stream inside."""

    # ------------------------------------------------------------ Link

    @property
    def buffered_bytes(self) -> int:
        return self._stream.buffered_bytes

    def write(self, data: Sequence[bytes | bytearray]) -> None:
        if data:
            self._end.send(b"".join(data))
            self._flush()

    def pause_reading(self) -> None:
        self._is_paused = True
        self._stream.pause_reading()

    def resume_reading(self) -> None:
        self._is_paused = False
        if self._unread:
            self._go_on_later()
        else:
            self._stream.resume_reading()

    def close(self) -> None:
        self._end.close()
        self._flush()
        self._stream.close()

    def abort(self) -> None:
        self._stream.abort()

    # ------------------------------------------------------------ Receiver

    def receive(self, data: memoryview) -> None:
        if self._unread:
            self._unread += data
        else:
            self._read(data)

    def _read(self, data: memoryview) -> None:
        """Slice by slice, as long as frames are large: small ones by the thousand would keep others waiting."""
        last = self._end.frames_read + MAX_TURN
        while data and not self._has_ended:
            if self._is_paused or self._end.frames_read >= last:
                self._unread = bytes(data)
                self._stream.pause_reading()
                if not self._is_paused:
                    self._go_on_later()
                return
            self._read_slice(data[:SLICE])
            data = data[SLICE:]

    def _read_slice(self, data: memoryview) -> None:
        try:
            inside = self._end.receive(data)
        except WebSocketError:
            self._has_ended = True
            self._flush()
            self._stream.close()
            return
        self._flush()
        if inside:
            self.receiver.receive(memoryview(inside))
        if self._end.is_closed:
            self._end_stream()

    def _go_on_later(self) -> None:
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._turn = None
        if self._is_paused:
            return
        data, self._unread = self._unread, b""
        self._read(memoryview(data))
        if not self._unread and not self._is_paused:
            self._stream.resume_reading()
            if self._is_at_end:
                self._end_stream()

    def end_of_stream(self) -> None:
        if self._unread:
            self._is_at_end = True
        else:
            self._end_stream()

    def _end_stream(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self.receiver.end_of_stream()

    def lost(self, reason: str) -> None:
        self._unread = b""
        receiver, self.receiver = self.receiver, NOBODY
        receiver.lost(reason)

    def _flush(self) -> None:
        data = self._end.data_to_send()
        if data:
            self._stream.write([data])


class ClientUpgrade:
    """The upgrade of a connection that this node has made (network.io.opening.Step)."""

    def __init__(self, host: str) -> None:
        """`host`: as it is dialled, with its port."""
        self.client: Final = WebSocketClient(host)
        self._inside = b""

    def data_to_send(self) -> bytes:
        return self.client.data_to_send()

    def receive(self, data: memoryview) -> None:
        """Raises WebSocketError."""
        self._inside = self.client.receive(data)

    @property
    def is_done(self) -> bool:
        return self.client.is_open

    def rest(self) -> bytes:
        """What came of the stream inside."""
        return self._inside
