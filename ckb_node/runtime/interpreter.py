"""Settings of the interpreter: for a node, whose event loop must stay responsive, and for bulk import."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SWITCH_S: Final = 0.000_5
"""How long a thread may keep the interpreter while another waits for it; by default ten times as long.

One answer to RPC needs the interpreter several times, each time after a system call.
"""

THRESHOLDS: Final = (2_000, 5, 200)
"""Arguments of gc.set_threshold. A collection stops all threads, for about half a microsecond per object."""


def stay_responsive() -> None:
    """Call when everything is loaded: garbage collections ignore the objects that exist now."""
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*THRESHOLDS)
    gc.collect()
    gc.freeze()


SELDOM_THRESHOLDS: Final = (20_000, 10, 100)
"""As THRESHOLDS, for processes of one thread that hold little: nobody waits for a collection."""


def collect_seldom() -> None:
    """Call when everything is loaded, in a process that runs scripts, which leave no garbage behind: to look for it
    after every few of them took a thirtieth of the time."""
    gc.set_threshold(*SELDOM_THRESHOLDS)
    gc.freeze()


BULK_SWITCH_S: Final = 0.000_1
BULK_THRESHOLDS: Final = (50_000, 20, 100)
"""As THRESHOLDS, while blocks are taken in bulk."""


@contextmanager
def set_for_bulk() -> Iterator[None]:
    """Collect garbage seldom and switch threads soon, for commands that do nothing but take blocks in bulk.

    Blocks are freed by their reference counts, and walking the many objects of a group again and again costs a tenth of
    the time. The thread that writes the disk needs the interpreter for a moment only, but a busy thread that releases
    it for microseconds, as each read of the database does, starts the interval anew each time: with the default of 5 ms
    the writer begins when its group is already waited for, and a fifth of the time is lost.
    """
    thresholds, switch_s = gc.get_threshold(), sys.getswitchinterval()
    gc.freeze()
    gc.set_threshold(*BULK_THRESHOLDS)
    sys.setswitchinterval(BULK_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(switch_s)
        gc.set_threshold(*thresholds)
        gc.unfreeze()
