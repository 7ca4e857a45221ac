"""Runs one script of a mock transaction on the VM, serving just the system calls that the system scripts make (RFC 9).

A second, much smaller reading of that RFC than the node's own: made for these tests, so that they need no chain.
"""

from collections.abc import Callable
from dataclasses import dataclass

from consensus.crypto.hashing import data_hash
from consensus.types.blockchain import Script
from tests.support.builders.mock_transactions import Cell, Mock
from vm import create_machine
from vm.machine import Machine

EXIT = 93
A0, A7 = 10, 17
INDEX_OUT_OF_BOUND, ITEM_MISSING = 1, 2
INPUT, OUTPUT, CELL_DEP, HEADER_DEP = 1, 2, 3, 4
GROUP_FLAG = 1 << 56
MAX_CYCLES = 100_000_000


@dataclass(frozen=True)
class Result:
    """How a run ended: exit code as a signed byte, and cycles with those of loading."""

    code: int
    cycles: int


class LoadFailedError(Exception):
    """A system call's result other than success."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Group:
    """A script and the inputs and outputs that it runs for, by index."""

    script: Script
    inputs: list[int]
    outputs: list[int]


def lock_group(mock: Mock, first: int) -> Group:
    """The group of the lock of an input."""
    lock = mock.inputs[first].lock
    return Group(lock, [i for i, cell in enumerate(mock.inputs) if cell.lock == lock], [])


def type_group(mock: Mock, script: Script) -> Group:
    """The group of a type script."""
    inputs = [i for i, cell in enumerate(mock.inputs) if cell.type_ == script]
    return Group(script, inputs, [i for i, cell in enumerate(mock.outputs) if cell.type_ == script])


class Items:
    """What the loading calls find: one method each, giving bytes or raising LoadFailedError."""

    def __init__(self, mock: Mock, group: Group) -> None:
        self.mock = mock
        self.group = group
        self.calls: dict[int, Callable[[int, int, int], bytes]] = {
            2052: lambda *_: group.script.raw,
            2061: lambda *_: mock.transaction().hash,
            2062: lambda *_: group.script.hash,
            2072: self.header,
            2074: self.witness,
            2081: self.cell_field,
            2083: self.input_field,
            2092: lambda index, source, _: self.cell(index, source).data,
        }

    def position(self, index: int, source: int) -> tuple[int, int]:
        """Index and source without the group flag."""
        if not source & GROUP_FLAG:
            return index, source
        members = {INPUT: self.group.inputs, OUTPUT: self.group.outputs}[source & ~GROUP_FLAG]
        if index >= len(members):
            raise LoadFailedError(INDEX_OUT_OF_BOUND)
        return members[index], source & ~GROUP_FLAG

    def cell(self, index: int, source: int) -> Cell:
        index, source = self.position(index, source)
        cells = {INPUT: self.mock.inputs, OUTPUT: self.mock.outputs, CELL_DEP: self.mock.deps}[source]
        if index >= len(cells):
            raise LoadFailedError(INDEX_OUT_OF_BOUND)
        return cells[index]

    def cell_field(self, index: int, source: int, field: int) -> bytes:
        cell = self.cell(index, source)
        output = cell.output()
        match field:
            case 0:
                return cell.capacity.to_bytes(8, "little")
            case 1:
                return data_hash(cell.data)
            case 5:
                if cell.type_ is None:
                    raise LoadFailedError(ITEM_MISSING)
                return cell.type_.hash
            case 6:
                return output.occupied_capacity(len(cell.data)).to_bytes(8, "little")
        raise AssertionError(f"no script asks for cell field {field}")

    def input_field(self, index: int, source: int, field: int) -> bytes:
        assert field == 1
        return self.cell(index, source).since.to_bytes(8, "little")

    def header(self, index: int, source: int, _: int) -> bytes:
        index, source = self.position(index, source)
        if source == HEADER_DEP:
            if index >= len(self.mock.header_deps):
                raise LoadFailedError(INDEX_OUT_OF_BOUND)
            return self.mock.header_deps[index].raw
        header = self.cell(index, source).header
        if header is None or header not in self.mock.header_deps:
            raise LoadFailedError(ITEM_MISSING)
        return header.raw

    def witness(self, index: int, source: int, _: int) -> bytes:
        index, _ = self.position(index, source)
        if index >= len(self.mock.witnesses):
            raise LoadFailedError(INDEX_OUT_OF_BOUND)
        return self.mock.witnesses[index]


def load(machine: Machine, items: Items) -> int:
    """One loading call: to a0, at most *a1 bytes from offset a2 of the item; *a1 becomes what was there."""
    call = machine.get_register(A7)
    address, size_address, offset, index, source, field = (machine.get_register(A0 + i) for i in range(6))
    try:
        item = items.calls[call](index, source, field)
    except LoadFailedError as failure:
        return failure.code
    room = machine.memory.load64(size_address)
    part = item[offset:][:room]
    machine.memory.store64(size_address, len(item[offset:]))
    machine.memory.store_bytes(address, part)
    machine.add_cycles((len(part) + 3) // 4)
    return 0


def run(elf: bytes, mock: Mock, group: Group, version: int = 2, engine: str = "auto") -> Result:
    """Run a script to its end."""
    machine = create_machine(version, MAX_CYCLES, engine)
    items = Items(mock, group)
    machine.add_cycles((machine.load_program(elf, []) + 3) // 4)
    while True:
        machine.run()
        if machine.get_register(A7) == EXIT:
            code = machine.get_register(A0) & 0xFF
            return Result(code - 256 if code > 127 else code, machine.cycles)
        machine.set_register(A0, load(machine, items))
