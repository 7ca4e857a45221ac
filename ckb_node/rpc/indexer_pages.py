"""What the key-value indexer answers, as slices of work: each makes a piece of the answer, perhaps an empty one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from ckb_node.indexer.index import Index
from ckb_node.indexer.keys import CELL_HEAD, IO, PACKED_CELL, PACKED_SCRIPTS_AT
from ckb_node.indexer.query import (
    FoundCell,
    FoundTransaction,
    Page,
    Search,
    Terms,
    find_capacity,
    find_cells,
    find_transactions,
)
from ckb_node.jsonrpc_types.hex_text import bytes_text, uint_text
from ckb_node.rpc import page_kernel
from ckb_node.rpc.calls import encode
from ckb_node.rpc.indexer_texts import PAGE_HEAD, CellTexts, group_text, page_end, tx_texts
from ckb_node.rpc.indexer_types import CellsCapacityJson
from ckb_node.runtime.lane import Slices
from consensus.crypto.hashing import HASH_SIZE
from storage.kv import Snapshot

T = TypeVar("T")


def cells(snapshot: Snapshot, page: Page, terms: Terms, *, with_data: bool) -> Slices:
    """A page of live cells."""
    write = partial(page_kernel.cells_text, with_data=with_data)
    write_plainly = partial(plain_cells_text, with_data=with_data)

    def text(found: list[FoundCell]) -> tuple[bytes, bytes] | None:
        return (found[-1].cursor, written(found, write, write_plainly)) if found else None

    yield from _page(map(text, find_cells(snapshot, page, terms)))


def transactions(snapshot: Snapshot, page: Page, terms: Terms) -> Slices:
    """A page of inputs and outputs."""

    def text(step: list[FoundTransaction]) -> tuple[bytes, bytes] | None:
        found = [each for each in step if len(each.packed) > HASH_SIZE]
        if not found:
            return None
        cursor = found[-1].key + found[-1].packed[-IO.size :]
        return cursor, written(found, page_kernel.transactions_text, plain_transactions_text)

    yield from _page(map(text, find_transactions(snapshot, page, terms)))


def _page(steps: Iterator[tuple[bytes, bytes] | None]) -> Slices:
    """A page of the cursors and texts of steps; None where one found nothing."""
    cursor, before = b"", PAGE_HEAD.encode()
    for step in steps:
        if step is None:
            yield b""
            continue
        cursor, text = step
        yield before + text
        before = b","
    yield (b"" if cursor else before) + page_end(cursor).encode()


def grouped(snapshot: Snapshot, page: Page, terms: Terms) -> Slices:
    """Up to `limit` transactions. As the reference's, the page ends behind the last row that it looked at, taken by the
    filter or not.

    Rows of one transaction stand together, except under a prefix that several of its scripts share.
    """
    groups: list[FoundTransaction] = []
    cursor, before, left = b"", PAGE_HEAD.encode(), page.limit or 0
    for step in find_transactions(snapshot, replace(page, limit=None), terms):
        for each in step:
            is_same = bool(groups) and each.tx_hash == groups[-1].tx_hash
            if not left and not is_same:
                break
            cursor = each.key + each.last if each.last else cursor
            if each.ios and is_same:
                groups[-1] = groups[-1]._replace(packed=groups[-1].packed + each.ios)
            elif each.ios:
                groups.append(each)
                left -= 1
        else:
            done, groups = groups[:-1], groups[-1:]
            yield before + _groups_text(done) if done else b""
            before = b"," if done else before
            continue
        break
    yield (before + _groups_text(groups) if groups else before) + page_end(cursor).encode()


def _groups_text(found: Sequence[FoundTransaction]) -> bytes:
    return written(found, page_kernel.groups_text, plain_groups_text)


def capacity(snapshot: Snapshot, search: Search, terms: Terms) -> Slices:
    """A sum, and the block that it is of."""
    tip = Index.tip_of(snapshot)
    total = 0
    for each in find_capacity(snapshot, search, terms):
        total += each or 0
        yield b""
    yield encode(tip and capacity_json(total, *tip))


def capacity_json(capacity: int, number: int, block_hash: bytes) -> CellsCapacityJson:
    """A sum, and the block that it is of."""
    return CellsCapacityJson(uint_text(capacity), bytes_text(block_hash), uint_text(number))


Write = Callable[[Sequence[T]], bytes | None]


def written(found: Sequence[T], write: Write[T], write_plainly: Callable[[Sequence[T]], bytes]) -> bytes:
    """Objects with commas between them, by generated code; in parts where they are too many for it, in Python what it
    does not write."""
    text = write(found)
    if text is not None:
        return text
    if len(found) == 1:
        return write_plainly(found)
    half = len(found) // 2
    return b",".join(written(part, write, write_plainly) for part in (found[:half], found[half:]))


def plain_cells_text(found: Sequence[FoundCell], *, with_data: bool) -> bytes:
    """As `page_kernel.cells_text`, in Python."""
    texts = CellTexts(with_data=with_data)

    def text(cell: FoundCell) -> str:
        _, out_point, packed = cell
        number, tx_index, length, capacity = PACKED_CELL.unpack_from(packed)
        end = CELL_HEAD.size + length
        scripts = texts.serialised_scripts(packed[PACKED_SCRIPTS_AT:end])
        return texts.cell(capacity, scripts, packed[end:], out_point, number, tx_index)

    return ",".join(map(text, found)).encode()


def plain_transactions_text(found: Sequence[FoundTransaction]) -> bytes:
    """As `page_kernel.transactions_text`, in Python."""
    return ",".join(text for each in found for text in tx_texts(each.tx_hash, *each.place, each.cells)).encode()


def plain_groups_text(found: Sequence[FoundTransaction]) -> bytes:
    """As `page_kernel.groups_text`, in Python."""
    return ",".join(group_text(each.tx_hash, *each.place, each.cells) for each in found).encode()
