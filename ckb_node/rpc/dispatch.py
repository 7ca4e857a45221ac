"""JSON-RPC 2.0 without a transport: the bytes of a request in, the bytes of the answer out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Final, Literal

import msgspec
import structlog

from ckb_node.rpc.calls import Calls, encode
from ckb_node.rpc.errors import KNOWN_EXCEPTIONS, Code, RpcError, from_exception, invalid_params
from ckb_node.rpc.registry import IS_CROSS_ORIGIN, Method, Registry
from ckb_node.rpc.subscriptions import SESSION, Session
from ckb_node.rpc.turns import Turns
from ckb_node.runtime.client import CLIENT, NODE
from ckb_node.runtime.lane import PIECE_BYTES
from ckb_node.runtime.metrics import CallMetrics
from ckb_node.verification.stopping import ScriptsStopped

log = structlog.get_logger("rpc")

DEFAULT_BATCH_LIMIT = 2000

TURN_S: Final = 0.001
"""A batch's calls are answered for so long before the event loop does something else."""

BATCHES_PER_ROUND: Final = 2
"""Batches that go on in a round of the event loop; a hundred with TURN_S each would hold up all others."""

MOST_VALUES: Final = 1 << 18
"""Values in a request: to make objects of more would hold up the whole interpreter."""

DECODED_AT_ONCE: Final = 256 << 10
"""Where the parts of larger requests begin is found beside the event loop."""

SHORT_BATCH: Final = 16
"""A batch of so many calls begins at once."""

_WHITE_SPACE = b" \t\r\n"


class Request(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """A request object. Without `id` it is a notification."""

    method: str
    jsonrpc: Literal["2.0"] | None = None
    params: msgspec.Raw = msgspec.Raw(b"null")
    id: int | str | msgspec.UnsetType | None = msgspec.UNSET


class _IdOnly(msgspec.Struct, frozen=True):
    """What can still be read of a bad request object."""

    id: int | str | None = None


class _ErrorObject(msgspec.Struct, frozen=True, omit_defaults=True):
    code: int
    message: str
    data: str | msgspec.UnsetType = msgspec.UNSET


_REQUEST = msgspec.json.Decoder(Request)
_ID_ONLY = msgspec.json.Decoder(_IdOnly)
_BATCH = msgspec.json.Decoder(list[msgspec.Raw])


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
        self._turns: Turns | None = None
        self._metrics = metrics

    async def dispatch(
        self, body: bytes, client: str = NODE, *, is_foreign: bool = False, session: Session | None = None
    ) -> bytes:
        """The whole answer; empty when nothing is to be answered (notifications)."""
        return b"".join([part async for part in self.parts(body, client, is_foreign=is_foreign, session=session)])

    async def parts(
        self, body: bytes, client: str = NODE, *, is_foreign: bool = False, session: Session | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The answer piece by piece: a batch's answers come as they are ready, in the order of its calls.

        Ask for the next part when the last one is on its way, and leave the iteration when the client has gone: what
        is worked out for it then stops, but not a call that changes something. `is_foreign` says that it is a web page
        of another machine, `session` is that of a connection that can have subscriptions. Raises AnswerCutError.
        """
        SESSION.set(session)
        CLIENT.set(client)
        IS_CROSS_ORIGIN.set(is_foreign)
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
            yield _failure(None, error)
            return
        async with aclosing(self._batch_response(client, calls)) as answers:
            async for part in answers:
                yield part

    def failure(self, body: bytes, error: RpcError) -> bytes:
        """The error object for a request that cannot be answered otherwise, with its id if there is one."""
        return _failure(_id_of(body) if len(body) <= DECODED_AT_ONCE else None, error)

    async def _batch_response(self, client: str, calls: list[msgspec.Raw]) -> AsyncGenerator[bytes, None]:
        """The array of response objects to a batch, part by part."""
        separator = b"["
        turns = self._turns_of(asyncio.get_running_loop())
        if len(calls) > SHORT_BATCH:
            await turns.take()
        turn_ends = time.perf_counter() + TURN_S
        for call in calls:
            response = await self._response_to(call)
            if response is not None:
                async with aclosing(self._in_parts(client, response)) as parts:
                    async for part in parts:
                        yield separator + part
                        separator = b""
                separator = b","
            if time.perf_counter() >= turn_ends:
                await asyncio.sleep(0)
                await turns.take()
                turn_ends = time.perf_counter() + TURN_S
        if separator == b",":
            yield b"]"

    def _turns_of(self, loop: asyncio.AbstractEventLoop) -> Turns:
        if self._turns is None:
            self._turns = Turns(loop, BATCHES_PER_ROUND)
        return self._turns

    async def _decoded_batch(self, body: bytes) -> list[msgspec.Raw]:
        """The calls of a batch. Raises RpcError."""
        if len(body) <= DECODED_AT_ONCE:
            calls = _decode_batch(body)
        else:
            calls = await self._lane.run_alone(partial(_decode_batch, body))
        if not calls:
            raise _invalid_request()
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
            if memoryview(raw).nbytes <= DECODED_AT_ONCE:
                request = _decode_request(raw)
            else:
                request = await self._lane.run_alone(partial(_decode_request, raw))
        except _BadRequestError as error:
            return _failure(error.id, error.error)
        method = self._registry.get(request.method)
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
            log.debug("a call failed", method=request.method, code=int(error.code), reason=error.message)
            response = _failure(identity, error)
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
        except KNOWN_EXCEPTIONS as error:
            raise from_exception(error) from error
        except ScriptsStopped:
            raise RpcError(Code.InternalError, "The node is stopping") from None
        except Exception as error:
            raise _fault(method, error) from error


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


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _BadRequestError(Exception):
    """Bytes that are no request object, with the id if there is one."""

    def __init__(self, identity: int | str | None, error: RpcError) -> None:
        super().__init__(error.text)
        self.id, self.error = identity, error


def _decode_batch(body: bytes) -> list[msgspec.Raw]:
    """The calls of a batch. Raises RpcError."""
    _verify_value_count(body)
    try:
        str(body, "utf-8")  # Raw parts are not looked into, so bad text would pass
        return _BATCH.decode(body)
    except _UNREADABLE:
        raise _parse_error() from None


def _verify_value_count(body: bytes) -> None:
    """Each value but the first comes behind a comma; texts of the interface have none."""
    if len(body) > MOST_VALUES and body.count(b",") > MOST_VALUES:
        raise RpcError(Code.InvalidRequest, f"The request has more than {MOST_VALUES} values")


def _decode_request(raw: bytes | msgspec.Raw) -> Request:
    try:
        if isinstance(raw, bytes):
            _verify_value_count(raw)
        str(raw, "utf-8")
        request = _REQUEST.decode(raw)
    except RpcError as error:
        raise _BadRequestError(None, error) from None
    except msgspec.ValidationError:
        raise _BadRequestError(_id_of(raw), _invalid_request()) from None
    except _UNREADABLE:
        raise _BadRequestError(None, _parse_error()) from None
    if bytes(memoryview(request.params)[:1]) not in b"[{n":
        raise _BadRequestError(_id_of(raw), _invalid_request())
    return request


def _id_of(raw: bytes | msgspec.Raw) -> int | str | None:
    try:
        return _ID_ONLY.decode(raw).id
    except _UNREADABLE:
        return None


def _failure(identity: int | str | None, error: RpcError) -> bytes:
    shown = _ErrorObject(int(error.code), error.message, msgspec.UNSET if error.data is None else error.data)
    return b'{"jsonrpc":"2.0","error":%b,"id":%b}' % (encode(shown), encode(identity))


def _parse_error() -> RpcError:
    return RpcError(Code.ParseError, "Parse error")


def _invalid_request() -> RpcError:
    return RpcError(Code.InvalidRequest, "Invalid request")


def _fault(method: Method, error: Exception) -> RpcError:
    log.error("an RPC method failed", method=method.name, exc_info=error)
    return RpcError(Code.InternalError, "Internal error")
