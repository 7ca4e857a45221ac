"""Resolved transactions and script errors as messages between the node and its workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.verification.messages import DECODE_CELLS, Cell, ErrorData, Job, pack_cells
from consensus.errors import ScriptError
from consensus.types.blockchain import CellOutput, Transaction
from consensus.types.core import CellMeta, ResolvedTransaction, TransactionInfo
from vm.errors import VmError

INLINE_DATA = 1024
"""Data of inputs up to this size (bytes) is sent with the job: most scripts read it."""
KEPT_DEPS = 16
KEPT_DEPS_BYTES = 32 << 10
"""Sets of cell deps that a process keeps from one job to the next, and how large each may be as it comes."""


class JobMaker:
    """Makes jobs of transactions. Neighbouring transactions of a block share their cell deps, which are packed once."""

    def __init__(self) -> None:
        self._deps: Sequence[CellMeta] | None = None
        self._packed_deps = pack_cells([])

    def make(
        self, job_id: int, rtx: ResolvedTransaction, epoch: int, max_cycles: int, seconds: float | None = None
    ) -> Job:
        """The job of a transaction."""
        if rtx.cell_deps is not self._deps:
            self._deps, self._packed_deps = rtx.cell_deps, pack_cells([_pack_cell(cell, 0) for cell in rtx.cell_deps])
        inputs = [_pack_cell(cell, INLINE_DATA) for cell in rtx.inputs]
        return Job(job_id, rtx.transaction.raw, inputs, self._packed_deps, epoch, max_cycles, seconds)


def _pack_cell(cell: CellMeta, inline: int) -> Cell:
    size = cell.data_size
    return Cell(
        cell.out_point,
        cell.output.raw,
        size,
        cell.data_hash,
        cell.info,
        (cell.data if size else b"") if size <= inline else None,
    )


_Parts = tuple[bytes, CellOutput, int, bytes, TransactionInfo | None, Callable[[], bytes]]
"""What a CellMeta is made of. Those of cell deps are kept, with what was read of the output; CellMetas are not, since
they keep data."""


class TransactionMaker:
    """Makes transactions of jobs. `load_data` gets data that was not sent, for the job at hand."""

    def __init__(self, load_data: Callable[[Cell], bytes]) -> None:
        self._load_data: Final = load_data
        self._deps: Final[BoundedMap[bytes, Sequence[_Parts]]] = BoundedMap(max_count=KEPT_DEPS)

    def resolved(self, job: Job) -> ResolvedTransaction:
        """The transaction of a job. No script reads dep groups."""
        inputs = [CellMeta(*self._parts_of(cell)) for cell in job.inputs]
        deps = [CellMeta(*parts) for parts in self._deps_of(job.cell_deps)]
        return ResolvedTransaction(Transaction.trusted(job.transaction), inputs, deps, [])

    def _deps_of(self, packed: msgspec.Raw) -> Sequence[_Parts]:
        key = bytes(packed)
        deps = self._deps.use(key)
        if deps is None:
            deps = [self._parts_of(cell) for cell in DECODE_CELLS(key)]
            if len(key) <= KEPT_DEPS_BYTES:
                self._deps.put(key, deps)
        return deps

    def _parts_of(self, cell: Cell) -> _Parts:
        data, info = cell.data, None if cell.info is None else TransactionInfo(*cell.info)
        load = partial(self._load_data, cell) if data is None else lambda: data
        return cell.out_point, CellOutput.trusted(cell.output), cell.data_size, cell.data_hash, info, load


def pack_error(error: ScriptError | VmError) -> ErrorData:
    """An error with its arguments and fields, errors among these included."""
    fields = vars(error)
    errors = {name: pack_error(value) for name, value in fields.items() if isinstance(value, ScriptError | VmError)}
    plain = {name: value for name, value in fields.items() if name not in errors}
    return ErrorData(type(error).__name__, list(error.args), plain, errors)


def unpack_error(data: ErrorData) -> ScriptError | VmError:
    """The error of a message. Raises LookupError if there is no such class."""
    error = _blank(data.name, *data.args)
    vars(error).update(data.fields)
    vars(error).update({name: unpack_error(value) for name, value in data.errors.items()})
    return error


def _blank(name: str, *args: object) -> ScriptError | VmError:
    kinds: list[type[ScriptError | VmError]] = [ScriptError, VmError]
    for kind in kinds:
        if kind.__name__ == name:
            return kind.__new__(kind, *args)
        kinds += kind.__subclasses__()
    raise LookupError(name)
