"""JSON-RPC over WebSocket by aiohttp: one request or batch a message, answers and events one a message."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from aiohttp import WSMsgType, web

from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.http_connection import Connection
from ckb_node.rpc.stream import serve_stream
from ckb_node.rpc.subscriptions import Hub

HEARTBEAT_SECONDS: Final = 38.0
"""A client is asked for a sign of life (ping) after so long, and is gone after half as long without one."""


class NotUpgradedError(Exception):
    """The request is not the beginning of a WebSocket."""


class WebSocketStream:
    """Satisfies `stream.Stream`."""

    takes_parts = False

    def __init__(self, socket: web.WebSocketResponse[bool], connection: Connection, answer_seconds: float) -> None:
        self._socket: Final = socket
        self._connection: Final = connection
        self.sharer: str = connection.sharer
        self.answer_seconds = answer_seconds

    async def receive(self) -> bytes | None:
        """The next message of text; others are no requests."""
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.TEXT:
                data: bytes = message.data
                return data
            if message.type is not WSMsgType.BINARY:
                return None

    def attend(self) -> None:
        """A request is here."""
        self._connection.attend()

    def await_client(self, *, is_subscriber: bool) -> None:
        """All is answered."""
        self._connection.stream(is_subscriber=is_subscriber)

    async def send_parts(self, first: bytes, parts: AsyncGenerator[bytes, None]) -> None:
        """Messages of the library have no parts."""
        raise NotImplementedError

    async def send(self, message: bytes) -> None:
        """A message of text."""
        await self._socket.send_frame(message, WSMsgType.TEXT)


async def serve_websocket(
    request: web.BaseRequest, connection: Connection, dispatcher: Dispatcher, hub: Hub, *, is_foreign: bool
) -> web.StreamResponse:
    """Serve a WebSocket until its end. Raises NotUpgradedError."""
    limits = connection.limits
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_SECONDS, max_msg_size=limits.body_bytes, compress=False, decode_text=False
    )
    try:
        await socket.prepare(request)
    except web.HTTPException as error:
        raise NotUpgradedError(error.text or "") from None
    connection.stream(is_subscriber=False)
    stream = WebSocketStream(socket, connection, limits.answer_seconds)
    await serve_stream(stream, dispatcher, hub, is_foreign=is_foreign)
    await socket.close()
    return socket
