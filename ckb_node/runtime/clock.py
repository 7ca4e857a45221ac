"""The clocks: the only place where the node reads the time."""

from __future__ import annotations

import time


class SystemClock:
    """Milliseconds since 1970. The user may set this clock: durations are measured with `monotonic_ms`."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Milliseconds since some moment; goes on evenly, whatever happens to the wall clock."""
    return time.monotonic_ns() // 1_000_000
