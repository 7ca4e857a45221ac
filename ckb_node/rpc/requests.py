"""JSON-RPC 2.0 objects: requests and batches as bytes, and error objects."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
import structlog

from ckb_node.rpc.calls import encode
from ckb_node.rpc.errors import KNOWN_EXCEPTIONS, Code, RpcError, from_exception
from ckb_node.rpc.registry import Method
from ckb_node.verification.stopping import ScriptsStopped

log = structlog.get_logger("rpc")

MOST_VALUES: Final = 1 << 18
"""Values in a request: to make objects of more would hold up the whole interpreter."""


class Request(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """A request object. Without `id` it is a notification."""

    method: str
    jsonrpc: Literal["2.0"] | None = None
    params: msgspec.Raw = msgspec.Raw(b"null")
    id: int | str | msgspec.UnsetType | None = msgspec.UNSET


class _IdOnly(msgspec.Struct, frozen=True):
    """What can still be read of a bad request object."""

    id: int | str | None = None


class _Member:
    """A member's name, equal to no other one: so a dict has those that come twice."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name: Final = name


class _ErrorObject(msgspec.Struct, frozen=True, omit_defaults=True):
    code: int
    message: str
    data: str | msgspec.UnsetType = msgspec.UNSET


_REQUEST = msgspec.json.Decoder(Request)
_ID_ONLY = msgspec.json.Decoder(_IdOnly)
_MEMBERS = msgspec.json.Decoder(dict[_Member, msgspec.Raw], dec_hook=lambda _, name: _Member(name))
_BATCH = msgspec.json.Decoder(list[msgspec.Raw])


UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoders raise."""


class BadRequestError(Exception):
    """Bytes that are no request object, with the id if there is one."""

    def __init__(self, identity: int | str | None, error: RpcError) -> None:
        super().__init__(error.text)
        self.id, self.error = identity, error


def decode_batch(body: bytes) -> list[msgspec.Raw]:
    """The calls of a batch. Raises RpcError."""
    _verify_value_count(body)
    try:
        str(body, "utf-8")  # Raw parts are not looked into, so bad text would pass
        return _BATCH.decode(body)
    except UNREADABLE:
        raise _parse_error() from None


def _verify_value_count(body: bytes) -> None:
    """Each value but the first comes behind a comma; texts of the interface have none."""
    if len(body) > MOST_VALUES and body.count(b",") > MOST_VALUES:
        raise RpcError(Code.InvalidRequest, f"The request has more than {MOST_VALUES} values")


def decode_request(raw: bytes | msgspec.Raw) -> Request:
    """A request object. Raises BadRequestError."""
    try:
        if isinstance(raw, bytes):
            _verify_value_count(raw)
        data = bytes(raw)
        if not data.isascii():
            str(data, "utf-8")
        request = _REQUEST.decode(data)
    except RpcError as error:
        raise BadRequestError(None, error) from None
    except msgspec.ValidationError:
        raise BadRequestError(id_of(raw), invalid_request()) from None
    except UNREADABLE:
        raise BadRequestError(None, _parse_error()) from None
    params = bytes(request.params)
    if params[:1] not in b"[{n" or _has_doubles(data, params, request):
        raise BadRequestError(id_of(raw), invalid_request())
    return request


def _has_doubles(data: bytes, params: bytes, request: Request) -> bool:
    """Whether a member comes twice. The last one would count here, the first one for a filter before the node.

    Each member has a colon: where there are no more than those of the members that count and of the parameters, there
    is no other member.
    """
    given = 1 + (request.jsonrpc is not None) + (request.id is not msgspec.UNSET) + (params != b"null")
    if data.count(b":") <= given + params.count(b":"):
        return False
    members = _MEMBERS.decode(data)
    return len({member.name for member in members}) < len(members)


def has_doubles(data: bytes) -> bool:
    """Whether a member of a request object comes twice. Raises what decoders raise."""
    request = _REQUEST.decode(data)
    return _has_doubles(data, bytes(request.params), request)


def id_of(raw: bytes | msgspec.Raw) -> int | str | None:
    """The id of what may be no request object, if there is one."""
    try:
        return _ID_ONLY.decode(raw).id
    except UNREADABLE:
        return None


def failure(identity: int | str | None, error: RpcError) -> bytes:
    """An error object."""
    shown = _ErrorObject(int(error.code), error.message, msgspec.UNSET if error.data is None else error.data)
    return b'{"jsonrpc":"2.0","error":%b,"id":%b}' % (encode(shown), encode(identity))


def failed(method: str, identity: int | str | None, error: RpcError) -> bytes:
    """The error object of a call."""
    log.debug("a call failed", method=method, code=int(error.code), reason=error.message)
    return failure(identity, error)


def _parse_error() -> RpcError:
    return RpcError(Code.ParseError, "Parse error")


def invalid_request() -> RpcError:
    """No request object."""
    return RpcError(Code.InvalidRequest, "Invalid request")


def told(method: Method, error: Exception) -> RpcError:
    """What a client is told of what a method raised, when it is no RpcError."""
    if isinstance(error, KNOWN_EXCEPTIONS):
        return from_exception(error)
    if isinstance(error, ScriptsStopped):
        return RpcError(Code.InternalError, "The node is stopping")
    log.error("an RPC method failed", method=method.name, exc_info=error)
    return RpcError(Code.InternalError, "Internal error")
