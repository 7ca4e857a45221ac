"""The index of the main chain: append a block, or roll the last one back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise

from ckb_node.indexer.keys import (
    BLOCK,
    CELL,
    CELL_BY_LOCK,
    CELL_BY_TYPE,
    CELL_TAIL,
    CLEARING,
    FORMAT,
    FORMAT_NOW,
    IO_INPUT,
    IO_OUTPUT,
    TX_BY_LOCK,
    TX_BY_TYPE,
    TX_TAIL,
    UNDO,
    IndexedCell,
    UndoneTx,
    number_key,
    pack_undo,
    script_bytes,
    unpack_undo,
)
from consensus.types.blockchain import Block, CellOutput, Transaction, out_point_key
from storage.kv import KeyValueStore, Pair, Reader
from storage.overlay import Overlay

KEPT_UNDO = 10_000
"""Blocks that can be rolled back; after a deeper reorganisation the index is rebuilt."""

KEPT_BIG_UNDO = 1000
BIG_UNDO = 16 << 10
"""Larger undo records are kept for KEPT_BIG_UNDO blocks only: those of full blocks would take gigabytes."""

CLEARED_AT_ONCE = 10_000
"""Rows that one batch deletes."""


class IndexTooOldError(Exception):
    """The undo record of a block that must be rolled back was already deleted."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the index cannot be rolled back below block {number + 1}")
        self.number = number


class Index:
    """The tables of keys.py over one key-value store. One writer; readers take snapshots."""

    def __init__(self, store: KeyValueStore) -> None:
        self.store = store
        self._tip = self.tip_of(store)

    def tip(self) -> tuple[int, bytes] | None:
        """Height and hash of the last indexed block.

        Cached: after a deep rollback a scan for it has to skip all deleted keys above it.
        """
        return self._tip

    @staticmethod
    def tip_of(reader: Reader) -> tuple[int, bytes] | None:
        """Height and hash of the last indexed block of a snapshot."""
        for key, block_hash in reader.iterator(prefix=BLOCK, reverse=True):
            return int.from_bytes(key[1:], "big"), block_hash
        return None

    def is_sound(self, blocks: int) -> bool:
        """Whether the index can be used: its format is that of this program, no `clear` was interrupted, and the last
        `blocks` indexed blocks have heights without a gap, which a power cut may leave: not every write is synced."""
        if self.store.get(CLEARING) is not None or (self._tip is not None and self.store.get(FORMAT) != FORMAT_NOW):
            return False
        numbers = [int.from_bytes(key[1:], "big") for key, _ in islice(self._blocks_down(), blocks)]
        has_gap = any(high != low + 1 for high, low in pairwise(numbers))
        reaches_genesis = not numbers or numbers[-1] == 0
        return not has_gap and (len(numbers) == blocks or reaches_genesis)

    def _blocks_down(self) -> Iterator[Pair]:
        return self.store.iterator(prefix=BLOCK, reverse=True)

    def append(self, block: Block, *, sync: bool = False) -> None:
        """Index the block after the tip. With `sync` it and all before it are on the disk afterwards."""
        overlay = Overlay(self.store)
        undo = [_append_tx(overlay, block.number, index, tx) for index, tx in enumerate(block.transactions)]
        overlay.put(number_key(BLOCK, block.number), block.hash)
        overlay.put(number_key(UNDO, block.number), pack_undo(undo))
        if block.number == 0:
            overlay.put(FORMAT, FORMAT_NOW)
        self._forget_undo(overlay, block.number)
        overlay.commit(self.store, sync=sync)
        self._tip = block.number, block.hash

    def _forget_undo(self, overlay: Overlay, number: int) -> None:
        """Delete the undo records that a tip at this height makes too old: of the block KEPT_UNDO below it, and of the
        block KEPT_BIG_UNDO below it when that record is large."""
        if number >= KEPT_UNDO:
            overlay.delete(number_key(UNDO, number - KEPT_UNDO))
        if number >= KEPT_BIG_UNDO:
            key = number_key(UNDO, number - KEPT_BIG_UNDO)
            if len(self.store.get(key) or b"") > BIG_UNDO:
                overlay.delete(key)

    def rollback(self) -> None:
        """Roll the last indexed block back, if there is one. Raises IndexTooOldError."""
        if self._tip is None:
            return
        number = self._tip[0]
        packed = self.store.get(number_key(UNDO, number))
        if packed is None:
            raise IndexTooOldError(number)
        overlay = Overlay(self.store)
        transactions = unpack_undo(packed)
        for tx_index in range(len(transactions) - 1, -1, -1):
            _undo_tx(overlay, number, tx_index, transactions[tx_index])
        overlay.delete(number_key(BLOCK, number))
        overlay.delete(number_key(UNDO, number))
        if number == 0:
            overlay.delete(FORMAT)
        overlay.commit(self.store, sync=False)
        parent = self.store.get(number_key(BLOCK, number - 1)) if number else None
        self._tip = None if parent is None else (number - 1, parent)

    def clear(self) -> None:
        """Delete everything. If it is interrupted, the index is not sound."""
        self._tip = None
        self.store.write_batch([(CLEARING, b"")], sync=True)
        rows = (key for key, _ in self.store.iterator() if key != CLEARING)
        while keys := list(islice(rows, CLEARED_AT_ONCE)):
            self.store.write_batch(((key, None) for key in keys), sync=False)
        self.store.write_batch([(CLEARING, None)], sync=True)


def _append_tx(overlay: Overlay, number: int, tx_index: int, tx: Transaction) -> UndoneTx:
    """Index a transaction: remove the cells that it spends, then add those that it makes, which it cannot spend itself.

    Returns what `_undo_tx` needs.
    """
    undo = UndoneTx(tx.hash, [], [], [])
    for io_index, cell_input in enumerate(tx.body.inputs):
        out_point = cell_input.previous_output.raw
        packed = overlay.get(CELL + out_point)
        if packed is not None:  # a cellbase has no previous output, and an unverified block may spend unknown cells
            undo.consumed.append((io_index, out_point, packed))
            cell = IndexedCell.unpack(packed)
            _remove_cell(overlay, out_point, cell)
            _put_tx(overlay, cell.output, TX_TAIL.pack(number, tx_index, io_index, IO_INPUT), tx.hash)
    for io_index, (output, data) in enumerate(zip(tx.body.outputs, tx.body.outputs_data, strict=True)):
        out_point = out_point_key(tx.hash, io_index)
        packed = overlay.get(CELL + out_point)
        if packed is not None:
            undo.displaced.append((out_point, packed))
            _remove_cell(overlay, out_point, IndexedCell.unpack(packed))
        undo.outputs.append(output.raw)
        _put_cell(overlay, out_point, IndexedCell(number, tx_index, output, data))
        _put_tx(overlay, output, TX_TAIL.pack(number, tx_index, io_index, IO_OUTPUT), tx.hash)
    return undo


def _undo_tx(overlay: Overlay, number: int, tx_index: int, undo: UndoneTx) -> None:
    for io_index, raw in enumerate(undo.outputs):
        output = CellOutput.trusted(raw)
        _remove_cell(overlay, out_point_key(undo.hash, io_index), IndexedCell(number, tx_index, output, b""))
        _remove_tx(overlay, output, TX_TAIL.pack(number, tx_index, io_index, IO_OUTPUT))
    for out_point, packed in undo.displaced:
        _put_cell(overlay, out_point, IndexedCell.unpack(packed))
    for io_index, out_point, packed in undo.consumed:
        cell = IndexedCell.unpack(packed)
        _put_cell(overlay, out_point, cell)
        _remove_tx(overlay, cell.output, TX_TAIL.pack(number, tx_index, io_index, IO_INPUT))


def _cell_keys(out_point: bytes, cell: IndexedCell) -> list[bytes]:
    tail = CELL_TAIL.pack(cell.number, cell.tx_index, int.from_bytes(out_point[32:], "little"))
    keys = [CELL_BY_LOCK + script_bytes(cell.output.lock) + tail]
    if cell.output.type_ is not None:
        keys.append(CELL_BY_TYPE + script_bytes(cell.output.type_) + tail)
    return keys


def _put_cell(overlay: Overlay, out_point: bytes, cell: IndexedCell) -> None:
    overlay.put(CELL + out_point, cell.pack())
    for key in _cell_keys(out_point, cell):
        overlay.put(key, out_point[:32])


def _remove_cell(overlay: Overlay, out_point: bytes, cell: IndexedCell) -> None:
    overlay.delete(CELL + out_point)
    for key in _cell_keys(out_point, cell):
        overlay.delete(key)


def _tx_keys(output: CellOutput, tail: bytes) -> list[bytes]:
    keys = [TX_BY_LOCK + script_bytes(output.lock) + tail]
    if output.type_ is not None:
        keys.append(TX_BY_TYPE + script_bytes(output.type_) + tail)
    return keys


def _put_tx(overlay: Overlay, output: CellOutput, tail: bytes, tx_hash: bytes) -> None:
    for key in _tx_keys(output, tail):
        overlay.put(key, tx_hash)


def _remove_tx(overlay: Overlay, output: CellOutput, tail: bytes) -> None:
    for key in _tx_keys(output, tail):
        overlay.delete(key)
