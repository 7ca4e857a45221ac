"""Instances of translated programs together with their interpreter. Touches `wasmtime` as `vm.wasm.runtime` does."""

import ctypes
from pathlib import Path
from typing import Any, Final

import wasmtime
from wasmtime import _bindings as ffi
from wasmtime._ffi import dll

from vm.errors import EngineFailure
from vm.isa.profile import Isa
from vm.translator import layout as to
from vm.translator.hosted import generate_hosted_interpreter
from vm.translator.translate import TRANSLATOR_VERSION, translate
from vm.wasm.emitter import PAGE
from vm.wasm.runtime import GUARD, ExportedFunction, cache_key, load_or_compile, make_engine

_ERROR_POINTER: Final = ctypes.POINTER(ffi.wasmtime_error_t)
_TRAP_POINTER: Final = ctypes.POINTER(ffi.wasm_trap_t)
# A function object of our own, since it is called with ready-made arguments only: nothing to convert or to check.
_call: Final[Any] = dll["wasmtime_func_call_unchecked"]
_call.restype = ctypes.c_void_p

assert to.MEMORY_PAGES * PAGE <= GUARD  # noqa: S101

_HOSTED: Final = f"hosted by {TRANSLATOR_VERSION}"
_EXPORTS: Final = ("memory", "translated", "interpret")


class HostedRuntime:
    """Compiles hosted interpreters of an instruction set, one a machine version, and instantiates translated modules
    beside them. `directory`: where those interpreters are kept between processes; it must be private."""

    def __init__(self, isa: Isa = Isa.CKB, directory: Path | None = None) -> None:
        self.isa = isa
        self._directory = directory
        self.engine = make_engine()
        self._interpreters: dict[int, wasmtime.Module] = {}

    def instantiate(self, version: int, translated: wasmtime.Module) -> "HostedInstance":
        """A new instance of the version's interpreter with this translated module."""
        return HostedInstance(self.engine, self._interpreter(version), translated)

    def prepare(self, version: int) -> None:
        """Have the version's interpreter in the directory. Takes a second where it is not."""
        self._interpreter(version)

    def compile(self, code: bytes) -> wasmtime.Module:
        """Compile WebAssembly to native code. Takes long for large programs."""
        return wasmtime.Module(self.engine, code)

    def load(self, native: bytes) -> wasmtime.Module:
        """What `serialize` of a module of such a runtime gave. Raises WasmtimeError if it does not fit this process."""
        return wasmtime.Module.deserialize(self.engine, native)

    def _interpreter(self, version: int) -> wasmtime.Module:
        module = self._interpreters.get(version)
        if module is None:
            path = None
            if self._directory is not None:
                path = self._directory / f"{cache_key(_HOSTED, version, self.isa)}.cwasm"
            module = load_or_compile(self.engine, path, lambda: generate_hosted_interpreter(version, self.isa))
            self._interpreters[version] = module
        return module


def compile_native(elf: bytes, version: int, isa: Isa) -> bytes:
    """Native code for this processor. Raises TooLargeError, or a VmError if the program cannot be loaded."""
    return bytes(HostedRuntime(isa).compile(translate(elf, version, isa=isa).code).serialize())


class HostedInstance:
    """A hosted interpreter and a translated program that share a memory. Belongs to one thread at a time."""

    def __init__(self, engine: wasmtime.Engine, interpreter: wasmtime.Module, translated: wasmtime.Module) -> None:
        self._store = store = wasmtime.Store(engine)
        exports = wasmtime.Instance(store, interpreter, []).exports(store)
        own = wasmtime.Instance(store, translated, [exports[name] for name in _EXPORTS]).exports(store)
        memory, run = exports["memory"], own["run"]
        if not isinstance(memory, wasmtime.Memory) or not isinstance(run, wasmtime.Func):
            raise TypeError("an export is missing")
        self.words = ExportedFunction(store, exports["words"])
        address = ctypes.addressof(memory.data_ptr(store).contents)
        self.memory = memoryview((ctypes.c_uint8 * memory.data_len(store)).from_address(address)).cast("B")
        self._function = run._func  # noqa: SLF001 (the raw call needs it)
        raw, self._trap = (ffi.wasmtime_val_raw_t * 1)(), ctypes.c_void_p()
        self._status = memoryview(ctypes.c_int32.from_buffer(raw)).cast("B").cast("i")
        self._trapped = memoryview(self._trap).cast("B").cast("P")
        context = ctypes.cast(store._context(), ctypes.c_void_p)  # noqa: SLF001
        function, result, trap = (ctypes.c_void_p(ctypes.addressof(item)) for item in (self._function, raw, self._trap))
        self._arguments = (context, function, result, ctypes.c_size_t(1), trap)

    def run(self) -> int:
        """Call `run`. Returns its status. Raises EngineFailure if native code trapped, as on a full native stack."""
        error = _call(*self._arguments)
        if error or self._trapped[0]:
            raise EngineFailure(self._failure(error))
        return self._status[0]

    def _failure(self, error: int | None) -> str:
        if error:
            return str(wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, _ERROR_POINTER)))  # noqa: SLF001
        trap, self._trap.value = self._trap.value, None
        return str(wasmtime.Trap._from_ptr(ctypes.cast(trap or 0, _TRAP_POINTER)))  # noqa: SLF001
