"""The wall clock: the only place where the node reads the time."""

from __future__ import annotations

import time


class SystemClock:
    """Milliseconds since 1970."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000
