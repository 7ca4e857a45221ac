"""What an index reads of the transactions of a stored block, without objects for their parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from struct import Struct
from typing import Final

from consensus.codec.block_layout import trusted_bounds
from consensus.codec.layout import INPUT_SIZE, SINCE_SIZE
from consensus.crypto.hashing import ckb_hash
from consensus.types.blockchain import TX_LAYOUTS, Block

SMALL: Final = 4096
"""Layouts of transactions up to this size are remembered; of larger ones one is as good as a walk."""

Cell = tuple[bytes, bytes]
"""Serialised CellOutput, data."""

_BODY: Final = Struct("<4xII")
_TRANSACTIONS_FIELD, _INPUTS_FIELD, _OUTPUTS_FIELD, _DATA_FIELD = 2, 3, 4, 5


TxParts = tuple[bytes, Sequence[bytes], list[Cell]]
"""Of a transaction: its hash, the 36 bytes of the out point of each input, its outputs."""


def transaction_parts(block: Block) -> Iterator[TxParts]:
    """Of a block that was checked when it was stored."""
    raw = block.raw
    for start, end in pairwise(trusted_bounds(raw, trusted_bounds(raw, 0)[_TRANSACTIONS_FIELD])):
        yield _small(raw, start, end) if end - start <= SMALL else _large(raw[start:end])


def _small(raw: bytes, start: int, end: int) -> TxParts:
    layout, tx = TX_LAYOUTS.of(raw, start, end), raw[start:end]
    body_start, body_end = layout.body
    return (
        ckb_hash(tx[body_start:body_end]),
        layout.inputs.unpack_from(tx, layout.inputs_at)[1::2],
        [(tx[a:b], tx[c:d]) for (a, b), (c, d) in zip(layout.outputs, layout.data, strict=True)],
    )


def _large(tx: bytes) -> TxParts:
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
