"""Where a call is worked out: at once, in a lane of threads, piece by piece, or to its end though its caller leaves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar

import msgspec

from ckb_node.rpc.registry import LARGE_BYTES, Method, Registry
from ckb_node.runtime.client import CLIENT
from ckb_node.runtime.lane import CHEAP_BYTES, Slices, in_turns

T = TypeVar("T")

encode: Final = msgspec.json.Encoder().encode


class EncodedJson(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """A result T that is JSON already."""

    text: bytes


@dataclass(frozen=True, slots=True)
class ThreadStream(Generic[T]):
    """A long result T: its JSON in pieces, made in the lane. Each step of `pieces` is short."""

    pieces: Slices


@dataclass(frozen=True, slots=True)
class LoopStream(Generic[T]):
    """A long result T that only the event loop may make: its JSON in pieces. Each step of `pieces` is short."""

    pieces: Slices


STREAMS: Final = (ThreadStream, LoopStream)


def as_json(answer: object) -> bytes:
    """What a handler returned, as JSON."""
    return answer.text if isinstance(answer, EncodedJson) else encode(answer)


class Calls:
    """Runs the methods of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self._services = registry, registry.services

    async def result(self, method: Method, params: msgspec.Raw) -> bytes | AsyncGenerator[bytes, None]:
        """The result as JSON, whole or in pieces. RpcError and the typed errors of the rules pass through."""
        services = self._services
        if (closed := self._registry.refusal(method)) is not None:
            raise closed
        if memoryview(params).nbytes < LARGE_BYTES:
            arguments = method.arguments(params)
        else:
            arguments = await services.lane.run_alone(partial(method.arguments, params))
        if method.price is not None and (price := method.price(services, *arguments)) > CHEAP_BYTES:
            return await services.room.run_priced(services.lane, price, partial(self._encoded, method, arguments))
        answer = method.handler(services, *arguments)
        if method.is_async:
            answer = await answer
        if isinstance(answer, STREAMS):
            await services.room.wait(CLIENT.get())
            return services.lane.stream(answer.pieces) if isinstance(answer, ThreadStream) else in_turns(answer.pieces)
        return as_json(answer)

    def _encoded(self, method: Method, arguments: list[Any]) -> bytes:
        """In a thread."""
        return as_json(method.handler(self._services, *arguments))
