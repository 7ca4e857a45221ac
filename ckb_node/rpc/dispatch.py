"""JSON-RPC 2.0 without a transport: the bytes of a request in, the bytes of the answer out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal

import msgspec
import structlog

from ckb_node.rpc.errors import KNOWN_EXCEPTIONS, Code, RpcError, from_exception, invalid_params
from ckb_node.rpc.registry import Method, Registry

log = structlog.get_logger("rpc")

DEFAULT_BATCH_LIMIT = 2000
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
_encode = msgspec.json.Encoder().encode


class Dispatcher:
    """Answers requests from a registry of methods."""

    def __init__(self, registry: Registry, *, batch_limit: int = DEFAULT_BATCH_LIMIT) -> None:
        self._registry = registry
        self._batch_limit = batch_limit

    async def dispatch(self, body: bytes) -> bytes:
        """The whole answer; empty when nothing is to be answered (notifications)."""
        return b"".join([part async for part in self.parts(body)])

    async def parts(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """The answer piece by piece: a batch's answers come as they are ready, in the order of its calls."""
        if body.lstrip(_WHITE_SPACE)[:1] != b"[":
            answer = await self._answer(body)
            if answer is not None:
                yield answer
            return
        try:
            calls = _decode_batch(body)
        except _UNREADABLE:
            yield _failure(None, _parse_error())
            return
        if not calls:
            yield _failure(None, _invalid_request())
            return
        if len(calls) > self._batch_limit:
            yield _failure(None, invalid_params(f"batch size is too large, expect it less than: {self._batch_limit}"))
            return
        separator = b"["
        for call in calls:
            answer = await self._answer(call)
            if answer is not None:
                yield separator + answer
                separator = b","
        if separator == b",":
            yield b"]"

    async def _answer(self, raw: bytes | msgspec.Raw) -> bytes | None:
        """The response object of one request object; None for a notification."""
        try:
            request = _decode_request(raw)
        except _BadRequestError as error:
            return _failure(error.id, error.error)
        is_notification = request.id is msgspec.UNSET
        identity = None if isinstance(request.id, msgspec.UnsetType) else request.id
        try:
            answer = b'{"jsonrpc":"2.0","result":%b,"id":%b}' % (await self._result(request), _encode(identity))
        except RpcError as error:
            answer = _failure(identity, error)
        return None if is_notification else answer

    async def _result(self, request: Request) -> bytes:
        """The result as JSON, or RpcError."""
        if request.jsonrpc is None:
            raise RpcError(Code.InvalidRequest, "Unsupported JSON-RPC protocol version")
        method = self._registry.get(request.method)
        if method is None:
            raise self._registry.not_found(request.method)
        try:
            return _encode(await self._registry.call(method, request.params))
        except RpcError:
            raise
        except KNOWN_EXCEPTIONS as error:
            raise from_exception(error) from error
        except Exception as error:
            raise _fault(method, error) from error


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _BadRequestError(Exception):
    """Bytes that are no request object, with the id if there is one."""

    def __init__(self, identity: int | str | None, error: RpcError) -> None:
        super().__init__(error.text)
        self.id, self.error = identity, error


def _decode_batch(body: bytes) -> list[msgspec.Raw]:
    str(body, "utf-8")  # Raw parts are not looked into, so bad text would pass
    return _BATCH.decode(body)


def _decode_request(raw: bytes | msgspec.Raw) -> Request:
    try:
        str(raw, "utf-8")
        request = _REQUEST.decode(raw)
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
    return b'{"jsonrpc":"2.0","error":%b,"id":%b}' % (_encode(shown), _encode(identity))


def _parse_error() -> RpcError:
    return RpcError(Code.ParseError, "Parse error")


def _invalid_request() -> RpcError:
    return RpcError(Code.InvalidRequest, "Invalid request")


def _fault(method: Method, error: Exception) -> RpcError:
    log.error("an RPC method failed", method=method.name, exc_info=error)
    return RpcError(Code.InternalError, "Internal error")
