"""Settings of the interpreter while blocks are taken in bulk, for commands that do nothing else."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

THRESHOLDS: Final = (50_000, 20, 100)
"""Objects that are made before the youngest are looked at (700 by default), and so on, see `gc.set_threshold`."""
SWITCH_S: Final = 0.000_1


@contextmanager
def set_for_bulk() -> Iterator[None]:
    """Look for garbage seldom, and hand over to waiting threads soon.

    Blocks die by their reference counts, and to walk the many objects of a group again and again costs a tenth of the
    time. The thread that writes the disk needs Python for a moment only, but a busy thread that now and then lets go of
    it for microseconds, as each read of the database does, starts the interval anew each time: with the default of 5 ms
    the writer begins when its group is already waited for, and a fifth of the time is lost.
    """
    thresholds, switch_s = gc.get_threshold(), sys.getswitchinterval()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(switch_s)
        gc.set_threshold(*thresholds)
        gc.unfreeze()
