"""Compiles kernels and calls into them. The only place of this room that touches `wasmtime`.

Calls go through its C interface as those of `vm.translator.runtime` do, since the checked Python wrappers cost ten
times what a short kernel does.
"""

import atexit
import ctypes
import hashlib
import importlib.metadata
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import wasmtime
from wasmtime import _bindings as ffi
from wasmtime._ffi import dll

from consensus.errors import CkbError
from vm.wasm.runtime import check_private, make_engine, read_checked, write_checked

T = TypeVar("T")

_ERROR_POINTER: Final = ctypes.POINTER(ffi.wasmtime_error_t)
_TRAP_POINTER: Final = ctypes.POINTER(ffi.wasm_trap_t)
_CALL_TYPES: Final = (*(ctypes.c_void_p,) * 4, ctypes.c_size_t, ctypes.c_void_p)  # the result, then the parameters
_ADDRESS: Final = ctypes.cast(dll["wasmtime_func_call_unchecked"], ctypes.c_void_p).value or 0
# A brief call keeps Python's lock: to get it back from a busy thread may take milliseconds (decision 14).
_brief_call: Final[Any] = ctypes.PYFUNCTYPE(*_CALL_TYPES)(_ADDRESS)
_long_call: Final[Any] = ctypes.CFUNCTYPE(*_CALL_TYPES)(_ADDRESS)


class KernelLengthError(CkbError):
    """Input of a length that a kernel does not take; it was not called."""

    def __init__(self, what: str, expected: str, actual: int) -> None:
        super().__init__(f"{what}: expected {expected}, got {actual}")
        self.what = what
        self.expected = expected
        self.actual = actual


class KernelTrapError(Exception):
    """Generated code trapped, which it never should."""


_engine_lock: Final = threading.Lock()


def _engine() -> wasmtime.Engine:
    """The process' engine. Of two threads that need it first, the cache alone would let each make one."""
    with _engine_lock:
        return _made_engine()


@lru_cache(maxsize=1)
def _made_engine() -> wasmtime.Engine:
    atexit.register(_made_engine.cache_clear)
    return make_engine()


class Kernel(Generic[T]):
    """A generated module, compiled when it is first needed.

    Threads may share it: each gets an instance of its own (module memory and all), which ends with the thread.
    """

    def __init__(self, name: str, digest: str, generate: Callable[[], bytes], bind: Callable[["Instance"], T]) -> None:
        """`digest` is `code_digest` of what `generate` gives, so that code kept on disk is known without generating it;
        `bind` makes of an instance what its users call."""
        self.name, self.digest, self.generate = name, digest, generate
        self._bind = bind
        self._module: wasmtime.Module | None = None
        self._lock = threading.Lock()
        self._local = threading.local()
        atexit.register(self._release)

    def here(self) -> T:
        """What `bind` made of this thread's instance."""
        try:
            bound: T = self._local.bound
        except AttributeError:
            bound = self._local.bound = self._bind(Instance(_engine(), self._compiled()))
        return bound

    def load(self, directory: Path) -> None:
        """Take the compiled code from `directory`, or compile and keep it there; nothing if it is compiled already.

        It is made if it is missing. It belongs to the user and has mode 0700, PermissionError otherwise: this process
        runs what it holds.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(directory)
        with self._lock:
            if self._module is None:
                self._module = self._read(directory) or self._write(directory)

    def _release(self) -> None:
        """Let go of what wasmtime can no longer free while the interpreter is taken apart."""
        self._local, self._module = threading.local(), None

    def _compiled(self) -> wasmtime.Module:
        with self._lock:
            if self._module is None:
                self._module = wasmtime.Module(_engine(), self.generate())
            return self._module

    def _read(self, directory: Path) -> wasmtime.Module | None:
        kept = read_checked(self.path(directory))
        if kept is None:
            return None
        try:
            return wasmtime.Module.deserialize(_engine(), kept)
        except wasmtime.WasmtimeError:  # made for another processor
            return None

    def _write(self, directory: Path) -> wasmtime.Module:
        module = wasmtime.Module(_engine(), self.generate())
        with suppress(OSError):  # no room: it is compiled again next time
            write_checked(self.path(directory), bytes(module.serialize()))
        return module

    def path(self, directory: Path) -> Path:
        """Where compiled code is kept; the name says what it was made from, and by which wasmtime."""
        return directory / f"{self.name}-{self.digest}-{importlib.metadata.version('wasmtime')}.kernel"


def code_digest(code: bytes) -> str:
    """Names generated code."""
    return hashlib.sha256(code).hexdigest()[:16]


class Instance:
    """A module's memory and functions. Belongs to one thread."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module) -> None:
        self.store = wasmtime.Store(engine)
        self._exports = wasmtime.Instance(self.store, module, []).exports(self.store)
        memory = self._exports["memory"]
        if not isinstance(memory, wasmtime.Memory):
            raise TypeError("the kernel has no memory")
        address = ctypes.addressof(memory.data_ptr(self.store).contents)
        self.memory = memoryview((ctypes.c_uint8 * memory.data_len(self.store)).from_address(address)).cast("B")

    def function(self, name: str, parameters: int, *, is_brief: bool) -> "KernelFunction":
        """An exported function. `is_brief`: it takes well under a millisecond, so other threads may wait."""
        function = self._exports[name]
        if not isinstance(function, wasmtime.Func):
            raise TypeError(f"the kernel has no function {name}")
        return KernelFunction(self.store, function, parameters, _brief_call if is_brief else _long_call)


class KernelFunction:
    """A function of some i32 or i64 parameters and one i32 result (or none, then the result means nothing)."""

    def __init__(self, store: wasmtime.Store, function: wasmtime.Func, parameters: int, call: Any) -> None:
        self._store = store  # what keeps all addresses below alive
        self._call = call
        self._function = function._func  # noqa: SLF001 (the raw call needs it)
        slots = max(parameters, 1)
        self._raw = (ffi.wasmtime_val_raw_t * slots)()
        size = ctypes.sizeof(ffi.wasmtime_val_raw_t)
        self._slots = [ctypes.c_uint64.from_buffer(self._raw, i * size) for i in range(slots)]
        self._result = ctypes.c_uint32.from_buffer(self._raw)
        self._trap = ctypes.c_void_p()
        context = ctypes.cast(store._context(), ctypes.c_void_p).value  # noqa: SLF001
        addresses = [ctypes.addressof(item) for item in (self._function, self._raw, self._trap)]
        self._arguments = (context, addresses[0], addresses[1], slots, addresses[2])

    def __call__(self, *arguments: int) -> int:
        """Call it with exactly its parameters. Raises KernelTrapError."""
        for slot, argument in zip(self._slots, arguments):  # noqa: B905 (this is the fast path)
            slot.value = argument
        error = self._call(*self._arguments)
        if error or self._trap.value:
            raise KernelTrapError(self._failure(error))
        return self._result.value

    def _failure(self, error: int | None) -> str:
        if error:
            return str(wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, _ERROR_POINTER)))  # noqa: SLF001
        trap, self._trap.value = self._trap.value, None
        return str(wasmtime.Trap._from_ptr(ctypes.cast(trap or 0, _TRAP_POINTER)))  # noqa: SLF001
