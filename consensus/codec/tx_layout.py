"""Layouts of transactions: most have the same structure as one seen before, and then one comparison checks them.

A strict molecule check (RFC 8) reads nothing of a transaction but its length and its structural bytes: sizes, offsets,
counts. Two transactions that agree in these are both well formed or both not. So a layout is derived from a transaction
that passed the plain check, and a later one of the same length whose structural bytes are equal needs no walk. The
bytes that say which rules apply (version, kinds of deps, hash types) count as structure too: what they decide is then
decided once for all transactions of the layout.

Kept layouts are bounded. To derive one costs twice as much as the plain walk, so of one vector no more than
MAX_LEARNT are derived: a peer that sends ever new ones makes little work by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from operator import sub
from struct import Struct
from typing import Final

from consensus.codec.layout import (
    CAPACITY_AT,
    CAPACITY_SIZE,
    CELL_DEP_SIZE,
    INPUT_FORMAT,
    NUMBER_SIZE,
    SHANNONS_PER_BYTE,
    U32,
)
from consensus.codec.output_layout import OutputLayouts, facts_if_equal
from consensus.codec.walk import OutputFacts, Span, Walk

Check = Callable[[bytes, int, int, bool], None]
_New = Callable[[bytes, int, int, bool], "TxLayout | None"]
"""What is done with a transaction of unknown layout; the last: whether its layout may be derived."""
_FEW_INPUTS: Final = 128
_NOTHING: Final = Struct("")

MAX_LEARNT: Final = 128
"""Layouts that are derived of one vector of transactions."""


@dataclass(frozen=True, slots=True, eq=False)
class TxLayout:
    """What all transactions of one structure share. Spans and offsets are relative to the transaction's start.

    Two layouts are one only if they are the same object.
    """

    structure: Struct
    """Reads the runs of structural bytes, `expected` in this layout."""
    expected: tuple[bytes, ...]
    size: int
    body: Span
    version: int
    cell_deps: Span
    """The deps alone, without their count."""
    dep_types: tuple[int, ...]
    header_deps_at: int
    header_deps: int
    """How many there are, from `header_deps_at`."""
    inputs: Struct
    """Reads since and out point (36 bytes) of each input in turn, from `inputs_at`."""
    inputs_at: int
    input_count: int
    outputs: tuple[Span, ...]
    capacities: Struct
    """Reads the capacity of each output, from the transaction's start."""
    occupied: tuple[int, ...]
    """Shannons that each output takes, its data included; empty unless each output has data."""
    occupied_in_all: int
    lock_hash_types: tuple[int, ...]
    type_hash_types: tuple[int, ...]
    """Of those outputs that have a type script."""
    data: tuple[Span, ...]
    """Data of the outputs, without their lengths."""
    has_data: bool
    """Any of them has a byte."""
    witnesses: tuple[Span, ...]
    """Likewise."""
    verdicts: dict[Callable[[TxLayout], bool], bool] = field(default_factory=dict)
    """What rules decided about the structure alone: it is remembered as long as the layout is."""

    @property
    def parts(self) -> int:
        """Outputs, data and witnesses together."""
        return len(self.outputs) + len(self.data) + len(self.witnesses)

    def fits(self, buf: bytes, start: int) -> bool:
        """The transaction of `size` bytes at `start` is of this layout."""
        return self.structure.unpack_from(buf, start) == self.expected


class TxLayouts:
    """Recently used layouts. Safe from any thread: a race loses a cached layout at worst."""

    def __init__(
        self, check: Check, limit: int = 2048, per_size: int = 16, largest: int = 4096, most_parts: int = 64
    ) -> None:
        """`check` is the plain strict check of a transaction. Neither those above `largest` bytes are kept nor those
        with more outputs, data and witnesses than `most_parts`: hundreds of empty ones take much more than their bytes.
        """
        self._check: Final = check
        self._limit, self._per_size, self._largest, self._most_parts = limit, per_size, largest, most_parts
        self._by_size: dict[int, tuple[TxLayout, ...]] = {}
        self._count = 0

    def of(self, buf: bytes, start: int, end: int) -> TxLayout:
        """The layout of the transaction buf[start:end]; MoleculeError when it is not strictly well formed."""
        layout = self.known(buf, start, end)
        if layout is not None:
            return layout
        self._check(buf, start, end, False)
        return self._learn(buf[start:end])

    def known(self, buf: bytes, start: int, end: int) -> TxLayout | None:
        """The layout of buf[start:end] if it is kept: then it is a transaction, and well formed."""
        for layout in self._by_size.get(end - start, ()):
            if layout.structure.unpack_from(buf, start) == layout.expected:
                return layout
        return None

    def check(self, buf: bytes, start: int, end: int) -> TxLayout | None:
        """Check the transaction buf[start:end] strictly: MoleculeError. Returns its layout.

        None for a large transaction: deriving its layout costs much more than the check.
        """
        if end - start <= self._largest:
            return self.of(buf, start, end)
        self._check(buf, start, end, False)
        return None

    def check_all(self, buf: bytes, bounds: Sequence[int]) -> list[tuple[int, int, TxLayout | None]]:
        """Check the transactions between these bounds: MoleculeError. Each with its layout, None for large ones and
        for those beyond the first MAX_LEARNT of unknown layouts."""
        return self._all(buf, bounds, self._check_new)

    def find_all(self, buf: bytes, bounds: Sequence[int]) -> list[tuple[int, int, TxLayout | None]]:
        """As `check_all`, of transactions that passed the strict check."""
        return self._all(buf, bounds, self._find_new)

    def _all(self, buf: bytes, bounds: Sequence[int], new: _New) -> list[tuple[int, int, TxLayout | None]]:
        found: list[tuple[int, int, TxLayout | None]] = []
        left, known = MAX_LEARNT, self._by_size
        for start, end in pairwise(bounds):
            for layout in known.get(end - start, ()):
                if layout.structure.unpack_from(buf, start) == layout.expected:
                    found.append((start, end, layout))
                    break
            else:
                found.append((start, end, new(buf, start, end, left > 0)))
                left -= 1
                known = self._by_size
        return found

    def _check_new(self, buf: bytes, start: int, end: int, may_learn: bool) -> TxLayout | None:
        self._check(buf, start, end, False)
        return self._find_new(buf, start, end, may_learn)

    def _find_new(self, buf: bytes, start: int, end: int, may_learn: bool) -> TxLayout | None:
        if not may_learn or end - start > self._largest:
            return None
        return self._learn(buf[start:end])

    def _learn(self, raw: bytes) -> TxLayout:
        layout = learn_layout(raw)
        if layout.size <= self._largest and layout.parts <= self._most_parts:
            self._keep(layout)
        return layout

    def _keep(self, layout: TxLayout) -> None:
        if self._count >= self._limit:
            self._by_size, self._count = {}, 0
        known = self._by_size.get(layout.size, ())
        self._by_size[layout.size] = (layout, *known[: self._per_size - 1])
        self._count += len(known) < self._per_size


def learn_layout(raw: bytes) -> TxLayout:
    """The layout of a transaction that passed the strict check."""
    return _layout_by(Walk(raw), raw)


def read_layout(raw: bytes, outputs: OutputLayouts) -> TxLayout:
    """As `learn_layout`, of a transaction whose layout is not kept: it fits nothing. Much quicker for a large one."""
    return _layout_by(_Glance(raw, outputs), raw)


class _Glance(Walk):
    """Notes no structure, and reads outputs by their layouts."""

    def __init__(self, raw: bytes, outputs: OutputLayouts) -> None:
        super().__init__(raw)
        self._outputs: Final = outputs

    def run(self, at: int, size: int) -> None:
        """Not noted."""

    def bytes_spans(self, at: int) -> Iterable[Span]:
        """Contents of a vector of bytes."""
        return [(start + NUMBER_SIZE, end) for start, end in pairwise(self.table(at))]

    def outputs(self, bounds: Sequence[int]) -> list[OutputFacts]:
        """CellOutputs between these bounds."""
        facts = facts_if_equal(self._raw, bounds)
        return super().outputs(bounds) if facts is None else [facts] * (len(bounds) - 1)

    def output(self, span: Span) -> OutputFacts:
        """A CellOutput."""
        known = self._outputs.known(self._raw, *span)
        return super().output(span) if known is None else known.facts

    def structure(self) -> tuple[Struct, tuple[bytes, ...]]:
        """What no bytes equal."""
        return _NOTHING, (b"",)


def _layout_by(walk: Walk, raw: bytes) -> TxLayout:
    body_at, witnesses_at = walk.table(0)[:2]
    version_at, deps_at, headers_at, inputs_at, outputs_at, data_at, body_end = walk.table(body_at)
    walk.run(version_at, 4)
    dep_count, header_count, input_count = walk.count(deps_at), walk.count(headers_at), walk.count(inputs_at)
    dep_types = tuple(walk.byte(deps_at + 4 + CELL_DEP_SIZE * (i + 1) - 1) for i in range(dep_count))
    bounds = walk.table(outputs_at)
    outputs, parts = tuple(pairwise(bounds)), walk.outputs(bounds)
    data = tuple(walk.bytes_spans(data_at))
    witnesses = tuple(walk.bytes_spans(witnesses_at))
    sizes = [end - start for start, end in data] if len(data) == len(outputs) else []
    taken = [part.occupied + size for part, size in zip(parts, sizes, strict=False)]
    occupied = tuple([size * SHANNONS_PER_BYTE for size in taken])
    structure, expected = walk.structure()
    return TxLayout(
        structure=structure,
        expected=expected,
        size=len(raw),
        body=(body_at, body_end),
        version=U32.unpack_from(raw, version_at)[0],
        cell_deps=(deps_at + 4, deps_at + 4 + CELL_DEP_SIZE * dep_count),
        dep_types=dep_types,
        header_deps_at=headers_at + 4,
        header_deps=header_count,
        inputs=_inputs_struct(input_count),
        inputs_at=inputs_at + 4,
        input_count=input_count,
        outputs=outputs,
        capacities=_capacities_struct(bounds),
        occupied=occupied,
        occupied_in_all=sum(occupied),
        lock_hash_types=tuple([part.lock_hash_type for part in parts]),
        type_hash_types=tuple([part.type_hash_type for part in parts if part.type_hash_type is not None]),
        data=data,
        has_data=any(start != end for start, end in data),
        witnesses=witnesses,
    )


def _capacities_struct(bounds: Sequence[int]) -> Struct:
    """Reads the capacity of each output between these bounds, whatever comes behind it."""
    if len(bounds) == 1:
        return Struct("<")
    skipped = [size - CAPACITY_SIZE for size in map(sub, bounds[1:-1], bounds)]
    return Struct(f"<{bounds[0] + CAPACITY_AT}xQ" + "".join([f"{size}xQ" for size in skipped]))


def _inputs_struct(count: int) -> Struct:
    return _few_inputs(count) if count <= _FEW_INPUTS else Struct("<" + INPUT_FORMAT * count)


@lru_cache(maxsize=_FEW_INPUTS + 1)
def _few_inputs(count: int) -> Struct:
    """Cached for small counts only: a Struct takes 64 bytes an input, and senders of transactions choose the count."""
    return Struct("<" + INPUT_FORMAT * count)
