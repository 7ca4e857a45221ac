"""Layouts of outputs: a transaction to thousands of receivers has as many outputs of a few structures.

As `consensus.codec.tx_layout` does for whole transactions: an output of the same length and structural bytes as one
that passed the plain strict check is well formed too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from struct import Struct
from typing import Final, NamedTuple

from consensus.codec.walk import OutputFacts, Walk

MAX_LEARNT: Final = 32
"""Layouts that are derived of one vector of outputs: each costs as much as several plain checks."""

FEW: Final = 16
"""Fewer outputs are sooner looked at one by one."""


class OutputLayout(NamedTuple):
    """What all outputs of one structure share; `structure` reads the structural bytes, here `expected`."""

    structure: Struct
    expected: tuple[bytes, ...]
    facts: OutputFacts


def facts_if_equal(raw: bytes, bounds: Sequence[int]) -> OutputFacts | None:
    """The facts of each output between these bounds, which passed the strict check, when all have one structure."""
    start, end, count = bounds[0], bounds[-1], len(bounds) - 1
    size = (end - start) // max(count, 1)
    if count < FEW or list(bounds) != [*range(start, end + 1, size)]:
        return None
    walk = Walk(raw[start : start + size])
    facts = walk.output((0, size))
    for at, byte in walk.structural_bytes():
        if raw[start + at : end : size].count(byte) != count:
            return None
    return facts


class OutputLayouts:
    """Recently used layouts. Safe from any thread: a race loses a cached layout at worst."""

    def __init__(
        self,
        check: Callable[[bytes, int, int, bool], None],
        sizes: int = 128,
        per_size: int = 4,
        largest: int = 1024,
    ) -> None:
        """`check` is the plain strict check of an output. Those above `largest` bytes are not kept."""
        self._check: Final = check
        self._sizes, self._per_size, self._largest = sizes, per_size, largest
        self._by_size: dict[int, tuple[OutputLayout, ...]] = {}

    def known(self, buf: bytes, start: int, end: int) -> OutputLayout | None:
        """The layout of buf[start:end] if it is kept: then it is an output, and well formed."""
        for layout in self._by_size.get(end - start, ()):
            if layout.structure.unpack_from(buf, start) == layout.expected:
                return layout
        return None

    def check_all(self, buf: bytes, bounds: Sequence[int]) -> None:
        """Check the outputs between these bounds strictly: MoleculeError."""
        left = MAX_LEARNT
        for start, end in pairwise(bounds):
            if self.known(buf, start, end) is None:
                self._check(buf, start, end, False)
                if left and end - start <= self._largest:
                    left -= 1
                    self._keep(buf[start:end])

    def _keep(self, raw: bytes) -> None:
        walk = Walk(raw)
        facts = walk.output((0, len(raw)))
        if len(self._by_size) >= self._sizes:
            self._by_size = {}
        known = self._by_size.get(len(raw), ())
        self._by_size[len(raw)] = (OutputLayout(*walk.structure(), facts), *known[: self._per_size - 1])
