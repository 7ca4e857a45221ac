"""The stream inside a WebSocket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from network.ckb_wire.websocket import WebSocketClient, WebSocketError, WebSocketServer
from network.io.stream import NOBODY, Stream
from network.transport import Receiver

__all__ = ["ClientUpgrade", "WebSocketLink"]


class WebSocketLink:
    """A link (network.transport.Link) for its owner, and the receiver of its TCP stream, once the upgrade is done."""

    def __init__(self, stream: Stream, end: WebSocketClient | WebSocketServer) -> None:
        self._stream, self._end = stream, end
        self._has_ended = False
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
        self._stream.pause_reading()

    def resume_reading(self) -> None:
        self._stream.resume_reading()

    def close(self) -> None:
        self._end.close()
        self._flush()
        self._stream.close()

    def abort(self) -> None:
        self._stream.abort()

    # ------------------------------------------------------------ Receiver

    def receive(self, data: memoryview) -> None:
        try:
            inside = self._end.receive(data)
        except WebSocketError:
            self._flush()
            self._stream.close()
            return
        self._flush()
        if inside and not self._has_ended:
            self.receiver.receive(memoryview(inside))
        if self._end.is_closed:
            self.end_of_stream()

    def end_of_stream(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self.receiver.end_of_stream()

    def lost(self, reason: str) -> None:
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
