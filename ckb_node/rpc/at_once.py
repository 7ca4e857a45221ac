"""Calls that need no waiting, most of what clients ask: without the steps of `dispatch` and `calls`, which take longer
than such an answer. Tests compare both."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from ckb_node.rpc.calls import STREAMS, as_json, encode
from ckb_node.rpc.errors import RpcError
from ckb_node.rpc.registry import LARGE_BYTES, Method, Registry
from ckb_node.rpc.requests import Request, failed, told
from ckb_node.runtime.lane import PIECE_BYTES
from ckb_node.runtime.metrics import CallMetrics


class AtOnce:
    """Answers from a registry of methods."""

    def __init__(self, registry: Registry, metrics: CallMetrics | None = None) -> None:
        self._registry: Final = registry
        self._services: Final = registry.services
        self._metrics: Final = metrics

    def response(self, request: Request, method: Method | None) -> bytes | None:
        """The response object, with a result or an error; None for a call that waits or is answered in pieces, and for
        what is no call of a method. Nothing has been done then."""
        if method is None or request.jsonrpc is None or request.id is msgspec.UNSET:
            return None
        started, has_failed = time.perf_counter(), False
        try:
            result = self._result(method, request.params)
            if result is None or len(result) > PIECE_BYTES:
                return None
            response = b'{"jsonrpc":"2.0","result":%b,"id":%b}' % (result, encode(request.id))
        except RpcError as error:
            response, has_failed = failed(request, error), True
        if self._metrics is not None:
            self._metrics.note(method.name, time.perf_counter() - started, has_failed=has_failed)
        return response

    def _result(self, method: Method, params: msgspec.Raw) -> bytes | None:
        """As `Dispatcher` by `Calls.result`. Raises RpcError."""
        try:
            return self._called(method, params)
        except RpcError:
            raise
        except Exception as error:
            raise told(method, error) from error

    def _called(self, method: Method, params: msgspec.Raw) -> bytes | None:
        if not (method.is_short or method.at_once is not None) or memoryview(params).nbytes >= LARGE_BYTES:
            return None
        if (closed := self._registry.refusal(method)) is not None:
            raise closed
        arguments = method.arguments(params)
        if method.at_once is not None:
            return method.at_once(self._services, *arguments)
        answer = method.handler(self._services, *arguments)
        if isinstance(answer, STREAMS):
            answer.pieces.close()  # not begun
            return None
        return as_json(answer)
