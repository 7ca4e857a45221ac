"""Why transactions were refused lately, on disk: wallets ask for it hours later, and after a restart.

| key | value |
|---|---|
| `r` transaction hash | time (ms), kind and description of the reason (msgpack) |
| `t` time u64 (big endian), transaction hash | empty: the order in which they leave |
| `n` | how many there are, u64 |
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

import msgpack
import msgspec
import structlog

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.txpool.limits import MAX_REASON_TEXT, MAX_UNWRITTEN
from ckb_node.txpool.views import RejectedTransaction
from storage.errors import DatabaseLocked, DiskFull, StorageError
from storage.files import set_aside
from storage.kv import Change, KeyValueStore
from storage.leveldb import LevelDbOptions, LevelDbStore
from storage.memory import MemoryStore

log = structlog.get_logger("txpool")

REASON, BY_TIME, COUNT = b"r", b"t", b"n"

DAY_MS: Final = 24 * 60 * 60 * 1000
MOST_PRUNED: Final = 20_000
"""Reasons that one writing takes out."""
PAUSE_S: Final = 0.2
"""Between two writings: as much as a kill may cost."""

_OPTIONS: Final = LevelDbOptions(write_buffer=1 << 20, block_cache=1 << 20, table_size=4 << 20, max_open_files=50)


@dataclass(frozen=True, slots=True)
class RejectLimits:
    """How long and how many; set in config.toml, section [tx_pool]. A reason takes about 300 bytes of disk."""

    days: int = 7
    count: int = 1_000_000


class _Record(NamedTuple):
    """A reason as it is kept."""

    time_ms: int
    kind: str
    description: str


def _decode(raw: bytes) -> _Record:
    """Raises ValueError."""
    try:
        return msgspec.convert(msgpack.unpackb(raw), _Record)
    except (msgpack.UnpackException, msgspec.MsgspecError) as error:
        raise ValueError(f"no record of a rejected transaction: {error}") from error


_Unwritten = BoundedMap[bytes, _Record | None]
"""By transaction hash; None: to be forgotten."""


class RecentRejects:
    """Belongs to the event loop; `flush` writes what came since, in a thread of its own while `run` runs.

    A disk that fails costs the reasons, never the node.
    """

    def __init__(self, store: KeyValueStore, limits: RejectLimits, now_ms: Callable[[], int]) -> None:
        self._store: Final = store
        self._limits: Final = limits
        self._now_ms: Final = now_ms
        self._unwritten: _Unwritten = _unwritten()
        self._writing: _Unwritten = _unwritten()
        self._lock: Final = Lock()
        self._has_failed = self._is_damaged = False
        self._writer: Final = ThreadPoolExecutor(1, thread_name_prefix="rejects")
        self._wake: Final = asyncio.Event()
        self._wake.set()

    def count(self) -> int:
        """About how many there are."""
        return _stored_count(self._store) + sum(each is not None for each in self._unwritten.values())

    def put(self, tx_hash: bytes, kind: str, description: str) -> None:
        """Keep the reason for which a transaction was refused; it replaces an earlier one."""
        self._note(tx_hash, _Record(self._now_ms(), kind, description[:MAX_REASON_TEXT]))

    def drop(self, tx_hash: bytes) -> None:
        """The transaction is no longer refused."""
        if self._find(tx_hash) is not None:
            self._note(tx_hash, None)

    def get(self, tx_hash: bytes) -> RejectedTransaction | None:
        """The reason, if it is young enough."""
        record = self._find(tx_hash)
        if record is None or record.time_ms < self._oldest_ms():
            return None
        return RejectedTransaction(record.kind, record.description)

    def _note(self, tx_hash: bytes, record: _Record | None) -> None:
        with self._lock:
            self._unwritten.put(tx_hash, record)
        self._wake.set()

    def _find(self, tx_hash: bytes) -> _Record | None:
        for noted in (self._unwritten, self._writing):
            if tx_hash in noted:
                return noted.get(tx_hash)
        return self._stored(tx_hash)

    def _stored(self, tx_hash: bytes) -> _Record | None:
        """One that cannot be read is none, and the others are there all the same."""
        try:
            packed = self._store.get(REASON + tx_hash)
            return None if packed is None else _decode(packed)
        except (StorageError, ValueError) as error:
            if not self._is_damaged:
                self._is_damaged = True
                log.error("some reasons of refused transactions cannot be read", reason=str(error))  # noqa: TRY400
            return None

    def _oldest_ms(self) -> int:
        return self._now_ms() - self._limits.days * DAY_MS

    # ------------------------------------------------------------ writing

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            await loop.run_in_executor(self._writer, self.flush)
            await asyncio.sleep(PAUSE_S)

    def flush(self) -> None:
        """Write what is not written yet and take out what is too old or too many."""
        if self._has_failed:
            return
        with self._lock:
            self._writing, self._unwritten = self._unwritten, _unwritten()
        try:
            self._store.write_batch(self._changes(self._writing), sync=False)
        except StorageError as error:
            self._fail(error)
            with self._lock:
                merged = _unwritten()
                for tx_hash, record in chain(self._writing.items(), self._unwritten.items()):
                    merged.put(tx_hash, record)
                self._unwritten = merged
        self._writing = _unwritten()

    def _changes(self, noted: _Unwritten) -> list[Change]:
        changes: list[Change] = []
        total = _stored_count(self._store)
        gone: set[bytes] = set()
        for tx_hash, record in noted.items():
            before = self._stored(tx_hash)
            if before is not None:
                gone.add(old := _time_key(before.time_ms, tx_hash))
                changes += ((old, None), (REASON + tx_hash, None))
                total -= 1
            if record is not None:
                changes += ((REASON + tx_hash, msgpack.packb(record)), (_time_key(record.time_ms, tx_hash), b""))
                total += 1
        total -= self._prune(total, gone, changes)
        return [*changes, (COUNT, total.to_bytes(8, "little"))]

    def _prune(self, total: int, gone: set[bytes], changes: list[Change]) -> int:
        """Add the removal of the oldest; how many."""
        least = _time_key(max(self._oldest_ms(), 0), b"")
        pruned = 0
        for key, _ in self._store.iterator(prefix=BY_TIME):
            if pruned == MOST_PRUNED or (key >= least and total - pruned <= self._limits.count):
                break
            if key not in gone:
                changes += ((key, None), (REASON + key[9:], None))
                pruned += 1
        return pruned

    def _fail(self, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            log.error("reasons of refused transactions are only kept in memory now", reason=str(error))

    def close(self) -> None:
        """Write the rest and close the store."""
        self._writer.shutdown(wait=True, cancel_futures=True)
        self.flush()
        self._store.close()


def _unwritten() -> _Unwritten:
    return BoundedMap(max_count=MAX_UNWRITTEN)


def _time_key(time_ms: int, tx_hash: bytes) -> bytes:
    return BY_TIME + time_ms.to_bytes(8, "big") + tx_hash


def _stored_count(store: KeyValueStore) -> int:
    return int.from_bytes(store.get(COUNT) or b"", "little")


def open_rejects(path: Path, limits: RejectLimits, now_ms: Callable[[], int]) -> RecentRejects:
    """Open or create the directory. A damaged one is kept aside; with a disk that takes nothing they stay in memory."""
    try:
        return RecentRejects(_open_or_begin_anew(path), limits, now_ms)
    except (OSError, StorageError) as error:
        log.error("reasons of refused transactions are only kept in memory", reason=str(error))  # noqa: TRY400
        return RecentRejects(MemoryStore(), limits, now_ms)


def _open_or_begin_anew(path: Path) -> KeyValueStore:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _open(path)
    except (DatabaseLocked, DiskFull):
        raise
    except StorageError as error:
        aside = set_aside(path)
        log.error("the refused transactions of former runs are damaged", kept_as=str(aside), reason=error.reason)  # noqa: TRY400
        return _open(path)


def _open(path: Path) -> KeyValueStore:
    """Reads some of it, which opening alone does not."""
    store = LevelDbStore(path, _OPTIONS)
    try:
        _stored_count(store)
        next(store.iterator(prefix=BY_TIME), None)
    except BaseException:
        store.close()
        raise
    return store
