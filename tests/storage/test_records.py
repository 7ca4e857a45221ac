"""What is packed once for a block is what each row alone packs."""

from __future__ import annotations

import pytest

from consensus.crypto.hashing import data_hash
from storage.archive import Location
from storage.records import INLINE_DATA, CellRecord, RowsOfBlock, TransactionRecord, cell_info, inline_data, pack_cell
from tests.support.builders.blocks import an_output, lock_script

PLACE = Location(1, 2, 3)
ROWS = RowsOfBlock(b"h" * 32, 5, 1 << 40 | 6, PLACE)
SIZES = (0, 1, 8, INLINE_DATA, INLINE_DATA + 1, 1000)


def created(index: int) -> TransactionRecord:
    return TransactionRecord(b"h" * 32, 5, 1 << 40 | 6, index, PLACE, 9, 10)


@pytest.mark.parametrize("index", [0, 1, 70_000])
def test_rows_of_a_block(index: int) -> None:
    record, output = created(index), an_output(type_=lock_script(b"type")).raw
    assert ROWS.transaction(index, 9, 10) == record.pack()
    assert ROWS.bare_cell(index) + output == pack_cell(record, output, b"", 0)
    for size in SIZES:
        if size <= INLINE_DATA:
            packed = ROWS.cell(index, output, bytes(size))
        else:
            packed = ROWS.archived_cell(index, output, size, data_hash(bytes(size)), 77)
        assert packed == pack_cell(record, output, bytes(size), 77)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_packed_is_read_again(size: int) -> None:
    output, data = an_output().raw, b"\7" * size
    packed = pack_cell(created(3), output, data, 77)
    found, is_inline = CellRecord.unpack(packed), size <= INLINE_DATA
    assert (found.output, found.data_size, found.data) == (output, size, data if is_inline else None)
    assert cell_info(packed) == (b"h" * 32, 5, 1 << 40 | 6, 3)
    if is_inline:
        assert inline_data(packed) == data
    else:
        assert (found.location, found.data_start) == (PLACE, 77)
