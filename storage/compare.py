"""Whether two chain databases say the same of the main chain, wherever their bodies lie on disk."""

from __future__ import annotations

from collections.abc import Iterator

from storage.chain_state import ChainState
from storage.records import CellRecord, TransactionRecord
from storage.schema import CELL, EPOCH_NUMBER, MAIN_NUMBER, MMR_NODE, TRANSACTION, UNCLE

__all__ = ["KIND_NAMES", "state_differences", "state_rows"]

KIND_NAMES = {
    MAIN_NUMBER: "main-chain block",
    EPOCH_NUMBER: "epoch",
    TRANSACTION: "transaction",
    CELL: "live cell",
    UNCLE: "uncle",
    MMR_NODE: "MMR node",
}
"""Name of the rows of each key prefix, for messages."""

Row = tuple[bytes, object]


def state_rows(state: ChainState, kind: bytes) -> Iterator[Row]:
    """Rows of one kind in key order, without what depends on the archive's layout."""
    for key, value in state.rows(kind):
        yield key, _comparable(state, kind, value)


def _comparable(state: ChainState, kind: bytes, value: bytes) -> object:
    if kind == TRANSACTION:
        record = TransactionRecord.unpack(value)
        return record.block_hash, record.block_number, record.block_epoch, record.tx_index
    if kind == CELL:
        cell = CellRecord.unpack(value)
        return cell.output, cell.data_hash, cell.data_size, cell.block_hash, cell.block_number, cell.tx_index
    return value


def state_differences(left: ChainState, right: ChainState, limit: int = 20) -> list[str]:
    """Lines that name what differs, at most `limit`; empty when the two agree."""
    found: list[str] = []
    if left.tip_header() != right.tip_header():
        found.append(f"tips differ: {left.tip_header().number} and {right.tip_header().number}")
    for kind, name in KIND_NAMES.items():
        for key, one, other in _merge(state_rows(left, kind), state_rows(right, kind)):
            if one != other:
                side = "is missing" if one is None else "is too much" if other is None else "differs"
                found.append(f"{name} 0x{key[1:].hex()} {side}")
                if len(found) >= limit:
                    return found
    return found


def _merge(left: Iterator[Row], right: Iterator[Row]) -> Iterator[tuple[bytes, object, object]]:
    """Both runs by key; None where one lacks it."""
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            assert a is not None  # noqa: S101 - the loop's condition
            yield a[0], a[1], None
            a = next(left, None)
        elif a is None or b[0] < a[0]:
            yield b[0], None, b[1]
            b = next(right, None)
        else:
            yield a[0], a[1], b[1]
            a, b = next(left, None), next(right, None)
