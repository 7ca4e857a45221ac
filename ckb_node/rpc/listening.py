"""What listeners of the RPC have in common: how they take connections, and how they end."""

from __future__ import annotations

import asyncio
from typing import Final

from ckb_node.rpc.guard import Guard

ACCEPTED_AT_ONCE: Final = 8
"""New connections that the event loop takes before it does something else; asyncio lets as many wait, too few."""

BACKLOG: Final = 256
"""New connections that may wait; in a flood of them each waits behind all before it."""


def listen_deeper(server: asyncio.Server) -> None:
    """Let BACKLOG connections wait, of which the loop takes ACCEPTED_AT_ONCE, its `backlog`."""
    for listener in server.sockets:
        with listener.dup() as same:
            same.listen(BACKLOG)


def address_of(server: asyncio.Server | None) -> tuple[str, int]:
    """Host and port that a server listens on. RuntimeError before it does."""
    if server is None:
        raise RuntimeError("the server does not listen")
    name = server.sockets[0].getsockname()
    return name[0], name[1]


async def close(server: asyncio.Server | None, guard: Guard) -> None:
    """Listen no more, give answers on the way a moment, and drop all connections."""
    if server is not None:
        server.close()
    await guard.close()
    if server is not None:
        await server.wait_closed()
