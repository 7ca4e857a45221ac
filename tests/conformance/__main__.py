"""Runs ELF programs on every engine and on the reference's debugger, and compares how they end.

    python -m tests.conformance PROGRAMS ORACLE [--cycles N] [--reference-cycles N] [--seconds N]
    python -m tests.conformance PROGRAMS --isa ckb+a [...]

PROGRAMS is a directory or a file, ORACLE the debugger's WASI module. Exit code, exact cycles, errors and what a program
prints must be equal on machine versions 0, 1 and 2. Prints a table (Markdown) and each difference; exits with 1 if
there are any.

The debugger refuses atomics as CKB does. So with an instruction set that has them there is no oracle: the engines must
agree with each other, and every program must exit with 0 wherever its instructions exist, which is in version 2.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from consensus.script.scheduler import MachineFactory
from tests.conformance.cases import LIMIT_EXCEEDED, Case, Outcome, cases_of, find_programs
from tests.conformance.engines import run_on_engine
from tests.conformance.oracle import Oracle, TimedOutError
from tests.support.vm.engines import machine_factories
from vm.constants import VERSION2
from vm.isa.profile import Isa

SLOW_ENGINE, USUAL_ENGINE = "reference", "wasm"
SUCCESS = Outcome(exit_code=0)


@dataclass(frozen=True)
class Comparison:
    """Outcomes by engine; engines that did not run a case are missing. `expected` is None if the oracle did not end in
    time."""

    case: Case
    expected: Outcome | None
    engines: Mapping[str, Outcome]

    @property
    def is_equal(self) -> bool:
        return self.expected is not None and all(outcome == self.expected for outcome in self.engines.values())

    @property
    def cell(self) -> str:
        """Of the table."""
        return f"{self.expected}" if self.is_equal else "**differs**"


@dataclass
class Runner:
    """Runs cases everywhere. The slow engine leaves out what uses more than `slow_cycles`."""

    oracle: Oracle | None
    max_cycles: int
    slow_cycles: int
    factories: dict[str, MachineFactory] = field(default_factory=machine_factories)

    def compare(self, case: Case) -> Comparison:
        engines = {
            name: run_on_engine(factory, case, self.max_cycles)
            for name, factory in self.factories.items()
            if name != SLOW_ENGINE
        }
        if all(self._is_short(outcome) for outcome in engines.values()):
            engines[SLOW_ENGINE] = run_on_engine(self.factories[SLOW_ENGINE], case, self.max_cycles)
        return Comparison(case, self._expected(case, engines), engines)

    def _expected(self, case: Case, engines: Mapping[str, Outcome]) -> Outcome | None:
        if self.oracle is None:
            outcome = engines[USUAL_ENGINE]
            has_failed = case.version == VERSION2 and outcome.exit_code != 0
            return SUCCESS if has_failed else outcome
        try:
            return self.oracle.run(case, self.max_cycles)
        except TimedOutError:
            return None

    def _is_short(self, outcome: Outcome) -> bool:
        if outcome == LIMIT_EXCEEDED:
            return self.max_cycles <= self.slow_cycles
        return outcome.cycles is None or outcome.cycles <= self.slow_cycles


def print_table(comparisons: list[Comparison]) -> None:
    print("| program | V0 | V1 | V2 |\n|---|---|---|---|")
    for name, group in groupby(comparisons, lambda comparison: comparison.case.name):
        cells = (comparison.cell.replace("|", "\\|") for comparison in group)
        print(f"| {name} | {' | '.join(cells)} |")


def print_differences(comparisons: list[Comparison]) -> None:
    for comparison in comparisons:
        if not comparison.is_equal:
            print(f"\n{comparison.case.name} on V{comparison.case.version}")
            outcomes: dict[str, Outcome | None] = {"expected": comparison.expected, **comparison.engines}
            for name, outcome in outcomes.items():
                print(f"  {name:10} {outcome or 'did not end in time'} {outcome.printed if outcome else ''}")


def print_summary(comparisons: list[Comparison]) -> None:
    ends: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    for comparison in comparisons:
        runs.update(comparison.engines.keys())
        if comparison.is_equal and comparison.expected is not None:
            end = comparison.expected
            kind = "exit 0" if end.exit_code == 0 else "another exit code"
            kind = kind if end.error is None else "cycle limit" if end == LIMIT_EXCEEDED else "failure"
            ends[f"V{comparison.case.version} {kind}"] += 1
        else:
            ends["differ"] += 1
    print(f"\n{len(comparisons)} runs of {len({comparison.case.name for comparison in comparisons})} programs")
    print("by engine:", ", ".join(f"{name} {count}" for name, count in sorted(runs.items())))
    print("equal:", ", ".join(f"{kind} {count}" for kind, count in sorted(ends.items()) if kind != "differ"))
    print("differ:", ends["differ"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance")
    parser.add_argument("programs", type=Path, help="ELF program, or directory of them")
    parser.add_argument("oracle", type=Path, nargs="?", help="ckb-debugger.wasm; not with an --isa that it refuses")
    parser.add_argument(
        "--isa",
        type=Isa,
        default=Isa.CKB,
        choices=list(Isa),
        metavar="{" + ",".join(isa.value for isa in Isa) + "}",
        help="instructions that the engines know; with atomics (ckb+a), which ckb-debugger.wasm refuses, there is no "
        "oracle: engines must agree, and every program must exit with 0 on version 2",
    )
    parser.add_argument("--cycles", type=int, default=40_000_000, help="limit of a run")
    parser.add_argument("--reference-cycles", type=int, default=4_000_000, help="limit for the slow engine")
    parser.add_argument("--seconds", type=float, default=60, help="limit of a run of the oracle")
    options = parser.parse_args()
    if (options.oracle is None) != (options.isa is not Isa.CKB):
        parser.error("an oracle is wanted for --isa ckb, and for no other")
    paths = list(find_programs(options.programs))
    if not paths:
        print(f"no ELF program in {options.programs}")
        return 1
    oracle = Oracle(options.oracle, options.seconds) if options.oracle else None
    runner = Runner(oracle, options.cycles, options.reference_cycles, machine_factories(options.isa))
    comparisons = []
    for path in paths:
        comparisons += [runner.compare(case) for case in cases_of(path, options.programs)]
        print(f"\r{len(comparisons)} runs", end="", file=sys.stderr)
    print(file=sys.stderr)
    print_table(comparisons)
    print_differences(comparisons)
    print_summary(comparisons)
    return 0 if all(comparison.is_equal for comparison in comparisons) else 1


if __name__ == "__main__":
    sys.exit(main())
