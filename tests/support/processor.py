"""What processes take of processors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from vm.child import process_fields

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM = 1, 11, 12


class Spent(NamedTuple):
    """Seconds of a processor: of a process by itself, and of those that it started and that run still."""

    own: float
    children: float

    def since(self, before: Spent) -> Spent:
        return Spent(self.own - before.own, self.children - before.children)


def processor_seconds(pid: int) -> float:
    """That a process has taken, without its children."""
    fields = process_fields(pid)
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS_PER_S


def spent(pid: int) -> Spent:
    """What a process and its children have taken so far."""
    children = 0.0
    for entry in Path("/proc").iterdir():
        fields = process_fields(int(entry.name)) if entry.name.isdecimal() else []
        if fields and int(fields[_PARENT]) == pid:
            children += (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS_PER_S
    return Spent(processor_seconds(pid), children)
