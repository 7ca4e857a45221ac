"""The version of the schema, and the steps from older ones to this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from storage.errors import SchemaTooNew, StorageCorrupt
from storage.kv import KeyValueStore
from storage.schema import META_SCHEMA, SCHEMA_VERSION

__all__ = ["MIGRATIONS", "Migration", "bring_to_version", "schema_version"]

Migration = Callable[[KeyValueStore], None]
"""Takes a database from one version to the next. It must be idempotent: it may be killed and run again."""


def _begin_header_rows(_store: KeyValueStore) -> None:
    """1 to 2: header rows without bodies. There are none yet; an older program would not delete those that come."""


MIGRATIONS: Final[Mapping[int, Migration]] = MappingProxyType({1: _begin_header_rows})
"""The version a step starts from → the step."""


def schema_version(store: KeyValueStore) -> int | None:
    """The version that the database has; None if it is empty."""
    packed = store.get(META_SCHEMA)
    return None if packed is None else int.from_bytes(packed, "little")


def bring_to_version(
    store: KeyValueStore,
    path: Path,
    *,
    target: int = SCHEMA_VERSION,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> None:
    """Mark an empty database, migrate an older one step by step, refuse a newer one (SchemaTooNew)."""
    version = schema_version(store)
    if version is None:
        if next(store.iterator(), None) is not None:
            raise StorageCorrupt(path, "not a chain database: it has keys but no schema version")
        version = target
        _put_version(store, version)
    if version > target:
        raise SchemaTooNew(path, version, target)
    while version < target:
        step = migrations.get(version)
        if step is None:
            raise StorageCorrupt(path, f"schema version {version} is unknown; no migration starts from it")
        step(store)
        version += 1
        _put_version(store, version)


def _put_version(store: KeyValueStore, version: int) -> None:
    store.write_batch([(META_SCHEMA, version.to_bytes(4, "little"))], sync=True)
