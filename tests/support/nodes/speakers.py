"""Clients of RPC that hear events: by TCP and by WebSocket."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Protocol

from aiohttp import ClientWebSocketResponse, WSMsgType

from ckb_node.rpc.subscriptions import Topic


class Speaker(Protocol):
    """A client that sends requests and hears answers and events."""

    async def send(self, message: bytes) -> None: ...

    async def hear(self) -> Any:
        """The next message, decoded."""
        ...

    async def is_closed(self) -> bool:
        """Whether the server ends the connection now; what it still sends is thrown away."""
        ...


class LineSpeaker:
    """By TCP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, message: bytes) -> None:
        self.writer.write(message + b"\n")
        await self.writer.drain()

    async def hear(self) -> Any:
        return json.loads(await self.reader.readuntil(b"\n"))

    async def is_closed(self) -> bool:
        with suppress(ConnectionError):
            await self.reader.read()
        return self.reader.at_eof() or self.reader.exception() is not None


class SocketSpeaker:
    """By WebSocket."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, message: bytes) -> None:
        await self.socket.send_frame(message, WSMsgType.TEXT)

    async def hear(self) -> Any:
        return json.loads(await self.socket.receive_str())

    async def is_closed(self) -> bool:
        while (message := await self.socket.receive()).type is WSMsgType.TEXT:
            pass
        return message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING)


async def subscribed(speaker: Speaker, topic: Topic) -> str:
    """The id of a new subscription."""
    await speaker.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": [topic.value]}).encode())
    answer = await speaker.hear()
    identity: str = answer["result"]
    return identity
