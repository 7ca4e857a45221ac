"""`GET /health`: whether all parts of the node work, for people and for programs that watch it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from aiohttp import web

from ckb_node.runtime.tasks import Fault

_ENCODE = msgspec.json.Encoder().encode


class FaultJson(msgspec.Struct):
    """A part that does not work; `since` in milliseconds since 1970."""

    name: str
    reason: str
    since: int
    failures: int


class HealthJson(msgspec.Struct):
    """`ok`, or `degraded`: the chain goes on without the parts that are named. Both have status 200, since a node that
    is ended for it would not be better afterwards."""

    status: str
    degraded: list[FaultJson]


def health_json(faults: Sequence[Fault]) -> bytes:
    """The body of the answer."""
    named = [FaultJson(each.name, each.reason, each.since, each.failures) for each in faults]
    return _ENCODE(HealthJson("degraded" if named else "ok", named))


def health_route(faults: Callable[[], Sequence[Fault]]) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """The handler of the route."""

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=health_json(faults()), content_type="application/json")

    return answer
