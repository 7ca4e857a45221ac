"""Settings of the interpreter for a process whose event loop must answer soon whatever its threads do."""

from __future__ import annotations

import gc
import sys
from typing import Final

SWITCH_S: Final = 0.000_5
"""How long a thread may keep the interpreter while another waits for it; by default ten times as long.

One answer to RPC needs the interpreter several times, each time after a system call.
"""

THRESHOLDS: Final = (2_000, 5, 200)
"""Objects until a collection of the youngest ones; how often before older ones are looked at too. A collection holds up
all threads, for about half a microsecond per object."""


def stay_responsive() -> None:
    """Call when all has been loaded: what is there now stays, and is not looked at by collections any more."""
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*THRESHOLDS)
    gc.collect()
    gc.freeze()
