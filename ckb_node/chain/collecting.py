"""Garbage collection while blocks are taken in bulk."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (50_000, 20, 100)
"""Objects that are made before the youngest are looked at (700 by default), and so on, see `gc.set_threshold`."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for garbage seldom: blocks die by their reference counts, and to walk the many objects of a group again and
    again costs a tenth of the time. For commands that do nothing else."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
