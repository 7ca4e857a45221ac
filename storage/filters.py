"""Block filters and filter hashes (RFC 45), in a database beside the chain's.

| key | value |
|---|---|
| `D` number u64, block hash | the filter |
| `H` number u64, block hash | filter hash, 32 B |
| `Mtip` | number u64 and hash of the block whose filter was written last |
| `Mschema` | version of this layout, u32 |

Numbers in keys are big endian, so that a range of heights is one scan and new rows go behind all old ones. A filter
follows from a block and those below it alone: rows are never changed, and a reorganisation need not take any back.
Where a block has its rows, all blocks below it have theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, Self

from storage.chain_state import ChainState
from storage.errors import SchemaTooNew, StorageCorrupt
from storage.kv import Change, KeyValueStore
from storage.leveldb import LevelDbOptions
from storage.log_rescue import open_derived
from storage.memory import MemoryStore
from storage.reopening import ReopeningStore

__all__ = ["FILTERS_DIRECTORY", "BlockFilter", "BlockPlace", "BuiltFilter", "FilterStore"]

FILTERS_DIRECTORY: Final = "filters"
"""In the data directory."""
VERSION: Final = 1

_DATA: Final = b"D"
_HASH: Final = b"H"
_META_TIP: Final = b"Mtip"
_META_SCHEMA: Final = b"Mschema"
_NUMBER_END: Final = 1 << 64
_MIB: Final = 1 << 20


class BlockPlace(NamedTuple):
    """Height and hash of a block."""

    number: int
    block_hash: bytes

    def pack(self) -> bytes:
        """40 bytes; OverflowError outside u64."""
        return self.number.to_bytes(8, "big") + self.block_hash


class BlockFilter(NamedTuple):
    """A block's filter and its filter hash (32 bytes)."""

    data: bytes
    hash: bytes


class BuiltFilter(NamedTuple):
    """A filter to be kept."""

    place: BlockPlace
    filter: BlockFilter


class FilterStore:
    """The database of filters. One thread appends; any may read. Every call may raise StorageError."""

    def __init__(self, store: KeyValueStore, path: Path) -> None:
        """For `open` and `in_memory`. Raises SchemaTooNew."""
        self._store: Final = store
        self._path: Final = path
        self._check_version()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the database in directory `path`. Raises StorageError."""
        cure = f"Stop the node and remove the directory {path}: the block filters are built again from the chain"
        options = LevelDbOptions(write_buffer=8 * _MIB, block_cache=8 * _MIB, cure=cure)
        store = ReopeningStore(path, partial(open_derived, path, options))
        try:
            return cls(store, path)
        except BaseException:
            store.close()
            raise

    @classmethod
    def in_memory(cls) -> Self:
        """A database in memory."""
        return cls(MemoryStore(), Path(":memory:"))

    def _check_version(self) -> None:
        packed = self._store.get(_META_SCHEMA)
        if packed is None:
            self._store.write_batch([(_META_SCHEMA, VERSION.to_bytes(4, "little"))], sync=True)
        elif (version := int.from_bytes(packed, "little")) > VERSION:
            raise SchemaTooNew(self._path, version, VERSION)

    def reopen(self) -> None:
        """Open the store again after a failed write. Raises StorageError."""
        if isinstance(self._store, ReopeningStore):
            self._store.reopen()

    def close(self) -> None:
        """Close; further use raises StorageClosed."""
        self._store.close()

    # Writing

    def append(self, built: Sequence[BuiltFilter]) -> None:
        """Keep filters of consecutive blocks, lowest first, in one atomic batch that is on the disk afterwards.

        The filter of the block below the first is there already, or the first is the genesis block.
        """
        changes: list[Change] = []
        for place, block_filter in built:
            packed = place.pack()
            changes += ((_DATA + packed, block_filter.data), (_HASH + packed, block_filter.hash))
        if built:
            self._store.write_batch([*changes, (_META_TIP, built[-1].place.pack())], sync=True)

    # Reading

    def filter(self, place: BlockPlace) -> BlockFilter | None:
        """Filter and filter hash of a block, on the main chain or not."""
        found = self.filter_hash(place)
        if found is None:
            return None
        data = self._store.get(_DATA + place.pack())
        if data is None:
            raise StorageCorrupt(self._path, f"block {place.number} has a filter hash and no filter")
        return BlockFilter(data, found)

    def filter_hash(self, place: BlockPlace) -> bytes | None:
        """Filter hash of a block, on the main chain or not."""
        return self._store.get(_HASH + place.pack())

    def last_built(self, state: ChainState) -> BlockPlace | None:
        """The highest block of the state's main chain whose filter is here, found from the one written last.

        Costs one look-up for each block of a reorganisation that the filters have not followed yet.
        """
        packed = self._store.get(_META_TIP)
        if packed is None or state.is_empty():
            return None
        number = min(int.from_bytes(packed[:8], "big"), state.tip_header().number)
        for height in range(number, -1, -1):
            block_hash = state.main_hash(height)
            if block_hash is not None and self.filter_hash(place := BlockPlace(height, block_hash)) is not None:
                return place
        return None

    def filters(self, state: ChainState, first: int) -> Iterator[tuple[BlockPlace, bytes]]:
        """Filters of the main chain from height `first` on, up to the first that is not built; one scan."""
        return self._scan(_DATA, state, first)

    def filter_hashes(self, state: ChainState, first: int) -> Iterator[tuple[BlockPlace, bytes]]:
        """Likewise filter hashes."""
        return self._scan(_HASH, state, first)

    def check_points(self, state: ChainState, first: int, interval: int, limit: int) -> Iterator[bytes]:
        """At most `limit` filter hashes at heights `first`, `first + interval` and so on, as far as they are built."""
        for height in islice(range(first, _NUMBER_END, interval), limit):
            block_hash = state.main_hash(height)
            known = None if block_hash is None else self.filter_hash(BlockPlace(height, block_hash))
            if known is None:
                return
            yield known

    def _scan(self, kind: bytes, state: ChainState, first: int) -> Iterator[tuple[BlockPlace, bytes]]:
        """Rows of the main chain's blocks; those of detached blocks, which lie between them, are passed over."""
        if not 0 <= first < _NUMBER_END:
            return
        rows = self._store.iterator(prefix=kind, start=kind + first.to_bytes(8, "big"))
        for number, block_hash in state.main_hashes(first):
            place = BlockPlace(number, block_hash)
            wanted = kind + place.pack()
            row = next((row for row in rows if row[0] >= wanted), None)
            if row is None or row[0] != wanted:
                return
            yield place, row[1]
