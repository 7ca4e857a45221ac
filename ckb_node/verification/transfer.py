"""Resolved transactions and script errors as messages between the node and its workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from ckb_node.verification.messages import Cell, ErrorData, Job
from consensus.errors import ScriptError
from consensus.types.blockchain import CellOutput, Transaction
from consensus.types.core import CellMeta, ResolvedTransaction, TransactionInfo
from vm.errors import VmError

INLINE_DATA = 1024
"""Data of inputs up to this size (bytes) is sent with the job: most scripts read it."""
_SMALL_OUTPUT = 1024


class JobMaker:
    """Makes jobs of transactions. Neighbouring transactions of a block share their cell deps, which are packed once."""

    def __init__(self) -> None:
        self._deps: Sequence[CellMeta] | None = None
        self._packed_deps: list[Cell] = []

    def make(
        self, job_id: int, rtx: ResolvedTransaction, epoch: int, max_cycles: int, seconds: float | None = None
    ) -> Job:
        """The job of a transaction."""
        if rtx.cell_deps is not self._deps:
            self._deps, self._packed_deps = rtx.cell_deps, [_pack_cell(cell, 0) for cell in rtx.cell_deps]
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


def resolved_of(job: Job, load_data: Callable[[Cell], bytes]) -> ResolvedTransaction:
    """The transaction of a job; `load_data` gets data that was not sent. No script reads dep groups."""

    def cell_of(cell: Cell) -> CellMeta:
        data, info, output = cell.data, cell.info, cell.output
        return CellMeta(
            cell.out_point,
            _output(output) if data is None and len(output) <= _SMALL_OUTPUT else CellOutput.trusted(output),
            cell.data_size,
            cell.data_hash,
            None if info is None else TransactionInfo(*info),
            (lambda: load_data(cell)) if data is None else (lambda: data),
        )

    return ResolvedTransaction(
        Transaction.trusted(job.transaction),
        [cell_of(cell) for cell in job.inputs],
        [cell_of(cell) for cell in job.cell_deps],
        [],
    )


_output = lru_cache(maxsize=64)(CellOutput.trusted)
"""For cell deps, which transactions share: what is read of a view, and hashed, stays with it."""


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
