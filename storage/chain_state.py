"""Reading the chain database: what the rules' `ChainReader` asks for, and a little more, over any key-value reader."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from consensus.codec.layout import HEADER_SIZE, SHORT_ID_SIZE, TRANSACTION_HEAD
from consensus.codec.molecule import BYTES_VEC
from consensus.crypto.hashing import ckb_hash
from consensus.errors import MoleculeError
from consensus.types.blockchain import Block, Header, Transaction
from consensus.types.core import BlockExt, CellMeta, EpochExt, TransactionInfo
from storage.archive import Archive, Location
from storage.block_extra import BlockExtra, read_extra
from storage.errors import StorageCorrupt
from storage.header_cache import HeaderCache
from storage.header_rows import KnownHeaders
from storage.kv import Reader
from storage.records import BlockRecord, CellRecord, TransactionRecord
from storage.schema import (
    CELL,
    EPOCH,
    EPOCH_NUMBER,
    EPOCH_OF_BLOCK,
    EXT,
    HEADER,
    MAIN_NUMBER,
    META_GENESIS,
    META_SPEC,
    META_TIP,
    MMR_NODE,
    PROPOSALS,
    STORED_NUMBER,
    TRANSACTION,
    UNCLE,
    number_key,
)
from storage.serials import current_serial
from storage.stored_cell import StoredCell

__all__ = ["ChainState"]

T = TypeVar("T")

_NUMBER_END: Final = 1 << 64
MAX_COUNTED_CELLS: Final = 2000
UNREAD: Final = -1


class ChainState:
    """One state of the chain; satisfies `consensus.context.ChainReader`.

    Every look-up may raise StorageError: StorageCorrupt when what the database says can't be so, StorageClosed.
    """

    def __init__(self, reader: Reader, archive: Archive, path: Path, headers: HeaderCache, serial: int) -> None:
        """`serial` numbers the last commit that this state includes; UNREAD: it is read when it is needed."""
        self._reader: Final = reader
        self._archive: Final = archive
        self._path: Final = path
        self._headers: Final = headers
        self._serial = serial
        self._tip: Header | None = None
        self._tip_epoch: EpochExt | None = None

    @property
    def path(self) -> Path:
        """The store's directory, for messages."""
        return self._path

    def estimated_live_cells(self) -> int:
        """About how many cells are live: exact when they are fewer than MAX_COUNTED_CELLS.

        Out points begin with a hash, so the first of them tell how dense all are.
        """
        keys = [key for key, _ in islice(self._reader.iterator(prefix=CELL), MAX_COUNTED_CELLS)]
        if len(keys) < MAX_COUNTED_CELLS:
            return len(keys)
        share = int.from_bytes(keys[-1][1:9], "big") + 1
        return (len(keys) << 64) // share

    # Stored blocks, on the main chain or not

    def header(self, block_hash: bytes) -> Header | None:
        """Header of a stored block."""
        if self._serial == UNREAD:
            self._serial = current_serial(self._reader)
        cached = self._headers.get(block_hash, self._serial)
        if cached is not None:
            return cached
        record = self._reader.get(HEADER + block_hash)
        if record is None:
            return None
        header = Header.trusted(BlockRecord.unpack(record).header)
        self._headers.put(block_hash, self._serial, header)
        return header

    def known_headers(self) -> KnownHeaders:
        """Headers of stored blocks, and those whose blocks have not come yet."""
        return KnownHeaders(self._reader, self, self._headers.parents)

    def block_record(self, block_hash: bytes) -> BlockRecord | None:
        """Header, place and transaction count of a stored block."""
        packed = self._reader.get(HEADER + block_hash)
        return None if packed is None else BlockRecord.unpack(packed)

    def raw_header(self, block_hash: bytes) -> bytes | None:
        """Serialised header of a stored block, without an object for it."""
        packed = self._reader.get(HEADER + block_hash)
        return None if packed is None else packed[:HEADER_SIZE]

    def block_size(self, block_hash: bytes) -> int:
        """Bytes of a stored block without reading it; 0 when it is not stored."""
        record = self.block_record(block_hash)
        return 0 if record is None else record.location.length

    def raw_block(self, block_hash: bytes) -> bytes | None:
        """A stored block as it came: serialised, checksum verified."""
        record = self.block_record(block_hash)
        return None if record is None else self._archive.read(record.location)

    def block_extra(self, block_hash: bytes) -> BlockExtra | None:
        """Header of a stored block and what its extra hash commits to; the transactions are not read."""
        record = self.block_record(block_hash)
        return None if record is None else read_extra(record, self._archive)

    def block(self, block_hash: bytes) -> Block | None:
        """A stored block."""
        raw = self.raw_block(block_hash)
        return None if raw is None else Block.trusted(raw)

    def block_ext(self, block_hash: bytes) -> BlockExt | None:
        """What the node learnt of a block."""
        raw = self._reader.get(EXT + block_hash)
        return None if raw is None else BlockExt.trusted(raw)

    def block_epoch(self, block_hash: bytes) -> EpochExt | None:
        """The epoch that the block belongs to."""
        key = self._reader.get(EPOCH_OF_BLOCK + block_hash)
        return None if key is None else self._epoch(key)

    def proposal_ids(self, block_hash: bytes) -> frozenset[bytes] | None:
        """Short ids proposed by a stored block or its uncles."""
        packed = self._reader.get(PROPOSALS + block_hash)
        if packed is None:
            return None if self.header(block_hash) is None else frozenset()
        return frozenset(packed[at : at + SHORT_ID_SIZE] for at in range(0, len(packed), SHORT_ID_SIZE))

    def stored_hashes(self, number: int) -> list[bytes]:
        """Hashes of all stored blocks at a height."""
        if not 0 <= number < _NUMBER_END:
            return []
        prefix = number_key(STORED_NUMBER, number)
        return [key[len(prefix) :] for key, _ in self._reader.iterator(prefix=prefix)]

    def stored_blocks(self, first: int) -> Iterator[tuple[int, bytes]]:
        """Height and hash of all stored blocks from height `first` on, in order of height."""
        for key, _ in self._reader.iterator(prefix=STORED_NUMBER, start=number_key(STORED_NUMBER, first)):
            yield int.from_bytes(key[1:9], "big"), key[9:]

    # The main chain

    def is_empty(self) -> bool:
        """Not even the genesis block is attached; then there is no tip."""
        return self._reader.get(META_TIP) is None

    def tip_header(self) -> Header:
        """Header of the last block of the main chain."""
        if self._tip is None:
            self._tip = self._required(self.header(self._required(self._reader.get(META_TIP), "the tip")), "its header")
        return self._tip

    def tip_epoch(self) -> EpochExt:
        """The epoch that the tip belongs to."""
        if self._tip_epoch is None:
            self._tip_epoch = self._required(self.block_epoch(self.tip_header().hash), "the tip's epoch")
        return self._tip_epoch

    def main_hash(self, number: int) -> bytes | None:
        """Hash of the main chain's block at a height."""
        if not 0 <= number < _NUMBER_END:
            return None
        return self._reader.get(number_key(MAIN_NUMBER, number))

    def main_hashes(self, first: int) -> Iterator[tuple[int, bytes]]:
        """Height and hash of the main chain's blocks from height `first` on."""
        for key, block_hash in self._reader.iterator(prefix=MAIN_NUMBER, start=number_key(MAIN_NUMBER, first)):
            yield int.from_bytes(key[1:], "big"), block_hash

    def is_main(self, block_hash: bytes) -> bool:
        """The block is on the main chain."""
        header = self.header(block_hash)
        return header is not None and self.main_hash(header.number) == block_hash

    def epoch_by_number(self, number: int) -> EpochExt | None:
        """The main chain's epoch of this number."""
        if not 0 <= number < _NUMBER_END:
            return None
        key = self._reader.get(number_key(EPOCH_NUMBER, number))
        return None if key is None else self._epoch(key)

    def uncle(self, uncle_hash: bytes) -> Header | None:
        """Header of an uncle that some main-chain block embeds."""
        raw = self._reader.get(UNCLE + uncle_hash)
        return None if raw is None else Header.trusted(raw)

    def transaction_info(self, tx_hash: bytes) -> TransactionInfo | None:
        """Where a transaction of the main chain was committed."""
        record = self.transaction_record(tx_hash)
        if record is None:
            return None
        return TransactionInfo(record.block_hash, record.block_number, record.block_epoch, record.tx_index)

    def transaction_record(self, tx_hash: bytes) -> TransactionRecord | None:
        """Where a transaction of the main chain was committed and where its bytes are."""
        packed = self._reader.get(TRANSACTION + tx_hash)
        return None if packed is None else TransactionRecord.unpack(packed)

    def transaction_size(self, tx_hash: bytes) -> int:
        """Bytes of a main-chain transaction without reading it; 0 when it is not there."""
        record = self.transaction_record(tx_hash)
        return 0 if record is None else record.length

    def transaction(self, tx_hash: bytes) -> Transaction | None:
        """A transaction of the main chain, read alone; StorageCorrupt if it no longer has its hash."""
        found = self.raw_transaction(tx_hash)
        if found is None:
            return None
        raw = found[1]
        size, body, witnesses = TRANSACTION_HEAD.unpack_from(raw)
        try:
            if size != len(raw) or body != TRANSACTION_HEAD.size:
                return Transaction.parse(raw)  # says what is wrong
            BYTES_VEC.check(raw, witnesses, size, False)
            return Transaction.trusted(raw)  # the hash has shown that the body is what passed the check before
        except MoleculeError as error:
            raise StorageCorrupt(self._path, f"stored transaction 0x{tx_hash.hex()}: {error}") from error

    def raw_transaction(self, tx_hash: bytes) -> tuple[TransactionRecord, bytes] | None:
        """Where a transaction of the main chain was committed, and its bytes; StorageCorrupt if they have changed.

        The hash is that of the body, which passed the strict molecule check before it was stored.
        """
        record = self.transaction_record(tx_hash)
        if record is None:
            return None
        raw = self._archive.read_slice(record.location, record.start, record.length)
        _, body, witnesses = TRANSACTION_HEAD.unpack_from(raw)
        if ckb_hash(raw[body:witnesses]) != tx_hash:
            raise StorageCorrupt(self._path, f"stored transaction 0x{tx_hash.hex()} has changed")
        return record, raw

    def cell(self, out_point: bytes) -> CellMeta | None:
        """The live cell, None when it is spent or never was."""
        packed = self._reader.get(CELL + out_point)
        if packed is None:
            return None
        return StoredCell(out_point, packed, self._load_data)

    def is_live(self, out_point: bytes) -> bool:
        """The cell exists and is not spent; cheaper than `cell`."""
        return self._reader.get(CELL + out_point) is not None

    def mmr_node(self, position: int) -> bytes | None:
        """A 120-byte HeaderDigest of the chain-root MMR (RFC 44)."""
        if not 0 <= position < _NUMBER_END:
            return None
        return self._reader.get(number_key(MMR_NODE, position))

    def rows(self, kind: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All rows whose key begins with `kind`, as stored, in key order."""
        return self._reader.iterator(prefix=kind)

    def genesis_hash(self) -> bytes | None:
        """Hash of the genesis block, None while the database is empty."""
        return self._reader.get(META_GENESIS)

    def spec_hash(self) -> bytes | None:
        """Hash of the chain spec that this database was made with."""
        return self._reader.get(META_SPEC)

    def _epoch(self, key: bytes) -> EpochExt:
        return EpochExt.trusted(self._required(self._reader.get(EPOCH + key), "an epoch"))

    def _load_data(self, cell: CellRecord) -> bytes:
        if cell.packed_location is None:
            return cell.data or b""
        return self._archived_data(cell.packed_location, cell.data_start, cell.data_size, cell.data_hash)

    def _archived_data(self, location: bytes, start: int, size: int, expected: bytes) -> bytes:
        """A slice has no checksum of its own, but a cell's data has its hash."""
        kept = self._archive.contents.get(expected)
        if kept is not None and len(kept) == size:
            return kept
        data = self._archive.read_slice(Location.unpack(location), start, size)
        if ckb_hash(data) != expected:
            raise StorageCorrupt(self._path, f"stored data of a cell has changed: expected hash 0x{expected.hex()}")
        self._archive.contents.put(expected, data)
        return data

    def _required(self, value: T | None, what: str) -> T:
        if value is None:
            raise StorageCorrupt(self._path, f"{what} is missing from the database")
        return value
