"""Sequences that fuse or just miss fusion, against an independent machine (see vectors/fusion.txt)."""

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.vm.assembler import CODE_BASE, ECALL, PF_R, PF_X, Segment, elf, jal, li
from vm import Machine, create_machine

VALUES = {
    5: 0xFEDC_BA98_7654_3210,
    6: 0x8123_4567_89AB_CDEF,
    7: 0xFFFF_FFFF_FFFF_FF00,
    8: 77,
    9: 0x1111,
    30: 0x7000_0000_0000_0001,
}
HEAD = b"".join(li(register, value) for register, value in VALUES.items()) + jal(0, 4)
HEAD_COST = len(VALUES) * 13 + 3
U64 = (1 << 64) - 1


class Row(NamedTuple):
    code: bytes
    cycles: tuple[int, int]
    digests: tuple[int, int, int]


def rows() -> list[Row]:
    found = []
    for line in (Path(__file__).parent / "vectors" / "fusion.txt").read_text().splitlines():
        if not line.startswith("#"):
            code, cycles1, cycles2, digest0, digest1 = line.split()
            digests = (int(digest0, 16), int(digest1, 16), int(digest1, 16))
            found.append(Row(bytes.fromhex(code), (int(cycles1), int(cycles2)), digests))
    return found


def digest(machine: Machine) -> int:
    """The registers of VALUES, mixed."""
    state = 0
    for register in VALUES:
        state ^= machine.get_register(register)
        state ^= (state << 13 & U64) ^ state >> 7
    return state


@pytest.mark.parametrize("version", [0, 1, 2])
def test_sequences(engine: str, version: int) -> None:
    """All in one program: registers are set, a block begins, the sequence runs, an ecall ends it."""
    table = rows()
    assert len(table) == 694
    code = b"".join(HEAD + row.code + ECALL for row in table)
    machine = create_machine(version, 1 << 40, engine)
    machine.load_program(elf([Segment(CODE_BASE, code, PF_R | PF_X)]), [])
    for row in table:
        before = machine.cycles
        machine.run()
        assert digest(machine) == row.digests[version], row.code.hex()
        if version > 0:
            cycles = machine.cycles - before - HEAD_COST - 500
            assert cycles == row.cycles[version - 1], row.code.hex()
