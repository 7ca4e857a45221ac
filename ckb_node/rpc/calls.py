"""Where a call is worked out: at once, in a lane of threads, piece by piece, or to its end whoever leaves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar

import msgspec

from ckb_node.lanes.client import CLIENT
from ckb_node.lanes.lane import CHEAP_BYTES, Slices, in_turns
from ckb_node.rpc.registry import LARGE_BYTES, Method, Registry
from ckb_node.rpc.room import AnswerRoom

T = TypeVar("T")

encode: Final = msgspec.json.Encoder().encode

HEX_DIGITS: Final = 2
"""Of a byte: an answer is about so many times what the call touches."""


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """A result T that is JSON already."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Beside(Generic[T]):
    """A long result T: its JSON in pieces, made in the lane. Each step of `pieces` is short."""

    pieces: Slices


@dataclass(frozen=True, slots=True)
class InTurns(Generic[T]):
    """A long result T that only the event loop may make: its JSON in pieces. Each step of `pieces` is short."""

    pieces: Slices


class Calls:
    """Runs the methods of a registry."""

    def __init__(self, registry: Registry, room: AnswerRoom) -> None:
        self._registry, self._room = registry, room
        self._services = registry.services

    async def result(self, method: Method, params: msgspec.Raw) -> bytes | AsyncGenerator[bytes, None]:
        """The result as JSON, whole or in pieces. RpcError and the typed errors of the rules pass through."""
        if (closed := self._registry.refusal(method)) is not None:
            raise closed
        if memoryview(params).nbytes < LARGE_BYTES:
            arguments = method.arguments(params)
        else:
            arguments = await self._services.lane.run(partial(method.arguments, params))
        if method.price is not None and (price := method.price(self._services, *arguments)) > CHEAP_BYTES:
            client = CLIENT.get()
            await self._room.wait(client)
            # The answers of those that wait for the lane count already: else any number began while there was room.
            with self._room.holding(client, HEX_DIGITS * price):
                return await self._services.lane.run(partial(self._encoded, method, arguments))
        answer = method.handler(self._services, *arguments)
        if method.is_async:
            answer = await answer
        if isinstance(answer, Beside | InTurns):
            await self._room.wait(CLIENT.get())
            return self._services.lane.stream(answer.pieces) if isinstance(answer, Beside) else in_turns(answer.pieces)
        return answer.text if isinstance(answer, Written) else encode(answer)

    def _encoded(self, method: Method, arguments: list[Any]) -> bytes:
        """In a thread."""
        return encode(method.handler(self._services, *arguments))
