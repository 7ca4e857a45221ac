"""Work in numbers that no busy machine changes: for tests that a step stays small, where a clock would lie."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def calls_of(step: Callable[[], object]) -> int:
    """Calls and returns, of Python and of C functions, that the step makes in this thread."""
    count = 0

    def note(_frame: FrameType, _event: str, _argument: Any) -> None:
        nonlocal count
        count += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        step()
    finally:
        sys.setprofile(before)
    return count
