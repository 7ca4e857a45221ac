"""Keeps the index in step with the main chain: append a block, or roll the last one back."""

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
    IO_INPUT,
    IO_OUTPUT,
    TX_BY_LOCK,
    TX_BY_TYPE,
    TX_TAIL,
    UNDO,
    IndexedCell,
    number_key,
    pack_undo,
    script_bytes,
    unpack_undo,
)
from consensus.types.blockchain import Block, CellOutput, out_point_key
from storage.kv import KeyValueStore, Pair, Reader
from storage.overlay import Overlay

KEPT_UNDO = 1000
"""Blocks that can be rolled back; a deeper reorganisation builds the index anew."""

CLEARED_AT_ONCE = 10_000
"""Rows that one batch deletes."""


class IndexTooOldError(Exception):
    """The undo record of a block that must go is not there any more."""

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

        Remembered: after a deep rollback the database has to step over all that was deleted above it.
        """
        return self._tip

    @staticmethod
    def tip_of(reader: Reader) -> tuple[int, bytes] | None:
        """The same of a snapshot."""
        for key, block_hash in reader.iterator(prefix=BLOCK, reverse=True):
            return int.from_bytes(key[1:], "big"), block_hash
        return None

    def is_sound(self, blocks: int) -> bool:
        """No clearing was cut short, and none of the last `blocks` blocks is missing: a power cut may leave a hole."""
        if self.store.get(CLEARING) is not None:
            return False
        numbers = [int.from_bytes(key[1:], "big") for key, _ in islice(self._blocks_down(), blocks)]
        return all(high == low + 1 for high, low in pairwise(numbers)) and (
            len(numbers) in (0, blocks) or not numbers[-1]
        )

    def _blocks_down(self) -> Iterator[Pair]:
        return self.store.iterator(prefix=BLOCK, reverse=True)

    def append(self, block: Block, *, sync: bool = False) -> None:
        """Index the block after the tip. With `sync` it and all before it are on the disk afterwards."""
        overlay = Overlay(self.store)
        consumed: list[tuple[bytes, bytes]] = []
        for tx_index, tx in enumerate(block.transactions):
            tx_hash = tx.hash
            if tx_index > 0:
                for io_index, cell_input in enumerate(tx.body.inputs):
                    out_point = cell_input.previous_output.raw
                    packed = overlay.get(CELL + out_point)
                    if packed is None:
                        continue
                    consumed.append((out_point, packed))
                    _remove_cell(overlay, out_point, IndexedCell.unpack(packed))
                    tail = TX_TAIL.pack(block.number, tx_index, io_index, IO_INPUT)
                    _put_tx(overlay, IndexedCell.unpack(packed).output, tail, tx_hash)
            for io_index, (output, data) in enumerate(zip(tx.body.outputs, tx.body.outputs_data, strict=True)):
                _put_cell(overlay, out_point_key(tx_hash, io_index), IndexedCell(block.number, tx_index, output, data))
                _put_tx(overlay, output, TX_TAIL.pack(block.number, tx_index, io_index, IO_OUTPUT), tx_hash)
        overlay.put(number_key(BLOCK, block.number), block.hash)
        overlay.put(number_key(UNDO, block.number), pack_undo(consumed))
        if block.number >= KEPT_UNDO:
            overlay.delete(number_key(UNDO, block.number - KEPT_UNDO))
        overlay.commit(self.store, sync=sync)
        self._tip = block.number, block.hash

    def rollback(self, block: Block) -> None:
        """Take the last indexed block, which is `block`, back. Raises IndexTooOldError."""
        undo = self.store.get(number_key(UNDO, block.number))
        if undo is None:
            raise IndexTooOldError(block.number)
        consumed = dict(unpack_undo(undo))
        overlay = Overlay(self.store)
        for tx_index in range(len(block.transactions) - 1, -1, -1):
            tx = block.transactions[tx_index]
            for io_index, (output, data) in enumerate(zip(tx.body.outputs, tx.body.outputs_data, strict=True)):
                cell = IndexedCell(block.number, tx_index, output, data)
                _remove_cell(overlay, out_point_key(tx.hash, io_index), cell)
                _remove_tx(overlay, output, TX_TAIL.pack(block.number, tx_index, io_index, IO_OUTPUT))
            if tx_index == 0:
                continue
            for io_index, cell_input in enumerate(tx.body.inputs):
                out_point = cell_input.previous_output.raw
                if out_point in consumed:
                    cell = IndexedCell.unpack(consumed[out_point])
                    _put_cell(overlay, out_point, cell)
                    _remove_tx(overlay, cell.output, TX_TAIL.pack(block.number, tx_index, io_index, IO_INPUT))
        overlay.delete(number_key(BLOCK, block.number))
        overlay.delete(number_key(UNDO, block.number))
        overlay.commit(self.store, sync=False)
        self._tip = (block.number - 1, block.parent_hash) if block.number else None

    def clear(self) -> None:
        """Forget everything. Cut short, it leaves an index that is not sound."""
        self._tip = None
        self.store.write_batch([(CLEARING, b"")], sync=True)
        rows = (key for key, _ in self.store.iterator() if key != CLEARING)
        while keys := list(islice(rows, CLEARED_AT_ONCE)):
            self.store.write_batch(((key, None) for key in keys), sync=False)
        self.store.write_batch([(CLEARING, None)], sync=True)


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
