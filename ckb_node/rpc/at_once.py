"""Calls that need no waiting, most of what clients ask: without the steps of `dispatch` and `calls`, which take longer
than such an answer. Tests compare both."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from ckb_node.rpc.calls import STREAMS, as_json, encode
from ckb_node.rpc.errors import RpcError
from ckb_node.rpc.quick_calls import QuickCalls, ReadCall
from ckb_node.rpc.registry import LARGE_BYTES, Registry
from ckb_node.rpc.requests import BadRequestError, decode_request, failed, told
from ckb_node.runtime.lane import PIECE_BYTES
from ckb_node.runtime.metrics import CallMetrics

_HEAD: Final = b'{"jsonrpc":"2.0","result":'
_ID: Final = b',"id":'


class AtOnce:
    """Answers from a registry of methods, which is whole."""

    def __init__(self, registry: Registry, metrics: CallMetrics | None = None) -> None:
        self._registry: Final = registry
        self._services: Final = registry.services
        self._metrics: Final = metrics
        self._quick: Final = QuickCalls(method for method in registry if method.may_be_at_once)

    def response(self, data: bytes) -> bytes | None:
        """The response object, with a result or an error; None for a call that waits or is answered in pieces, and for
        what is no call of a method. Nothing has been done then."""
        if len(data) >= LARGE_BYTES:
            return None
        call = self._quick.read(data) or self._read(data)
        if call is None:
            return None
        started, has_failed = time.perf_counter(), False
        try:
            result = self._result(call)
            if result is None or len(result) > PIECE_BYTES:
                return None
            response = b"".join((_HEAD, result, _ID, encode(call.id), b"}"))
        except RpcError as error:
            response, has_failed = failed(call.method.name, call.id, error), True
        if self._metrics is not None:
            self._metrics.note(call.method.name, time.perf_counter() - started, has_failed=has_failed)
        return response

    def _read(self, data: bytes) -> ReadCall | None:
        """As `QuickCalls.read`, for all that is a call."""
        try:
            request = decode_request(data)
        except BadRequestError:
            return None
        method = self._registry.get(request.method)
        if method is None or not method.may_be_at_once:
            return None
        if request.jsonrpc is None or isinstance(request.id, msgspec.UnsetType):
            return None
        return ReadCall(method, request.id, None, request.params)

    def _result(self, call: ReadCall) -> bytes | None:
        """As `Dispatcher` by `Calls.result`. Raises RpcError."""
        try:
            return self._called(call)
        except RpcError:
            raise
        except Exception as error:
            raise told(call.method, error) from error

    def _called(self, call: ReadCall) -> bytes | None:
        method, services = call.method, self._services
        if (closed := self._registry.refusal(method)) is not None:
            raise closed
        arguments = method.arguments(call.params) if call.arguments is None else call.arguments
        if method.at_once is not None:
            return method.at_once(services, *arguments)
        answer = method.handler(services, *arguments)
        if isinstance(answer, STREAMS):
            answer.pieces.close()  # not begun
            return None
        return as_json(answer)
