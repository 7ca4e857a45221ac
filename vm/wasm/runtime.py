"""Compiles the generated modules and calls into them.

The only place that touches `wasmtime`. Calls and exports go through its C interface, since the checked Python wrappers
cost more than a short script does; `wasmtime` is pinned for that reason.
"""

import ctypes
import hashlib
import importlib.metadata
import os
import stat
from pathlib import Path
from typing import Any, Final

import wasmtime
from wasmtime import _bindings as ffi

from vm.errors import Unexpected
from vm.isa.profile import Isa
from vm.wasm.interpreter import GENERATOR_VERSION, generate_interpreter

_WASM_STACK: Final = 1 << 20  # bytes
# Bytes of address space behind a memory. Larger than any constant offset of an access: else every access to the guest
# would be compared with the size of the memory by instructions, a tenth of the time of translated code.
GUARD: Final = 64 << 20
_DIGEST_SIZE: Final = 32


def make_engine() -> wasmtime.Engine:
    """With the settings that all compiled code here shares."""
    config = wasmtime.Config()
    config.wasm_wide_arithmetic = True
    config.cranelift_opt_level = "speed"
    config.max_wasm_stack = _WASM_STACK
    config.memory_guard_size = GUARD
    return wasmtime.Engine(config)


class Runtime:
    """Compiled interpreters of an instruction set, one a machine version; made on first use and kept.

    Compiling starts threads, so a process that forks should do so before its first machine.
    """

    def __init__(self, isa: Isa = Isa.CKB) -> None:
        self.isa = isa
        self._engine = make_engine()
        self._modules: dict[int, wasmtime.Module] = {}
        self._cache_directory: Path | None = None

    def use_cache_directory(self, directory: Path) -> None:
        """Keep compiled code in `directory` between processes.

        What lies there is native code that this process will run, so it must be a directory of mode 0700 that belongs
        to the user; it is made if it is missing. Raises PermissionError if it is open to others.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(directory)
        self._cache_directory = directory

    def instantiate(self, version: int) -> "Instance":
        """A fresh interpreter."""
        module = self._modules.get(version)
        if module is None:
            module = self._modules[version] = self._load_or_compile(version)
        return Instance(self._engine, module)

    def _load_or_compile(self, version: int) -> wasmtime.Module:
        if self._cache_directory is None:
            return wasmtime.Module(self._engine, generate_interpreter(version, self.isa))
        path = self._cache_directory / f"{cache_key(version, self.isa)}.cwasm"
        kept = read_checked(path)
        if kept is not None:
            try:
                return wasmtime.Module.deserialize(self._engine, kept)
            except wasmtime.WasmtimeError:  # made for another processor: make it anew
                path.unlink(missing_ok=True)
        module = wasmtime.Module(self._engine, generate_interpreter(version, self.isa))
        write_checked(path, bytes(module.serialize()))
        return module


def cache_key(version: int, isa: Isa) -> str:
    """Names what a cached interpreter was made from: wasmtime, the generator, the machine version, the instructions."""
    wasmtime_version = importlib.metadata.version("wasmtime")
    text = f"interpreter {version} {isa.value} generator {GENERATOR_VERSION} wasmtime {wasmtime_version}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def check_private(directory: Path) -> None:
    """Raises PermissionError unless the directory belongs to the user and is open to nobody else."""
    status = directory.stat()
    if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise PermissionError(f"compiled code is only kept in a directory that nobody else may enter: {directory}")


def read_checked(path: Path) -> bytes | None:
    """What `write_checked` wrote, or None if it is missing or damaged. Damaged native code must not be run."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, code = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
    return code if hashlib.sha256(code).digest() == digest else None


def write_checked(path: Path, code: bytes) -> None:
    """The digest, then the code; the file appears whole or not at all."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_bytes(hashlib.sha256(code).digest() + code)
    temporary.replace(path)


class Instance:
    """One interpreter with its linear memory. Belongs to one thread at a time."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module) -> None:
        self._store = wasmtime.Store(engine)
        instance = wasmtime.Instance(self._store, module, [])
        exports = instance.exports(self._store)
        memory, run = exports["memory"], exports["run"]
        if not isinstance(memory, wasmtime.Memory) or not isinstance(run, wasmtime.Func):
            raise TypeError("the interpreter lacks an export")
        self._run = run._func  # noqa: SLF001 (the raw call needs it)
        self._context = self._store._context()  # noqa: SLF001
        self._raw = (ffi.wasmtime_val_raw_t * 1)()
        self._trap = ctypes.POINTER(ffi.wasm_trap_t)()
        size = memory.data_len(self._store)
        address = ctypes.addressof(memory.data_ptr(self._store).contents)
        self.memory = memoryview((ctypes.c_uint8 * size).from_address(address)).cast("B")

    def run(self) -> int:
        """Call the exported function. Returns its status; raises Unexpected if it trapped, which it never should."""
        error = ffi.wasmtime_func_call_unchecked(
            self._context, ctypes.byref(self._run), self._raw, 1, ctypes.byref(self._trap)
        )
        self._raise_failure(error)
        status: int = self._raw[0].i32
        return status

    def _raise_failure(self, error: Any) -> None:
        """Pointers of the C interface are false if they are null."""
        if error:
            raise Unexpected(str(wasmtime.WasmtimeError._from_ptr(error)))  # noqa: SLF001
        trap: Any = self._trap
        if trap:
            self._trap = ctypes.POINTER(ffi.wasm_trap_t)()
            raise Unexpected(str(wasmtime.Trap._from_ptr(trap)))  # noqa: SLF001
