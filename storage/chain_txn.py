"""Writing the chain database: one transaction gathers inserts, detaches and attaches into one atomic commit.

A transaction is a `ChainReader` itself, at the tip that its own attaches and detaches have reached: a reorganisation
detaches down to the fork, then verifies and attaches block after block against the transaction, and is committed whole.
Undo is not stored: what a detached block consumed is rebuilt from the transactions that created it.

Bulk import calls `save` instead of `commit` now and then: another thread writes the batch while the transaction goes
on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from consensus.codec.block_layout import transaction_bounds
from consensus.rules.mmr import mmr_positions
from consensus.types.blockchain import Block, Header, out_point_key
from consensus.types.core import BlockExt, CellMeta, EpochExt, HeaderDigest
from storage.archive import Archive, CommitMark, Location
from storage.chain_state import ChainState
from storage.consumed_cells import ConsumedCells
from storage.created_rows import created_rows
from storage.errors import StorageClosed
from storage.header_cache import HeaderCache
from storage.header_rows import HeaderRows
from storage.kv import KeyValueStore
from storage.overlay import Overlay
from storage.recent import RecentFacts
from storage.records import BlockRecord
from storage.schema import (
    CELL,
    EPOCH,
    EPOCH_NUMBER,
    EPOCH_OF_BLOCK,
    EXT,
    FORGOTTEN_BODY,
    HEADER,
    INVALID_SLOT,
    MAIN_NUMBER,
    META_ARCHIVE,
    META_GENESIS,
    META_INVALID,
    META_SPEC,
    META_TIP,
    MMR_NODE,
    PROPOSALS,
    STORED_NUMBER,
    TRANSACTION,
    UNCLE,
    number_key,
)
from storage.serials import serial_changes

__all__ = ["INVALID_SLOTS", "ChainTxn"]

_MAX_CELLS: Final = 4096
"""Cached live cells."""
_MAX_NODES: Final = 4096
_MAX_MAIN: Final = 4096
"""Hashes that are known to be of the main chain."""
INVALID_SLOTS: Final = 1 << 14
"""Invalid blocks that are remembered. Bounds the space that hostile blocks can take."""


class ChainTxn(ChainState):
    """An open write transaction; there is one at a time. A context manager: what is not committed is discarded.

    ValueError means a caller's mistake (a block attached that does not follow the tip). The archive takes back the
    bodies of a discarded transaction.
    """

    def __init__(
        self,
        store: KeyValueStore,
        archive: Archive,
        path: Path,
        headers: HeaderCache,
        serial: int,
        on_commit: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        """For ChainStore.begin. `serial` is that of the last commit; `on_commit` is called after each write, `on_end`
        once."""
        self._overlay: Final = Overlay(store)
        super().__init__(self._overlay, archive, path, headers, serial)
        self._store: Final = store
        self.header_rows: Final = HeaderRows(store, self._overlay, self, headers.parents)
        self._fresh_headers: Final[dict[bytes, Header]] = {}
        self._deleted: list[bytes] = []
        self._recent: Final = RecentFacts()
        self._cells: Final[dict[bytes, CellMeta]] = {}
        self._nodes: Final[dict[int, bytes]] = {}
        self._main: Final[set[bytes]] = set()
        self._highest: int | None = None
        self._knows_invalid: bool | None = None
        self._last_epoch_key: bytes | None = None
        self._last_location: Location | None = None
        self._kept_end: Location | None = archive.end()
        """Bodies from here on are taken back on discard; None once a write has begun whose
        outcome is unknown."""
        self._writer: ThreadPoolExecutor | None = None
        self._saving: Future[None] | None = None
        self._saved: tuple[dict[bytes, Header], list[bytes]] = {}, []
        self._saved_end: Location | None = None
        self._saved_mark: CommitMark | None = None
        self._on_commit: Final = on_commit
        self._on_end: Callable[[], None] | None = on_end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.discard()

    def header(self, block_hash: bytes) -> Header | None:
        """Header of a stored block, or of one inserted here."""
        return self._fresh_headers.get(block_hash) or super().header(block_hash)

    def block(self, block_hash: bytes) -> Block | None:
        """A stored block; those inserted lately come from memory."""
        found = self._recent.blocks.get(block_hash)
        return self._recent.blocks.keep(block_hash, super().block(block_hash)) if found is None else found

    def block_record(self, block_hash: bytes) -> BlockRecord | None:
        """Header, place and transaction count of a stored block."""
        found = self._recent.records.get(block_hash)
        return self._recent.records.keep(block_hash, super().block_record(block_hash)) if found is None else found

    def block_ext(self, block_hash: bytes) -> BlockExt | None:
        """What the node learnt of a block."""
        found = self._recent.exts.get(block_hash)
        return self._recent.exts.keep(block_hash, super().block_ext(block_hash)) if found is None else found

    def block_epoch(self, block_hash: bytes) -> EpochExt | None:
        """The epoch that the block belongs to."""
        found = self._recent.epochs.get(block_hash)
        return self._recent.epochs.keep(block_hash, super().block_epoch(block_hash)) if found is None else found

    def proposal_ids(self, block_hash: bytes) -> frozenset[bytes] | None:
        """Short ids proposed by a stored block or its uncles."""
        found = self._recent.proposals.get(block_hash)
        return self._recent.proposals.keep(block_hash, super().proposal_ids(block_hash)) if found is None else found

    def cell(self, out_point: bytes) -> CellMeta | None:
        """The live cell; one that was asked for before comes from memory, as the cell deps of many blocks do."""
        found = self._cells.get(out_point)
        if found is None:
            found = super().cell(out_point)
            if found is not None:
                if len(self._cells) >= _MAX_CELLS:
                    self._cells.clear()
                self._cells[out_point] = found
        return found

    def is_main(self, block_hash: bytes) -> bool:
        """The block is on the main chain; those that were asked for before, as many transactions name them as header
        deps, are known."""
        if block_hash in self._main:
            return True
        found = super().is_main(block_hash)
        if found:
            if len(self._main) >= _MAX_MAIN:
                self._main.clear()
            self._main.add(block_hash)
        return found

    def mmr_node(self, position: int) -> bytes | None:
        """A node of the chain-root MMR; the peaks, which every block asks for, come from memory."""
        found = self._nodes.get(position)
        if found is None:
            found = super().mmr_node(position)
            if found is not None:
                self._nodes[position] = found
        return found

    # Facts of blocks, on whatever branch

    def insert_block(self, block: Block) -> None:
        """Store a block that passed the strict molecule check; nothing happens if it is stored already."""
        self._refuse_when_ended()
        header = block.header
        block_hash = header.hash
        put = self._overlay.put
        highest = self._highest_stored()
        if header.number > highest:
            self._highest = header.number
        elif self._overlay.get(HEADER + block_hash) is not None:
            return
        location = self._archive.append(block.raw)
        self._last_location = location
        record = BlockRecord(header.raw, location, len(block.tx_slices))
        put(HEADER + block_hash, record.pack())
        self._recent.records.put(block_hash, record)
        put(number_key(STORED_NUMBER, header.number) + block_hash, b"")
        self.header_rows.replace(header)
        if proposals := block.union_proposal_ids():
            put(PROPOSALS + block_hash, b"".join(sorted(proposals)))
        self._fresh_headers[block_hash] = header.apart()  # it stays in the cache, where the block must not
        self._recent.blocks.put(block_hash, block)
        self._recent.proposals.put(block_hash, frozenset(proposals))

    def may_be_known(self, number: int) -> bool:
        """Whether blocks of this height need be looked for at all, stored or known as invalid."""
        if self._knows_invalid is None:
            self._knows_invalid = self._overlay.get(META_INVALID) is not None
        return self._knows_invalid or number <= self._highest_stored()

    def _highest_stored(self) -> int:
        """No stored block is higher, so a higher one need not be looked for; -1 when there is none."""
        if self._highest is None:
            rows = self._store.iterator(prefix=STORED_NUMBER, reverse=True)
            last = next(rows, None)
            self._highest = -1 if last is None else int.from_bytes(last[0][1:9], "big")
        return self._highest

    def insert_ext(self, block_hash: bytes, ext: BlockExt) -> None:
        """Set what the node learnt of a block."""
        self._refuse_when_ended()
        self._overlay.put(EXT + block_hash, ext.raw)
        self._recent.exts.put(block_hash, ext)

    def insert_epoch(self, block_hash: bytes, epoch: EpochExt) -> None:
        """Set the epoch that a block belongs to."""
        self._refuse_when_ended()
        key = epoch.last_block_hash_in_previous_epoch
        self._overlay.put(EPOCH_OF_BLOCK + block_hash, key)
        if key != self._last_epoch_key and self._overlay.get(EPOCH + key) is None:
            self._overlay.put(EPOCH + key, epoch.raw)
        self._last_epoch_key = key
        self._recent.epochs.put(block_hash, epoch)

    def delete_block(self, header: Header) -> None:
        """Delete a block that is not on the main chain, and the header rows that stand on it. Its body is given up at
        the next open: older views may read it until then."""
        self._refuse_when_ended()
        block_hash = header.hash
        if self.is_main(block_hash):
            raise ValueError(f"block {header.number} is on the main chain")
        record = self.block_record(block_hash)
        if record is not None:
            self._overlay.put(FORGOTTEN_BODY + record.location.pack(), b"")
        for kind in (HEADER, EXT, EPOCH_OF_BLOCK, PROPOSALS):
            self._overlay.delete(kind + block_hash)
        self._overlay.delete(number_key(STORED_NUMBER, header.number) + block_hash)
        self.header_rows.delete(header)
        self._fresh_headers.pop(block_hash, None)
        self._recent.forget(block_hash)
        self._deleted.append(block_hash)

    def note_invalid(self, block_hash: bytes, ext: BlockExt) -> None:
        """Remember an invalid block, which is not stored; only the last INVALID_SLOTS are remembered."""
        self.insert_ext(block_hash, ext)
        self._knows_invalid = True
        count = int.from_bytes(self._overlay.get(META_INVALID) or b"", "little") + 1
        slot = INVALID_SLOT + (count % INVALID_SLOTS).to_bytes(2, "big")
        oldest = self._overlay.get(slot)
        if oldest is not None and oldest != block_hash and self.header(oldest) is None:
            self._overlay.delete(EXT + oldest)
            self._recent.forget(oldest)
        self._overlay.put(slot, block_hash)
        self._overlay.put(META_INVALID, count.to_bytes(8, "little"))

    def put_spec_hash(self, spec_hash: bytes) -> None:
        """Note the chain spec that this database belongs to."""
        self._refuse_when_ended()
        self._overlay.put(META_SPEC, spec_hash)

    # The main chain

    def attach_block(self, block: Block, mmr_nodes: Sequence[bytes]) -> None:
        """Make a verified block the new tip. It was inserted, with its epoch, and its parent is the tip.

        `mmr_nodes` are the HeaderDigests (120 bytes each) at `mmr_positions(block.number)`.
        """
        self._refuse_when_ended()
        header = block.header
        self._check_follows_tip(header)
        record = self.block_record(header.hash)
        epoch = self.block_epoch(header.hash)
        if record is None or epoch is None:
            raise ValueError(f"block {header.number} was not inserted with its epoch before it is attached")
        self._add_mmr_nodes(header.number, mmr_nodes)
        self._move_cells(block, record)
        put = self._overlay.put
        put(number_key(MAIN_NUMBER, header.number), header.hash)
        if block.has_uncles:
            for uncle in block.uncles:
                put(UNCLE + uncle.hash, uncle.header.raw)
        if epoch.is_head(header.number):
            put(number_key(EPOCH_NUMBER, epoch.number), epoch.last_block_hash_in_previous_epoch)
        if header.number == 0:
            put(META_GENESIS, header.hash)
        put(META_TIP, header.hash)
        self._tip, self._tip_epoch = header, epoch

    def detach_block(self, block: Block) -> None:
        """Take the tip off the main chain; its parent is the tip then. The genesis block stays."""
        self._refuse_when_ended()
        header = block.header
        if header.number == 0 or self.tip_header() != header:
            raise ValueError(f"block {header.number} is not a tip that can be detached")
        epoch = self.tip_epoch()
        self._main.discard(header.hash)
        delete = self._overlay.delete
        self._move_cells_back(block)
        for position in mmr_positions(header.number):
            delete(number_key(MMR_NODE, position))
            self._nodes.pop(position, None)
        delete(number_key(MAIN_NUMBER, header.number))
        for uncle in block.uncles:
            delete(UNCLE + uncle.hash)
        if epoch.is_head(header.number):
            delete(number_key(EPOCH_NUMBER, epoch.number))
        self._overlay.put(META_TIP, header.parent_hash)
        self._tip, self._tip_epoch = None, None

    # The end

    def save(self) -> None:
        """Let all that was done so far become durable as one atomic batch, in another thread, and go on.

        What is saved is saved: only what comes after can still be discarded. Raises the error of the save before, for
        which it waits, or RuntimeError when no thread can be started; the transaction has ended then.
        """
        self.wait_saved()
        if not len(self._overlay):
            return
        self._add_commit_facts()
        self._saved, self._deleted = (self._fresh_headers.copy(), self._deleted), []
        self._saved_end, self._kept_end = self._archive.end(), None
        self._saved_mark = self._commit_mark(is_at_rest=False)
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, "chain-save")
        try:
            write = self._store.prepare_batch(self._overlay.hand_over().items(), sync=True)
            self._saving = self._writer.submit(self._write_synced, write)
        except BaseException:  # an unwritten batch must not be built upon
            self._end()
            raise

    def wait_saved(self) -> None:
        """Return when what was given to `save` is durable. Raises its error; the transaction has ended then."""
        self._refuse_when_ended()
        try:
            self._end_save()
        except BaseException:
            self._end()
            raise

    def commit(self, *, sync: bool = True) -> None:
        """Make everything durable as one atomic batch, bodies first; the transaction ends, also on an error.

        With `sync` it survives a power cut. Without, it survives the death of this process; after a power cut the
        database may then refuse to open (ArchiveBehindDatabase, StorageCorrupt).
        """
        self._refuse_when_ended()
        try:
            self._end_save()
            if len(self._overlay):
                self._write(sync=sync)
        finally:
            self._end()

    def discard(self) -> None:
        """End without a commit. Harmless after the end."""
        self._end()

    def _end(self) -> None:
        """Release the writer, and take back the bodies that were not committed."""
        if self._on_end is not None:
            if self._writer is not None:
                self._writer.shutdown()
            if self._saving is not None and self._saving.exception() is None:
                self._tell_readers(*self._saved)  # the save succeeded, but `wait_saved` was not called
                self._kept_end = self._saved_end
            if self._kept_end is not None and self._kept_end != self._archive.end():
                self._archive.take_back(self._kept_end)
                self._note(self._saved_mark)
            self._on_end()
            self._on_end = None
            self._overlay.discard()
            # Cells know the transaction that they are read by, so it lives until the garbage collector comes by.
            self._recent.clear()
            self._cells.clear()
            self._nodes.clear()
            self._main.clear()
            self._fresh_headers.clear()
            self._saved = {}, []

    def _write(self, *, sync: bool) -> None:
        self._add_commit_facts()
        mark = self._commit_mark(is_at_rest=True)
        (self._archive.sync if sync else self._archive.flush)()  # also makes earlier unsynced commits durable
        self._kept_end = None
        self._overlay.commit(self._store, sync=sync)
        if sync:
            self._note(mark)
        self._tell_readers(self._fresh_headers, self._deleted)

    def _write_synced(self, write: Callable[[], None]) -> None:
        """The other thread's part of `save`."""
        self._archive.sync()
        write()

    def _end_save(self) -> None:
        """Wait for the other thread; raise its error."""
        if self._saving is not None:
            self._saving.result()
            self._kept_end = self._saved_end
            self._note(self._saved_mark)
            self._overlay.forget_handed_over()
            headers, deleted = self._saved
            self._tell_readers(headers, deleted)
            for block_hash, header in headers.items():
                if self._fresh_headers.get(block_hash) is header:
                    del self._fresh_headers[block_hash]
            self._saving = None

    def _add_commit_facts(self) -> None:
        self.header_rows.note_cut()
        self._serial += 1
        if self._last_location is not None:
            self._overlay.put(META_ARCHIVE, self._last_location.pack())
        for key, value in serial_changes(self._serial):
            self._overlay.put(key, value)

    def _commit_mark(self, *, is_at_rest: bool) -> CommitMark | None:
        """The mark of the commit that is under way; None without a tip."""
        if self.is_empty():
            return None
        tip = self.tip_header()
        return CommitMark(self._serial, tip.number, tip.hash, is_at_rest)

    def _note(self, mark: CommitMark | None) -> None:
        """Record the commit mark in the archive."""
        if mark is not None:
            self._archive.note_commit(mark)

    def _tell_readers(self, headers: dict[bytes, Header], deleted: Sequence[bytes]) -> None:
        """Update what readers of the last commit share."""
        for block_hash in deleted:
            self._headers.forget(block_hash, self._serial)
        self._headers.put_all(headers, self._serial)
        self._on_commit()

    def _refuse_when_ended(self) -> None:
        if self._on_end is None:
            raise StorageClosed(self._path, "the transaction has ended")

    def _check_follows_tip(self, header: Header) -> None:
        if header.number == 0:
            if not self.is_empty():
                raise ValueError("a second genesis block cannot be attached")
            return
        tip = self.tip_header()
        if header.parent_hash != tip.hash or header.number != tip.number + 1:
            raise ValueError(f"block {header.number} does not follow the tip {tip.number}")

    def _add_mmr_nodes(self, number: int, nodes: Sequence[bytes]) -> None:
        positions = mmr_positions(number)
        if len(nodes) != len(positions) or {*map(len, nodes)} != {HeaderDigest.SIZE}:
            raise ValueError(f"block {number} adds {len(positions)} MMR nodes of {HeaderDigest.SIZE} bytes")
        if len(self._nodes) >= _MAX_NODES:
            self._nodes.clear()
        put, known = self._overlay.put, self._nodes
        for position, node in zip(positions, nodes, strict=True):
            put(number_key(MMR_NODE, position), node)
            known[position] = node

    def _move_cells(self, block: Block, record: BlockRecord) -> None:
        """Add all outputs, then delete all inputs but the cellbase's: cells spent within the block vanish."""
        consumed = [out_point for transaction in block.tx_slices[1:] for out_point in transaction.consumed]
        self._overlay.put_all(created_rows(block, record.location))
        self._overlay.delete_all([CELL + out_point for out_point in consumed])
        for out_point in consumed:
            self._cells.pop(out_point, None)

    def _move_cells_back(self, block: Block) -> None:
        """Rebuild the cells that the block consumed (its own need not be), then delete all its outputs."""
        layouts = transaction_bounds(block.raw)
        own = {transaction.hash for transaction in block.transactions}
        sources = ConsumedCells(self)
        self._cells.clear()
        for layout in layouts[1:]:
            for out_point in layout.consumed:
                if out_point[:32] not in own:
                    self._overlay.put(CELL + out_point, sources.cell(out_point))
        for transaction, layout in zip(block.transactions, layouts, strict=True):
            self._overlay.delete(TRANSACTION + transaction.hash)
            for index in range(len(layout.outputs)):
                self._overlay.delete(CELL + out_point_key(transaction.hash, index))
