"""A cell over its packed record says what the plain one says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consensus.crypto.hashing import data_hash
from consensus.types.blockchain import CellOutput
from consensus.types.core import CellMeta, TransactionInfo
from storage.archive import Location
from storage.records import INLINE_DATA, TransactionRecord, pack_cell
from storage.stored_cell import StoredCell
from tests.support.builders.blocks import an_output, lock_script

POINT = b"p" * 36


def some_outputs() -> Iterator[CellOutput]:
    for args in (b"", b"x" * 20, b"y" * 500):
        for type_ in (None, lock_script(b"", 1), lock_script(b"type" * 30)):
            yield an_output(1 << 60 | len(args), lock_script(args), type_)


def facts(cell: CellMeta) -> tuple[object, ...]:
    occupied, code = cell.occupied_capacity(), cell.type_code
    parts = cell.capacity, cell.has_type, code, cell.lock_size, cell.is_of_cellbase, occupied, cell.data_size
    return *parts, cell.data, cell.data_hash, cell.info, cell.output.raw, cell.out_point


@pytest.mark.parametrize("size", [0, 1, 8, INLINE_DATA, INLINE_DATA + 1, 300])
def test_as_the_plain_cell(size: int) -> None:
    data = b"\7" * size
    for output in some_outputs():
        for index in (0, 1, 300):
            created = TransactionRecord(b"h" * 32, 5, 6, index, Location(1, 2, 3), 9, 10)
            packed = pack_cell(created, output.raw, data, 77)
            info = TransactionInfo(b"h" * 32, 5, 6, index)
            plain = CellMeta(POINT, output, size, data_hash(data), info, lambda: data)
            assert facts(StoredCell(POINT, packed, lambda _: data)) == facts(plain)
            assert plain.occupied_capacity() == output.occupied_capacity_by_parts(size)
