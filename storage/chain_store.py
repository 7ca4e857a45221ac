"""The chain's database: opening, versions, views for readers and transactions for the one writer.

A directory holds `db` (LevelDB, all that changes; see storage.schema) and `blocks` (the bodies; see storage.archive).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from consensus.types.blockchain import Block
from consensus.types.core import TransactionInfo
from storage.archive import DEFAULT_SEGMENT_SIZE, Archive, BlockArchive, CommitMark, Location, MemoryArchive
from storage.archive_scan import check_tail
from storage.chain_state import UNREAD, ChainState
from storage.chain_txn import ChainTxn
from storage.errors import (
    ArchiveUnknown,
    ChainMismatch,
    DatabaseBehindArchive,
    LogDamaged,
    SpecMismatch,
    StorageCorrupt,
    WriterBusy,
)
from storage.header_cache import HeaderCache
from storage.kv import KeyValueStore, Snapshot
from storage.leveldb import LevelDbOptions, LevelDbStore
from storage.log_rescue import open_before_damage
from storage.memory import MemoryStore
from storage.migrations import bring_to_version
from storage.records import BlockRecord
from storage.schema import FORGOTTEN_BODY, HEADER, META_ARCHIVE, META_HEADER_CUT
from storage.segments import free_body
from storage.serials import check_serials, current_serial

__all__ = ["ChainStore", "ChainStoreOptions", "ChainView"]


DB: Final = "db"
BLOCKS: Final = "blocks"
"""Names in the chain's directory."""


MAX_KEPT: Final = 4096
"""Answers of each kind that a shared view keeps."""


@dataclass(frozen=True, slots=True)
class ChainStoreOptions:
    """How the files are kept. `segment_size` in bytes."""

    leveldb: LevelDbOptions = field(default_factory=LevelDbOptions)
    segment_size: int = DEFAULT_SEGMENT_SIZE


class ChainView(ChainState):
    """The chain at one moment, whatever the writer does meanwhile. Any thread; close it, or use it in `with`."""

    def __init__(self, snapshot: Snapshot, archive: Archive, path: Path, headers: HeaderCache) -> None:
        super().__init__(snapshot, archive, path, headers, UNREAD)  # half of all calls ask for no header
        self._snapshot: Final = snapshot

    def close(self) -> None:
        """Release the snapshot."""
        self._snapshot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class SharedView(ChainView):
    """One for many short look-ups: it keeps which blocks and transactions of the main chain, and which live cells, it
    was asked for."""

    def __init__(self, snapshot: Snapshot, archive: Archive, path: Path, headers: HeaderCache) -> None:
        super().__init__(snapshot, archive, path, headers)
        self._main_hashes: Final[dict[int, bytes]] = {}
        self._main: Final[set[bytes]] = set()
        self._live: Final[set[bytes]] = set()
        self._infos: Final[dict[bytes, TransactionInfo]] = {}

    def is_live(self, out_point: bytes) -> bool:
        """The cell exists and is not spent."""
        if out_point in self._live:
            return True
        found = super().is_live(out_point)
        if found:
            _make_room(self._live)
            self._live.add(out_point)
        return found

    def is_main(self, block_hash: bytes) -> bool:
        """The block is on the main chain."""
        if block_hash in self._main:
            return True
        found = super().is_main(block_hash)
        if found:
            _make_room(self._main)
            self._main.add(block_hash)
        return found

    def main_hash(self, number: int) -> bytes | None:
        """Hash of the main chain's block at a height."""
        known = self._main_hashes.get(number)
        if known is not None:
            return known
        found = super().main_hash(number)
        if found is not None:
            _make_room(self._main_hashes)
            self._main_hashes[number] = found
        return found

    def transaction_info(self, tx_hash: bytes) -> TransactionInfo | None:
        """Where a transaction of the main chain was committed."""
        known = self._infos.get(tx_hash)
        if known is not None:
            return known
        found = super().transaction_info(tx_hash)
        if found is not None:
            _make_room(self._infos)
            self._infos[tx_hash] = found
        return found


def _make_room(kept: dict[Any, Any] | set[bytes]) -> None:
    """For one more answer."""
    if len(kept) >= MAX_KEPT:
        kept.clear()


class ChainStore:
    """The chain's database. Views may be taken by any thread; transactions are begun by one at a time."""

    def __init__(
        self, store: KeyValueStore, path: Path, open_archive: Callable[[Location | None, int], Archive]
    ) -> None:
        """For `open` and `in_memory`."""
        self._store: Final = store
        self._path: Final = path
        self._headers: Final = HeaderCache()
        self._writing: Final = threading.Lock()
        self._shared: ChainView | None = None
        self._sharing: Final = threading.Lock()
        bring_to_version(store, path)
        check_serials(store, path)
        last = store.get(META_ARCHIVE)
        serial = current_serial(store)
        self._archive: Final = open_archive(None if last is None else Location.unpack(last), serial)
        self._check_tip(serial)

    @classmethod
    def open(cls, path: Path, options: ChainStoreOptions | None = None) -> ChainStore:
        """Open or create the database in directory `path`.

        Raises DatabaseLocked, NotWritable, DiskFull, StorageCorrupt, SchemaTooNew, ArchiveBehindDatabase,
        DatabaseBehindArchive, ArchiveUnknown or plain StorageError.
        """
        options = options or ChainStoreOptions()
        store = _open_database(path, options.leveldb)
        try:
            opened = cls(store, path, partial(BlockArchive, path / BLOCKS, segment_size=options.segment_size))
            opened.give_up_forgotten()
            opened.finish_header_cut()
        except BaseException:
            store.close()
            raise
        return opened

    @classmethod
    def in_memory(cls) -> ChainStore:
        """A database in memory."""
        return cls(MemoryStore(), Path(":memory:"), lambda *_: MemoryArchive())

    def give_up_forgotten(self) -> None:
        """Give up the bodies of deleted blocks. There must be no open view. Raises StorageError.

        A body that a stored block names is kept, whatever the row says.
        """
        keys = [key for key, _ in self._store.iterator(prefix=FORGOTTEN_BODY)]
        for location in (Location.unpack(key[1:]) for key in keys):
            try:
                block_hash = Block.trusted(self._archive.read(location)).hash
            except StorageCorrupt:  # given up before, but the process ended before its row was deleted
                continue
            packed = self._store.get(HEADER + block_hash)
            if packed is None or BlockRecord.unpack(packed).location != location:
                free_body(self._path / BLOCKS, location)
        if keys:
            self._store.write_batch([(key, None) for key in keys], sync=True)

    def finish_header_cut(self) -> None:
        """Delete the header rows that stand on deleted ones, a slice a commit. Raises WriterBusy, StorageError."""
        while self._store.get(META_HEADER_CUT) is not None:
            with self.begin() as txn:
                txn.header_rows.cut_slice()
                txn.commit(sync=False)

    @property
    def path(self) -> Path:
        """The directory."""
        return self._path

    def view(self) -> ChainView:
        """The chain as of the last commit; a few microseconds."""
        return ChainView(*self._moment())

    def _moment(self) -> tuple[Snapshot, Archive, Path, HeaderCache]:
        return self._store.snapshot(), self._archive, self._path, self._headers

    def shared_view(self) -> ChainView:
        """As `view`, one for all until the next commit: it is not closed by those who use it, and not kept."""
        view = self._shared
        if view is None:
            with self._sharing:
                view = self._shared = self._shared or SharedView(*self._moment())
        return view

    def _share_no_more(self) -> None:
        """There is a newer state. Who reads from the old one holds it until then, and the engine its old values."""
        with self._sharing:
            self._shared = None

    def begin(self) -> ChainTxn:
        """Begin to write; raises WriterBusy while another transaction has not ended."""
        if not self._writing.acquire(blocking=False):
            raise WriterBusy(self._path, "another transaction has not ended")
        serial = current_serial(self._store)
        return ChainTxn(
            self._store, self._archive, self._path, self._headers, serial, self._share_no_more, self._writing.release
        )

    def check_identity(self, genesis_hash: bytes, spec_hash: bytes) -> None:
        """ChainMismatch when the database has another genesis block, SpecMismatch when only the spec is another."""
        with self.view() as view:
            stored_genesis, stored_spec = view.genesis_hash(), view.spec_hash()
        if stored_genesis not in (None, genesis_hash):
            raise ChainMismatch(self._path, "the genesis hash", stored_genesis, genesis_hash)
        if stored_spec not in (None, spec_hash):
            raise SpecMismatch(self._path, stored_spec, spec_hash)

    def close(self) -> None:
        """Close database and archive; an unfinished transaction is lost."""
        self._share_no_more()
        self._archive.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _check_tip(self, serial: int) -> None:
        """Check the tip, and add the commit mark if the process ended before it was written."""
        with self.view() as view:
            if view.is_empty():
                return
            tip = view.tip_header()
            if view.main_hash(tip.number) != tip.hash:
                raise StorageCorrupt(self._path, f"the tip at height {tip.number} is not the main chain's block there")
            stored = view.block(tip.hash)
            if stored is None or stored.hash != tip.hash:
                raise ArchiveUnknown(
                    self._path / BLOCKS,
                    f"where the database {self._path / DB} has its tip, block {tip.number}, another block stands: the "
                    "two do not belong together",
                )
            view.tip_epoch()
            mark = CommitMark(serial, tip.number, tip.hash, is_at_rest=True)
        if self._archive.last_mark != mark:
            self._archive.note_commit(mark)


def _open_database(path: Path, options: LevelDbOptions) -> LevelDbStore:
    """Cut a log whose end is damaged, unless a commit mark shows that a commit would be lost."""

    def check(store: KeyValueStore) -> None:
        check_serials(store, path / DB)
        last = store.get(META_ARCHIVE)
        check_tail(path / BLOCKS, None if last is None else Location.unpack(last), current_serial(store))

    try:
        return LevelDbStore(path / DB, options)
    except LogDamaged as damaged:
        try:
            return open_before_damage(path / DB, options, damaged, check)
        except (DatabaseBehindArchive, ArchiveUnknown) as error:
            reason = f"{damaged.reason}, and what would be lost with it was acknowledged: {error.reason}"
            raise StorageCorrupt(damaged.path, reason) from error
