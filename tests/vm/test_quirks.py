"""Frozen behaviour: what a version does although it should not. All of it is part of consensus."""

import pytest

from tests.support.vm.assembler import (
    CODE_BASE,
    ECALL,
    PF_R,
    PF_X,
    Segment,
    auipc,
    branch,
    elf,
    half,
    imm,
    jal,
    li,
    lui,
    program,
    reg,
)
from tests.vm.running import loaded, run_code
from vm.errors import CyclesExceeded, InvalidInstruction, MemOutOfBound, Unexpected

MEMORY_END = 4 << 20


class TestVersion0:
    def test_jalr_writes_its_link_first(self, engine: str) -> None:
        """With rd = rs1 the jump goes to the return address (jalr_bug of the reference tests)."""
        code = li(1, CODE_BASE) + imm("jalr", 1, 1, 4) + imm("addi", 10, 0, 1) + ECALL
        machine = run_code(code, 0, engine)
        assert machine.get_register(10) == 0
        assert machine.pc == CODE_BASE + len(code)

    @pytest.mark.parametrize(("name", "size"), [("lb", 1), ("lbu", 1), ("lh", 2), ("lhu", 2)])
    @pytest.mark.parametrize("version", [0, 1, 2])
    def test_last_bytes_cannot_be_read(self, engine: str, name: str, size: int, version: int) -> None:
        self._read_end(engine, name, size, version)

    @pytest.mark.parametrize(("name", "size"), [("lw", 4), ("lwu", 4), ("ld", 8)])
    @pytest.mark.parametrize("version", [0, 1, 2])
    def test_last_words_cannot_be_read(self, engine: str, name: str, size: int, version: int) -> None:
        self._read_end(engine, name, size, version)

    def _read_end(self, engine: str, name: str, size: int, version: int) -> None:
        last = loaded(program(li(5, MEMORY_END - size) + imm(name, 6, 5, 0) + ECALL), version, engine)
        if version == 0:
            with pytest.raises(MemOutOfBound):
                last.run()
        else:
            last.run()
        run_code(li(5, MEMORY_END - size) + imm(name, 6, 5, -1) + ECALL, version, engine)
        beyond = loaded(program(li(5, MEMORY_END - size) + imm(name, 6, 5, 1) + ECALL), version, engine)
        with pytest.raises(MemOutOfBound):
            beyond.run()

    def test_hints_are_invalid(self, engine: str) -> None:
        machine = loaded(program(half(0x902E) + ECALL), 0, engine)
        with pytest.raises(InvalidInstruction) as raised:
            machine.run()
        assert (raised.value.pc, raised.value.instruction) == (CODE_BASE, 0x902E)
        run_code(half(0x902E) + ECALL, 1, engine)

    def test_stack(self, engine: str) -> None:
        """Arguments are not ended by NULL, sp is not aligned, and only the low half of each word is written."""
        machine = loaded(program(ECALL), 0, engine)
        machine.reset()
        used = machine.initialize_stack([b"ab", b""])
        argv1, argv0 = MEMORY_END - 4, MEMORY_END - 3
        sp = argv1 - 24
        assert machine.get_register(2) == sp
        assert used == MEMORY_END - sp
        assert machine.memory.load_bytes(sp, 24) == b"".join(v.to_bytes(8, "little") for v in (2, argv0, argv1))
        assert machine.memory.load_bytes(argv1, 4) == b"\0ab\0"

    def test_no_arguments(self, engine: str) -> None:
        machine = loaded(program(ECALL), 0, engine)
        assert machine.get_register(2) == MEMORY_END - 8

    @pytest.mark.parametrize("version", [0, 1, 2])
    def test_executable_segment_that_does_not_begin_with_its_page(self, engine: str, version: int) -> None:
        file = elf([Segment(CODE_BASE + 0x78, ECALL, PF_R | PF_X)], entry=CODE_BASE + 0x78)
        if version == 0:
            with pytest.raises(Exception, match="MemWriteOnExecutablePage"):
                loaded(file, version, engine)
        else:
            loaded(file, version, engine).run()


@pytest.mark.parametrize("version", [1, 2])
class TestStackSinceVersion1:
    def test_arguments(self, engine: str, version: int) -> None:
        machine = loaded(program(ECALL), version, engine)
        machine.reset()
        used = machine.initialize_stack([b"ab", b"xyz"])
        argv0, argv1 = MEMORY_END - 3, MEMORY_END - 7
        sp = (argv1 - 32) & ~15
        assert machine.get_register(2) == sp
        assert used == MEMORY_END - sp
        words = (2, argv0, argv1, 0)
        assert machine.memory.load_bytes(sp, 32) == b"".join(word.to_bytes(8, "little") for word in words)

    def test_no_arguments(self, engine: str, version: int) -> None:
        machine = loaded(program(ECALL), version, engine)
        assert machine.get_register(2) == MEMORY_END - 16
        assert machine.initialize_stack([]) == 16


class TestFarJumps:
    def test_version_1_does_not_write_the_address_register(self, engine: str) -> None:
        code = lui(5, CODE_BASE >> 12) + imm("jalr", 1, 5, 12) + ECALL + ECALL
        for version, expected in ((0, CODE_BASE), (1, 0), (2, CODE_BASE)):
            machine = run_code(code, version, engine)
            assert machine.get_register(5) == expected
            assert machine.get_register(1) == CODE_BASE + 8
            assert machine.pc == CODE_BASE + 16
        code = auipc(5, 1) + imm("jalr", 1, 5, 12)
        for version, expected in ((0, CODE_BASE + 4096), (1, 0), (2, CODE_BASE + 4096)):
            machine = run_code(code.ljust(4096 + 12, b"\0") + ECALL, version, engine)
            assert machine.get_register(5) == expected
            assert machine.pc == CODE_BASE + 4096 + 16

    @pytest.mark.parametrize("version", [0, 1, 2])
    @pytest.mark.parametrize("head", [lui(1, CODE_BASE >> 12), auipc(1, 0)])
    def test_lowest_bit_of_the_target_is_dropped(self, engine: str, version: int, head: bytes) -> None:
        offset = 13 if version else 5  # version 0 adds it to the return address, see above
        machine = run_code(head + imm("jalr", 1, 1, offset) + ECALL + ECALL, version, engine)
        assert machine.pc == CODE_BASE + 16

    def test_version_1_wraps_the_sum(self, engine: str) -> None:
        """0x7ffff000 + 2047 stays positive, but 0x80000000 (negative) - 1 wraps around."""
        code = lui(1, 0x80000) + imm("jalr", 1, 1, -2) + ECALL
        for version in (1, 2):
            machine = loaded(program(code), version, engine)
            with pytest.raises(MemOutOfBound):
                machine.run()

    @pytest.mark.parametrize("version", [1, 2])
    def test_relative_sum_beyond_32_bits(self, engine: str, version: int) -> None:
        """-2^31 - 2048 + pc: version 1 wraps it to a positive offset, version 2 does not fuse. Both miss the memory."""
        machine = loaded(program(auipc(1, 0x80000) + imm("jalr", 1, 1, -2048)), version, engine)
        with pytest.raises(MemOutOfBound):
            machine.run()
        assert machine.cycles == (3 if version == 1 else 4)
        assert machine.get_register(1) == CODE_BASE + 8

    def test_fused_borrow_ignores_an_operand(self, engine: str) -> None:
        """The second instruction compares with x30, which fusion does not see."""
        code = reg("sub", 6, 5, 6) + reg("sltu", 8, 5, 30)
        code += reg("sub", 5, 6, 7) + reg("sltu", 7, 6, 5) + reg("or", 6, 7, 8)
        before = imm("addi", 5, 0, 10) + imm("addi", 6, 0, 3) + imm("addi", 30, 0, 100) + jal(0, 4)
        for version, borrow in ((0, 1), (1, 0), (2, 0)):
            machine = run_code(before + code + ECALL, version, engine)
            assert machine.get_register(8) == borrow
            assert machine.get_register(6) == borrow
            assert machine.get_register(5) == 7


FAR = 5 << 32
START = CODE_BASE + 60  # where the code behind `head` begins


def head(target: int) -> bytes:
    """60 bytes: x12 = `target`, x11 = 9; then a new block begins."""
    return imm("addi", 11, 0, 9) + li(12, target) + jal(0, 4)


class TestCachedBlocks:
    @pytest.mark.parametrize(("version", "runs"), [(0, 9), (1, 9), (2, 1)])
    def test_far_pc_runs_cached_blocks(self, engine: str, version: int, runs: int) -> None:
        """Before version 2 the cache of blocks ignores the high half of the pc. What is not cached is out of bounds."""
        loop = imm("addi", 10, 10, 1) + branch("bne", 10, 11, 8)
        code = head(FAR + START) + loop + ECALL + imm("jalr", 0, 12, 0)
        machine = loaded(program(code), version, engine)
        with pytest.raises(MemOutOfBound):
            machine.run()  # the ecall was never cached
        assert machine.get_register(10) == runs

    @pytest.mark.parametrize("version", [0, 1])
    def test_addresses_in_a_far_block(self, engine: str, version: int) -> None:
        """Return addresses, pc-relative values and the pc itself keep the high half."""
        circle = auipc(6, 0) + jal(7, 4) + imm("jalr", 8, 12, 0)
        machine = loaded(program(head(FAR + START) + circle), version, engine, max_cycles=300)
        with pytest.raises(CyclesExceeded):
            machine.run()
        assert machine.get_register(6) == FAR + START
        assert machine.get_register(7) == FAR + START + 8
        assert machine.get_register(8) == FAR + START + 12
        assert machine.pc >> 32 == 5

    @pytest.mark.parametrize(("distance", "runs"), [(32768, 1), (32768 + 4, 9)])
    @pytest.mark.parametrize("version", [0, 1])
    def test_another_block_takes_the_slot(self, engine: str, version: int, distance: int, runs: int) -> None:
        """Blocks 32 KiB apart share a slot: the later one drives the earlier one out."""
        code = head(FAR + START) + imm("addi", 10, 10, 1) + branch("bne", 10, 11, 8) + ECALL + jal(0, distance - 12)
        code = code.ljust(60 + distance, b"\0") + imm("jalr", 0, 12, 0)
        machine = loaded(program(code), version, engine)
        with pytest.raises(MemOutOfBound):
            machine.run()
        assert machine.get_register(10) == runs

    @pytest.mark.parametrize("version", [0, 1, 2])
    @pytest.mark.parametrize("target", [(1 << 64) - 2, (1 << 32) - 2, MEMORY_END, FAR])
    def test_nothing_is_cached(self, engine: str, version: int, target: int) -> None:
        machine = loaded(program(li(5, target) + imm("jalr", 0, 5, 0)), version, engine)
        with pytest.raises(MemOutOfBound):
            machine.run()

    @pytest.mark.parametrize("version", [0, 1])
    def test_largest_pc(self, engine: str, version: int) -> None:
        """2^64 - 1, by an odd pc and a branch: its low half plus one is 0 in 32 bits, which must match nothing."""
        code = b"\0" + jal(0, -(CODE_BASE + 2))
        file = elf([Segment(CODE_BASE, code, PF_R | PF_X)], entry=CODE_BASE + 1)
        with pytest.raises(MemOutOfBound):
            loaded(file, version, engine).run()


CARRY = reg("add", 5, 5, 6) + reg("sltu", 6, 5, 6) + reg("add", 5, 5, 7) + reg("sltu", 7, 5, 7) + reg("or", 6, 6, 7)
C_ADD = half(0x92F2)  # c.add x5, x28


class TestLongBlocks:
    """The length of a block is kept in 8 bits, so what follows a fused block of more than 256 bytes is misplaced."""

    @pytest.mark.parametrize(("version", "runs", "cycles"), [(0, 1, 68 + 500), (1, 2, 533), (2, 2, 533)])
    def test_goes_on_256_bytes_too_low(self, engine: str, version: int, runs: int, cycles: int) -> None:
        code = CARRY * 13 + C_ADD * 2 + imm("addi", 9, 9, 1)
        assert len(code) == 268  # so from version 1 on byte 12 of the code follows
        machine = run_code(code + ECALL, version, engine)
        assert machine.get_register(9) == runs
        assert machine.cycles == cycles

    @pytest.mark.parametrize("version", [1, 2])
    def test_exactly_256_bytes(self, engine: str, version: int) -> None:
        code = CARRY * 12 + imm("addi", 9, 9, 1) * 4
        assert len(code) == 256
        machine = loaded(program(code + ECALL), version, engine)
        with pytest.raises(Unexpected):
            machine.run()
        assert machine.cycles == 0


def test_odd_entry(engine: str) -> None:
    """An odd entry point is accepted; jalr brings the pc back to even addresses."""
    code = imm("addi", 5, 0, 7) + auipc(6, 0) + jal(7, 4) + imm("jalr", 8, 6, 16)
    file = elf([Segment(CODE_BASE, b"\0" + code + bytes(3) + ECALL, PF_R | PF_X)], entry=CODE_BASE + 1)
    for version in (0, 1, 2):
        machine = loaded(file, version, engine)
        machine.run()
        assert [machine.get_register(index) for index in (5, 6, 7, 8)] == [
            *(7, CODE_BASE + 5, CODE_BASE + 13, CODE_BASE + 17),
        ]
        assert machine.pc == CODE_BASE + 24
