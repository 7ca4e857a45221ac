"""Compiled code on disk, and the emitter."""

from pathlib import Path

import pytest
import wasmtime

from tests.support.vm.assembler import ECALL, program
from vm.isa.profile import Isa
from vm.wasm.emitter import I32, I64, Module, const, if_else, load, select, signed_leb, unsigned_leb
from vm.wasm.machine import WasmMachine
from vm.wasm.runtime import Runtime, cache_key


def run_one(directory: Path) -> None:
    runtime = Runtime()
    runtime.use_cache_directory(directory)
    machine = WasmMachine(runtime, 1, 1000)
    machine.load_program(program(ECALL), [])
    machine.run()
    assert machine.cycles == 500


class TestCache:
    def test_compiled_code_is_kept(self, tmp_path: Path) -> None:
        directory = tmp_path / "engines"
        run_one(directory)
        assert [path.name for path in directory.iterdir()] == [f"{cache_key('interpreter', 1, Isa.CKB)}.cwasm"]
        assert directory.stat().st_mode & 0o777 == 0o700
        before = (directory / f"{cache_key('interpreter', 1, Isa.CKB)}.cwasm").stat().st_mtime_ns
        run_one(directory)
        assert (directory / f"{cache_key('interpreter', 1, Isa.CKB)}.cwasm").stat().st_mtime_ns == before

    def test_keys_differ(self) -> None:
        assert len({cache_key("interpreter", version, isa) for version in (0, 1, 2) for isa in Isa}) == 6

    @pytest.mark.parametrize("content", [b"", b"junk" * 1000])
    def test_damaged_file_is_made_anew(self, tmp_path: Path, content: bytes) -> None:
        directory = tmp_path / "engines"
        run_one(directory)
        path = directory / f"{cache_key('interpreter', 1, Isa.CKB)}.cwasm"
        path.write_bytes(content)
        run_one(directory)
        assert path.stat().st_size > 100_000
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        path.write_bytes(damaged)
        run_one(directory)
        assert path.read_bytes() != damaged

    def test_directory_open_to_others_is_refused(self, tmp_path: Path) -> None:
        directory = tmp_path / "engines"
        directory.mkdir(mode=0o755)
        directory.chmod(0o755)
        with pytest.raises(PermissionError):
            Runtime().use_cache_directory(directory)


class TestEmitter:
    @pytest.mark.parametrize(
        ("value", "encoded"), [(0, "00"), (127, "7f"), (128, "8001"), (624485, "e58e26"), (1 << 32, "8080808010")]
    )
    def test_unsigned(self, value: int, encoded: str) -> None:
        assert unsigned_leb(value).hex() == encoded

    @pytest.mark.parametrize(
        ("value", "encoded"), [(0, "00"), (63, "3f"), (64, "c000"), (-1, "7f"), (-64, "40"), (-123456, "c0bb78")]
    )
    def test_signed(self, value: int, encoded: str) -> None:
        assert signed_leb(value).hex() == encoded

    def test_types_are_checked(self) -> None:
        with pytest.raises(TypeError):
            const(I32, 1) + const(I64, 1)
        with pytest.raises(TypeError):
            const(I32, 1).wrap()
        f = Module(1).function((I32,), (I32,))
        with pytest.raises(TypeError):
            f.set(f.param(0), const(I64, 1))

    def test_module(self) -> None:
        """A module with every kind of statement, run."""
        module = Module(1)
        double = module.function((I64,), (I64,))
        double.return_(double.param(0).value * 2)
        double.unreachable()
        f = module.function((I64, I32), (I64,), export="f")
        total, counter = f.local(I64), f.local(I32)
        f.set(counter, f.param(1).value)
        with f.block() as done, f.loop() as again:
            f.branch_if(done, counter.value.eqz())
            f.set(total, total.value + f.call(double, f.param(0).value))
            f.set(counter, counter.value - 1)
            f.branch(again)
        with f.if_(total.value.compare("gt_s", 100)):
            f.set(total, select(f.param(1).value & 1, const(I64, -1), total.value))
            f.else_()
            f.store(8, const(I32, 0), total.value, 8)
            f.set(total, if_else(f.param(1).value, load(I64, 8, const(I32, 0), 8), load(I64, 1, const(I32, 100))))
        f.return_(total.value)
        f.unreachable()
        module.data(100, b"\x05")
        engine = wasmtime.Engine()
        store = wasmtime.Store(engine)
        function = wasmtime.Instance(store, wasmtime.Module(engine, module.encode()), []).exports(store)["f"]
        assert isinstance(function, wasmtime.Func)
        assert [function(store, 3, times) for times in (0, 1, 16, 17, 18)] == [5, 6, 96, -1, 108]
