"""The interface: ecalls, arguments, faults, exec, snapshots."""

import pytest

from tests.support.vm.assembler import (
    CODE_BASE,
    DATA_BASE,
    ECALL,
    PF_R,
    PF_W,
    PF_X,
    Segment,
    branch,
    elf,
    exit_with,
    half,
    imm,
    jal,
    li,
    lui,
    program,
    store,
)
from tests.vm.running import loaded, run_code
from vm import Machine, create_machine
from vm.arguments import Arguments
from vm.constants import FLAG_DIRTY, FLAG_EXECUTABLE, FLAG_FREEZED, RESERVATION, STATE_WORDS
from vm.elf import parse_elf
from vm.errors import (
    ElfParseError,
    InvalidEcall,
    InvalidInstruction,
    InvalidVersion,
    MemOutOfBound,
    MemOutOfStack,
    MemWriteOnExecutablePage,
    VmError,
)

END = 4 << 20


def test_ecalls_return_to_the_caller(engine: str) -> None:
    code = imm("addi", 17, 0, 5) + ECALL + imm("addi", 10, 10, 1) + exit_with(0)[4:]
    machine = loaded(program(code), 1, engine)
    machine.run()
    assert (machine.get_register(17), machine.pc, machine.cycles) == (5, CODE_BASE + 8, 501)
    machine.set_register(10, 41)
    machine.run()
    assert (machine.get_register(17), machine.get_register(10), machine.cycles) == (93, 42, 1003)


def test_memory_is_shared_between_calls(engine: str) -> None:
    code = lui(5, DATA_BASE >> 12) + imm("lw", 6, 5, 0) + imm("addi", 6, 6, 1) + store("sw", 6, 5, 0) + ECALL
    machine = loaded(program(code + code), 1, engine)
    machine.run()
    machine.memory.store32(DATA_BASE, 100 + machine.memory.load32(DATA_BASE))
    machine.run()
    assert machine.memory.load32(DATA_BASE) == 102


def test_code_may_be_loaded_while_running(engine: str) -> None:
    """As load_cell_data_as_code does: a page first read as data, then initialised as code."""
    where = 0x30000
    code = lui(5, where >> 12) + store("sd", 5, 5, 0) + ECALL + imm("jalr", 1, 5, 4)
    machine = loaded(program(code), 1, engine)
    machine.run()
    machine.memory.init_pages(where, 4096, FLAG_EXECUTABLE | FLAG_FREEZED, imm("addi", 10, 0, 7) + ECALL, 4)
    machine.run()
    assert machine.get_register(10) == 7
    assert machine.pc == where + 12


def test_fetch_needs_an_executable_page(engine: str) -> None:
    for target in (DATA_BASE, 0):
        machine = loaded(program(li(5, target) + imm("jalr", 0, 5, 0)), 1, engine)
        with pytest.raises(MemWriteOnExecutablePage):
            machine.run()


def test_code_at_the_end_of_a_page(engine: str) -> None:
    """A word in the last two bytes is fetched in halves; one before them needs four executable bytes."""
    compressed = half(0x0001)  # c.nop
    code = compressed * 2047 + imm("addi", 10, 0, 7) + ECALL  # crosses into the next page
    machine = run_code(code, 1, engine)
    assert machine.get_register(10) == 7
    machine = loaded(program(compressed * 2047 + compressed), 1, engine)
    with pytest.raises(MemWriteOnExecutablePage):
        machine.run()  # beyond the last page
    machine = loaded(program(compressed * 2047 + ECALL[:2]), 1, engine)
    with pytest.raises(MemWriteOnExecutablePage):
        machine.run()  # the second half is missing


def test_compressed_code_in_the_last_bytes_of_a_page(engine: str) -> None:
    """They need nothing of the next page, which is not executable here."""
    code = jal(0, 4094) + imm("addi", 10, 0, 7) + ECALL
    jump_back = half(0xB00D)  # c.j .-2014
    target = 4094 - 2014
    file = program(code.ljust(target, b"\0") + (jal(0, 4 - target)).ljust(4094 - target, b"\0") + jump_back)
    machine = loaded(file, 1, engine)
    machine.run()
    assert machine.get_register(10) == 7


def test_page_end_before_the_last_two_bytes(engine: str) -> None:
    """At an odd address, one byte before, four bytes are fetched, and all must be executable."""
    for entry, error in ((4091, None), (4093, MemWriteOnExecutablePage), (4095, MemWriteOnExecutablePage)):
        code = bytes(entry) + ECALL[: 4096 - entry]
        machine = loaded(elf([Segment(CODE_BASE, code, PF_R | PF_X)], entry=CODE_BASE + entry), 1, engine)
        if error is None:
            machine.run()
        else:
            with pytest.raises(error):
                machine.run()


def test_code_at_the_end_of_the_memory(engine: str) -> None:
    last_page = Segment(END - 4096, half(0x0001) * 2047 + ECALL[:2], PF_R | PF_X)
    machine = loaded(elf([last_page], entry=END - 4096), 1, engine)
    with pytest.raises(MemOutOfBound):
        machine.run()
    falls_off = Segment(END - 4096, half(0x0001) * 2048, PF_R | PF_X)
    machine = loaded(elf([falls_off], entry=END - 4096), 1, engine)
    with pytest.raises(MemOutOfBound):
        machine.run()


@pytest.mark.parametrize(
    ("address", "error"),
    [
        *((CODE_BASE, MemWriteOnExecutablePage), (CODE_BASE - 4, MemWriteOnExecutablePage), (END, MemOutOfBound)),
        *((CODE_BASE + 4092, MemWriteOnExecutablePage), (END - 4, MemOutOfBound), ((1 << 64) - 4, MemOutOfBound)),
        (1 << 63, MemOutOfBound),
    ],
)
def test_forbidden_stores(engine: str, address: int, error: type[Exception]) -> None:
    machine = loaded(program(li(5, address) + store("sd", 5, 5, 0) + ECALL), 1, engine)
    with pytest.raises(error):
        machine.run()


def test_store_from_a_written_page_into_code(engine: str) -> None:
    before = CODE_BASE - 8
    code = li(5, before) + store("sd", 5, 5, 0) + store("sd", 5, 5, 0) + store("sw", 5, 5, 6) + ECALL
    machine = loaded(program(code), 1, engine)
    with pytest.raises(MemWriteOnExecutablePage):
        machine.run()
    assert machine.memory.load64(before) == before


def test_stores_mark_pages_dirty(engine: str) -> None:
    code = li(5, 0x40000) + store("sb", 0, 5, 0) + li(5, 0x43FFC) + store("sd", 0, 5, 0) + ECALL
    machine = run_code(code, 1, engine)
    dirty = [page for page in range(0x3F, 0x50) if machine.memory.fetch_flag(page) & FLAG_DIRTY]
    assert dirty == [0x40, 0x43, 0x44]


def test_an_invalid_instruction_is_found_before_its_block_runs(engine: str) -> None:
    machine = loaded(program(store("sd", 0, 0, 0) + imm("ld", 5, 0, -8) + bytes(2)), 1, engine)
    with pytest.raises(InvalidInstruction) as raised:
        machine.run()
    assert (raised.value.pc, raised.value.instruction) == (CODE_BASE + 8, 0)
    assert machine.cycles == 0
    assert not machine.memory.fetch_flag(0)


def test_registers(engine: str) -> None:
    machine = create_machine(1, 100, engine)
    machine.set_register(0, 5)
    machine.set_register(31, -1)
    assert machine.get_register(0) == 0
    assert machine.get_register(31) == (1 << 64) - 1
    assert machine.get_register(RESERVATION) == 0
    with pytest.raises(IndexError):
        machine.get_register(STATE_WORDS)


@pytest.mark.parametrize("version", [0, 1, 2])
class TestArguments:
    def test_too_long(self, engine: str, version: int) -> None:
        machine = create_machine(version, 100, engine)
        with pytest.raises(MemOutOfStack):
            machine.load_program(program(ECALL), [bytes(1 << 20)])
        with pytest.raises(MemOutOfBound):
            machine.initialize_stack([bytes(5 << 20)])

    def test_just_fitting(self, engine: str, version: int) -> None:
        machine = create_machine(version, 100, engine)
        words = 2 if version == 0 else 3
        assert machine.initialize_stack([bytes((1 << 20) - 1 - 8 * words)]) == 1 << 20
        with pytest.raises(MemOutOfStack):
            machine.initialize_stack([bytes((1 << 20) - 8 * words)])

    def test_bytes_loaded(self, engine: str, version: int) -> None:
        machine = create_machine(version, 100, engine)
        assert machine.load_program(program(ECALL, b"data"), []) == 8 + (8 if version == 0 else 16)


def test_exec(engine: str) -> None:
    """Another program in the same machine: registers and memory are new, cycles go on."""
    first = li(5, 1) + lui(6, DATA_BASE >> 12) + store("sd", 5, 6, 0) + ECALL
    machine = loaded(program(first), 1, engine)
    machine.run()
    cycles = machine.cycles
    machine.reset()
    machine.load_program(program(lui(6, DATA_BASE >> 12) + imm("ld", 7, 6, 0) + ECALL), [])
    machine.run()
    assert (machine.get_register(5), machine.get_register(7)) == (0, 0)
    assert machine.cycles == cycles + 503


def test_exec_forgets_decoded_code(engine: str) -> None:
    machine = loaded(program(imm("addi", 10, 0, 1) + ECALL), 0, engine)
    machine.run()
    machine.reset()
    machine.load_program(program(imm("addi", 10, 0, 2) + ECALL), [])
    machine.run()
    assert machine.get_register(10) == 2


def test_exec_forgets_cached_blocks(engine: str) -> None:
    """What the cache of version 0 holds (see test_quirks) does not outlive the program."""
    machine = loaded(program(ECALL), 0, engine)
    machine.run()
    machine.reset()
    far_jump = imm("addi", 0, 0, 0) * 16 + li(5, (1 << 32) + CODE_BASE) + imm("jalr", 0, 5, 0)
    machine.load_program(elf([Segment(0x30000, far_jump, PF_R | PF_X)], entry=0x30000 + 64), [])
    with pytest.raises(MemOutOfBound):
        machine.run()


STACK_CODE = Segment(END - 0x3000, ECALL, PF_R | PF_X)
FROZEN_TWICE = Segment(0x30000, b"\3" * 5000, PF_R)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("more", [[], [Segment(0x40000, b"\2" * 9000, PF_R | PF_W)], [STACK_CODE], [FROZEN_TWICE] * 2])
@pytest.mark.parametrize("args", [[], [b"a", b""], [b"x" * 70_000, b"y"], [b""] * 20_000, [b""] * 131_000])
def test_exec_leaves_nothing_behind(version: int, more: list[Segment], args: list[bytes], engine: str) -> None:
    """What the new program stores over is not cleared first; all else is. A failure shows nothing of the old one."""
    file = elf([Segment(CODE_BASE, ECALL, PF_R | PF_X), *more], entry=CODE_BASE)
    metadata = parse_elf(file, version)

    def load(machine: Machine) -> str:
        try:
            machine.load_metadata(file, metadata)
            machine.initialize_stack(Arguments.of(args))
        except VmError as error:
            return repr(error)
        return ""

    fresh = create_machine(version, 1000, "reference")
    machine = create_machine(version, 1000, engine)
    top = STACK_CODE.address if STACK_CODE in more else END
    machine.memory.store_bytes(0, bytes([7]) * END)
    expected = load(fresh)
    for is_much in (True, False, True, False):  # from the second time on an image is known
        machine.reset_for(metadata, Arguments.of(args))
        assert load(machine) == expected
        assert machine.snapshot() == fresh.snapshot()
        first_of_stack = machine.get_register(2) & (END - 0x1000)
        if is_much:
            machine.memory.store_bytes(DATA_BASE, bytes([7]) * (top - DATA_BASE))
        elif not machine.memory.any_executable(slice(first_of_stack >> 12, (first_of_stack >> 12) + 1)):
            machine.memory.store_bytes(first_of_stack, bytes([7]) * 16)


def test_more_blocks_than_there_is_room_for() -> None:
    """Decoded code is forgotten when it fills its space, and decoded again."""
    count, size = 900_000, 1_800_000
    filler = Segment(0x20000, half(0x8082) * count, PF_R | PF_X)  # c.jr ra: each is a block
    loop = imm("jalr", 1, 5, 0) + imm("addi", 5, 5, 2) + branch("bltu", 5, 6, -8)
    code = Segment(CODE_BASE, (li(5, 0x20000) + li(6, 0x20000 + size) + loop) * 2 + ECALL, PF_R | PF_X)
    machine = loaded(elf([code, filler]), 1, "wasm", max_cycles=1 << 40)
    machine.run()
    assert machine.cycles == 2 * (26 + count * (3 + 3 + 1 + 3)) + 500


def test_snapshot_goes_on_elsewhere(engine: str) -> None:
    code = li(5, 100) + lui(6, DATA_BASE >> 12) + ECALL
    loop = store("sd", 5, 6, 0) + imm("addi", 5, 5, -1) + branch("bne", 5, 0, -8) + ECALL
    original = loaded(program(code + loop), 2, engine, max_cycles=5000)
    original.run()
    snapshot = original.snapshot()
    original.run()
    for other in ("reference", "wasm"):
        copy = create_machine(2, 1, other)
        copy.load_program(program(ECALL), [b"something else"])
        copy.restore(snapshot)
        copy.run()
        assert copy.snapshot() == original.snapshot()
        assert copy.max_cycles == 5000


def test_snapshot_of_another_version(engine: str) -> None:
    with pytest.raises(InvalidVersion):
        create_machine(1, 1, engine).restore(create_machine(2, 1, engine).snapshot())


def test_unknown_versions_and_engines() -> None:
    for engine in ("auto", "reference", "wasm"):
        with pytest.raises(InvalidVersion):
            create_machine(3, 1, engine)
    with pytest.raises(ValueError, match="quick"):
        create_machine(1, 1, "quick")


def test_texts_of_errors() -> None:
    assert str(InvalidEcall(2178)) == "InvalidEcall(2178)"
    assert str(MemOutOfBound()) == "MemOutOfBound"
    assert str(ElfParseError('a "quoted" text')) == 'ElfParseError("a \\"quoted\\" text")'
    assert str(InvalidInstruction(8, 514)) == "InvalidInstruction { pc: 8, instruction: 514 }"
