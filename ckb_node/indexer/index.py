"""The index of the main chain: append blocks, or roll the last one back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from itertools import islice, pairwise

from ckb_node.indexer.changes import Changes, Kept, OutputIndex, Place, Rows, output_indices
from ckb_node.indexer.custom_filters import CustomFilters
from ckb_node.indexer.keys import (
    BLOCK,
    CELL,
    CLEARING,
    FORMAT,
    FORMAT_NOW,
    INIT,
    REPEATS,
    TX_PLACE,
    UNDO,
    UndoneTx,
    number_key,
    pack_undo,
    unpack_undo,
)
from ckb_node.indexer.parts import Cell, PartsReader
from consensus.types.blockchain import Block
from storage.kv import KeyValueStore, Pair, Reader

KEPT_UNDO = 10_000
"""Blocks that can be rolled back; after a deeper reorganisation the index is rebuilt."""

KEPT_BIG_UNDO = 1000
BIG_UNDO = 16 << 10
"""Larger undo records are kept for KEPT_BIG_UNDO blocks only: those of full blocks would take gigabytes. No record at
all is made of a block that is deeper below the chain's tip already: a build would write an eighth more."""

CLEARED_AT_ONCE = 10_000
"""Rows that one batch deletes."""


class IndexTooOldError(Exception):
    """The undo record of a block that must be rolled back was already deleted."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the index cannot be rolled back below block {number + 1}")
        self.number = number


class Index:
    """The tables of keys.py over one key-value store. One writer; readers take snapshots.

    With `beside`, a run of blocks is written there, while the next one is read; `flush` waits for it.
    """

    def __init__(
        self, store: KeyValueStore, filters: CustomFilters | None = None, beside: Executor | None = None
    ) -> None:
        self.store = store
        self._beside = beside
        self._writing: Future[None] | None = None
        self._unwritten: Rows = {}
        self._filters = filters or CustomFilters()
        self._format = FORMAT_NOW + self._filters.digest
        self._kept, self._parts = Kept.nothing(), PartsReader()
        self._tip = self.tip_of(store)
        repeats = store.get(REPEATS)
        self._repeats_from = None if repeats is None else int.from_bytes(repeats, "big")

    def tip(self) -> tuple[int, bytes] | None:
        """Height and hash of the last indexed block, which may still be being written.

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
        """Whether the index can be used: its format and filters are those of this program, no `clear` was interrupted,
        and the last `blocks` indexed blocks have heights without a gap, which a power cut may leave: not every write is
        synced. Only `begin_behind` makes a gap."""
        if self.store.get(CLEARING) is not None or (self._tip is not None and self.store.get(FORMAT) != self._format):
            return False
        first = self.first()
        numbers = [int.from_bytes(key[1:], "big") for key, _ in islice(self._blocks_down(), blocks)]
        has_gap = any(high != low + 1 and high != first for high, low in pairwise(numbers))
        reaches_first = not numbers or numbers[-1] in (0, first)
        return not has_gap and (len(numbers) == blocks or reaches_first)

    def first(self) -> int:
        """Height of the block that indexing began behind; 0 when it began with the genesis block."""
        return int.from_bytes(self.store.get(INIT) or b"", "big")

    def _blocks_down(self) -> Iterator[Pair]:
        return self.store.iterator(prefix=BLOCK, reverse=True)

    def begin_behind(self, number: int, block_hash: bytes) -> None:
        """Take this block, above the tip, as the tip, without having indexed what comes up to it."""
        changes = [(number_key(BLOCK, number), block_hash), (INIT, number.to_bytes(8, "big")), (FORMAT, self._format)]
        self.store.write_batch(changes, sync=True)
        self._tip = number, block_hash

    def append(self, block: Block) -> None:
        """Index the block after the tip."""
        self.append_run([block], block.number)

    def append_run(self, blocks: Sequence[Block], tip: int, *, sync: bool = False) -> None:
        """Index the blocks after the tip, one or more, all or none; the chain's tip is at height `tip`. With `sync`
        they and all before them are on the disk afterwards."""
        changes = self._changes()
        rows = changes.rows
        for block in blocks:
            number = block.number
            undo = self._append_block(changes, block)
            rows[number_key(BLOCK, number)] = block.hash
            _keep_undo(changes, number, undo, tip)
            if number == 0:
                rows[FORMAT] = self._format
        self._write(changes, sync=sync)
        self._tip = blocks[-1].number, blocks[-1].hash

    def _changes(self) -> Changes:
        return Changes(self.store, self._unwritten, self._kept)

    def _write(self, changes: Changes, *, sync: bool) -> None:
        """All of them as one batch, after those before."""
        rows = changes.close()
        write = self.store.prepare_batch(rows.items(), sync=sync)
        self.flush()
        if self._beside is None:
            write()
            return
        self._unwritten = rows
        self._writing = self._beside.submit(write)

    def flush(self) -> None:
        """Wait until everything is written. Raises StorageError."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
        self._unwritten = {}

    def rest(self) -> None:
        """At the tip: wait as `flush`, and give up the cells that only a build needs. Raises StorageError."""
        self.flush()
        self._kept.cells.clear()

    def _append_block(self, changes: Changes, block: Block) -> list[UndoneTx]:
        if not self._filters.takes_block(block):
            return []
        undo = []
        for index, (tx_hash, points, cells) in enumerate(self._parts.transactions(block)):
            place = Place(block.number, index, tx_hash)
            consumed = changes.consume(points, may_repeat=self._repeats_from is not None) if index else []
            if index and self._repeats_from is None and len(consumed) != len(points):
                self._expect_repeats(changes, block.number)
            undone = UndoneTx(tx_hash, len(cells), consumed, [])
            self._create(changes, place, cells, undone)
            changes.end_transaction(place)
            undo.append(undone)
        return undo

    def _create(self, changes: Changes, place: Place, cells: Sequence[Cell], undone: UndoneTx) -> None:
        """A transaction makes cells; an unverified block may repeat one, whose cells are overwritten."""
        made: Iterable[tuple[OutputIndex, Cell]] = zip(output_indices(len(cells)), cells, strict=False)
        if self._filters.has_cell_filter:
            takes = self._filters.takes_cell
            made = ((index, cell) for index, cell in made if takes(*cell))
        if place.tx_index == 0 or self._repeats_from is not None:
            made = tuple(made)
            for index, _ in made:
                self._displace(changes, place, place.tx_hash + index[0], undone)
        changes.create(place, made)

    def _displace(self, changes: Changes, place: Place, out_point: bytes, undone: UndoneTx) -> None:
        """A cell is made that may be there already."""
        before = changes.get(CELL + out_point)
        if before is not None:
            undone.displaced.append((out_point, before))
            changes.displace(out_point, before)
            self._expect_repeats(changes, place.number)

    def _expect_repeats(self, changes: Changes, number: int) -> None:
        """From now on look whether a transaction has been here before, which costs a read for each output.

        Only blocks that nobody verified repeat one. In a verified chain each input is a cell that is there, so the
        first repeated transaction, whose inputs are spent, is preceded by an unknown input or a repeated cellbase.
        """
        if self._repeats_from is None:
            self._repeats_from = number
            changes.rows[REPEATS] = number.to_bytes(8, "big")

    def rollback(self) -> None:
        """Roll the last indexed block back, if there is one. Raises IndexTooOldError."""
        if self._tip is None:
            return
        self.flush()
        number = self._tip[0]
        packed = self.store.get(number_key(UNDO, number))
        if packed is None:
            raise IndexTooOldError(number)
        changes = self._changes()
        transactions = unpack_undo(packed)
        for tx_index in range(len(transactions) - 1, -1, -1):
            _undo_tx(changes, number, tx_index, transactions[tx_index])
        rows = changes.rows
        rows[number_key(BLOCK, number)] = rows[number_key(UNDO, number)] = None
        if number == 0:
            rows[FORMAT] = None
        if self._repeats_from == number:
            self._repeats_from = rows[REPEATS] = None
        self._write(changes, sync=False)
        self.flush()
        parent = self.store.get(number_key(BLOCK, number - 1)) if number else None
        self._tip = None if parent is None else (number - 1, parent)

    def clear(self) -> None:
        """Delete everything. If it is interrupted, the index is not sound."""
        self.flush()
        self._tip = self._repeats_from = None
        self._kept = Kept.nothing()
        self.store.write_batch([(CLEARING, b"")], sync=True)
        rows = (key for key, _ in self.store.iterator() if key != CLEARING)
        while keys := list(islice(rows, CLEARED_AT_ONCE)):
            self.store.write_batch(((key, None) for key in keys), sync=False)
        self.store.write_batch([(CLEARING, None)], sync=True)


def _undo_tx(changes: Changes, number: int, tx_index: int, undo: UndoneTx) -> None:
    """Those after it are undone already, so the cells that it made are live."""
    place = TX_PLACE.pack(number, tx_index)
    for index, _ in zip(output_indices(undo.outputs), range(undo.outputs), strict=False):
        out_point = undo.hash + index[0]
        packed = changes.get(CELL + out_point)
        if packed is not None:  # the filters took it
            changes.undo_create(out_point, packed)
    for out_point, packed in undo.displaced:
        changes.undo_displace(out_point, packed)
    for _, out_point, packed in undo.consumed:
        changes.undo_consume(out_point, packed, place)


def _keep_undo(changes: Changes, number: int, undo: list[UndoneTx], tip: int) -> None:
    """Keep the block's undo record unless the chain's tip is KEPT_BIG_UNDO above it already, and delete those that this
    block makes too old: of the block KEPT_UNDO below it, and of the block KEPT_BIG_UNDO below it when that one is
    large."""
    if number > tip - KEPT_BIG_UNDO:
        changes.rows[number_key(UNDO, number)] = pack_undo(undo)
    if number >= KEPT_UNDO:
        changes.rows[number_key(UNDO, number - KEPT_UNDO)] = None
    if number >= KEPT_BIG_UNDO:
        key = number_key(UNDO, number - KEPT_BIG_UNDO)
        if len(changes.get(key) or b"") > BIG_UNDO:
            changes.rows[key] = None
