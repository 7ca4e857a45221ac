"""Whether the rows of headers whose blocks have not come (storage.header_rows) agree with each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from consensus.codec.layout import HEADER_SIZE
from consensus.crypto.difficulty import compact_to_difficulty
from storage.chain_state import ChainState
from storage.header_rows import HeaderRow, KnownHeaders
from storage.schema import HEADER_LEAF, HEADER_NUMBER, HEADER_ROW, META_HEADER_CUT

__all__ = ["header_row_faults"]

ROW_SIZE: Final = HEADER_SIZE + 32


def header_row_faults(state: ChainState, limit: int = 20) -> list[str]:
    """Lines that name what is wrong, at most `limit`. A branch that is still being deleted is left out of it."""
    if any(state.rows(META_HEADER_CUT)):
        return []
    found: list[str] = []
    for fault in _faults(state):
        found.append(fault)
        if len(found) == limit:
            break
    return found


def _faults(state: ChainState) -> Iterator[str]:
    known, rows, leaves = state.known_headers(), 0, 0
    for key, packed in state.rows(HEADER_ROW):
        rows += 1
        name = f"the row of header 0x{key[1:].hex()}"
        if len(packed) != ROW_SIZE:
            yield f"{name} has {len(packed)} bytes"
            continue
        row = HeaderRow.unpack(packed)
        if row.header.hash != key[1:]:
            yield f"{name} holds another header"
            continue
        if fault := _fault_of(row, known):
            yield f"{name} {fault}"
        leaves += _is_leaf(row, known)
    for kind, name, expected in ((HEADER_NUMBER, "heights", rows), (HEADER_LEAF, "leaves", leaves)):
        listed = sum(1 for _ in state.rows(kind))
        if listed != expected:
            yield f"{expected} {name} of headers should be listed, {listed} are"


def _fault_of(row: HeaderRow, known: KnownHeaders) -> str | None:
    header = row.header
    if header.hash not in known.row_hashes(header.number):
        return f"is not listed at its height {header.number}"
    before = known.total_difficulty(header.parent_hash)
    if before is None:
        return "stands on an unknown header"
    if before + compact_to_difficulty(header.compact_target) != row.total_difficulty:
        return "has not the work of its branch"
    if _is_leaf(row, known) and not known.has_leaf(row):
        return "is a leaf and not listed as one"
    return None


def _is_leaf(row: HeaderRow, known: KnownHeaders) -> bool:
    above = (known.row(each) for each in known.row_hashes(row.header.number + 1))
    return not any(each is not None and each.header.parent_hash == row.header.hash for each in above)
