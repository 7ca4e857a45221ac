"""What a script can see: the transaction, the cells it names, their headers, and the script's own group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from consensus.context import HeaderProvider
from consensus.crypto.hashing import data_hash
from consensus.lazy import lazy
from consensus.script.code import CodeIndex
from consensus.script.errors import SnapshotDataLoadError
from consensus.script.groups import ScriptGroup
from consensus.types.blockchain import Block, CellInput, CellOutput, Header
from consensus.types.core import ResolvedTransaction
from vm import parse_program
from vm.elf import ProgramMetadata

T = TypeVar("T")

DebugPrinter = Callable[[bytes, str], None]
"""Takes what a script prints: its hash and the text."""

# Sources of RFC 9; the flag restricts inputs and outputs to those of the script's own group.
INPUT, OUTPUT, CELL_DEP, HEADER_DEP = 1, 2, 3, 4
GROUP_FLAG = 1 << 56
GROUP_INPUT, GROUP_OUTPUT = GROUP_FLAG | INPUT, GROUP_FLAG | OUTPUT

MAX_LOADED = 16
"""Programs that a group caches: each may be half a megabyte."""

# Places of RFC 34: where a program is read from.
CELL_DATA, WITNESS = 0, 1


@dataclass(frozen=True, slots=True)
class Program:
    """Where a program is: bytes of a cell's data or of a witness (RFC 34). A length of 0 reaches to the end."""

    source: int
    index: int
    place: int
    offset: int
    length: int

    def cut(self, data: bytes) -> bytes:
        """The part of the data that is the program, as much of it as there is."""
        return data[self.offset : self.offset + self.length] if self.length else data[self.offset :]


class ScriptEnv(Protocol):
    """What scripts depend on besides the transaction; TxEnv satisfies it."""

    @property
    def epoch_without_proposal_window(self) -> int: ...


class ScriptChain(HeaderProvider, Protocol):
    """What scripts may read of stored blocks: headers, and extensions (RFC 31). ChainReader satisfies it."""

    def block(self, block_hash: bytes) -> Block | None: ...


class ScriptCell(Protocol):
    """A cell as scripts read it; CellMeta satisfies it."""

    @property
    def output(self) -> CellOutput: ...

    @property
    def data_size(self) -> int: ...

    @property
    def data_hash(self) -> bytes: ...

    @property
    def data(self) -> bytes: ...


class OutputCell:
    """A cell that the transaction creates."""

    def __init__(self, output: CellOutput, data: bytes) -> None:
        self.output = output
        self.data = data
        self.data_size = len(data)

    @lazy
    def data_hash(self) -> bytes:
        """Hash of the data."""
        return data_hash(self.data)


class TransactionContext:
    """A transaction with what its scripts may read. Look-ups in the chain are done once: scripts may repeat them."""

    def __init__(self, rtx: ResolvedTransaction, chain: ScriptChain) -> None:
        self.rtx = rtx
        self.transaction = rtx.transaction
        self._chain = chain
        self._headers: dict[bytes, Header | None] = {}
        self._extensions: dict[bytes, bytes | None] = {}

    @lazy
    def code(self) -> CodeIndex:
        """The code cells of the transaction."""
        return CodeIndex(self.rtx.cell_deps)

    @lazy
    def outputs(self) -> Sequence[OutputCell]:
        """The cells that the transaction creates."""
        body = self.transaction.body
        return [OutputCell(output, data) for output, data in zip(body.outputs, body.outputs_data, strict=False)]

    @lazy
    def header_dep_set(self) -> frozenset[bytes]:
        """Hashes of the header deps."""
        return frozenset(self.transaction.body.header_deps)

    def header(self, block_hash: bytes) -> Header | None:
        """Header of a block that is one of the header deps."""
        if block_hash not in self._headers:
            self._headers[block_hash] = self._chain.header(block_hash)
        return self._headers[block_hash]

    def extension(self, block_hash: bytes) -> bytes | None:
        """Extension of a block that is one of the header deps; None when it has none."""
        if block_hash not in self._extensions:
            block = self._chain.block(block_hash)
            self._extensions[block_hash] = None if block is None else block.extension
        return self._extensions[block_hash]


class GroupContext:
    """What a group's script sees: the transaction through the sources of RFC 9.

    Each table maps a source to its items; that of cells is filled as scripts ask, most for one or two sources. A source
    that is not in a table has no items of that kind. Items are None where a group's cell has no witness or input of its
    index.
    """

    def __init__(self, transaction: TransactionContext, group: ScriptGroup, debug: DebugPrinter | None = None) -> None:
        self.transaction = transaction
        self.group = group
        self.debug = debug
        self._cells: dict[int, Sequence[ScriptCell]] = {}
        self._loaded: dict[tuple[Program, int], tuple[bytes, ProgramMetadata]] = {}

    def cell(self, source: int, index: int) -> ScriptCell | None:
        """Cell of a source; None when the source has no such cell."""
        cells = self._cells.get(source)
        if cells is None:
            cells = self._cells[source] = self._cells_of(source)
        return _at(cells, index)

    def _cells_of(self, source: int) -> Sequence[ScriptCell]:
        transaction, group = self.transaction, self.group
        if source == INPUT:
            return transaction.rtx.inputs
        if source == CELL_DEP:
            return transaction.rtx.cell_deps
        if source == GROUP_INPUT:
            return [transaction.rtx.inputs[index] for index in group.input_indexes]
        if source == OUTPUT:
            return transaction.outputs
        if source == GROUP_OUTPUT:
            outputs = transaction.outputs
            return [outputs[index] for index in group.output_indexes if index < len(outputs)]
        return ()

    @lazy
    def inputs(self) -> dict[int, Sequence[CellInput | None]]:
        inputs = self.transaction.transaction.body.inputs
        return {
            INPUT: inputs,
            GROUP_INPUT: [_at(inputs, index) for index in self.group.input_indexes],
        }

    @lazy
    def witnesses(self) -> dict[int, Sequence[bytes | None]]:
        """Output sources read the same list as input sources: witness n stands beside input n and output n."""
        witnesses = self.transaction.transaction.witnesses
        return {
            INPUT: witnesses,
            OUTPUT: witnesses,
            GROUP_INPUT: [_at(witnesses, index) for index in self.group.input_indexes],
            GROUP_OUTPUT: [_at(witnesses, index) for index in self.group.output_indexes],
        }

    @lazy
    def block_hashes(self) -> dict[int, Sequence[bytes | None]]:
        """Hashes of the blocks that header sources name. None: the block is not among the header deps.

        A cell of a transaction that is not committed yet has no block.
        """
        rtx, allowed = self.transaction.rtx, self.transaction.header_dep_set

        def block_hash_of(info_hash: bytes | None) -> bytes | None:
            return info_hash if info_hash in allowed else None

        inputs = [block_hash_of(None if cell.info is None else cell.info.block_hash) for cell in rtx.inputs]
        deps = [block_hash_of(None if cell.info is None else cell.info.block_hash) for cell in rtx.cell_deps]
        return {
            INPUT: inputs,
            CELL_DEP: deps,
            HEADER_DEP: rtx.transaction.body.header_deps,
            GROUP_INPUT: [inputs[index] for index in self.group.input_indexes],
        }

    def data_at(self, source: int, index: int, place: int) -> bytes | None:
        """Data of a cell, or a witness; None when there is none."""
        if place == WITNESS:
            return item_at(self.witnesses, source, index)
        cell = self.cell(source, index)
        return None if cell is None else cell.data

    def read(self, program: Program) -> bytes:
        """A program as far as it is there. Raises SnapshotDataLoadError if there is no such cell or witness."""
        data = self.data_at(program.source, program.index, program.place)
        if data is None:
            raise SnapshotDataLoadError
        return program.cut(data)

    def load(self, program: Program, vm_version: int) -> tuple[bytes, ProgramMetadata]:
        """`read`, and `parse_program`. The last programs are remembered: scripts may execute them again and again."""
        key = program, vm_version
        loaded = self._loaded.get(key)
        if loaded is None:
            elf = self.read(program)
            loaded = self._loaded[key] = elf, parse_program(elf, vm_version)
            if len(self._loaded) > MAX_LOADED:
                del self._loaded[next(iter(self._loaded))]
        return loaded


def item_at(table: Mapping[int, Sequence[T | None]], source: int, index: int) -> T | None:
    """Item of a source; None when the source has no such item."""
    return _at(table.get(source, ()), index)


def _at(items: Sequence[T], index: int) -> T | None:
    return items[index] if index < len(items) else None
