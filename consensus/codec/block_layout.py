"""Where the parts of a serialised block are: a flat walk over the offsets, no object per part.

Only for bytes that passed the strict molecule check (RFC 8): sizes and offsets are not checked again.
A molecule table and a dynvec have the same head: total size u32, then one offset u32 per part.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from struct import Struct
from typing import Final, NamedTuple

from consensus.codec.layout import INPUT_SIZE, SINCE_SIZE, U32

__all__ = ["TxBounds", "created_cell", "created_output", "offsets", "transaction_bounds", "trusted_bounds"]

_PAIR: Final = Struct("<II")
_TRANSACTIONS_FIELD: Final = 2
_INPUTS_FIELD, _OUTPUTS_FIELD, _OUTPUTS_DATA_FIELD = 3, 4, 5


class TxBounds(NamedTuple):
    """One transaction: `start` and `end` in the walked bytes, consumed out points, bounds of outputs and of data."""

    start: int
    end: int
    consumed: list[bytes]
    outputs: list[tuple[int, int]]
    data: list[tuple[int, int]]
    """Without the length that precedes the bytes."""


def transaction_bounds(block: bytes) -> list[TxBounds]:
    """Bounds of each transaction of a serialised Block."""
    transactions = trusted_bounds(block, 0)[_TRANSACTIONS_FIELD]
    bounds = trusted_bounds(block, transactions)
    return [_tx_bounds(block, bounds[i], bounds[i + 1]) for i in range(len(bounds) - 1)]


def created_cell(transaction: bytes, index: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Bounds of one output and of its data in a serialised Transaction that stands alone, however many it has."""
    (body,) = U32.unpack_from(transaction, 4)
    outputs, data = (
        body + U32.unpack_from(transaction, body + 4 * (field + 1))[0]
        for field in (_OUTPUTS_FIELD, _OUTPUTS_DATA_FIELD)
    )
    start, end = _part(transaction, data, index)
    return _part(transaction, outputs, index), (start + 4, end)


def created_output(transaction: bytes, index: int) -> bytes | None:
    """One output of a serialised Transaction that stands alone; None when it has not so many."""
    (body,) = U32.unpack_from(transaction, 4)
    outputs = body + U32.unpack_from(transaction, body + 4 * (_OUTPUTS_FIELD + 1))[0]
    size, first = _PAIR.unpack_from(transaction, outputs)
    if size == U32.size or index >= first // 4 - 1:
        return None
    start, end = _part(transaction, outputs, index)
    return transaction[start:end]


def _tx_bounds(raw: bytes, start: int, end: int) -> TxBounds:
    (body_offset,) = U32.unpack_from(raw, start + 4)
    fields = trusted_bounds(raw, start + body_offset)
    first_input, inputs_end = fields[_INPUTS_FIELD] + 4, fields[_OUTPUTS_FIELD]
    consumed = [raw[at + SINCE_SIZE : at + INPUT_SIZE] for at in range(first_input, inputs_end, INPUT_SIZE)]
    outputs = trusted_bounds(raw, fields[_OUTPUTS_FIELD])
    data = trusted_bounds(raw, fields[_OUTPUTS_DATA_FIELD])
    return TxBounds(
        start,
        end,
        consumed,
        list(pairwise(outputs)),
        [(a + 4, b) for a, b in pairwise(data)],
    )


def trusted_bounds(raw: bytes, start: int) -> list[int]:
    """Absolute bounds of a table's or dynvec's parts, the end included; of an empty one only the end."""
    (size,) = U32.unpack_from(raw, start)
    if size == U32.size:
        return [start + size]
    _, first = _PAIR.unpack_from(raw, start)
    parts = offsets(first // 4 - 1).unpack_from(raw, start + 4)
    return [start + offset for offset in parts] + [start + size]


def _part(raw: bytes, start: int, index: int) -> tuple[int, int]:
    """Absolute bounds of one part of a dynvec."""
    size, first = _PAIR.unpack_from(raw, start)
    (at,) = U32.unpack_from(raw, start + 4 * (index + 1))
    end = size if index + 2 > first // 4 - 1 else U32.unpack_from(raw, start + 4 * (index + 2))[0]
    return start + at, start + end


@lru_cache(maxsize=1024)
def offsets(count: int) -> Struct:
    """Reads so many of them."""
    return Struct(f"<{count}I")
