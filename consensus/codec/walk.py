"""Walks over a well formed transaction or output: where its parts lie, and its structural bytes.

Structural are the bytes that say where parts lie (sizes, offsets, counts) and which rules apply (version, kinds of
deps, hash types).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from struct import Struct
from typing import NamedTuple

from consensus.codec.block_layout import offsets
from consensus.codec.layout import SCRIPT_CONTENT_SIZE, U32

Span = tuple[int, int]


class OutputFacts(NamedTuple):
    """What rules ask of an output's structure."""

    occupied: int
    lock_hash_type: int
    type_hash_type: int | None


class Walk:
    """Goes over a well formed transaction and notes its structural bytes."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._runs: list[Span] = []

    def run(self, at: int, size: int) -> None:
        """These bytes are structure."""
        self._runs.append((at, at + size))

    def byte(self, at: int) -> int:
        """A structural byte."""
        self.run(at, 1)
        return self._raw[at]

    def count(self, at: int) -> int:
        """The item count of a fixvec, or the length of bytes."""
        self.run(at, 4)
        count: int = U32.unpack_from(self._raw, at)[0]
        return count

    def table(self, at: int) -> list[int]:
        """Bounds of the parts of a table or dynvec, the end included; of an empty one only the end."""
        size = self.count(at)
        if size == 4:
            return [at + size]
        first = self.count(at + 4)
        self.run(at + 4, first - 4)
        parts = offsets(first // 4 - 1).unpack_from(self._raw, at + 4)
        return [at + offset for offset in (*parts, size)]

    def bytes_spans(self, at: int) -> Iterable[Span]:
        """Contents of a vector of bytes."""
        for start, end in pairwise(self.table(at)):
            self.count(start)
            yield start + 4, end

    def outputs(self, bounds: Sequence[int]) -> list[OutputFacts]:
        """CellOutputs between these bounds."""
        return [self.output(span) for span in pairwise(bounds)]

    def output(self, span: Span) -> OutputFacts:
        """A CellOutput."""
        capacity_at, lock_at, type_at, end = self.table(span[0])
        lock_size, lock_hash_type = self._script(lock_at)
        occupied = lock_at - capacity_at + lock_size
        if type_at == end:
            return OutputFacts(occupied, lock_hash_type, None)
        type_size, type_hash_type = self._script(type_at)
        return OutputFacts(occupied + type_size, lock_hash_type, type_hash_type)

    def _script(self, at: int) -> tuple[int, int]:
        """Bytes of capacity that a script takes, and its hash type."""
        _, hash_type_at, args_at, end = self.table(at)
        self.count(args_at)
        return SCRIPT_CONTENT_SIZE + end - args_at - 4, self.byte(hash_type_at)

    def structural_bytes(self) -> Iterator[tuple[int, int]]:
        """Each with its place."""
        raw = self._raw
        return ((at, raw[at]) for start, end in self._runs for at in range(start, end))

    def structure(self) -> tuple[Struct, tuple[bytes, ...]]:
        """A reader of all structural bytes, and what it reads here."""
        runs: list[Span] = []
        for start, end in sorted(self._runs):
            if runs and start <= runs[-1][1]:
                runs[-1] = runs[-1][0], max(end, runs[-1][1])
            else:
                runs.append((start, end))
        reader = struct_of((start, f"{end - start}s", end - start) for start, end in runs)
        return reader, reader.unpack_from(self._raw, 0)


def struct_of(items: Iterator[tuple[int, str, int]]) -> Struct:
    """A reader of (offset, format, size) in ascending order, skipping what lies between."""
    parts, at = ["<"], 0
    for start, form, size in items:
        parts.append(f"{start - at}x{form}")
        at = start + size
    return Struct("".join(parts))
