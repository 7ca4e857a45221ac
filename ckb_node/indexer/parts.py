"""What an index reads of the transactions of a stored block, without objects for their parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from struct import Struct
from typing import Final

from consensus.codec.block_layout import trusted_bounds
from consensus.codec.layout import INPUT_SIZE, OUT_POINT_SIZE, SINCE_SIZE
from consensus.codec.tx_layout import TxLayout
from consensus.codec.walk import struct_of
from consensus.crypto.hashing import ckb_hash
from consensus.types.blockchain import TRANSACTION_VEC, Block

MANY_PARTS: Final = 256
"""Transactions with more inputs and outputs are rare: one that is alike is as good as a walk."""
KEPT_READERS: Final = 2048
"""About a kilobyte each."""

Cell = tuple[bytes, bytes]
"""Serialised CellOutput, data."""

_BODY: Final = Struct("<4xII")
_TRANSACTIONS_FIELD, _INPUTS_FIELD, _OUTPUTS_FIELD, _DATA_FIELD = 2, 3, 4, 5


TxParts = tuple[bytes, Sequence[bytes], Sequence[Cell]]
"""Of a transaction: its hash, the 36 bytes of the out point of each input, its outputs."""


class PartsReader:
    """Reads transactions by their layouts, each with one call."""

    def __init__(self) -> None:
        self._readers: dict[TxLayout, Struct] = {}

    def transactions(self, block: Block) -> Iterator[TxParts]:
        """Of a block that was checked when it was stored."""
        raw, readers = block.raw, self._readers
        for start, end, layout in TRANSACTION_VEC.found(raw, trusted_bounds(raw, 0)[_TRANSACTIONS_FIELD]):
            reader = None if layout is None else readers.get(layout) or self._new(layout)
            if layout is None or reader is None:
                yield _walked(raw[start:end])
                continue
            parts, inputs = reader.unpack_from(raw, start), layout.input_count
            outputs = inputs + len(layout.outputs)
            body, body_end = layout.body
            tx_hash = ckb_hash(raw[start + body : start + body_end])
            yield tx_hash, parts[:inputs], list(zip(parts[inputs:outputs], parts[outputs:], strict=True))

    def _new(self, layout: TxLayout) -> Struct | None:
        """None for a layout that is not worth it."""
        if layout.input_count + 2 * len(layout.outputs) > MANY_PARTS:
            return None
        if len(self._readers) >= KEPT_READERS:
            self._readers.clear()
        self._readers[layout] = struct_of(_parts(layout))
        return self._readers[layout]


def _parts(layout: TxLayout) -> Iterator[tuple[int, str, int]]:
    """Out points, outputs, their data."""
    for index in range(layout.input_count):
        yield layout.inputs_at + index * INPUT_SIZE + SINCE_SIZE, f"{OUT_POINT_SIZE}s", OUT_POINT_SIZE
    for start, end in (*layout.outputs, *layout.data):
        yield start, f"{end - start}s", end - start


def _walked(tx: bytes) -> TxParts:
    body, witnesses = _BODY.unpack_from(tx)
    fields = trusted_bounds(tx, body)
    inputs = range(fields[_INPUTS_FIELD] + 4, fields[_OUTPUTS_FIELD], INPUT_SIZE)
    outputs, data = (
        pairwise(trusted_bounds(tx, fields[_OUTPUTS_FIELD])),
        pairwise(trusted_bounds(tx, fields[_DATA_FIELD])),
    )
    return (
        ckb_hash(tx[body:witnesses]),
        [tx[at + SINCE_SIZE : at + INPUT_SIZE] for at in inputs],
        [(tx[a:b], tx[c + 4 : d]) for (a, b), (c, d) in zip(outputs, data, strict=True)],
    )
