"""System calls: wall time for each cycle charged, in the worst cases that we know, beside that of instructions.

    make bench-vm

Each case is a script that makes one call for ever, set up as badly as we know how. It is run twice with different
limits of cycles; the difference is its steady state. The measure is processor time, on the interpreter, of the whole
production path (`consensus.script`). The first column says how many times as long as in the median instruction (of
version 2, by time for each cycle) a cycle takes.

Some calls move megabytes for a few hundred cycles, because the rules say so. For those the second column is the floor:
the same measure of a plain copy of as many bytes as such a call has to read and to write. What has a floor above the
bound cannot meet it on any implementation. Arguments of `exec` stay far above twice their floor, too: decision 25 says
what was tried.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from consensus.errors import ScriptError
from consensus.script.scheduler import MachineFactory
from consensus.script.syscalls import numbers as call
from consensus.script.verifier import ScriptVerifier
from consensus.types.core import ResolvedTransaction
from tests.support.builders.scripts import (
    Chain,
    Env,
    make_block,
    make_cell,
    make_consensus,
    make_header,
    make_output,
    make_transaction,
    resolve,
    script_for,
)
from tests.support.report import Report
from tests.support.vm.assembler import CODE_BASE, PF_R, PF_X, Segment, elf
from tests.support.vm.hostile_programs import (
    CELL_COUNT,
    LIST,
    LIST_END,
    PROGRAM_HEADER_SIZE,
    Endless,
    exec_onto_code,
    exec_with_arguments,
    exec_with_mixed_sizes,
    exec_with_varied_length,
    exec_with_what_is_left,
    inheriting,
    many_headers,
    padded,
    segments_that_fail,
    spawning,
    talking,
    with_list,
)
from tests.support.vm.script_programs import DATA
from vm import Machine, create_machine
from vm.errors import CyclesExceeded
from vm.isa.table import OPS, Extension, Form, OpSpec

VERSION = 2
TIMES_MEDIAN = 20
"""What no system call should exceed, nor, where that is more, twice its floor."""
BUDGET_S = 0.25
FIRST_CYCLES = 50_000
SETTLED, FILLED = 6_000_000, 1_000_000
"""Cycles after which a case that is long to set up is in its loop; one that fills a megabyte of memory."""
MOST_CYCLES = 4_000_000
UNROLLED = 500
BASE = 8
"""The register that holds an address in the data."""
GROUP = 1 << 56
SOURCES = (1, 2, 3, 4, GROUP | 1, GROUP | 2)
BIG = 400_000
SEGMENTS = 8_000
COPIES = 25


@dataclass(frozen=True)
class Case:
    """A script that goes on for ever; `others` are the cell deps after it. `settled`: after so many cycles it is in its
    loop.

    `moved_bytes`: what the rules make each call read plus what they make it write, each byte counted once.
    """

    name: str
    code: bytes
    version: int = VERSION
    others: tuple[bytes, ...] = ()
    settled: int = FIRST_CYCLES
    moved_bytes: int = 0


# The median instruction


def nanoseconds_per_cycle_of_instructions() -> dict[str, float]:
    """Every instruction of CKB but those of the system, in a loop on the interpreter."""
    measured = {}
    for spec in OPS:
        if spec.extension not in {Extension.A, Extension.FUSION} and spec.form is not Form.NONE and spec.name != "jalr":
            measured[spec.name] = _of_machine(_loop_of(spec))
    return measured


def _loop_of(spec: OpSpec) -> bytes:
    """The instruction again and again, with harmless operands, and a jump back."""
    word = spec.match
    if spec.form is not Form.B and spec.form is not Form.S:
        word |= 5 << 7
    if spec.form not in {Form.U, Form.J}:
        word |= BASE << 15
    if spec.form in {Form.R, Form.S, Form.B}:
        word |= (BASE if spec.form is Form.R else 0) << 20
    if spec.form is Form.J:
        word |= 4 << 20  # jump to the next
    if spec.form is Form.B:
        word |= 4 << 7  # whether it is taken or not, the next is the next
    body = word.to_bytes(4, "little") * UNROLLED
    back = -len(body)
    jump = (
        0x6F | (back >> 20 & 1) << 31 | (back >> 1 & 0x3FF) << 21 | (back >> 11 & 1) << 20 | (back >> 12 & 0xFF) << 12
    )
    return elf(
        [
            Segment(CODE_BASE, body + jump.to_bytes(4, "little"), PF_R | PF_X),
            Segment(DATA, bytes(4096), PF_R | 2),
        ]
    )


def _of_machine(file: bytes) -> float:
    machine = create_machine(VERSION, 0, "wasm")
    machine.load_program(file, [])
    machine.set_register(BASE, DATA + 2048)
    _run_to(machine, 100_000)
    before, start = machine.cycles, time.process_time_ns()
    _run_to(machine, 4_000_000)
    return (time.process_time_ns() - start) / (machine.cycles - before)


def _run_to(machine: Machine, limit: int) -> None:
    machine.max_cycles = limit
    try:
        machine.run()
    except CyclesExceeded:
        return
    raise AssertionError("the loop ended")


# Cases


def loading_cases() -> Iterator[Case]:
    """All that reads the transaction: nothing, a byte, all, and from far behind the end."""
    for name, number in (
        ("load_tx", call.LOAD_TRANSACTION),
        ("load_script", call.LOAD_SCRIPT),
        ("load_tx_hash", call.LOAD_TX_HASH),
        ("load_script_hash", call.LOAD_SCRIPT_HASH),
    ):
        for room, offset in ((0, 0), (1, 0), (BIG, 0), (BIG, (1 << 64) - 1)):
            yield Case(f"{name} {room} bytes from {offset}", Endless().load(number, room, offset).code())
    for name, number, fields in (
        ("load_cell", call.LOAD_CELL, (0,)),
        ("load_header", call.LOAD_HEADER, (0,)),
        ("load_input", call.LOAD_INPUT, (0,)),
        ("load_witness", call.LOAD_WITNESS, (0,)),
        ("load_cell_data", call.LOAD_CELL_DATA, (0,)),
        ("load_extension", call.LOAD_BLOCK_EXTENSION, (0,)),
        ("load_cell_by_field", call.LOAD_CELL_BY_FIELD, range(7)),
        ("load_header_by_field", call.LOAD_HEADER_BY_FIELD, range(3)),
        ("load_input_by_field", call.LOAD_INPUT_BY_FIELD, range(2)),
    ):
        for source in SOURCES:
            for number_of_field in fields:
                for index in (0, CELL_COUNT - 1, 1 << 40):
                    code = Endless().load(number, 8, 0, index, source, number_of_field).code()
                    yield Case(f"{name} field {number_of_field} source {source:#x} index {index}", code)
    yield Case("load_cell_data 1 byte of many", Endless().load_many(call.LOAD_CELL_DATA, 1).code())
    yield Case("load_cell_data 0 bytes of many", Endless().load_many(call.LOAD_CELL_DATA, 0).code())
    yield Case("load_extension of many", Endless().load_many(call.LOAD_BLOCK_EXTENSION, 0, source=4).code())
    yield Case("load_cell_data all", Endless().load(call.LOAD_CELL_DATA, BIG, 0, 0, 1).code())
    yield Case("load_witness all", Endless().load(call.LOAD_WITNESS, BIG, 0, 0, 1).code())
    yield Case(
        "map code, index too high", Endless().call(call.LOAD_CELL_DATA_AS_CODE, 0x100000, 4096, 0, 4096, 999, 1).code()
    )
    yield Case(
        "map code, part too long", Endless().call(call.LOAD_CELL_DATA_AS_CODE, 0x100000, 4096, 0, 1 << 40, 0, 1).code()
    )


def own_cases() -> Iterator[Case]:
    """About the script itself."""
    for name, number in (
        ("vm_version", call.VM_VERSION),
        ("current_cycles", call.CURRENT_CYCLES),
        ("process_id", call.PROCESS_ID),
        ("debug, nothing", call.DEBUG),
    ):
        yield Case(name, Endless().call(number, DATA + 256).code())
    for size in (1, 100, 10_000, 1_000_000):
        yield Case(
            f"debug, {size} bytes",
            Endless().fill(LIST, LIST + size - size % 8, 0x4141414141414141).call(call.DEBUG, LIST).code(),
        )


def list_cases() -> Iterator[Case]:
    """Lists of descriptors that fill the memory."""
    for offset in (0, 1, 7):
        yield Case(f"spawn, index too high, list at {offset}", with_list(99, offset))
    yield Case("spawn, index too high, its end moves", with_list(99, 0, moving=1))
    for pages in (16, 128, 900):
        yield Case(f"spawn, index too high, {pages} pages stored to", with_list(99, 0, moving=pages))
    yield Case("spawn, no such part, list", with_list(0, 0, bounds=0xFFFFFFFF))
    yield Case("spawn, descriptors not owned, list", with_list(0, 0))
    yield Case("inherited_fd, no list", Endless().call(call.INHERITED_FD, LIST, DATA + 32).code())
    yield Case("inherited_fd, list", inheriting(0), others=(inheriting(0),))
    moved = 2 * (LIST_END - LIST)
    yield Case("inherited_fd, list, other place each time", inheriting(8), others=(inheriting(8),), moved_bytes=moved)
    yield Case(
        "spawn with a list, the child ends", spawning(with_list_of_fds=True), others=(spawning(with_list_of_fds=True),)
    )


def process_cases() -> Iterator[Case]:
    """Processes and pipes."""
    yield Case("wait, nobody", Endless().call(call.WAIT, 77, DATA + 64).code())
    yield Case("close, not owned", Endless().call(call.CLOSE, 77).code())
    yield Case("pipe, too many", Endless().call(call.PIPE, DATA + 64).code())
    yield Case("read, not owned", Endless().call(call.READ, 78, DATA + 64, DATA + 32).code())
    yield Case("write, not owned", Endless().call(call.WRITE, 77, DATA + 64, DATA + 32).code())
    yield Case("write, wrong end", Endless().call(call.WRITE, 78, DATA + 64, DATA + 32).code())
    yield Case("spawn, the child ends", spawning(), others=(spawning(),))
    for waiting in (0, 2, 14):
        for size in (0, 1, 3000):
            code = talking(size, waiting)
            yield Case(f"pipe of {size} bytes, {waiting} others wait", code, others=(code,))


def exec_cases() -> Iterator[Case]:
    """Programs that are loaded again and again."""
    for version in (1, 2):
        itself = Endless().call(call.EXEC, 0, 3, 0, 0, 0, 0).code()
        yield Case(f"exec v{version}, itself", itself, version)
        yield Case(f"exec v{version}, itself, 500 kB behind it", padded(itself, 500_000), version)
        behind = Endless().call(call.EXEC, 1, 3, 0, 4 << 32, 0, 0).code()
        cell = bytes(4) + padded(behind, 500_000)
        yield Case(f"exec v{version}, a part of 500 kB", behind, version, (cell,))
        for size, content in ((0, 0), (1, 0), (2 << 20, 0), (1, 1)):
            code, table = many_headers(itself, SEGMENTS, size, content), SEGMENTS * PROGRAM_HEADER_SIZE
            name = f"exec v{version}, {SEGMENTS} segments of {size} bytes" + ", with content" * bool(content)
            yield Case(name, code, version, moved_bytes=table)
            code = exec_with_varied_length(SEGMENTS, size, content)
            yield Case(f"{name}, another length each time", code, version, moved_bytes=table)
        filled = Endless().fill(LIST, LIST + 0x100000, 1).call(call.EXEC, 0, 3, 0, 0, 0, 0).code()
        yield Case(f"exec v{version}, 1 MiB of dirty memory", filled, version)
        touched = Endless().touch(900).call(call.EXEC, 0, 3, 0, 0, 0, 0).code()
        yield Case(f"exec v{version}, 900 dirty pages", touched, version)
    yield Case("exec v1, index too high", Endless().call(call.EXEC, 99, 3, 0, 0, 0, 0).code(), 1)
    for count, name in ((131_000, "too long for the stack"), (116_000, "just fit")):
        yield Case(f"exec v1, arguments {name}", exec_with_arguments(count), 1, moved_bytes=_bytes_of_arguments(count))
    yield Case("exec v1, arguments onto code", exec_onto_code(131_000), 1, moved_bytes=_bytes_of_arguments(131_000))
    for count, sizes in ((66_300, (7, 8)), (36_000, (1, 40))):
        moved = _bytes_of_arguments(count) + count * sum(sizes)
        mixed = exec_with_mixed_sizes(count, sizes)
        yield Case(f"exec v1, arguments of {sizes[0]} or {sizes[1]} bytes", mixed, 1, (), FILLED, moved_bytes=moved)
    left = exec_with_what_is_left(131_000, 0)
    yield Case("exec v1, arguments left on the stack", left, 1, moved_bytes=_bytes_of_arguments(131_000))
    size = (1 << 20) - 8
    left = exec_with_what_is_left(1, size)
    yield Case("exec v1, a long argument left on the stack", left, 1, (), FILLED, moved_bytes=2 * size)
    failing, size = Endless().call(call.EXEC, 1, 3, 0, 0, 0, 0).code(), 500_000
    yield Case("exec v1, fails after 500 kB", failing, 1, (segments_that_fail(size),), moved_bytes=2 * size)


def _bytes_of_arguments(count: int) -> int:
    """Of empty strings: a pointer and a zero byte are read for each, and as much is stored."""
    return 2 * count * (8 + 1)


def all_cases() -> Iterator[Case]:
    yield from own_cases()
    for case in (*list_cases(), *process_cases()):
        yield replace(case, settled=SETTLED)
    yield from exec_cases()
    yield from loading_cases()


# Running


@dataclass
class World:
    """A large transaction: many inputs, outputs, witnesses, header deps."""

    chain: Chain = field(default_factory=Chain)

    def transaction(self, case: Case) -> ResolvedTransaction:
        lock = script_for(case.code, case.version)
        headers = [make_header(number) for number in range(CELL_COUNT)]
        for header in headers:
            self.chain.headers[header.hash] = header
            self.chain.blocks[header.hash] = make_block(header, bytes(96))
        transaction = make_transaction(
            outputs=[make_output()] * CELL_COUNT,
            outputs_data=[bytes(1000)] * CELL_COUNT,
            witnesses=[bytes(BIG), *([bytes(100)] * (CELL_COUNT - 1))],
            header_deps=[header.hash for header in headers],
        )
        small = [make_cell(bytes([index]) * 1000, lock=lock) for index in range(CELL_COUNT - 1)]
        inputs = [make_cell(bytes(BIG), lock=lock), *small]
        return resolve(transaction, inputs, [make_cell(data) for data in (case.code, *case.others)])


@dataclass(frozen=True)
class Steady:
    """What was measured of a case in its loop."""

    nanoseconds_per_cycle: float
    cycles_per_call: float


def measure(case: Case, factory: MachineFactory) -> Steady:
    """The steady state. Raises AssertionError if the script does not use up its cycles."""
    world = World()
    rtx = world.transaction(case)
    calls = 0

    def count() -> None:  # once for each stretch between two calls
        nonlocal calls
        calls += 1

    verifier = ScriptVerifier(make_consensus(), world.chain, machine_factory=factory, pause=count)

    def run(limit: int) -> tuple[float, int]:
        """Seconds and calls."""
        before, start = calls, time.process_time()
        try:
            verifier.verify(rtx, Env(10), limit)
        except ScriptError as error:
            if "ExceededMaximumCycles" not in str(error):
                raise AssertionError(f"{case.name}: {error}") from error
        else:
            raise AssertionError(f"{case.name}: it ended")
        return time.process_time() - start, calls - before

    run(case.settled)
    (first, first_calls), cycles = run(case.settled), FIRST_CYCLES
    while True:
        spent, total_calls = run(case.settled + cycles)
        if spent - first >= BUDGET_S or cycles >= MOST_CYCLES:
            return Steady((spent - first) / cycles * 1e9, cycles / max(total_calls - first_calls, 1))
        cycles *= 4


def nanoseconds_of_copy(size: int) -> float:
    """Of `size` bytes from one place to another, the median of some in a row: as warm as the memory of a script is."""
    source, target = bytearray(b"\1" * size), bytearray(size)
    taken = []
    for _ in range(COPIES):
        start = time.perf_counter_ns()
        target[:] = source
        taken.append(time.perf_counter_ns() - start)
    return statistics.median(taken)


def plain_machine(version: int, limit: int) -> Machine:
    return create_machine(version, limit, "wasm")


def measure_syscalls(report: Report, pattern: str = "") -> None:
    """One row a case whose name contains the pattern; then the worst of each call."""
    measured = nanoseconds_per_cycle_of_instructions()
    median = statistics.median(measured.values())
    report.add("median_insn_ns_per_cycle", median, f"of {len(measured)} instructions, interpreter")
    slowest = max(measured, key=measured.__getitem__)
    report.add("slowest_insn_x_median", measured[slowest] / median, slowest)
    print(f"  {'':66} {'x median':>10} {'floor':>8}")
    worst: dict[str, tuple[float, float, str]] = {}
    for case in all_cases():
        if pattern not in case.name:
            continue
        steady = measure(case, plain_machine)
        ratio = steady.nanoseconds_per_cycle / median
        floor = nanoseconds_of_copy(case.moved_bytes // 2) / steady.cycles_per_call / median
        kind = case.name.split(",")[0].split(" ")[0]
        worst[kind] = max(worst.get(kind, (0.0, 0.0, "")), (ratio, floor, case.name))
        print(f"  {case.name:66} {ratio:>10.1f} {floor:>8.1f}", flush=True)
        if case.moved_bytes:
            name = case.name.replace(",", "").replace(" ", "_")
            report.add(f"{name}_floor_x_median", floor, "a copy of what it has to move")
            report.add(f"{name}_x_median", ratio, "itself")
    for kind, (ratio, floor, name) in sorted(worst.items(), key=lambda item: -item[1][0]):
        bound = max(TIMES_MEDIAN, 2 * floor)
        mark = f"  ABOVE {bound:.0f}" if ratio > bound else ""
        report.add(f"{kind}_x_median", ratio, f"{name}{mark}")


if __name__ == "__main__":
    only_syscalls = Report("syscalls")
    measure_syscalls(only_syscalls, sys.argv[1] if len(sys.argv) > 1 else "")
    only_syscalls.write()
