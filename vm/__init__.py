"""CKB-VM: a RISC-V machine with exact cycle costs. Knows bytes, registers and cycles, nothing of CKB.

`create_machine` gives a machine of the wanted version (0, 1 or 2); `vm.machine.Machine` says how to use it.
`parse_program` says what loading a program does.
"""

from pathlib import Path

from vm.constants import VERSIONS
from vm.errors import InvalidVersion
from vm.machine import Machine
from vm.reference.engine import ReferenceMachine
from vm.translator.engines import DEFAULT_NICENESS, ENGINES, Engines
from vm.wasm.machine import WasmMachine
from vm.wasm.programs import parse_program
from vm.wasm.runtime import Runtime

__all__ = ["DEFAULT_NICENESS", "Engines", "Machine", "create_machine", "parse_program", "use_cache_directory"]

_RUNTIME = Runtime()


def use_cache_directory(directory: Path) -> None:
    """Keep compiled engines in `directory` between processes. See `vm.wasm.runtime.Runtime` for what it must be."""
    _RUNTIME.use_cache_directory(directory)


def create_machine(version: int, max_cycles: int, engine: str = "auto", engines: Engines | None = None) -> Machine:
    """A machine without a program.

    `engine` is "reference" (plain Python, slow), "wasm" (the interpreter in WebAssembly) or "auto" (the fastest that
    is exact: with `engines`, translated code where there is some). All give the same results. Raises InvalidVersion;
    ValueError if there is no such engine.
    """
    if engines is not None:
        return engines.create_machine(version, max_cycles, engine)
    if engine not in ENGINES:
        raise ValueError(f"no such engine: {engine}")
    if version not in VERSIONS:
        raise InvalidVersion
    if engine == "reference":
        return ReferenceMachine(version, max_cycles)
    return WasmMachine(_RUNTIME, version, max_cycles)
