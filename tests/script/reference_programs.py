"""By hand: runs the programs of the reference's own script tests and compares results and exact cycles.

    python -m tests.script.reference_programs TESTDATA_DIRECTORY [SYSTEM_SCRIPTS_DIRECTORY]

The programs are not part of this project. The expected figures are those that the tests in the reference's
script/src/verify/tests assert. Prints a table; exits with 1 if a line differs.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from coincurve import PrivateKey

from consensus.crypto.hashing import blake160, ckb_hash_concat, data_hash
from consensus.errors import CkbError
from consensus.script.verifier import ScriptVerifier
from consensus.types.blockchain import (
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    Script,
    Transaction,
    WitnessArgs,
)
from consensus.types.core import CellMeta, ResolvedTransaction
from tests.support.builders import scripts
from vm import Machine, create_machine
from vm.registers import A7

GROUP = 1 << 56
NO_LIMIT = (1 << 64) - 1

Expectation: TypeAlias = int | str | None
"""Exact cycles, a part of the error's text, or None: success with any cycles."""


@dataclass(frozen=True)
class Case:
    name: str
    version: int
    rtx: ResolvedTransaction
    expected: Expectation
    limit: int = NO_LIMIT


class Programs:
    """The directory of programs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, name: str) -> bytes:
        return (self.directory / name).read_bytes()


def locked(
    code: bytes, version: int, args: bytes = b"", deps: Sequence[bytes] = (), witnesses: Sequence[bytes] = ()
) -> ResolvedTransaction:
    """One input whose lock is the code."""
    cell = scripts.make_cell(lock=scripts.script_for(code, version, args))
    transaction = scripts.make_transaction(witnesses=witnesses)
    return scripts.resolve(transaction, [cell], [scripts.make_cell(data) for data in (code, *deps)])


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in values)


def by_version(*expectations: Expectation) -> Iterator[tuple[int, Expectation]]:
    return enumerate(expectations)


def basic_cases(load: Programs) -> Iterator[Case]:
    success, failure = load("always_success"), load("always_failure")
    for version, cycles in by_version(537, 539, 539):
        yield Case("always_success", version, locked(success, version), cycles)
        yield Case("always_success, one cycle short", version, locked(success, version), "ExceededMaximumCycles", 536)
        yield Case("always_failure", version, locked(failure, version), "see error code -1 on page")
    yield from simple(load, "cadd_hint_lock", "InvalidInstruction { pc: 65656, instruction: 36906 }", 540, 540)
    cpop_args = words(0x0102030405060708, (0x0102030405060708).bit_count())
    for version, expected in by_version("InvalidInstruction { pc: 65866, instruction: 1613306131 }", 1876, 1875):
        yield Case("cpop_lock", version, locked(load("cpop_lock"), version, cpop_args), expected)
    yield from simple(load, "mop_adc_lock", 696, 686, 686)
    yield from simple(load, "current_cycles", "InvalidEcall(2042)", None, None)
    yield from simple(load, "vm_version", "InvalidEcall(2041)", None, "error code")
    yield from simple(load, "vm_version_2", "InvalidEcall(2041)", "error code", None)
    yield from simple(load, "debugger", None, None, None)
    for version, expected in by_version(
        "MemWriteOnExecutablePage", "SourceEntry parse_from_u64 0", "SourceEntry parse_from_u64 0"
    ):
        yield Case("crash-5a27052f", version, locked(load("crash-5a27052f"), version), expected, 70_000_000)
    for version, expected in by_version("MemWriteOnExecutablePage", 58741, 58686):
        yield Case("crash-45a6098d", version, locked(load("crash-45a6098d"), version), expected, 70_000_000)
    for version, expected in by_version(*["MemWriteOnExecutablePage"] * 3):
        yield Case("crash-4717eb0e", version, locked(load("crash-4717eb0e"), version), expected, 70_000_000)


def simple(load: Programs, name: str, *expectations: Expectation) -> Iterator[Case]:
    for version, expected in enumerate(expectations):
        yield Case(name, version, locked(load(name), version), expected)


def load_code_cases(load: Programs) -> Iterator[Case]:
    library = load("is_even.lib")
    reuse = load("load_code_to_stack_then_reuse")
    for version in range(3):
        for flag, size, failure in (
            (0b111, 40960, "MemWriteOnExecutablePage"),
            (0b111, 4, None),
            (0b101, 40960, None),
            (0x11, 40960, None),
        ):
            args = bytes([flag]) + words(size) + data_hash(library)
            name = f"load_code_to_stack_then_reuse {flag:#b} {size}"
            yield Case(name, version, locked(reuse, version, args, [library]), failure)
    into_global = load("load_is_even_into_global")
    for version, expected in by_version("MemWriteOnFreezedPage", 10529, 10525):
        rtx = locked(into_global, version, words(1) + data_hash(library), [library])
        yield Case("load_is_even_into_global", version, rtx, expected)
    with_pause = load("load_is_even_with_snapshot")
    for version, expected in by_version(11062, 11064, 11060):
        rtx = locked(with_pause, version, words(1) + data_hash(library), [library])
        yield Case("load_is_even_with_snapshot", version, rtx, expected)
    add1, sub1, mul2, div2 = (load(f"{name}.lib") for name in ("add1", "sub1", "mul2", "div2"))
    steps = (add1, mul2, add1, mul2, mul2, add1, add1, div2, sub1, div2, sub1, div2)
    args = words(0, 1) + b"".join(map(data_hash, steps))
    for version, expected in by_version(45740, 45742, 45729):
        rtx = locked(load("load_arithmetic"), version, args, [add1, sub1, mul2, div2])
        rtx = replace(rtx, cell_deps=[*rtx.cell_deps[1:], rtx.cell_deps[0]])
        yield Case("load_arithmetic", version, rtx, expected)


def exec_cases(load: Programs) -> Iterator[Case]:
    callee = load("exec_callee")
    from_data, from_witness = load("exec_caller_from_cell_data"), load("exec_caller_from_witness")
    for version, expected in by_version("InvalidEcall(2043)", None, None):
        yield Case("exec_caller_from_cell_data", version, locked(from_data, version, deps=[callee]), expected)
    for version, expected in by_version("InvalidEcall(2043)", 1200, 76198):
        yield Case("exec_caller_from_witness", version, locked(from_witness, version, witnesses=[callee]), expected)
    for version, expected in by_version("InvalidEcall", "MemWriteOnExecutablePage", "ElfParseError"):
        yield Case("exec wrong format", version, locked(from_data, version, deps=[bytes(range(4))]), expected)
    big = load("exec_caller_big_offset_length")
    for version, expected in by_version("InvalidEcall", "error code 3", "VM Internal Error: ElfParseError"):
        yield Case("exec_caller_big_offset_length", version, locked(big, version, deps=[bytes(range(4))]), expected)
    for version, expected in by_version("InvalidEcall", "ExceededMaximumCycles", "ExceededMaximumCycles"):
        yield Case("infinite_exec", version, locked(load("infinite_exec"), version), expected, 7_000_000)
    yield from configurable_exec_cases(load)


@dataclass(frozen=True)
class ExecFrom:
    name: str
    index: int
    source: int
    place: int
    bounds: int = 0
    padding: int = 0


WITNESSES = (
    ExecFrom("input witness", 0, 1, 1),
    ExecFrom("output witness", 0, 2, 1),
    ExecFrom("group input witness", 0, GROUP | 1, 1),
    ExecFrom("group output witness", 0, GROUP | 2, 1),
)
CELLS = (
    ExecFrom("cell dep", 1, 3, 0),
    ExecFrom("input cell", 1, 1, 0),
    ExecFrom("output cell", 0, 2, 0),
    ExecFrom("group input cell", 0, GROUP | 1, 0),
    ExecFrom("group output cell", 0, GROUP | 2, 0),
)


def place_callee(
    caller: Script, origin: ExecFrom, callee: bytes, always_success: bytes, version: int
) -> tuple[Transaction, list[CellMeta]]:
    """A transaction with the callee where `origin` names it, and the input cells."""
    success = scripts.script_for(always_success, version)
    witnesses = [bytes(origin.padding) + callee] if origin.place == 1 else []
    if origin.source == GROUP | 2:
        outputs = [scripts.make_output(type_=caller)]
        data = [callee if origin.place == 0 else b""]
        return scripts.make_transaction(inputs=[], outputs=outputs, outputs_data=data, witnesses=witnesses), []
    cell = scripts.make_cell(callee if origin.source == GROUP | 1 and origin.place == 0 else b"", lock=caller)
    if origin.source == 1 and origin.place == 0:
        return scripts.make_transaction(), [cell, scripts.make_cell(callee, lock=success)]
    if origin.source == 2 and origin.place == 0:
        outputs = [scripts.make_output(lock=success)]
        return scripts.make_transaction(outputs=outputs, outputs_data=[callee]), [cell]
    return scripts.make_transaction(witnesses=witnesses), [cell]


def configurable_exec_cases(load: Programs) -> Iterator[Case]:
    caller, callee = load("exec_configurable_caller"), load("exec_configurable_callee")
    library, success = load("mul2.lib"), load("always_success")
    size = len(callee)

    def case(setting: tuple[int, int, int, int], origin: ExecFrom, version: int, expected: Expectation) -> Case:
        flag, recursion, number, result = setting
        args = bytes([flag]) + words(recursion, number, result, origin.index, origin.source, origin.place)
        script = scripts.script_for(caller, version, args + words(origin.bounds) + data_hash(library))
        transaction, inputs = place_callee(script, origin, callee, success, version)
        deps = [scripts.make_cell(data) for data in (caller, callee, library, success)]
        name = f"exec_configurable {flag:#06b} {recursion} times, {origin.name}"
        return Case(name, version, scripts.resolve(transaction, inputs, deps), expected)

    for setting in ((0, 1, 2, 1), (1, 1, 1, 1), (4, 1, 2, 2), (7, 1, 1, 2), (7, 20, 11, 4)):
        for origin in (*WITNESSES, *CELLS):
            for version, expected in by_version("VM Internal Error", None, None):
                yield case(setting, origin, version, expected)
    for origin in (
        ExecFrom("no witness of deps", 0, 3, 1),
        ExecFrom("no witness of headers", 0, 4, 1),
        ExecFrom("no group deps", 0, GROUP | 3, 0),
        ExecFrom("no group headers", 0, GROUP | 4, 0),
        ExecFrom("no data of headers", 1, 4, 0),
    ):
        for version in (1, 2):
            yield case((0, 1, 2, 1), origin, version, "error code 1 on")
    for version, expected in ((1, "Place parse_from_u64"), (2, "error code 1 on")):
        yield case((0, 1, 2, 1), ExecFrom("no such place", 0, 1, 3), version, expected)
    slices: tuple[tuple[ExecFrom, Expectation, Expectation], ...] = (
        (ExecFrom("whole", 0, 1, 1, size), None, None),
        (ExecFrom("beyond", 0, 1, 1, size + 1), "error code 3", None),
        (
            ExecFrom("last byte", 0, 1, 1, (size - 1) << 32 | 1),
            "MemWriteOnExecutablePage",
            "Malformed entity: Too small",
        ),
        (ExecFrom("behind padding", 0, 1, 1, 10 << 32 | size, 10), None, None),
    )
    for origin, first, second in slices:
        yield case((0, 1, 2, 1), origin, 1, first)
        yield case((0, 1, 2, 1), origin, 2, second)


def spawn_cases(load: Programs) -> Iterator[Case]:
    cases = load("spawn_cases")
    for number in range(1, 20):
        expected = "deadlock" if number in {2, 4} else None
        yield Case(f"spawn_cases {number}", 2, locked(cases, 2, bytes([number])), expected)
    yield Case("spawn_cases on VM 1", 1, locked(cases, 1, b"\1"), "InvalidEcall(2604)")
    strcat, strcat_callee = load("spawn_caller_strcat"), load("spawn_callee_strcat")
    yield Case("spawn_caller_strcat", 2, locked(strcat, 2, deps=[strcat_callee]), None)
    wrap = load("spawn_caller_strcat_wrap")
    yield Case("spawn_caller_strcat_wrap", 2, locked(wrap, 2, deps=[strcat_callee, strcat]), None, 0xFFFFFF)
    spender, spender_callee = load("spawn_caller_out_of_cycles"), load("spawn_callee_out_of_cycles")
    yield Case("spawn_caller_out_of_cycles", 2, locked(spender, 2, deps=[spender_callee]), "ExceededMaximum", 0xFFFFFF)
    wrap = load("spawn_caller_out_of_cycles_wrap")
    rtx = locked(wrap, 2, deps=[spender_callee, spender])
    yield Case("spawn_caller_out_of_cycles_wrap", 2, rtx, "ExceededMaximumCycles", 0xFFFFFF)
    deps = [load("spawn_callee_exec_caller"), load("spawn_callee_exec_callee")]
    yield Case("spawn_caller_exec", 2, locked(load("spawn_caller_exec"), 2, deps=deps), None, 0xFFFFFF)
    yield Case("spawn_recursive", 2, locked(load("spawn_recursive"), 2), "error code 8", 70_000_000)
    rtx = locked(load("spawn_caller_current_cycles"), 2, deps=[load("spawn_callee_current_cycles")])
    yield Case("spawn_caller_current_cycles", 2, rtx, None)
    yield Case("spawn_huge_swap", 2, locked(load("spawn_huge_swap"), 2), "ExceededMaximumCycles", 70_000_000)
    yield Case("spawn_cycles", 2, locked(load("spawn_cycles"), 2, deps=[load("spawn_cycles")]), 1525087)
    yield Case("spawn_saturate_memory", 2, locked(load("spawn_saturate_memory"), 2, b"\0"), None)
    yield Case("spawn_create_17_spawn", 2, locked(load("spawn_create_17_spawn"), 2), 36445673)
    io = load("spawn_io_cycles")
    for size in (128, 128 + 1024):
        for check in (1, 0):
            args = words(size, check)
            yield Case(f"spawn_io_cycles {size} {check}", 2, locked(io, 2, args), None)
    yield from configurable_spawn_cases(load)


def configurable_spawn_cases(load: Programs) -> Iterator[Case]:
    caller, callee = load("spawn_configurable_caller"), load("spawn_configurable_callee")
    success, size = load("always_success"), len(callee)
    slices = [
        ExecFrom(f"slice {offset} {length}", 0, 1, 1, offset << 32 | length, offset)
        for offset in (0, 1)
        for length in (0, size)
    ]
    for origin in (*WITNESSES, *CELLS, *slices):
        args = words(origin.index, origin.source, origin.place, origin.bounds)
        script = scripts.script_for(caller, 2, args)
        transaction, inputs = place_callee(script, origin, callee, success, 2)
        deps = [scripts.make_cell(data) for data in (caller, callee, success)]
        yield Case(f"spawn_configurable {origin.name}", 2, scripts.resolve(transaction, inputs, deps), None)


class SmallRng:
    """xoshiro256++ seeded by PCG32: where the reference's tests get their private keys from."""

    MASK = (1 << 64) - 1

    def __init__(self, seed: int) -> None:
        self.state = []
        for _ in range(4):
            low, seed = self._pcg32(seed)
            high, seed = self._pcg32(seed)
            self.state.append(low | high << 32)

    def _pcg32(self, state: int) -> tuple[int, int]:
        state = (state * 6364136223846793005 + 11634580027462260723) & self.MASK
        value, by = ((state >> 18 ^ state) >> 27) & 0xFFFF_FFFF, state >> 59
        return (value >> by | value << (32 - by)) & 0xFFFF_FFFF, state

    def next_u64(self) -> int:
        def rotate(value: int, by: int) -> int:
            return (value << by | value >> (64 - by)) & self.MASK

        s = self.state
        result = (rotate((s[0] + s[3]) & self.MASK, 23) + s[0]) & self.MASK
        t = (s[1] << 17) & self.MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate(s[3], 45)
        return result

    def key(self) -> PrivateKey:
        return PrivateKey(words(*(self.next_u64() for _ in range(4))))


SIGHASH_TYPE_HASH = bytes.fromhex("9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8")
TESTNET_DEP_GROUP_TX = bytes.fromhex("f8de3bb47d055cdf460d93a2a6e1b05f7432f9777c8c474abf4eec1d4aee5d37")
SIGHASH_TYPE_SCRIPT = Script(
    code_hash=bytes.fromhex("00000000000000000000000000000000000000000000000000545950455f4944"),
    hash_type=1,
    args=bytes.fromhex("8536c9d5d908bd89fc70099e4284870708b6632356aad98734fcf43f6f71c304"),
)


def secp256k1_cases(system_scripts: Path) -> Iterator[Case]:
    """Two inputs, two outputs, each input with its own key: as the reference builds it."""
    random = SmallRng(42)
    keys = [random.key(), random.key()]
    locks = [Script(code_hash=SIGHASH_TYPE_HASH, hash_type=1, args=blake160(key.public_key.format())) for key in keys]
    hashes = [bytes.fromhex(text.rjust(64, "0")) for text in ("1234", "1111")]
    inputs = [CellInput(since=0, previous_output=OutPoint(tx_hash=tx_hash, index=0)) for tx_hash in hashes]
    unsigned = scripts.make_transaction(
        cell_deps=[CellDep(out_point=OutPoint(tx_hash=TESTNET_DEP_GROUP_TX, index=0), dep_type=1)],
        inputs=inputs,
        outputs=[CellOutput(capacity=10_000_000_000, lock=lock, type_=None) for lock in locks],
    )
    empty = WitnessArgs(lock=bytes(65), input_type=None, output_type=None).raw
    message = ckb_hash_concat(unsigned.hash, words(len(empty)), empty)
    witnesses = [
        WitnessArgs(lock=key.sign_recoverable(message, hasher=None), input_type=None, output_type=None).raw
        for key in keys
    ]
    transaction = unsigned.replace(witnesses=witnesses)
    deps = [
        scripts.make_cell((system_scripts / "secp256k1_blake160_sighash_all").read_bytes(), type_=SIGHASH_TYPE_SCRIPT),
        scripts.make_cell((system_scripts / "secp256k1_data").read_bytes()),
    ]
    cells = [scripts.make_cell(lock=lock, info=None) for lock in locks]
    for version, cycles in by_version(3352333, 3334802, 3225879):
        yield Case("secp256k1 2 in 2 out", version, scripts.resolve(transaction, cells, deps), cycles)


DEBUG_PAUSE = 2178
"""A system call that only the reference's tests have; here it does nothing."""


def create_pausing_machine(version: int, limit: int) -> Machine:
    machine = create_machine(version, limit, os.environ.get("ENGINE", "auto"))
    run_on = machine.run

    def run() -> None:
        run_on()
        while machine.get_register(A7) == DEBUG_PAUSE:
            run_on()

    setattr(machine, "run", run)  # noqa: B010 - replaces a method of one object
    return machine


def judge(case: Case, verifier: ScriptVerifier) -> tuple[bool, str, float]:
    env = scripts.Env(scripts.EPOCHS[case.version])
    start = time.perf_counter()
    try:
        result: int | str = verifier.verify(case.rtx, env, case.limit)
    except CkbError as error:
        result = str(error)
    seconds = time.perf_counter() - start
    if isinstance(case.expected, str):
        return isinstance(result, str) and case.expected in result, str(result), seconds
    is_right = isinstance(result, int) and case.expected in {None, result}
    return is_right, str(result), seconds


def main() -> int:
    programs = Programs(Path(sys.argv[1]))
    sources: list[Callable[[Programs], Iterator[Case]]] = [basic_cases, load_code_cases, exec_cases, spawn_cases]
    cases = [case for source in sources for case in source(programs)]
    if len(sys.argv) > 2:
        cases += secp256k1_cases(Path(sys.argv[2]))
    wanted = os.environ.get("CASES", "")
    verifier = ScriptVerifier(scripts.make_consensus(), scripts.Chain(), machine_factory=create_pausing_machine)
    failures = 0
    for case in cases:
        if wanted not in case.name:
            continue
        is_right, result, seconds = judge(case, verifier)
        failures += not is_right
        expected = "success" if case.expected is None else case.expected
        mark = "ok  " if is_right else "FAIL"
        print(f"{mark} {case.name:60} VM{case.version} {seconds:7.2f}s {result[:150]} ({expected})")
    print(f"{failures} differ")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
