"""The rows of what a block creates: its transactions and their cells."""

from __future__ import annotations

from functools import lru_cache

from consensus.crypto.hashing import data_hash
from consensus.types.blockchain import Block
from storage.archive import Location
from storage.records import INLINE_DATA, RowsOfBlock
from storage.schema import CELL, TRANSACTION

__all__ = ["created_rows"]


def created_rows(block: Block, location: Location) -> dict[bytes, bytes]:
    """Of a block whose body is at a place in the archive. Cells that it spends itself are among them."""
    header, created = block.header, dict[bytes, bytes]()
    rows = RowsOfBlock(header.hash, header.number, header.epoch, location)
    for index, transaction in enumerate(block.tx_slices):
        raw, layout, start = transaction.raw, transaction.layout, transaction.start
        created[TRANSACTION + transaction.hash] = rows.transaction(index, start, layout.size)
        prefix, suffixes = CELL + transaction.hash, _output_suffixes(len(layout.outputs))
        head = rows.bare_cell(index)
        if not layout.has_data:
            for suffix, (a, b) in zip(suffixes, layout.outputs, strict=True):
                created[prefix + suffix] = head + raw[a:b]
            continue
        for suffix, (a, b), (c, d) in zip(suffixes, layout.outputs, layout.data, strict=True):
            if c == d:
                cell = head + raw[a:b]
            elif d - c <= INLINE_DATA:
                cell = rows.cell(index, raw[a:b], raw[c:d])
            else:
                cell = rows.archived_cell(index, raw[a:b], d - c, data_hash(raw[c:d]), start + c)
            created[prefix + suffix] = cell
    return created


@lru_cache(maxsize=64)
def _output_suffixes(count: int) -> tuple[bytes, ...]:
    """The index parts of the out points of `count` outputs."""
    return tuple(index.to_bytes(4, "little") for index in range(count))
