"""Work of the event loop in slices of time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final

SLICE_S: Final = 0.02
"""Steps are taken for so long before others of the event loop have their turn."""


async def in_slices(steps: Iterator[None], is_late: Callable[[], bool] = lambda: False) -> None:
    """Take all steps; between two slices it is asked whether the rest is in vain."""
    end = time.monotonic() + SLICE_S
    for _ in steps:
        if time.monotonic() >= end:
            await asyncio.sleep(0)
            if is_late():
                return
            end = time.monotonic() + SLICE_S
