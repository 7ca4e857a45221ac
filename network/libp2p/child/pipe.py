"""The socket to the node, on trio."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Final

import trio

from network.libp2p.messages import SIZE_SIZE, Demux, Message, encode, frame
from network.limits import MIB

MAX_WAITING: Final = 4 * MIB
"""Bytes for the node that may wait before streams of peers are read no further."""
CHUNK: Final = 256 * 1024


class Pipe:
    """Both directions."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._stream: Final = trio.SocketStream(trio.socket.from_stdlib_socket(end))
        self._out = bytearray()
        self._has_out = trio.Event()
        self._has_room = trio.Event()

    def send(self, conn: int, message: Message) -> None:
        """Queue a message. Who sends what peers may cause without end awaits `room` too."""
        self._out += frame(conn, encode(message))
        self._has_out.set()

    async def room(self) -> None:
        """Until the node has taken enough of what waits."""
        while len(self._out) > MAX_WAITING:
            self._has_room = trio.Event()
            await self._has_room.wait()

    async def write_forever(self) -> None:
        """The task that sends. Raises trio.BrokenResourceError when the node is gone."""
        while True:
            await self._has_out.wait()
            self._has_out = trio.Event()
            while self._out:
                data, self._out = self._out, bytearray()
                self._has_room.set()
                await self._stream.send_all(data)

    async def flushed(self) -> None:
        """Until everything is sent."""
        while self._out:  # noqa: ASYNC110 - once, at the end
            await trio.sleep(0.01)

    async def records(self) -> AsyncIterator[tuple[int, memoryview]]:
        """Connections and bodies, until the node closes its end. Raises IpcError."""
        demux = Demux()
        while True:
            try:
                data = await self._stream.receive_some(CHUNK)
            except trio.BrokenResourceError:
                return
            if not data:
                return
            for conn, record in demux.feed(bytes(data)):
                yield conn, record[SIZE_SIZE:]
