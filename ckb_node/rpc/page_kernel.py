"""JSON of what a step of a search finds, by generated code: a tenth of what Python takes.

`ckb_node/rpc/indexer_texts.py` says in Python what is written, and writes what is not for here. Threads may call it:
each has an instance of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ckb_node.indexer.keys import IO, TX_PLACE
from ckb_node.indexer.query import FoundCell, FoundTransaction
from ckb_node.rpc.page_code import (
    CELL_TEXT,
    CODE_DIGEST,
    GROUP_IO_TEXT,
    GROUP_TEXT,
    IO_TEXT,
    MAX_INPUT,
    MAX_OUTPUT,
    TX_IOS_AT,
    Layout,
    generate_pages,
)
from consensus.codec.layout import U32
from consensus.kernels.runtime import Instance, Kernel

_size: Final = U32.pack


class _Writers:
    """A thread's instance."""

    def __init__(self, instance: Instance) -> None:
        self._memory = instance.memory
        self._cells = instance.function("cells", 2, is_brief=True)
        self._transactions = instance.function("transactions", 1, is_brief=True)
        self._groups = instance.function("groups", 1, is_brief=True)

    def cells(self, records: bytes, with_data: bool) -> bytes | None:
        return self._written(self._cells(self._placed(records), with_data))

    def transactions(self, records: bytes) -> bytes | None:
        return self._written(self._transactions(self._placed(records)))

    def groups(self, records: bytes) -> bytes | None:
        return self._written(self._groups(self._placed(records)))

    def _placed(self, records: bytes) -> int:
        end = Layout.INPUT + len(records)
        self._memory[Layout.INPUT : end] = records
        return end

    def _written(self, size: int) -> bytes | None:
        return bytes(self._memory[Layout.OUTPUT : Layout.OUTPUT + size]) if size else None


KERNEL: Final = Kernel("pages", CODE_DIGEST, generate_pages, _Writers)


def cells_text(found: Sequence[FoundCell], *, with_data: bool) -> bytes | None:
    """Objects of cells, at least one, with commas between them; None where they are too many, or a hash type has no
    name here."""
    records = b"".join([part for _, point, packed in found for part in (_size(len(packed)), point, packed)])
    if not _fits(records, 2 * len(records) + CELL_TEXT * len(found)):
        return None
    return KERNEL.here().cells(records, with_data)


def transactions_text(found: Sequence[FoundTransaction]) -> bytes | None:
    """The same of the inputs and outputs of transactions, of which each has one at least."""
    records, ios = _records(found)
    return KERNEL.here().transactions(records) if _fits(records, IO_TEXT * ios) else None


def groups_text(found: Sequence[FoundTransaction]) -> bytes | None:
    """The same of transactions with their inputs and outputs."""
    records, ios = _records(found)
    return KERNEL.here().groups(records) if _fits(records, GROUP_TEXT * len(found) + GROUP_IO_TEXT * ios) else None


def _records(found: Sequence[FoundTransaction]) -> tuple[bytes, int]:
    """And the number of inputs and outputs."""
    place = -TX_PLACE.size
    records = b"".join([part for key, packed, _ in found for part in (_size(len(packed)), key[place:], packed)])
    return records, (len(records) - len(found) * TX_IOS_AT) // IO.size


def _fits(records: bytes, most: int) -> bool:
    """Whether a call takes these, of which it makes so many bytes at most."""
    return len(records) <= MAX_INPUT and most <= MAX_OUTPUT
