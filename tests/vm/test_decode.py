"""Decoding against what GNU objdump 2.40 says (`objdump -d -M no-aliases,numeric`)."""

import pytest

from tests.support.vm import assembler
from tests.vm.running import loaded
from vm.errors import InvalidInstruction
from vm.isa.compressed import decode_half
from vm.isa.word import decode_word

# bits, name, rd, rs1, rs2, immediate
HALVES = [
    *((0x0004, None), (0x0000, None), (0x8000, None), (0x2000, None), (0xA000, None), (0x2002, None)),
    *((0x1FE0, "addi", 8, 2, 0, 1020), (0x4398, "lw", 14, 15, 0, 0), (0x5EFC, "lw", 15, 13, 0, 124)),
    *((0x7EFC, "ld", 15, 13, 0, 248), (0xDEFC, "sw", 0, 13, 15, 124), (0xFEFC, "sd", 0, 13, 15, 248)),
    *((0x0001, "addi", 0, 0, 0, 0), (0x157D, "addi", 10, 10, 0, -1), (0x357D, "addiw", 10, 10, 0, -1)),
    *((0x2001, None), (0x557D, "addi", 10, 0, 0, -1), (0x717D, "addi", 2, 2, 0, -16)),
    *((0x6161, "addi", 2, 2, 0, 80), (0x6101, None), (0x757D, "lui", 10, 0, 0, -4096)),
    *((0x6505, "lui", 10, 0, 0, 4096), (0x6501, None), (0x81FD, "srli", 11, 11, 0, 31)),
    *((0x95FD, "srai", 11, 11, 0, 63), (0x99FD, "andi", 11, 11, 0, -1), (0x8D89, "sub", 11, 11, 10, 0)),
    *((0x8DA9, "xor", 11, 11, 10, 0), (0x8DC9, "or", 11, 11, 10, 0), (0x8DE9, "and", 11, 11, 10, 0)),
    *((0x9D89, "subw", 11, 11, 10, 0), (0x9DA9, "addw", 11, 11, 10, 0), (0x9DC9, None), (0x9DE9, None)),
    *((0xBFFD, "jal", 0, 0, 0, -2), (0xB001, "jal", 0, 0, 0, -2048), (0xAFFD, "jal", 0, 0, 0, 2046)),
    *((0xDD7D, "beq", 0, 10, 0, -2), (0xFD7D, "bne", 0, 10, 0, -2), (0xD101, "beq", 0, 10, 0, -256)),
    *((0x157E, "slli", 10, 10, 0, 63), (0x557E, "lw", 10, 2, 0, 252), (0x757E, "ld", 10, 2, 0, 504)),
    *((0x4002, None), (0x6002, None), (0x8002, None), (0x8502, "jalr", 0, 10, 0, 0)),
    *((0x852E, "add", 10, 0, 11, 0), (0x952E, "add", 10, 10, 11, 0), (0x9502, "jalr", 1, 10, 0, 0)),
    *((0x9002, "ebreak", 0, 0, 0, 0), (0xDFAA, "sw", 0, 2, 10, 252), (0xFFAA, "sd", 0, 2, 10, 504)),
]

# Hints: do nothing from version 1 on, invalid before.
HINTS = (0x0005, 0x0501, 0x4005, 0x6005, 0x0002, 0x0006, 0x0502, 0x802E, 0x902E)


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("row", HALVES, ids=lambda row: f"{row[0]:04x}")
def test_compressed(row: tuple[int, str | None, int, int, int, int], version: int) -> None:
    decoded = decode_half(row[0], version)
    if row[1] is None:
        assert decoded is None
    else:
        assert decoded is not None
        assert (decoded.name, decoded.rd, decoded.rs1, decoded.rs2, decoded.imm) == row[1:]
        assert decoded.length == 2


@pytest.mark.parametrize("bits", HINTS)
def test_hints(bits: int) -> None:
    assert decode_half(bits, 0) is None
    for version in (1, 2):
        decoded = decode_half(bits, version)
        assert decoded is not None
        assert (decoded.name, decoded.rd) == ("addi", 0)


def test_shift_by_nothing_is_accepted_in_all_versions() -> None:
    for bits in (0x8181, 0x8581):  # c.srli64, c.srai64
        for version in (0, 1, 2):
            decoded = decode_half(bits, version)
            assert decoded is not None
            assert decoded.name == "addi"


WORDS = [
    (0xFFF5_8513, ("addi", 10, 11, 0, -1)),
    (0x03F5_9513, ("slli", 10, 11, 0, 63)),
    (0x43F5_D513, ("srai", 10, 11, 0, 63)),
    (0x41F5_D51B, ("sraiw", 10, 11, 0, 31)),
    (0x8000_0537, ("lui", 10, 0, 0, -0x8000_0000)),
    (0x7FFF_F517, ("auipc", 10, 0, 0, 0x7FFF_F000)),
    (0x8000_00EF, ("jal", 1, 0, 0, -0x10_0000)),
    (0x7FFF_F0EF, ("jal", 1, 0, 0, 0xF_FFFE)),
    (0x80B5_00E3, ("beq", 0, 10, 11, -2048)),
    (0x80B5_0063, ("beq", 0, 10, 11, -4096)),
    (0x7EB5_7FE3, ("bgeu", 0, 10, 11, 4094)),
    (0x80A5_B023, ("sd", 0, 11, 10, -2048)),
    (0x7EA5_BFA3, ("sd", 0, 11, 10, 2047)),
    (0x0FF0_000F, ("fence", 0, 0, 0, 0)),
    (0x8330_000F, ("fence", 0, 0, 0, 0)),  # fence.tso
    (0x0000_100F, ("fencei", 0, 0, 0, 0)),
    (0x0000_0073, ("ecall", 0, 0, 0, 0)),
    (0x0010_0073, ("ebreak", 0, 0, 0, 0)),
]


@pytest.mark.parametrize(("word", "expected"), WORDS)
@pytest.mark.parametrize("version", [0, 1, 2])
def test_word(word: int, expected: tuple[str, int, int, int, int], version: int) -> None:
    decoded = decode_word(word, version)
    assert decoded is not None
    assert (decoded.name, decoded.rd, decoded.rs1, decoded.rs2, decoded.imm) == expected
    assert decoded.length == 4


INVALID_WORDS = [
    0x0200_1013 | 0x4000_0000,  # slli with a wrong high part
    0x0200_101B,  # slliw by 32
    0x0000_7003,  # load, funct3 7
    0x0000_4023,  # store, funct3 4
    0x0000_2063,  # branch, funct3 2
    0x0000_1067,  # jalr, funct3 1
    0x0200_1073,  # csrrw
    0x1050_0073,  # wfi
    0x0000_00F3,  # ecall with rd
    0x0010_100F,  # fence.i with an immediate
    0x0000_200F,
    0x0000_0FFF,
    0x1005_252F,  # lr.w: atomics are not enabled
    0x0105_252F,
    0x0005_0007,  # flw
    0xFFFF_FFFF,
]


@pytest.mark.parametrize("word", INVALID_WORDS)
@pytest.mark.parametrize("version", [0, 1, 2])
def test_invalid_word(word: int, version: int, engine: str) -> None:
    assert decode_word(word, version) is None
    machine = loaded(assembler.program(word.to_bytes(4, "little")), version, engine)
    with pytest.raises(InvalidInstruction) as raised:
        machine.run()
    assert str(raised.value) == f"InvalidInstruction {{ pc: 65536, instruction: {word} }}"
    assert machine.cycles == 0


B_WORDS = [
    *(assembler.reg(name, 1, 2, 3) for name in assembler.B_REGISTER_OPS),
    *(assembler.unary(name, 1, 2) for name in assembler.B_UNARY_OPS),
    *(assembler.imm(name, 1, 2, 3) for name in assembler.B_SHIFT_OPS),
]


@pytest.mark.parametrize("word", B_WORDS)
def test_bit_manipulation_begins_with_version_1(word: bytes) -> None:
    bits = int.from_bytes(word, "little")
    assert decode_word(bits, 0) is None
    assert decode_word(bits, 1) is not None
