"""Work for lanes that tests hold and let go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from threading import Event
from typing import TypeVar

from ckb_node.runtime.client import CLIENT

T = TypeVar("T")


async def as_client(name: str, work: Callable[[], Awaitable[T]]) -> T:
    """Do something on behalf of a client."""
    CLIENT.set(name)
    return await work()


class Held:
    """Work that lasts until it is let go; notes what it did."""

    def __init__(self) -> None:
        self.began, self.may_end = Event(), Event()

    def __call__(self) -> str:
        self.began.set()
        self.may_end.wait(30)
        return "done"

    async def has_begun(self) -> None:
        await asyncio.to_thread(self.began.wait, 30)
