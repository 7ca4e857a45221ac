"""Single instructions against results of an independent machine (see vectors/instructions.json)."""

import json
from pathlib import Path

import pytest

from tests.support.vm.assembler import CODE_BASE, DATA_BASE, ECALL, branch, imm, jal, li, lui, reg, store, unary
from tests.vm.running import run_code
from vm.isa.table import OPS, Extension

VECTORS = json.loads((Path(__file__).parent / "vectors" / "instructions.json").read_text())
OPERANDS = [(int(a, 16), int(b, 16)) for a, b in VECTORS["operands"]]
RD, RS1, RS2 = 7, 5, 6


CASES = [(kind, name) for kind in ("register", "unary", "immediate", "shift") for name in VECTORS[kind]]


def encoded(kind: str, name: str, immediate: int) -> bytes:
    if kind == "register":
        return reg(name, RD, RS1, RS2)
    if kind == "unary":
        return unary(name, RD, RS1)
    return imm(name, RD, RS1, immediate if kind == "immediate" else immediate & (31 if name.endswith("iw") else 63))


@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda value: str(value))
def test_result(engine: str, kind: str, name: str) -> None:
    code, expected = b"", VECTORS[kind][name]
    for index, ((a, b), immediate) in enumerate(zip(OPERANDS, VECTORS["immediates"], strict=True)):
        code += li(RS1, a) + li(RS2, b) + encoded(kind, name, immediate)
        code += lui(28, DATA_BASE >> 12) + store("sd", RD, 28, 8 * index)
    machine = run_code(code + ECALL, 2, engine)
    results = [hex(machine.memory.load64(DATA_BASE + 8 * index)) for index in range(len(OPERANDS))]
    assert results == expected


def test_vectors_cover_all_arithmetic() -> None:
    tested = {name for _, name in CASES}
    untested = {spec.name for spec in OPS if spec.extension not in {Extension.FUSION, Extension.A}} - tested
    assert untested == {
        *("lui", "auipc", "jal", "jalr", "beq", "bne", "blt", "bge", "bltu", "bgeu"),
        *("lb", "lh", "lw", "ld", "lbu", "lhu", "lwu", "sb", "sh", "sw", "sd"),
        *("fence", "fencei", "ecall", "ebreak"),
    }


@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda value: str(value))
def test_x0_stays_zero(engine: str, kind: str, name: str) -> None:
    word = int.from_bytes(encoded(kind, name, 5), "little") & ~(31 << 7)
    code = li(RS1, 0x1234_5678_9ABC_DEF0) + li(RS2, 3) + word.to_bytes(4, "little")
    machine = run_code(code + reg("add", 8, 0, 0) + ECALL, 2, engine)
    assert machine.get_register(0) == 0
    assert machine.get_register(8) == 0


LOADED = {
    "lb": 0xFFFF_FFFF_FFFF_FF88,
    "lh": 0xFFFF_FFFF_FFFF_9988,
    "lw": 0xFFFF_FFFF_BBAA_9988,
    "ld": 0xFFEE_DDCC_BBAA_9988,
    "lbu": 0x88,
    "lhu": 0x9988,
    "lwu": 0xBBAA_9988,
}


@pytest.mark.parametrize("name", LOADED)
@pytest.mark.parametrize("offset", [0, 1, -3, 2040])
def test_load(engine: str, name: str, offset: int) -> None:
    data = bytes.fromhex("8899aabbccddeeff")
    where = 0x100 + offset
    code = li(RS1, DATA_BASE + 0x100) + imm(name, RD, RS1, offset) + imm(name, 0, RS1, offset)
    machine = run_code(code + ECALL, 1, engine, data=bytes(where) + data)
    assert machine.get_register(RD) == LOADED[name]
    assert machine.get_register(0) == 0


@pytest.mark.parametrize(("name", "size"), [("sb", 1), ("sh", 2), ("sw", 4), ("sd", 8)])
@pytest.mark.parametrize("address", [DATA_BASE, DATA_BASE + 1, 0x30FFD, 0x30FFF, (4 << 20) - 8])
def test_store(engine: str, name: str, size: int, address: int) -> None:
    code = li(RS1, address) + li(RS2, 0xFFEE_DDCC_BBAA_9988) + store(name, RS2, RS1, 0)
    machine = run_code(code + ECALL, 1, engine)
    stored = bytes.fromhex("8899aabbccddeeff")[:size]
    assert machine.memory.load_bytes(address, 8) == stored + bytes(8 - size)


def test_jump_and_link(engine: str) -> None:
    code = jal(1, 8) + ECALL + imm("jalr", 5, 1, 1) + ECALL  # the lowest bit of the target is dropped
    machine = run_code(code, 1, engine)
    assert machine.get_register(1) == CODE_BASE + 4
    assert machine.get_register(5) == CODE_BASE + 12
    assert machine.pc == CODE_BASE + 8


def test_jalr_to_its_own_base(engine: str) -> None:
    code = li(1, CODE_BASE + 4 * 13 + 8)
    machine = run_code(code + imm("jalr", 1, 1, 0) + imm("addi", 10, 0, 1) + ECALL, 1, engine)
    assert machine.get_register(10) == 0
    assert machine.get_register(1) == CODE_BASE + len(code) + 4


@pytest.mark.parametrize(
    ("name", "a", "b", "taken"),
    [
        *(("beq", 1, 1, True), ("beq", 1, 2, False), ("bne", 1, 1, False), ("bne", 1, 2, True)),
        *(("blt", -1, 1, True), ("blt", 1, -1, False), ("blt", 1, 1, False)),
        *(("bge", -1, 1, False), ("bge", 1, -1, True), ("bge", 1, 1, True)),
        *(("bltu", -1, 1, False), ("bltu", 1, -1, True), ("bltu", 1, 1, False)),
        *(("bgeu", -1, 1, True), ("bgeu", 1, -1, False), ("bgeu", 1, 1, True)),
    ],
)
@pytest.mark.parametrize("offset", [8, 4094])
def test_branch(engine: str, name: str, a: int, b: int, taken: bool, offset: int) -> None:
    head = li(RS1, a) + li(RS2, b)
    body = branch(name, RS1, RS2, offset) + ECALL
    filler = bytes(offset - 8)
    machine = run_code(head + body + filler + ECALL, 1, engine)
    assert machine.pc == CODE_BASE + len(head) + (offset + 4 if taken else 8)
