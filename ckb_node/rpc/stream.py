"""Connections that carry requests, answers and events as messages: what TCP and WebSocket have in common.

Requests of a connection are answered one after the other; events come between answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from typing import Final, Protocol

from ckb_node.rpc.dispatch import AnswerCutError, Dispatcher
from ckb_node.rpc.errors import Code, RpcError
from ckb_node.rpc.subscriptions import Hub, Session

CONNECTIONS: Final = 2500
CONNECTIONS_PER_ADDRESS: Final = 1250
"""Of a listener for streams: subscribers stay."""

IDLE_SECONDS: Final = 3600.0
"""A connection by TCP without subscriptions that asks nothing for so long is gone."""


MAX_MESSAGE: Final = 64 << 20
"""Of an answer that must be sent whole."""


class Stream(Protocol):
    """A connection of messages."""

    @property
    def sharer(self) -> str:
        """The key by which the node's work is shared out."""
        ...

    @property
    def answer_seconds(self) -> float:
        """To work out the first part of an answer."""
        ...

    @property
    def takes_parts(self) -> bool:
        """An answer may be sent before all of it is known."""
        ...

    async def receive(self) -> bytes | None:
        """The next request; None when the client sends no more."""
        ...

    def attend(self) -> None:
        """A request is here: the client waits for the node."""
        ...

    def await_client(self, *, is_subscriber: bool) -> None:
        """All is answered: the node waits for the client, who may be content to listen."""
        ...

    async def send_parts(self, first: bytes, parts: AsyncGenerator[bytes, None]) -> None:
        """An answer as one message, part by part."""
        ...

    async def send(self, message: bytes) -> None:
        """A message. ConnectionError when the client is gone."""
        ...


async def serve_stream(stream: Stream, dispatcher: Dispatcher, hub: Hub, *, is_foreign: bool = False) -> None:
    """Answer until the client leaves. ConnectionError, AnswerCutError when the connection cannot be used any more."""
    session, lock = hub.session(), asyncio.Lock()
    try:
        async with asyncio.TaskGroup() as group:
            events = group.create_task(_push(stream, session, lock))
            try:
                await _answer_all(stream, dispatcher, session, lock, is_foreign=is_foreign)
            finally:
                events.cancel()
    except* (ConnectionError, AnswerCutError):
        pass
    finally:
        session.close()


async def _push(stream: Stream, session: Session, lock: asyncio.Lock) -> None:
    while True:
        await session.wait()
        while (message := session.take()) is not None:
            async with lock:
                await stream.send(message)


async def _answer_all(
    stream: Stream, dispatcher: Dispatcher, session: Session, lock: asyncio.Lock, *, is_foreign: bool
) -> None:
    while (request := await stream.receive()) is not None:
        stream.attend()
        answer = dispatcher.at_once(request, stream.sharer, is_foreign=is_foreign, session=session)
        if answer is not None:
            async with lock:
                await stream.send(answer)
        else:
            parts = dispatcher.parts(request, stream.sharer, is_foreign=is_foreign, session=session)
            async with aclosing(parts):
                await _answer(stream, parts, dispatcher, request, lock)
            session.announced()
        stream.await_client(is_subscriber=session.is_subscriber)


async def _answer(
    stream: Stream, parts: AsyncGenerator[bytes, None], dispatcher: Dispatcher, request: bytes, lock: asyncio.Lock
) -> None:
    """Events go on while the first part is worked out."""
    try:
        async with asyncio.timeout(stream.answer_seconds):
            first = await anext(parts, b"")
    except TimeoutError:
        first = dispatcher.failure(request, RpcError(Code.ServerIsBusy, "the answer took too long to work out"))
    if not first:
        return
    if stream.takes_parts:
        async with lock:
            await stream.send_parts(first, parts)
        return
    with ExitStack() as held:
        message = await _gathered(first, parts, dispatcher, stream.sharer, held)
        if message is None:
            text = f"the answer is longer than {MAX_MESSAGE} bytes, too long for one message; ask by HTTP or TCP"
            message = dispatcher.failure(request, RpcError(Code.ServerIsBusy, text))
        async with lock:
            await stream.send(message)


async def _gathered(
    first: bytes, parts: AsyncGenerator[bytes, None], dispatcher: Dispatcher, client: str, held: ExitStack
) -> bytes | None:
    """The whole answer, which counts among those that wait to be taken while `held` lasts; None when it is too long."""
    gathered, size = [first], len(first)
    async for part in parts:
        held.enter_context(dispatcher.room.holding(client, len(part)))
        gathered.append(part)
        size += len(part)
        if size > MAX_MESSAGE:
            return None
    return b"".join(gathered)
