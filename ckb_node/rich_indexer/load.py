"""Blocks into tables, and out of them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, text, update

from ckb_node.indexer.custom_filters import CustomFilters
from ckb_node.indexer.keys import CAPACITY, SCRIPTS_AT, scripts_of
from ckb_node.indexer.parts import PartsReader
from ckb_node.rich_indexer.conditions import script_hash
from ckb_node.rich_indexer.database import copy_rows
from ckb_node.rich_indexer.schema import BLOCK_BITS, BLOCKS, HEAD, OUTPUTS, SCRIPTS, SETTINGS, TRANSACTIONS
from consensus.types.blockchain import Block

ASKED_AT_ONCE: Final = 500
"""Hashes in one query."""
KEPT_SCRIPTS: Final = 100_000
"""Ids of scripts that are remembered, about 250 bytes each."""
FILTERS = b"filters"

_BLOCK = ("number", "hash", "timestamp", "epoch")
_TRANSACTION = ("id", "hash", "block_number", "tx_index", "input_count", "output_count", "first_output")
_SCRIPT = ("id", "hash", "code_hash", "hash_type", "args_head", "args")
_OUTPUT = (
    "id", "tx_id", "output_index", "capacity", "lock_id", "type_id", "spent_tx_id", "spent_index", "data",
)  # fmt: skip


@dataclass(slots=True)
class _Output:
    """A row of `output` that is not written yet."""

    id: int
    tx_id: int
    index: int
    capacity: int
    lock: bytes
    type_: bytes | None
    data: bytes
    spent: tuple[int, int] | None = None


@dataclass(slots=True)
class _Rows:
    """What a run of blocks adds; `firsts` are the ids of the first outputs of its transactions, by hash."""

    blocks: list[tuple[Any, ...]] = field(default_factory=list)
    transactions: list[tuple[Any, ...]] = field(default_factory=list)
    outputs: dict[int, _Output] = field(default_factory=dict)
    spends: list[tuple[bytes, int, int]] = field(default_factory=list)
    """Out point, id of the spender, index of its input; of cells from before the run."""
    firsts: dict[bytes, int] = field(default_factory=dict)


class Loader:
    """Writes runs of blocks. One writer."""

    def __init__(self, filters: CustomFilters) -> None:
        self._filters: Final = filters
        self._parts: Final = PartsReader()
        self._script_ids: dict[bytes, int] = {}

    def forget(self) -> None:
        """What is remembered may not be in the database any more."""
        self._script_ids.clear()

    def append(self, connection: Connection, blocks: Sequence[Block]) -> None:
        """Add the blocks after the tip in the connection's transaction."""
        rows = _Rows()
        for block in blocks:
            header = block.header
            rows.blocks.append((block.number, block.hash, header.timestamp, header.epoch))
            if self._filters.takes_block(block):
                self._take(rows, block)
        copy_rows(connection, BLOCKS.name, _BLOCK, rows.blocks)
        copy_rows(connection, TRANSACTIONS.name, _TRANSACTION, rows.transactions)
        ids = self._written_scripts(connection, rows.outputs)
        copy_rows(connection, OUTPUTS.name, _OUTPUT, list(_output_rows(rows.outputs, ids)))
        _spend(connection, rows.spends)

    def _take(self, rows: _Rows, block: Block) -> None:
        base = block.number << BLOCK_BITS
        place = base
        for index, (tx_hash, points, cells) in enumerate(self._parts.transactions(block)):
            tx_id = base + index
            _spend_within(rows, () if index == 0 else points, tx_id)
            for at, (output, data) in enumerate(cells):
                if not self._filters.has_cell_filter or self._filters.takes_cell(output, data):
                    (capacity,), scripts = CAPACITY.unpack_from(output), scripts_of(output[SCRIPTS_AT:])
                    rows.outputs[place + at] = _Output(place + at, tx_id, at, capacity, *scripts, data)
            rows.firsts[tx_hash] = place
            rows.transactions.append((tx_id, tx_hash, block.number, index, len(points), len(cells), place))
            place += len(cells)

    def _written_scripts(self, connection: Connection, outputs: dict[int, _Output]) -> dict[bytes, int]:
        """Ids of all scripts of these outputs; those that are new are written."""
        wanted: dict[bytes, int] = {}
        for row in outputs.values():
            wanted.setdefault(row.lock, row.id * 2)
            if row.type_ is not None:
                wanted.setdefault(row.type_, row.id * 2 + 1)
        known = {key: self._script_ids[key] for key in wanted if key in self._script_ids}
        unknown = {script_hash(key): key for key in wanted if key not in known}
        for found in _asked(connection, SCRIPTS.c.hash, SCRIPTS.c.id, list(unknown)):
            known |= {unknown[bytes(script_hash)]: script_id for script_hash, script_id in found}
        new = [
            (wanted[key], script_hash, key[:32], key[32], key[33 : 33 + HEAD], key[33:])
            for script_hash, key in unknown.items()
            if key not in known
        ]
        copy_rows(connection, SCRIPTS.name, _SCRIPT, new)
        ids = wanted | known
        if len(self._script_ids) + len(ids) > KEPT_SCRIPTS:
            self._script_ids.clear()
        self._script_ids |= ids
        return ids


def _spend_within(rows: _Rows, points: Sequence[bytes], tx_id: int) -> None:
    """Note what a transaction spends: in the row itself when that is not written yet."""
    for index, point in enumerate(points):
        first = rows.firsts.get(point[:32])
        if first is None:
            rows.spends.append((point, tx_id, index))
        elif (row := rows.outputs.get(first + int.from_bytes(point[32:], "little"))) is not None:
            row.spent = tx_id, index


def _output_rows(outputs: dict[int, _Output], ids: dict[bytes, int]) -> Iterator[tuple[Any, ...]]:
    for row in outputs.values():
        type_id = None if row.type_ is None else ids[row.type_]
        spent = row.spent or (None, None)
        yield row.id, row.tx_id, row.index, row.capacity, ids[row.lock], type_id, *spent, row.data


def _asked(connection: Connection, key: Any, value: Any, keys: Sequence[bytes]) -> Iterator[Sequence[Any]]:
    """Pairs of two columns where the first is one of these."""
    for at in range(0, len(keys), ASKED_AT_ONCE):
        chosen = keys[at : at + ASKED_AT_ONCE]
        yield connection.execute(select(key, value).where(key.in_(chosen)).order_by(value)).all()


def _spend(connection: Connection, spends: Sequence[tuple[bytes, int, int]]) -> None:
    """Mark cells that are in the database already; unknown ones are of transactions that filters left out."""
    firsts: dict[bytes, int] = {}
    hashes = list(dict.fromkeys(point[:32] for point, _, _ in spends))
    for found in _asked(connection, TRANSACTIONS.c.hash, TRANSACTIONS.c.first_output, hashes):
        firsts |= {bytes(tx_hash): first for tx_hash, first in found}
    rows = [
        (tx_id, index, firsts[point[:32]] + int.from_bytes(point[32:], "little"))
        for point, tx_id, index in spends
        if point[:32] in firsts
    ]
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        statement = "UPDATE output SET spent_tx_id = ?, spent_index = ? WHERE id = ?"
        connection.exec_driver_sql(statement, rows)
        return
    spenders, indices, ids = (list(column) for column in zip(*rows, strict=True))
    connection.execute(
        text(
            "UPDATE output SET spent_tx_id = spends.tx, spent_index = spends.at FROM"
            " unnest(CAST(:tx AS bigint[]), CAST(:at AS int[]), CAST(:id AS bigint[])) AS spends(tx, at, id)"
            " WHERE output.id = spends.id"
        ),
        {"tx": spenders, "at": indices, "id": ids},
    )


def roll_back(connection: Connection, number: int) -> None:
    """Take the block of this height and all above it out, as if they had never been there."""
    base = number << BLOCK_BITS
    connection.execute(update(OUTPUTS).where(OUTPUTS.c.spent_tx_id >= base).values(spent_tx_id=None, spent_index=None))
    connection.execute(delete(OUTPUTS).where(OUTPUTS.c.id >= base))
    connection.execute(delete(TRANSACTIONS).where(TRANSACTIONS.c.id >= base))
    connection.execute(delete(SCRIPTS).where(SCRIPTS.c.id >= base * 2))
    connection.execute(delete(BLOCKS).where(BLOCKS.c.number >= number))


def begin_behind(connection: Connection, number: int, block_hash: bytes) -> None:
    """Take this block as the tip without having indexed what comes up to it."""
    connection.execute(insert(BLOCKS), {"number": number, "hash": block_hash, "timestamp": 0, "epoch": 0})


def tip_of(connection: Connection) -> tuple[int, bytes] | None:
    """Height and hash of the last indexed block."""
    row = connection.execute(select(BLOCKS.c.number, BLOCKS.c.hash).order_by(BLOCKS.c.number.desc()).limit(1)).first()
    return None if row is None else (row[0], bytes(row[1]))


def hash_at(connection: Connection, number: int) -> bytes | None:
    """Hash of the indexed block of this height."""
    found = connection.execute(select(BLOCKS.c.hash).where(BLOCKS.c.number == number)).scalar()
    return None if found is None else bytes(found)


def filters_of(connection: Connection) -> bytes:
    """Digest of the filters with which the tables were made."""
    found = connection.execute(select(SETTINGS.c.value).where(SETTINGS.c.name == FILTERS)).scalar()
    return bytes(found or b"")


def set_filters(connection: Connection, digest: bytes) -> None:
    """Note with which filters they are made."""
    connection.execute(delete(SETTINGS).where(SETTINGS.c.name == FILTERS))
    connection.execute(insert(SETTINGS), {"name": FILTERS, "value": digest})
