"""How listeners of the RPC take new connections."""

from __future__ import annotations

import asyncio
from typing import Final

ACCEPTED_AT_ONCE: Final = 8
"""New connections that the event loop takes before it does something else; asyncio lets as many wait, too few."""

BACKLOG: Final = 256
"""New connections that may wait; in a flood of them each waits behind all before it."""


def listen_deeper(server: asyncio.Server) -> None:
    """Let BACKLOG connections wait, of which the loop takes ACCEPTED_AT_ONCE, its `backlog`."""
    for listener in server.sockets:
        with listener.dup() as same:
            same.listen(BACKLOG)
