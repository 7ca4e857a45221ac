"""What all kernels share: compiled code on disk, traps, blake2b."""

import threading
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.crypto.hashing import ckb_hash
from consensus.kernels import eaglesong, golomb, merkle, mmr, outputs, runtime, strict
from consensus.kernels.blake2b_code import WORKSPACE, Blake2b
from consensus.kernels.prepare import load_kernels
from consensus.kernels.runtime import Instance, Kernel, KernelTrapError, code_digest
from vm.wasm.emitter import I32, Module, const

KERNELS = (eaglesong.KERNEL, golomb.KERNEL, merkle.KERNEL, mmr.KERNEL, outputs.KERNEL, strict.KERNEL)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_code_is_named_by_its_digest(kernel: Kernel[object]) -> None:
    """When the generator (or the emitter) changed: put the new digest into CODE_DIGEST beside the generator."""
    assert kernel.digest == code_digest(kernel.generate())


def test_threads_that_need_the_engine_first_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of one engine cannot be used with another."""
    made: list[object] = []

    def slow() -> object:
        made.append(object())
        threading.Event().wait(0.05)  # others come meanwhile
        return made[-1]

    monkeypatch.setattr(runtime, "_made_engine", lru_cache(maxsize=1)(slow))
    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(runtime._engine())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert got == made * 4


class CountedKernel:
    """A kernel that a fresh process would make, with a count of how often its code was generated."""

    def __init__(self, number: int = 7) -> None:
        module = Module(1)
        f = module.function((I32,), (I32,), export="f")
        with f.if_(f.param(0).value):
            f.unreachable()
        f.return_(f.param(0).value + number)
        self._code = module.encode()
        self.generated = 0
        self.kernel: Kernel[Instance] = Kernel("some", code_digest(self._code), self._generate, lambda made: made)

    def _generate(self) -> bytes:
        self.generated += 1
        return self._code

    def answer(self) -> int:
        return self.kernel.here().function("f", 1, is_brief=True)(0)


def test_compiled_code_is_kept(tmp_path: Path) -> None:
    directory = tmp_path / "kernels"
    first, second = CountedKernel(), CountedKernel()
    for some in (first, second, second):
        some.kernel.load(directory)
        assert some.answer() == 7
    assert (first.generated, second.generated) == (1, 0)
    assert list(directory.iterdir()) == [first.kernel.path(directory)]


def test_other_code_has_another_name(tmp_path: Path) -> None:
    some, other = CountedKernel(7), CountedKernel(8)
    some.kernel.load(tmp_path / "kernels")
    other.kernel.load(tmp_path / "kernels")
    assert (some.answer(), other.answer()) == (7, 8)


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 5000])
def test_damaged_code_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    directory = tmp_path / "kernels"
    first, second = CountedKernel(), CountedKernel()
    first.kernel.load(directory)
    path = first.kernel.path(directory)
    whole = path.read_bytes()
    path.write_bytes(damage or whole[:-1] + bytes([whole[-1] ^ 1]))
    second.kernel.load(directory)
    assert second.answer() == 7
    assert second.generated == 1
    assert len(path.read_bytes()) == len(whole)


def test_no_room_to_keep_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, code: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(runtime, "write_checked", fail)
    some = CountedKernel()
    some.kernel.load(tmp_path / "kernels")
    assert some.answer() == 7
    assert list((tmp_path / "kernels").iterdir()) == []


def test_a_directory_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(PermissionError):
        CountedKernel().kernel.load(tmp_path / "open")


def test_all_kernels_load(tmp_path: Path) -> None:
    load_kernels(tmp_path / "kernels")
    assert eaglesong.eaglesong(b"") == bytes.fromhex("9e4452fc7aed93d7240b7b55263792befd1be09252b456401122ba71a56f62a0")


@pytest.mark.parametrize("is_brief", [True, False])
def test_a_trap_is_an_error_and_the_next_call_works(is_brief: bool) -> None:
    function = CountedKernel().kernel.here().function("f", 1, is_brief=is_brief)
    assert function(0) == 7
    with pytest.raises(KernelTrapError, match="unreachable"):
        function(1)
    assert function(0) == 7


# blake2b

INPUT, OUTPUT = 1024, 8192
LENGTHS = (8, 32, 64, 120, 128, 136, 192, 256, 264, 1024)


def _blake2b() -> bytes:
    module = Module(1)
    hashes = Blake2b(module, 1024 - WORKSPACE)
    for length in LENGTHS:
        f = module.function((), (), export=f"hash{length}")
        f.call_into((), hashes.hasher(length), const(I32, INPUT), const(I32, OUTPUT))
    return module.encode()


BLAKE2B: Kernel[Instance] = Kernel("blake2b", "", _blake2b, lambda instance: instance)


@pytest.mark.parametrize("length", LENGTHS)
@given(data=st.data())
def test_blake2b(length: int, data: st.DataObject) -> None:
    message = data.draw(st.binary(min_size=length, max_size=length))
    instance = BLAKE2B.here()
    instance.memory[INPUT : INPUT + length] = message
    instance.function(f"hash{length}", 0, is_brief=True)()
    assert bytes(instance.memory[OUTPUT : OUTPUT + 32]) == ckb_hash(message)


@pytest.mark.parametrize("length", [0, -8, 7, 33])
def test_lengths_that_blake2b_does_not_take(length: int) -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        Blake2b(Module(1), 0).hasher(length)
