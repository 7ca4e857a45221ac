"""Runs a case on the reference's own debugger, a WASI module of another project that is not part of this one."""

from __future__ import annotations

import re
import tempfile
import threading
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import wasmtime

from tests.conformance.cases import LIMIT_EXCEEDED, Case, Outcome, mock_transaction, transaction_of

_GUEST_DIRECTORY = "case"
_CYCLES = re.compile(r"^All cycles: (\d+)", re.MULTILINE)
_RESULT = re.compile(r"^Run result: (-?\d+)", re.MULTILINE)
_ERROR = re.compile(r"^Error: (.*)", re.MULTILINE)
_PRINTED = re.compile(r"^Script log: (.*)", re.MULTILINE)  # of longer texts the first line will do
_FAILED_VALIDATION = re.compile(r'ValidationFailure\(".*", (-?\d+)\)')
_VM_ERROR = re.compile(r"VMInternalError\((.*)\)$")


class TimedOutError(Exception):
    """The oracle did not end in time."""


@dataclass(frozen=True)
class Said:
    """What a run of the debugger left."""

    code: int
    output: str
    errors: str


class Oracle:
    """The module, compiled. `timeout` in seconds bounds each run."""

    def __init__(self, path: Path, timeout: float) -> None:
        config = wasmtime.Config()
        config.epoch_interruption = True
        self._engine = wasmtime.Engine(config)
        self._timeout = timeout
        self._module = wasmtime.Module(self._engine, path.read_bytes())

    def run(self, case: Case, max_cycles: int) -> Outcome:
        """The outcome of a case. Raises TimedOutError."""
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            if case.arguments:
                (directory / "program").write_bytes(case.elf)
                return self._run_bare(directory, case, max_cycles)
            (directory / "transaction.json").write_text(mock_transaction(transaction_of(case)))
            return self._run_as_script(directory, case.version, max_cycles)

    def _run_as_script(self, directory: Path, version: int, max_cycles: int) -> Outcome:
        def run(limit: int) -> Outcome:
            return read_outcome(self._call(directory, "fast", version, limit, _transaction_arguments(), []))

        outcome = run(max_cycles)
        if outcome.exit_code is None or outcome.cycles is not None:
            return outcome
        # The cycles of a script that fails by its exit code are not told: they are the lowest limit that lets it end.
        cycles = bisect_left(range(max_cycles), True, key=lambda limit: run(limit) != LIMIT_EXCEEDED)
        return Outcome(None, outcome.exit_code, cycles, outcome.printed)

    def _run_bare(self, directory: Path, case: Case, max_cycles: int) -> Outcome:
        arguments = [argument.decode() for argument in case.arguments]
        source = ["--bin", f"{_GUEST_DIRECTORY}/program"]
        return read_outcome(self._call(directory, "full", case.version, max_cycles, source, arguments))

    def _call(
        self, directory: Path, mode: str, version: int, max_cycles: int, source: list[str], arguments: list[str]
    ) -> Said:
        options = ["--mode", mode, "--script-version", str(version), "--max-cycles", str(max_cycles)]
        wasi = wasmtime.WasiConfig()
        wasi.argv = ["ckb-debugger", *options, *source, "--", *arguments]
        output, errors = directory / "stdout", directory / "stderr"
        wasi.stdout_file, wasi.stderr_file = str(output), str(errors)
        wasi.preopen_dir(str(directory), _GUEST_DIRECTORY)
        code = self._start(wasi)
        return Said(code, output.read_text(errors="replace"), errors.read_text(errors="replace"))

    def _start(self, wasi: wasmtime.WasiConfig) -> int:
        store = wasmtime.Store(self._engine)
        store.set_epoch_deadline(1)
        store.set_wasi(wasi)
        linker = wasmtime.Linker(self._engine)
        linker.define_wasi()
        start = linker.instantiate(store, self._module).exports(store)["_start"]
        assert isinstance(start, wasmtime.Func)
        timer = threading.Timer(self._timeout, self._engine.increment_epoch)
        timer.start()
        try:
            start(store)
        except wasmtime.ExitTrap as exit_:
            return exit_.code
        except wasmtime.Trap as trap:
            if trap.trap_code == wasmtime.TrapCode.INTERRUPT:
                raise TimedOutError from None
            return -1  # a panic; its text tells more
        except wasmtime.WasmtimeError:
            return -1  # an exit status that WASI does not know
        finally:
            timer.cancel()
        return 0


def _transaction_arguments() -> list[str]:
    group = ["--cell-type", "input", "--cell-index", "0", "--script-group-type", "lock"]
    return ["--tx-file", f"{_GUEST_DIRECTORY}/transaction.json", *group]


def read_outcome(said: Said) -> Outcome:
    """The outcome by the words of the debugger."""
    text = said.output + said.errors
    printed = tuple(_PRINTED.findall(text))
    cycles, error = _CYCLES.search(text), _ERROR.search(text)
    if cycles is not None:
        result = _RESULT.search(text)
        return Outcome(None, int(result[1]) if result else 0, int(cycles[1]), printed)
    if error is None:
        return Outcome(error=f"the oracle says nothing: {text[-200:]}")
    if "ExceededMaximumCycles" in error[1] or "CyclesExceeded" in error[1]:
        return LIMIT_EXCEEDED
    failed = _FAILED_VALIDATION.match(error[1])
    if failed:
        return Outcome(exit_code=int(failed[1]), printed=printed)
    inner = _VM_ERROR.match(error[1])
    return Outcome(error=inner[1] if inner else error[1], printed=printed)
