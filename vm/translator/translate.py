"""From a program to a WebAssembly module."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vm.constants import FLAG_EXECUTABLE, MEMORY_SIZE, PAGE_COUNT, PAGE_SHIFT, PAGE_SIZE
from vm.isa.profile import Isa
from vm.memory import Memory
from vm.reference.engine import ReferenceMachine
from vm.translator import layout as to
from vm.translator.emit import BlockEmitter
from vm.translator.flow import analyse
from vm.translator.graph import discover
from vm.translator.hosted import function_at
from vm.translator.limits import Limits
from vm.translator.routine import RoutineEmitter
from vm.wasm import layout as at
from vm.wasm.emitter import I32, I64, Function, Local, Module, const, load

TRANSLATOR_VERSION: Final = 4  # part of the key of cached modules: change it whenever the generated code changes

_ZERO: Final = const(I32, 0)


@dataclass(frozen=True, slots=True)
class Translation:
    """`code` is the module; the rest is for people."""

    code: bytes
    functions: int
    blocks: int
    instructions: int


def translate(elf: bytes, version: int, limits: Limits | None = None, isa: Isa = Isa.CKB) -> Translation:
    """Translate the executable pages of a program, as loaded into an empty machine.

    The module imports memory, `interpret` and `translated` of `vm.translator.hosted` and exports `run() -> status`.
    Raises TooLargeError, or what loading the program raises.
    """
    machine = ReferenceMachine(version, 0)
    machine.load_elf(elf)
    graph = discover(machine.memory, machine.pc, _pointers(machine.memory), version, isa, limits or Limits())
    module = Module(to.MEMORY_PAGES)
    module.import_memory("memory")
    table = module.import_table("translated", 1)
    interpret = module.import_function("interpret", to.PARAMS, to.RESULTS)
    emitter = BlockEmitter(module, interpret, version, isa)
    members = graph.functions()
    numbers = {entry: number for number, entry in enumerate(sorted(members), start=1)}
    own_table = module.table(len(numbers) + 1)
    dispatch = _generate_dispatch(module, own_table)
    _generate_run(module, dispatch)
    functions = {entry: module.function(to.PARAMS, to.RESULTS) for entry in numbers}
    known = dict(numbers)
    for entry in numbers:
        routine_emitter = RoutineEmitter(emitter, analyse(graph, entry, members[entry]), functions, dispatch)
        routine_emitter.emit()
        for site in routine_emitter.return_sites:
            known[site] = known.get(site, 0) | to.RETURN_SITE
    module.elements(table, [dispatch])
    module.elements(own_table, [interpret, *functions.values()])
    for address, content in _map_parts(known):
        module.data(to.MAP + address, content)
    instructions = sum(len(node.block.instructions) for node in graph.nodes.values())
    return Translation(module.encode(), len(functions), len(graph.owners), instructions)


def _pointers(memory: Memory) -> Iterator[int]:
    """Aligned words of the program that are addresses of code."""
    executable = [bool(flag & FLAG_EXECUTABLE) for flag in memory.flags]
    for page in range(PAGE_COUNT):
        if not memory.flags[page]:
            continue
        for (word,) in struct.iter_unpack("<Q", memory.load_bytes(page << PAGE_SHIFT, PAGE_SIZE)):
            if word < MEMORY_SIZE and not word & 1 and executable[word >> PAGE_SHIFT]:
                yield word


def _map_parts(known: dict[int, int]) -> Iterator[tuple[int, bytes]]:
    """The content of MAP, page by page."""
    pages: dict[int, bytearray] = {}
    for address, number in known.items():
        content = pages.setdefault(address >> PAGE_SHIFT, bytearray(PAGE_SIZE))
        struct.pack_into("<H", content, address % PAGE_SIZE, number)
    for page, content in sorted(pages.items()):
        yield page << PAGE_SHIFT, bytes(content)


def _generate_dispatch(module: Module, own_table: int) -> Function:
    """Called as all functions are: goes on with the function at PC, or the interpreter."""
    f = module.function(to.PARAMS, to.RESULTS)
    remaining, depth = f.param(0), f.param(1)
    target = f.local(I64)
    f.set(target, load(I64, 8, _ZERO, at.PC))
    index = function_at(target) & (to.RETURN_SITE - 1)
    type_index = module.type_index(to.PARAMS, to.RESULTS)
    f.return_call_indirect(type_index, own_table, index, remaining.value, depth.value)
    f.unreachable()
    return f


def _generate_run(module: Module, dispatch: Function) -> None:
    """`run() -> status`: as that of the interpreter."""
    f = module.function((), (I32,), export="run")
    target, remaining = f.local(I64), f.local(I64)
    status: Local = f.local(I32)
    f.store(4, _ZERO, _ZERO, to.STATUS)
    f.set(remaining, load(I64, 8, _ZERO, at.REMAINING))
    with f.loop() as again:
        f.call_into((target, remaining), dispatch, remaining.value, const(I32, to.STACK_BUDGET))
        f.set(status, load(I32, 4, _ZERO, to.STATUS))
        with f.if_(status.value.eqz()):
            f.store(8, _ZERO, target.value, at.PC)
            f.branch(again)
    f.store(8, _ZERO, remaining.value, at.REMAINING)
    f.store(4, _ZERO, _ZERO, to.PURE)
    f.return_(status.value)
    f.unreachable()
