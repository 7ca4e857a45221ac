"""Instances of translated programs together with their interpreter. Touches `wasmtime` as `vm.wasm.runtime` does."""

import ctypes
from typing import Any, Final

import wasmtime
from wasmtime import _bindings as ffi

from vm.errors import EngineFailure
from vm.translator.hosted import generate_hosted_interpreter
from vm.wasm.runtime import make_engine

_EXPORTS: Final = ("memory", "translated", "interpret")


class HostedRuntime:
    """Compiles hosted interpreters, one a machine version, and instantiates translated modules beside them."""

    def __init__(self) -> None:
        self.engine = make_engine()
        self._interpreters: dict[int, wasmtime.Module] = {}

    def instantiate(self, version: int, translated: wasmtime.Module) -> "HostedInstance":
        return HostedInstance(self.engine, self._interpreter(version), translated)

    def compile(self, code: bytes) -> wasmtime.Module:
        return wasmtime.Module(self.engine, code)

    def load(self, native: bytes) -> wasmtime.Module:
        """What `serialize` of a module of such a runtime gave. Raises WasmtimeError if it does not fit this process."""
        return wasmtime.Module.deserialize(self.engine, native)

    def _interpreter(self, version: int) -> wasmtime.Module:
        module = self._interpreters.get(version)
        if module is None:
            module = self._interpreters[version] = self.compile(generate_hosted_interpreter(version))
        return module


class HostedInstance:
    """A hosted interpreter and a translated program that share a memory. Belongs to one thread at a time."""

    def __init__(self, engine: wasmtime.Engine, interpreter: wasmtime.Module, translated: wasmtime.Module) -> None:
        self._store = store = wasmtime.Store(engine)
        exports = wasmtime.Instance(store, interpreter, []).exports(store)
        own = wasmtime.Instance(store, translated, [exports[name] for name in _EXPORTS]).exports(store)
        memory, run = exports["memory"], own["run"]
        if not isinstance(memory, wasmtime.Memory) or not isinstance(run, wasmtime.Func):
            raise TypeError("an export is missing")
        address = ctypes.addressof(memory.data_ptr(store).contents)
        self.memory = memoryview((ctypes.c_uint8 * memory.data_len(store)).from_address(address)).cast("B")
        self._function = run._func  # noqa: SLF001 (the raw call needs it)
        self._raw = (ffi.wasmtime_val_raw_t * 1)()
        self._trap: Any = ctypes.POINTER(ffi.wasm_trap_t)()
        context = store._context()  # noqa: SLF001
        self._arguments = (context, ctypes.byref(self._function), self._raw, 1, ctypes.byref(self._trap))

    def run(self) -> int:
        """Call `run`. Returns its status. Raises EngineFailure if native code trapped, as on a full native stack."""
        error: Any = ffi.wasmtime_func_call_unchecked(*self._arguments)
        if error:
            raise EngineFailure(str(wasmtime.WasmtimeError._from_ptr(error)))  # noqa: SLF001
        if self._trap:
            trap = ctypes.cast(self._trap, ctypes.POINTER(ffi.wasm_trap_t))
            ctypes.memset(ctypes.byref(self._trap), 0, ctypes.sizeof(self._trap))
            raise EngineFailure(str(wasmtime.Trap._from_ptr(trap)))  # noqa: SLF001
        status: int = self._raw[0].i32
        return status
