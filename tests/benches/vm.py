"""The VM's figures: the default lock on every engine, start-up, translation, cache, two cores, system calls.

`python -m tests.benches.vm` (or `make bench-vm`). Verifications are complete: machine, program, system calls with the
answers of a recorded run, result, end of the machine. `--programs` and `--runner` add other programs and the reference
VM, see tests/benches/vm_programs.py.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benches.syscalls import measure_syscalls
from tests.benches.vm_programs import loop_program, measure_programs
from tests.support.builders.mock_transactions import SIGHASH, Mock, code, payment, signed
from tests.support.report import Report
from tests.support.vm.assembler import CODE_BASE, ECALL, PF_R, PF_X, Segment, elf
from tests.support.vm.harness import Group, Items, load, lock_group
from vm import Engines, Machine, create_machine
from vm.reference.engine import ReferenceMachine
from vm.translator.runtime import HostedRuntime
from vm.translator.translate import translate
from vm.wasm.runtime import Runtime

VERSION = 2
LIMIT = 10**9
A0, A1, A7, EXIT = 10, 11, 17, 93
COLD_SIZE = 500_000  # bytes
LOOP_ROUNDS = 2_000_000
PARALLEL_RUNS = 3000


@dataclass(frozen=True)
class Answer:
    """What a loading call of the recorded run gave: return code, bytes stored, full size, cycles charged."""

    code: int
    part: bytes
    size: int
    cycles: int


@dataclass(frozen=True)
class Recording:
    """A run of a lock that can be done again without a transaction."""

    file: bytes
    answers: tuple[Answer, ...]
    cycles: int

    def play(self, machine: Machine) -> float:
        """Run to the end and check it. Returns the seconds spent in `run`."""
        machine.add_cycles((machine.load_program(self.file, []) + 3) // 4)
        spent = 0.0
        for answer in self.answers:
            spent += _seconds(machine.run)
            if answer.code == 0:
                machine.memory.store64(machine.get_register(A1), answer.size)
                machine.memory.store_bytes(machine.get_register(A0), answer.part)
                machine.add_cycles(answer.cycles)
            machine.set_register(A0, answer.code)
        spent += _seconds(machine.run)
        if (machine.get_register(A0), machine.cycles) != (0, self.cycles):
            raise AssertionError("the run went another way")
        return spent


def record(file: bytes, mock: Mock, group: Group) -> Recording:
    machine, items = create_machine(VERSION, LIMIT, "wasm"), Items(mock, group)
    machine.add_cycles((machine.load_program(file, []) + 3) // 4)
    answers = []
    machine.run()
    while machine.get_register(A7) != EXIT:
        address, size_address = machine.get_register(A0), machine.get_register(A1)
        room, cycles = machine.memory.load64(size_address), machine.cycles
        result = load(machine, items)
        size = machine.memory.load64(size_address)
        part = machine.memory.load_bytes(address, min(room, size)) if result == 0 else b""
        answers.append(Answer(result, part, size, machine.cycles - cycles))
        machine.set_register(A0, result)
        machine.run()
    return Recording(file, tuple(answers), machine.cycles)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _median_ms(work: Callable[[], object], times: int) -> float:
    return statistics.median(_seconds(work) for _ in range(times)) * 1e3


class _Counting(ReferenceMachine):
    """Counts instructions."""

    instructions = 0

    def _run_block(self) -> bool:
        self.instructions += len(self._block_at(self.pc).instructions)
        return super()._run_block()


def instruction_count(recording: Recording) -> int:
    """RISC-V instructions of a run: those of version 0, which fuses none."""
    machine = _Counting(0, LIMIT)
    machine.load_program(recording.file, [])
    for answer in recording.answers:
        machine.run()
        if answer.code == 0:
            machine.memory.store64(machine.get_register(A1), answer.size)
            machine.memory.store_bytes(machine.get_register(A0), answer.part)
        machine.set_register(A0, answer.code)
    machine.run()
    return machine.instructions


def measure_lock(report: Report, engines: Engines, recording: Recording) -> None:
    """Both engines in turn, so that the ratio is of the same minutes."""
    whole: dict[str, list[float]] = {"wasm": [], "auto": []}
    running: dict[str, list[float]] = {"wasm": [], "auto": []}

    def verify(engine: str) -> None:
        running[engine].append(recording.play(engines.create_machine(VERSION, LIMIT, engine)))

    for _ in range(200):
        for engine, times in (("wasm", 1), ("auto", 5)):
            whole[engine] += [_seconds(lambda engine=engine: verify(engine)) for _ in range(times)]  # type: ignore[misc]
    hot, slow = statistics.median(running["auto"]), statistics.median(running["wasm"])
    count = instruction_count(recording)
    report.add("secp256k1_hot_ms", statistics.median(whole["auto"]) * 1e3, "default lock, translated, complete")
    report.add("secp256k1_interpreted_ms", statistics.median(whole["wasm"]) * 1e3, "the same, interpreter, cold code")
    report.add("translated_vs_interpreter_ratio", slow / hot, "time in `run`, default lock, same minutes")
    report.add("translated_minsn_per_s", count / hot / 1e6, f"{count:,} instructions, {recording.cycles:,} cycles")
    report.add("lock_interpreter_minsn_per_s", count / slow / 1e6, "with decoding")


def measure_loop(report: Report, engines: Engines) -> None:
    """A long loop of plain instructions, nothing fused."""
    file = loop_program(LOOP_ROUNDS)
    count = LOOP_ROUNDS * 6
    engines.translate(file, VERSION)
    for engine, name in (("wasm", "interpreter_minsn_per_s"), ("auto", "translated_loop_minsn_per_s")):
        times = []
        for _ in range(7):
            machine = engines.create_machine(VERSION, LIMIT, engine)
            machine.load_program(file, [])
            times.append(_seconds(machine.run))
        report.add(name, count / statistics.median(times) / 1e6, f"loop of {count:,} plain instructions")


def measure_cold(report: Report, engines: Engines) -> None:
    """Code that was never seen: until its first system call."""
    times = []
    for seed in range(9):
        content = ECALL + bytes([seed]) * COLD_SIZE
        file = elf([Segment(CODE_BASE, content, PF_R | PF_X)])

        def begin(file: bytes = file) -> None:
            machine = engines.create_machine(VERSION, LIMIT)
            machine.load_program(file, [])
            machine.run()

        times.append(_seconds(begin))
    report.add("cold_500kb_first_insn_ms", statistics.median(times) * 1e3, "500 kB of new code to its first ecall")
    report.add("interpreter_instance_ms", _median_ms(lambda: create_machine(VERSION, 0, "wasm"), 200), "empty machine")


def measure_translation(report: Report, recording: Recording) -> None:
    runtime, file = HostedRuntime(), recording.file
    translation = translate(file, VERSION)
    seconds = _seconds(lambda: translate(file, VERSION))
    report.add("translate_ms", seconds * 1e3, f"{translation.instructions:,} instructions to WebAssembly")
    report.add("translate_us_per_insn", seconds * 1e6 / translation.instructions, "")
    report.add("compile_ms", _seconds(lambda: runtime.compile(translation.code)) * 1e3, "to native code")
    native = bytes(runtime.compile(translation.code).serialize())
    report.add("native_kb", len(native) / 1e3, "on disk")
    report.add("load_cached_ms", _median_ms(lambda: runtime.load(native), 20), "from the cache")
    module = runtime.load(native)
    runtime.instantiate(VERSION, module)
    report.add("translated_instance_ms", _median_ms(lambda: runtime.instantiate(VERSION, module), 100), "not reused")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "cache"
        for name, how in (("engines_first_ms", "compiling the interpreter"), ("engines_cached_ms", "from the cache")):

            def start() -> None:
                fresh = Runtime()
                fresh.use_cache_directory(path)
                fresh.instantiate(VERSION)

            report.add(name, _seconds(start) * 1e3, how)


def _work(directory: Path, recording: Recording, ready: threading.Barrier, seconds: object) -> None:
    """A process that verifies. Puts the seconds of its runs into `seconds`."""
    with Engines(directory) as engines:
        engines.translate(recording.file, VERSION)
        _verify(engines, recording, 50)
        ready.wait()
        seconds.put(_seconds(lambda: _verify(engines, recording, PARALLEL_RUNS)))  # type: ignore[attr-defined]


def _verify(engines: Engines, recording: Recording, times: int) -> None:
    for _ in range(times):
        recording.play(engines.create_machine(VERSION, LIMIT))


def _process_seconds(directory: Path, recording: Recording, processes: int) -> float:
    context = multiprocessing.get_context("spawn")
    ready, seconds = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=_work, args=(directory, recording, ready, seconds)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    longest = max(float(seconds.get()) for _ in workers)
    for worker in workers:
        worker.join()
    return longest


def _thread_seconds(engines: Engines, recording: Recording, threads: int) -> float:
    workers = [threading.Thread(target=_verify, args=(engines, recording, PARALLEL_RUNS)) for _ in range(threads)]

    def run() -> None:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return _seconds(run)


def measure_two_cores(report: Report, engines: Engines, directory: Path, recording: Recording) -> None:
    one, two = (_process_seconds(directory, recording, count) for count in (1, 2))
    report.add("two_core_ratio", 2 * one / two, f"two processes against one, {PARALLEL_RUNS} default locks each")
    report.add("verifications_per_s", 2 * PARALLEL_RUNS / two, "two processes")
    one, two = (_thread_seconds(engines, recording, count) for count in (1, 2))
    report.add("two_thread_ratio", 2 * one / two, "two threads against one")


def main() -> None:
    parser = argparse.ArgumentParser(description="The VM")
    parser.add_argument("--programs", type=Path, help="a directory with the reference VM's benchmark programs")
    parser.add_argument("--runner", type=Path, help="the reference VM's example ckb-vm-runner, built with assembly")
    options = parser.parse_args()
    mock = signed(payment())
    recording = record(code(SIGHASH), mock, lock_group(mock, 0))
    report = Report("vm")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "cache"
        with Engines(path) as engines:
            engines.translate(recording.file, VERSION)
            measure_lock(report, engines, recording)
            measure_loop(report, engines)
            measure_cold(report, engines)
            measure_translation(report, recording)
            measure_two_cores(report, engines, path, recording)
            measure_programs(report, engines, options.programs, options.runner)
    measure_syscalls(report)
    report.write()


if __name__ == "__main__":
    main()
