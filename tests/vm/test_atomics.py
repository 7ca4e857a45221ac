"""Atomics (A), on engines that were made for them. On all others they are refused.

What read-modify-writes give was computed by an independent machine (see vectors/atomics.json: memory and rs2, then for
each instruction rd and memory afterwards).
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.vm.assembler import (
    ATOMIC_OPS,
    CODE_BASE,
    DATA_BASE,
    ECALL,
    PAGE,
    atomic,
    exit_with,
    half,
    imm,
    li,
    program,
    store,
)
from tests.support.vm.translated import EagerHost
from tests.vm.running import LIMIT
from vm import Engines, Machine, create_machine
from vm.constants import FLAG_DIRTY, MEMORY_SIZE
from vm.errors import InvalidInstruction, MemOutOfBound, MemWriteOnExecutablePage
from vm.isa.profile import Isa
from vm.isa.text import instruction_text
from vm.isa.word import decode_word
from vm.reference.engine import ReferenceMachine
from vm.translator.machine import AutoMachine
from vm.wasm.machine import WasmMachine

VECTORS = json.loads((Path(__file__).parent / "vectors" / "atomics.json").read_text())
MEMORY_OPS = [name for name in ATOMIC_OPS if name.startswith("amo")]
ADDRESS, VALUE, RESULT = 5, 6, 7

MachineFactory = Callable[[int, int], Machine]


@pytest.fixture(scope="module")
def host() -> EagerHost:
    return EagerHost(isa=Isa.CKB_WITH_ATOMICS)


@pytest.fixture(scope="module", params=["reference", "wasm", "translated"])
def engine(request: pytest.FixtureRequest, host: EagerHost) -> MachineFactory:
    match request.param:
        case "reference":
            return partial(ReferenceMachine, isa=Isa.CKB_WITH_ATOMICS)
        case "wasm":
            return partial(WasmMachine, host.runtime)
    return partial(AutoMachine, host)


def loaded(code: bytes, engine: MachineFactory, version: int = 2, data: bytes = b"") -> Machine:
    made = engine(version, LIMIT)
    made.load_program(program(code, data, data_size=2 * PAGE), [])
    return made


def run(code: bytes, engine: MachineFactory, version: int = 2, data: bytes = b"") -> Machine:
    made = loaded(code, engine, version, data)
    made.run()
    return made


@pytest.mark.parametrize("width", ["w", "d"])
@pytest.mark.parametrize("name", MEMORY_OPS)
def test_read_modify_write(name: str, width: str, engine: MachineFactory) -> None:
    code, data = b"", b""
    for index, (before, operand) in enumerate(VECTORS["operands"]):
        code += li(ADDRESS, DATA_BASE + 16 * index) + li(VALUE, int(operand, 16))
        code += atomic(name, width, RESULT, VALUE, ADDRESS, order=index % 4) + store("sd", RESULT, ADDRESS, 8)
        data += int(before, 16).to_bytes(8, "little") + bytes(8)
    made = run(code + ECALL, engine, data=data)
    results = [
        [f"{made.memory.load64(DATA_BASE + 16 * index + offset):x}" for offset in (8, 0)]
        for index in range(len(VECTORS["operands"]))
    ]
    assert results == VECTORS["results"][f"{name}.{width}"]


@pytest.mark.parametrize("name", [name for name in ATOMIC_OPS if name != "lr"])
def test_one_register_for_everything(name: str, engine: MachineFactory) -> None:
    """The address, the operand and the result."""
    made = run(li(ADDRESS, DATA_BASE) + atomic(name, "d", ADDRESS, ADDRESS, ADDRESS) + ECALL, engine)
    assert made.get_register(ADDRESS) == (1 if name == "sc" else 0)
    assert made.memory.load64(DATA_BASE) == (DATA_BASE if name in _TAKING_THE_OPERAND else 0)


_TAKING_THE_OPERAND = {"amoswap", "amoadd", "amoxor", "amoor", "amomax", "amomaxu"}


@pytest.mark.parametrize("name", ATOMIC_OPS)
def test_x0_stays_zero_and_the_rest_is_done(name: str, engine: MachineFactory) -> None:
    reserve = atomic("lr", "d", 9, 0, ADDRESS) if name == "sc" else b""
    code = li(ADDRESS, DATA_BASE) + li(VALUE, 3) + reserve + atomic(name, "d", 0, 0 if name == "lr" else VALUE, ADDRESS)
    made = run(code + imm("addi", 10, 0, 0) + ECALL, engine, data=bytes([5]))
    expected = {"amoswap": 3, "sc": 3, "amoadd": 8, "amoxor": 6, "amoand": 1, "amoor": 7, "amomin": 3, "amominu": 3}
    assert made.memory.load64(DATA_BASE) == expected.get(name, 5)
    assert made.get_register(0) == made.get_register(10) == 0


# Reservations

RESERVE = li(ADDRESS, DATA_BASE) + li(VALUE, 7)


def succeeds(code: bytes, engine: MachineFactory) -> list[bool]:
    """What the results in x20, x21, .. of sc instructions say."""
    made = run(RESERVE + code + ECALL, engine)
    assert {made.get_register(20), made.get_register(21)} <= {0, 1}
    return [made.get_register(20) == 0, made.get_register(21) == 0]


def test_what_a_reservation_is(engine: MachineFactory) -> None:
    lr, other = atomic("lr", "d", 10, 0, ADDRESS), imm("addi", 8, ADDRESS, 8)
    first, second = atomic("sc", "d", 20, VALUE, ADDRESS), atomic("sc", "d", 21, VALUE, ADDRESS)
    miss = other + atomic("sc", "d", 20, VALUE, 8)
    assert succeeds(first + second, engine) == [False, False], "nothing is reserved at the beginning"
    assert succeeds(lr + first + second, engine) == [True, False], "an sc ends it"
    assert succeeds(lr + miss + second, engine) == [False, False], "also one that fails"
    assert succeeds(lr + store("sd", VALUE, ADDRESS, 0) + first, engine)[0], "a store does not"
    assert succeeds(lr + atomic("amoadd", "d", 0, VALUE, ADDRESS) + first, engine)[0], "nor another atomic"
    assert succeeds(lr + other + atomic("lr", "d", 10, 0, 8) + first, engine)[0] is False, "the last lr counts"
    assert succeeds(lr + atomic("sc", "w", 20, VALUE, ADDRESS), engine)[0], "of any width"


def test_sc_stores_or_does_not(engine: MachineFactory) -> None:
    lr, sc = atomic("lr", "w", 10, 0, ADDRESS), atomic("sc", "w", 20, VALUE, ADDRESS)
    for code, after in ((lr + sc, 0x1111_1111_0000_0007), (sc, 0x1111_1111_1111_1111)):
        made = run(RESERVE + code + ECALL, engine, data=bytes([0x11] * 8))
        assert made.memory.load64(DATA_BASE) == after


def test_lr_extends_the_sign(engine: MachineFactory) -> None:
    code = li(ADDRESS, DATA_BASE) + atomic("lr", "w", 10, 0, ADDRESS) + atomic("lr", "d", 11, 0, ADDRESS)
    made = run(code + ECALL, engine, data=bytes.fromhex("00000080 00000080"))
    assert (made.get_register(10), made.get_register(11)) == (0xFFFF_FFFF_8000_0000, 0x8000_0000_8000_0000)


def test_reservation_survives_ecalls_and_snapshots_but_not_exec(engine: MachineFactory) -> None:
    reserving = RESERVE + atomic("lr", "d", 10, 0, ADDRESS) + ECALL
    conditional = atomic("sc", "d", 20, VALUE, ADDRESS) + ECALL
    first = run(reserving + conditional, engine)
    second = engine(2, LIMIT)
    second.restore(first.snapshot())
    for made in (first, second):
        made.run()
        assert made.get_register(20) == 0
        assert made.memory.load64(DATA_BASE) == 7
    third = run(reserving, engine)
    third.reset()
    third.load_program(program(RESERVE + conditional), [])
    third.run()
    assert third.get_register(20) == 1


def test_instances_that_are_used_again_have_no_reservation(host: EagerHost) -> None:
    code = RESERVE + atomic("sc", "d", 20, VALUE, ADDRESS) + atomic("lr", "d", 10, 0, ADDRESS) + ECALL
    for _ in range(3):
        assert run(code, partial(AutoMachine, host)).get_register(20) == 1


# Memory

LAST = MEMORY_SIZE - 8


@pytest.mark.parametrize("version", [0, 1, 2])
def test_no_alignment_is_asked_for(version: int, engine: MachineFactory) -> None:
    address = DATA_BASE + PAGE - 3
    code = li(ADDRESS, address) + li(VALUE, 1) + atomic("lr", "w", 10, 0, ADDRESS)
    code += atomic("sc", "d", 20, VALUE, ADDRESS) + atomic("amoadd", "d", 11, VALUE, ADDRESS) + ECALL
    made = run(code, engine, version)
    assert (made.get_register(20), made.get_register(11), made.memory.load64(address)) == (0, 1, 2)
    assert made.memory.flags[DATA_BASE // PAGE + 1] & FLAG_DIRTY


@pytest.mark.parametrize("version", [0, 1, 2])
def test_end_of_the_memory(version: int, engine: MachineFactory) -> None:
    """Also version 0, which cannot load its last bytes, reads them here."""
    code = li(ADDRESS, LAST) + atomic("lr", "d", 10, 0, ADDRESS) + atomic("sc", "d", 20, ADDRESS, ADDRESS)
    made = run(code + atomic("amoswap", "d", 11, 0, ADDRESS) + ECALL, engine, version)
    assert (made.get_register(20), made.get_register(11)) == (0, LAST)


@pytest.mark.parametrize("name", ["lr", "sc", "amoadd"])
@pytest.mark.parametrize("address", [LAST + 1, MEMORY_SIZE, 1 << 32, (1 << 64) - 1, (1 << 64) - 8])
def test_outside_of_the_memory(address: int, name: str, engine: MachineFactory) -> None:
    made = loaded(li(ADDRESS, address) + atomic(name, "d", RESULT, 0, ADDRESS) + ECALL, engine)
    with pytest.raises(MemOutOfBound):
        made.run()
    assert made.get_register(RESULT) == 0


@pytest.mark.parametrize("name", ["sc", "amoadd", "amoand"])
def test_executable_pages_are_refused_before_anything_is_done(name: str, engine: MachineFactory) -> None:
    """Also if an sc would not store, and if nothing would change."""
    made = loaded(li(ADDRESS, CODE_BASE) + atomic(name, "d", RESULT, 0, ADDRESS) + ECALL, engine)
    with pytest.raises(MemWriteOnExecutablePage):
        made.run()
    assert made.get_register(RESULT) == 0


def test_lr_reads_executable_pages(engine: MachineFactory) -> None:
    code = li(ADDRESS, CODE_BASE) + atomic("lr", "w", 10, 0, ADDRESS) + ECALL
    assert run(code, engine).get_register(10) == int.from_bytes(code[:4], "little")


@pytest.mark.parametrize("name", ATOMIC_OPS)
def test_pages_become_dirty_by_what_may_store(name: str, engine: MachineFactory) -> None:
    page = 0x300
    code = li(ADDRESS, page * PAGE) + atomic(name, "w", RESULT, 0, ADDRESS) + ECALL
    made = run(code, engine)
    assert bool(made.memory.flags[page] & FLAG_DIRTY) == (name != "lr")


@pytest.mark.parametrize(("width", "cost"), [("w", 4), ("d", 3)])
@pytest.mark.parametrize("name", ATOMIC_OPS)
@pytest.mark.parametrize("version", [0, 1, 2])
def test_cost(version: int, name: str, width: str, cost: int, engine: MachineFactory) -> None:
    head = li(ADDRESS, DATA_BASE)
    with_it = run(head + atomic(name, width, 0, 0, ADDRESS) + ECALL, engine, version).cycles
    assert with_it - run(head + ECALL, engine, version).cycles == cost


# Decoding

WORDS = [
    (name, width, atomic(name, width, 10, 0, 11, order)) for name in ATOMIC_OPS for width in "wd" for order in (0, 3)
]


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize(("name", "width", "word"), WORDS)
def test_no_version_of_ckb_has_them(name: str, width: str, word: bytes, version: int) -> None:
    bits = int.from_bytes(word, "little")
    assert decode_word(bits, version, Isa.CKB) is None
    decoded = decode_word(bits, version, Isa.CKB_WITH_ATOMICS)
    assert decoded is not None
    assert (decoded.name, decoded.rd, decoded.rs1, decoded.rs2) == (f"{name}_{width}", 10, 11, 0)
    assert instruction_text(decoded, 0) == f"{name}_{width} a0, " + ("" if name == "lr" else "zero, ") + "(a1)"


@pytest.mark.parametrize(
    "word",
    [
        0x1015_A52F,  # lr.w with rs2
        0x0005_852F,  # a byte
        0x0005_C52F,  # 16 bytes
        0x2805_A52F,  # amocas.w
    ],
)
def test_what_looks_similar_is_refused(word: int, engine: MachineFactory) -> None:
    with pytest.raises(InvalidInstruction):
        run(word.to_bytes(4, "little"), engine)


def test_sets_of_engines_tell_them_apart(tmp_path: Path) -> None:
    """Even if they keep compiled code in the same directory."""
    file = program(li(ADDRESS, DATA_BASE) + atomic("amoadd", "d", 10, 0, ADDRESS) + half(0x0001) + exit_with())
    for isa in (Isa.CKB_WITH_ATOMICS, Isa.CKB, Isa.CKB_WITH_ATOMICS):
        with Engines(tmp_path / "cache", isa=isa) as engines:
            engines.translate(file, 2)
            assert engines.is_translated(file, 2)
            for name in ("reference", "wasm", "auto"):
                made = create_machine(2, LIMIT, name, engines)
                made.load_program(file, [])
                if isa is Isa.CKB:
                    with pytest.raises(InvalidInstruction):
                        made.run()
                else:
                    made.run()
                    assert made.get_register(17) == 93
