"""The event loop's time for long work that only it may do.

All such work of the loop is in one line: so many callers there may be, a round of the loop has one slice of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar
from weakref import WeakKeyDictionary

from ckb_node.runtime.fair_queue import FairSlots

T = TypeVar("T")

LOOP_SLICE_S: Final = 0.001
"""Longest slice: one answer of the node needs the loop several times, and waits for a round each time."""

_SLOTS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, FairSlots]] = WeakKeyDictionary()
"""Of each loop the place of the one who works."""


async def loop_turn(work: Callable[[], T]) -> T:
    """What `work`, one slice, returns or raises. Clients are served fairly (CLIENT)."""
    loop = asyncio.get_running_loop()
    slots = _SLOTS.setdefault(loop, FairSlots(1))
    client = await slots.enter()
    started = time.monotonic()
    try:
        return work()
    finally:
        cost = time.monotonic() - started
        if slots.is_awaited:
            slots.leave(client, cost)  # the next one begins in the next round
        else:
            loop.call_soon(slots.leave, client, cost)  # nobody else begins in this one


async def in_loop_turns(steps: Generator[None, None, T]) -> T:
    """Take all steps, each of them short; what they return."""
    try:
        while True:
            end = await loop_turn(partial(_slice, steps))
            if end is not None:
                return end.result
            await asyncio.sleep(0)
    finally:
        steps.close()


@dataclass(frozen=True, slots=True)
class _End(Generic[T]):
    """All steps are taken."""

    result: T


def _slice(steps: Generator[None, None, T]) -> _End[T] | None:
    end = time.perf_counter() + LOOP_SLICE_S
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return _End(stop.value)
        if time.perf_counter() >= end:
            return None
