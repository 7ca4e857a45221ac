"""What the debug command prints."""

from __future__ import annotations

import re


def cycles_in(output: str) -> list[int]:
    """Of each group."""
    return [int(cycles) for cycles in re.findall(r"exit code -?\d+, (\d+) cycles", output)]
