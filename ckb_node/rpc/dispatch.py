"""JSON-RPC 2.0 without a transport: the bytes of a request in, the bytes of the answer out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Final

import msgspec
import structlog

from ckb_node.rpc.at_once import AtOnce
from ckb_node.rpc.calls import Calls, encode
from ckb_node.rpc.errors import Code, RpcError, invalid_params
from ckb_node.rpc.registry import IS_CROSS_ORIGIN, Method, Registry
from ckb_node.rpc.requests import (
    BadRequestError,
    Request,
    decode_batch,
    decode_request,
    failed,
    failure,
    id_of,
    invalid_request,
    told,
)
from ckb_node.rpc.subscriptions import SESSION, Session
from ckb_node.rpc.turns import Turns
from ckb_node.runtime.client import CLIENT, NODE
from ckb_node.runtime.lane import PIECE_BYTES
from ckb_node.runtime.metrics import CallMetrics

log = structlog.get_logger("rpc")

DEFAULT_BATCH_LIMIT = 2000

TURN_S: Final = 0.001
"""A batch's calls are answered for so long before the event loop does something else."""

BATCHES_PER_ROUND: Final = 2
"""Batches that go on in a round of the event loop; a hundred with TURN_S each would hold up all others."""

DECODED_AT_ONCE: Final = 256 << 10
"""Where the parts of larger requests begin is found beside the event loop."""

SHORT_BATCH: Final = 16
"""A batch of so many calls begins at once."""

_WHITE_SPACE = b" \t\r\n"


class AnswerCutError(Exception):
    """The rest of an answer whose first parts are sent cannot be had: it must not end as if it were whole."""


class Dispatcher:
    """Answers requests from a registry of methods.

    `tasks` finish the calls that change something when their caller leaves; without them such calls end with him.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        batch_limit: int = DEFAULT_BATCH_LIMIT,
        tasks: asyncio.TaskGroup | None = None,
        metrics: CallMetrics | None = None,
    ) -> None:
        self._registry = registry
        self._lane = registry.services.lane
        self._batch_limit = batch_limit
        self._tasks = tasks
        self.room: Final = registry.services.room
        self._calls = Calls(registry)
        self._at_once = AtOnce(registry, metrics)
        self._turns: Turns | None = None
        self._metrics = metrics

    async def dispatch(
        self, body: bytes, client: str = NODE, *, is_foreign: bool = False, session: Session | None = None
    ) -> bytes:
        """The whole answer; empty when nothing is to be answered (notifications)."""
        return b"".join([part async for part in self.parts(body, client, is_foreign=is_foreign, session=session)])

    def at_once(
        self, body: bytes, client: str = NODE, *, is_foreign: bool = False, session: Session | None = None
    ) -> bytes | None:
        """The whole answer to a single call that needs no waiting; None for all else, which is left to `parts`.

        Most of what clients ask: the steps of `parts` take longer than the answer.
        """
        if body[:1] != b"{":
            return None
        _called_by(client, session, is_foreign=is_foreign)
        return self._short_response(body)

    async def parts(
        self, body: bytes, client: str = NODE, *, is_foreign: bool = False, session: Session | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The answer piece by piece: a batch's answers come as they are ready, in the order of its calls.

        Ask for the next part when the last one is on its way, and leave the iteration when the client has gone: what
        is worked out for it then stops, but not a call that changes something. `is_foreign` says that it is a web page
        of another machine, `session` is that of a connection that can have subscriptions. Raises AnswerCutError.
        """
        _called_by(client, session, is_foreign=is_foreign)
        if body.lstrip(_WHITE_SPACE)[:1] != b"[":
            response = await self._response_to(body)
            if isinstance(response, bytes) and len(response) <= PIECE_BYTES:
                yield response
            elif response is not None:
                async with aclosing(self._in_parts(client, response)) as parts:
                    async for part in parts:
                        yield part
            return
        try:
            calls = await self._decoded_batch(body)
        except RpcError as error:
            yield failure(None, error)
            return
        async with aclosing(self._batch_response(client, calls)) as answers:
            async for part in answers:
                yield part

    def failure(self, body: bytes, error: RpcError) -> bytes:
        """The error object for a request that cannot be answered otherwise, with its id if there is one."""
        return failure(id_of(body) if len(body) <= DECODED_AT_ONCE else None, error)

    async def _batch_response(self, client: str, calls: list[msgspec.Raw]) -> AsyncGenerator[bytes, None]:
        """The array of response objects to a batch, part by part."""
        ready = _Ready()
        turns = self._turns_of(asyncio.get_running_loop())
        if len(calls) > SHORT_BATCH:
            await turns.take()
        turn_ends = time.perf_counter() + TURN_S
        for call in calls:
            if (short := self._short_response(call)) is not None:
                ready.add(short)
            else:
                if ready.size:
                    yield ready.taken()
                async with aclosing(self._other_response(client, call, ready)) as parts:
                    async for part in parts:
                        yield part
            if time.perf_counter() >= turn_ends or ready.size >= PIECE_BYTES:
                if ready.size:
                    yield ready.taken()
                await asyncio.sleep(0)
                await turns.take()
                turn_ends = time.perf_counter() + TURN_S
        if end := ready.end():
            yield end

    async def _other_response(self, client: str, call: msgspec.Raw, ready: _Ready) -> AsyncGenerator[bytes, None]:
        """The response object to a call of a batch, behind those that are `ready`; none to a notification."""
        response = await self._response_to(call)
        if response is not None:
            separator = ready.separator()
            async with aclosing(self._in_parts(client, response)) as parts:
                async for part in parts:
                    yield separator + part
                    separator = b""

    def _turns_of(self, loop: asyncio.AbstractEventLoop) -> Turns:
        if self._turns is None:
            self._turns = Turns(loop, BATCHES_PER_ROUND)
        return self._turns

    async def _decoded_batch(self, body: bytes) -> list[msgspec.Raw]:
        """The calls of a batch. Raises RpcError."""
        if len(body) <= DECODED_AT_ONCE:
            calls = decode_batch(body)
        else:
            calls = await self._lane.run_alone(partial(decode_batch, body))
        if not calls:
            raise invalid_request()
        if len(calls) > self._batch_limit:
            raise invalid_params(f"batch size is too large, expect it less than: {self._batch_limit}")
        return calls

    async def _in_parts(
        self, client: str, response: bytes | AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        """A response in parts so small that a transport can hold one for each client."""
        if not isinstance(response, bytes):
            async with aclosing(response):
                async for part in response:
                    with self.room.holding(client, len(part)):
                        yield part
        elif len(response) <= PIECE_BYTES:
            yield response
        else:
            with self.room.holding(client, len(response)):
                for start in range(0, len(response), PIECE_BYTES):
                    yield response[start : start + PIECE_BYTES]

    async def _response_to(self, raw: bytes | msgspec.Raw) -> bytes | AsyncGenerator[bytes, None] | None:
        """The response object of one request object; None for a notification."""
        try:
            request = await self._decoded(raw)
        except BadRequestError as error:
            return failure(error.id, error.error)
        return await self._response(request, self._registry.get(request.method))

    def _short_response(self, raw: bytes | msgspec.Raw) -> bytes | None:
        """The response object, if its call needs no waiting."""
        return None if memoryview(raw).nbytes > DECODED_AT_ONCE else self._at_once.response(bytes(raw))

    async def _decoded(self, raw: bytes | msgspec.Raw) -> Request:
        """Raises BadRequestError."""
        if memoryview(raw).nbytes <= DECODED_AT_ONCE:
            return decode_request(raw)
        return await self._lane.run_alone(partial(decode_request, raw))

    async def _response(self, request: Request, method: Method | None) -> bytes | AsyncGenerator[bytes, None] | None:
        """The response object; None for a notification. Finished, if it changes something, though its caller leaves."""
        if self._tasks is not None and method is not None and method.is_change:
            response = await asyncio.shield(self._tasks.create_task(self._result_or_error(request, method)))
        else:
            response = await self._result_or_error(request, method)
        return None if request.id is msgspec.UNSET else response

    async def _result_or_error(self, request: Request, method: Method | None) -> bytes | AsyncGenerator[bytes, None]:
        """The response object with the result or the error, measured; in pieces when it is long."""
        identity = None if isinstance(request.id, msgspec.UnsetType) else request.id
        started, has_failed = time.perf_counter(), True
        try:
            response = await self._result_response(request, method, encode(identity))
            has_failed = False
        except RpcError as error:
            response = failed(request.method, identity, error)
        finally:
            if self._metrics is not None:
                name = None if method is None else method.name
                self._metrics.note(name, time.perf_counter() - started, has_failed=has_failed)
        return response

    async def _result_response(
        self, request: Request, method: Method | None, identity: bytes
    ) -> bytes | AsyncGenerator[bytes, None]:
        """The response object with a result. RpcError when there is none."""
        if request.jsonrpc is None:
            raise RpcError(Code.InvalidRequest, "Unsupported JSON-RPC protocol version")
        if method is None:
            raise self._registry.not_found(request.method)
        try:
            result = await self._calls.result(method, request.params)
            if isinstance(result, bytes):
                return b'{"jsonrpc":"2.0","result":%b,"id":%b}' % (result, identity)
            return await _begin(request.method, result, b',"id":%b}' % identity)
        except RpcError:
            raise
        except Exception as error:
            raise told(method, error) from error


class _Ready:
    """Responses of a batch that are ready, and can be sent as one piece."""

    def __init__(self) -> None:
        self._responses: Final[list[bytes]] = []
        self._is_first = True
        self.size = 0

    def add(self, response: bytes) -> None:
        """Behind the others."""
        self._responses.append(response)
        self.size += len(response)

    def separator(self) -> bytes:
        """What stands before a response that is sent next."""
        separator, self._is_first = b"[" if self._is_first else b",", False
        return separator

    def taken(self) -> bytes:
        """The text of those that are ready, if there are any; they are no more."""
        if not self._responses:
            return b""
        text = self.separator() + b",".join(self._responses)
        self._responses.clear()
        self.size = 0
        return text

    def end(self) -> bytes:
        """The text of the rest, and the end of the array; nothing for a batch without any response."""
        rest = self.taken()
        return b"" if self._is_first else rest + b"]"


def _called_by(client: str, session: Session | None, *, is_foreign: bool) -> None:
    """Who asks, for all that is done in this context from now on."""
    SESSION.set(session)
    CLIENT.set(client)
    IS_CROSS_ORIGIN.set(is_foreign)


async def _begin(method: str, pieces: AsyncGenerator[bytes, None], tail: bytes) -> bytes | AsyncGenerator[bytes, None]:
    """A response object from its result's pieces: whole when it is short. What fails meanwhile is an error object."""
    first = [b'{"jsonrpc":"2.0","result":']
    size = 0
    async for piece in pieces:
        first.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            return _go_on(method, b"".join(first), pieces, tail)
    return b"".join((*first, tail))


async def _go_on(
    method: str, first: bytes, pieces: AsyncGenerator[bytes, None], tail: bytes
) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(pieces):
            yield first
            async for piece in pieces:
                yield piece
    except Exception as error:
        log.warning("an answer was cut short", method=method, reason=str(error))
        raise AnswerCutError(method) from error
    yield tail
