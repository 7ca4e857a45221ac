"""How many examples property tests try: a few in the suite, many more under `make fuzz`."""

from __future__ import annotations

import os

FACTOR = max(1, int(os.environ.get("CKB_FUZZ_FACTOR", "1")))


def examples(count: int) -> int:
    """`count` in the suite, a multiple of it under `make fuzz`."""
    return count * FACTOR
