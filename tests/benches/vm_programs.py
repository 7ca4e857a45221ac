"""Programs on every engine, and on the reference VM when its runner is given: time of whole runs, side by side.

    make bench-vm PROGRAMS=<directory> RUNNER=<program>

RUNNER is the reference VM's own example `ckb-vm-runner`, built with its assembly interpreter. It takes a program and
its arguments, and its runs are processes: the time of a program that only exits is taken off. Without PROGRAMS only a
loop of ours is measured. Rounds go over all engines in turn, so that ratios are of the same minutes.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.cases import ARGUMENTS, find_programs
from tests.support.report import Report
from tests.support.vm.assembler import branch, exit_with, imm, li, program, reg
from vm import Engines
from vm.registers import A0, A7

VERSION = 2
LIMIT = 10**12
ROUNDS = 15
EXIT = 93
LOOP_ROUNDS = 20_000_000
RUN_S = 60


@dataclass(frozen=True)
class Subject:
    """A program that ends by itself with 0 and asks for nothing on its way."""

    name: str
    path: Path
    arguments: tuple[bytes, ...]


def loop_program(rounds: int) -> bytes:
    """Six plain instructions a round, none fused."""
    body = reg("add", 6, 6, 5) + reg("xor", 7, 7, 6) + imm("slli", 8, 7, 3) + reg("or", 9, 8, 6) + imm("addi", 5, 5, -1)
    return program(li(5, rounds) + body + branch("bne", 5, 0, -len(body)) + exit_with())


def subjects(directory: Path | None, scratch: Path) -> list[Subject]:
    """Our loop, and those programs of the directory whose arguments are known."""
    loop = scratch / "loop"
    loop.write_bytes(loop_program(LOOP_ROUNDS))
    known = [path for path in find_programs(directory) if path.name in ARGUMENTS] if directory else []
    return [Subject("loop", loop, ()), *(Subject(path.name, path, ARGUMENTS[path.name]) for path in known)]


def run_here(engines: Engines, engine: str, subject: Subject, file: bytes) -> float:
    """Milliseconds from an empty machine to the exit."""
    start = time.perf_counter()
    machine = engines.create_machine(VERSION, LIMIT, engine)
    machine.load_program(file, subject.arguments)
    machine.run()
    spent = time.perf_counter() - start
    if (machine.get_register(A7), machine.get_register(A0)) != (EXIT, 0):
        raise AssertionError(f"{subject.name} did not end well on engine {engine}")
    return spent * 1e3


def run_there(runner: Path, path: Path, arguments: Sequence[bytes]) -> float:
    """Milliseconds of a process of the reference's runner. CalledProcessError if it does not exit with 0."""
    start = time.perf_counter()
    subprocess.run([runner, path, *arguments], check=True, stdout=subprocess.DEVNULL, timeout=RUN_S)
    return (time.perf_counter() - start) * 1e3


def measure_programs(report: Report, engines: Engines, directory: Path | None, runner: Path | None) -> None:
    """Medians; of the runner's, less the median of an empty program's."""
    with tempfile.TemporaryDirectory() as name:
        nothing = Path(name) / "nothing"
        nothing.write_bytes(program(exit_with()))
        for subject in subjects(directory, Path(name)):
            _measure(report, engines, subject, runner, nothing)


def _measure(report: Report, engines: Engines, subject: Subject, runner: Path | None, nothing: Path) -> None:
    file = subject.path.read_bytes()
    engines.translate(file, VERSION)
    ways: dict[str, Callable[[], float]] = {
        "interpreter": lambda: run_here(engines, "wasm", subject, file),
        "translated": lambda: run_here(engines, "auto", subject, file),
    }
    if runner is not None:
        ways["reference"] = lambda: run_there(runner, subject.path, subject.arguments)
        ways["nothing"] = lambda: run_there(runner, nothing, ())
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, run in ways.items():
            times[way].append(run())
    found = {way: statistics.median(each) for way, each in times.items()}
    start = found.pop("nothing", 0.0)
    if "reference" in found:
        found["reference"] -= start
    for way, milliseconds in found.items():
        how = "the reference's assembly interpreter" if way == "reference" else "complete, fresh memory"
        report.add(f"{subject.name}_{way}_ms", milliseconds, how)
