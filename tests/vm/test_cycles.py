"""Cycle costs: of single instructions, and of fused sequences in each version (RFC 14, RFC 33, RFC 49)."""

import pytest

from tests.support.vm.assembler import (
    BRANCH_OPS,
    DATA_BASE,
    EBREAK,
    ECALL,
    FENCE,
    REGISTER_OPS,
    STORE_OPS,
    auipc,
    branch,
    half,
    imm,
    jal,
    li,
    lui,
    program,
    reg,
    store,
    unary,
)
from tests.vm.running import loaded, run_code
from vm import create_machine
from vm.errors import CyclesExceeded, CyclesOverflow, InvalidInstruction

ECALL_COST = 500
LOAD_COSTS = {"lb": 3, "lh": 3, "lw": 3, "ld": 2, "lbu": 3, "lhu": 3, "lwu": 3}


def cost_of(code: bytes, version: int, engine: str, before: bytes = b"") -> int:
    """Cycles of `code`, which must fall through."""
    with_code = run_code(before + code + ECALL, version, engine).cycles
    return with_code - run_code(before + ECALL, version, engine).cycles


def register_cost(name: str) -> int:
    if name.startswith("mul"):
        return 5
    return 32 if name.startswith(("div", "rem")) else 1


@pytest.mark.parametrize("name", REGISTER_OPS)
def test_register_ops(engine: str, name: str) -> None:
    assert cost_of(reg(name, 5, 6, 7), 0, engine) == register_cost(name)
    assert cost_of(reg(name, 0, 6, 7), 1, engine) == register_cost(name)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_other_costs(engine: str, version: int) -> None:
    base = li(5, DATA_BASE)
    assert run_code(ECALL, version, engine).cycles == ECALL_COST
    assert cost_of(EBREAK, version, engine) == 500
    assert cost_of(half(0x9002), version, engine) == 500  # c.ebreak
    assert cost_of(FENCE, version, engine) == 1
    assert cost_of(lui(5, 1), version, engine) == 1
    assert cost_of(auipc(5, 1), version, engine) == 1
    assert cost_of(imm("addi", 5, 6, 1), version, engine) == 1
    assert cost_of(half(0x0001), version, engine) == 1
    assert cost_of(jal(0, 4), version, engine) == 3
    assert cost_of(jal(1, 4), version, engine) == 3
    assert cost_of(auipc(5, 0) + imm("jalr", 0, 5, 8), version, engine) == 4
    for name in BRANCH_OPS:
        assert cost_of(branch(name, 5, 6, 4), version, engine) == 3
    for name, cost in LOAD_COSTS.items():
        assert cost_of(imm(name, 6, 5, 0), version, engine, before=base) == cost
        assert cost_of(imm(name, 0, 5, 0), version, engine, before=base) == cost
    for name in STORE_OPS:
        assert cost_of(store(name, 6, 5, 0), version, engine, before=base) == (2 if name == "sd" else 3)


def test_bit_manipulation_costs_one(engine: str) -> None:
    assert cost_of(reg("clmul", 5, 6, 7), 1, engine) == 1
    assert cost_of(unary("cpop", 5, 6), 2, engine) == 1


# name: code, cost in versions 0, 1, 2
FUSED = {
    "adc": (
        reg("add", 5, 5, 6) + reg("sltu", 6, 5, 6) + reg("add", 5, 5, 7) + reg("sltu", 7, 5, 7) + reg("or", 6, 6, 7),
        (5, 1, 1),
    ),
    "adc with rd = x0": (
        reg("add", 0, 0, 6) + reg("sltu", 6, 0, 6) + reg("add", 0, 0, 7) + reg("sltu", 7, 0, 7) + reg("or", 6, 6, 7),
        (5, 5, 5),
    ),
    "sbb": (
        reg("sub", 6, 5, 6) + reg("sltu", 8, 5, 6) + reg("sub", 5, 6, 7) + reg("sltu", 7, 6, 5) + reg("or", 6, 7, 8),
        (5, 1, 1),
    ),
    "sbb with another rs2 in the first sltu": (
        reg("sub", 6, 5, 6) + reg("sltu", 8, 5, 30) + reg("sub", 5, 6, 7) + reg("sltu", 7, 6, 5) + reg("or", 6, 7, 8),
        (5, 1, 1),
    ),
    "add3a": (reg("add", 5, 6, 5) + reg("sltu", 7, 5, 6) + reg("add", 8, 7, 9), (3, 3, 1)),
    "add3b": (reg("add", 5, 6, 7) + reg("sltu", 6, 5, 6) + reg("add", 8, 6, 9), (3, 3, 1)),
    "add3c": (reg("add", 5, 6, 7) + reg("sltu", 8, 5, 6) + reg("add", 8, 8, 9), (3, 3, 1)),
    "add3 that reads its first result": (reg("add", 5, 6, 7) + reg("sltu", 8, 5, 6) + reg("add", 8, 8, 5), (3, 3, 2)),
    "adcs": (reg("add", 5, 6, 7) + reg("sltu", 8, 5, 6), (2, 2, 1)),
    "adcs compared with its second source": (reg("add", 5, 6, 7) + reg("sltu", 8, 5, 7), (2, 2, 2)),
    "adcs onto its first source": (reg("add", 5, 5, 7) + reg("sltu", 8, 5, 7), (2, 2, 1)),
    "adcs of c.mv": (half(0x82B6) + reg("sltu", 8, 5, 0), (2, 2, 1)),  # c.mv x5, x13: add x5, x0, x13
    "sbbs": (reg("sub", 5, 6, 7) + reg("sltu", 8, 6, 7), (2, 2, 1)),
    "sbbs onto its source": (reg("sub", 6, 6, 7) + reg("sltu", 8, 6, 7), (2, 2, 2)),
    "wide_mul": (reg("mulh", 5, 6, 7) + reg("mul", 8, 6, 7), (10, 5, 5)),
    "wide_mulu": (reg("mulhu", 5, 6, 7) + reg("mul", 8, 6, 7), (10, 5, 5)),
    "wide_mulsu": (reg("mulhsu", 5, 6, 7) + reg("mul", 8, 6, 7), (10, 5, 5)),
    "wide_mul into its source": (reg("mulh", 6, 6, 7) + reg("mul", 8, 6, 7), (10, 10, 10)),
    "wide_mul, other order": (reg("mulh", 5, 6, 7) + reg("mul", 8, 7, 6), (10, 10, 10)),
    "wide_div": (reg("div", 5, 6, 7) + reg("rem", 8, 6, 7), (64, 32, 32)),
    "wide_divu": (reg("divu", 5, 6, 7) + reg("remu", 8, 6, 7), (64, 32, 32)),
    "wide_div, mixed": (reg("div", 5, 6, 7) + reg("remu", 8, 6, 7), (64, 64, 64)),
    "lui addiw": (lui(5, 0x12345) + imm("addiw", 5, 5, 0x123), (2, 1, 1)),
    "lui addiw, other register": (lui(5, 0x12345) + imm("addiw", 6, 5, 0x123), (2, 2, 2)),
    "lui addi": (lui(5, 0x12345) + imm("addi", 5, 5, 0x123), (2, 2, 2)),
    "auipc addi": (auipc(5, 0x12345) + imm("addi", 5, 5, 0x123), (2, 2, 1)),
    "auipc addi beyond 32 bits": (auipc(5, 0x7FFFF) + imm("addi", 5, 5, 0x123), (2, 2, 2)),
    "auipc jalr through another register": (auipc(5, 0) + imm("jalr", 1, 5, 8), (4, 3, 4)),
    "auipc jalr without link": (auipc(1, 0) + imm("jalr", 0, 1, 8), (4, 4, 4)),
}


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("name", FUSED)
def test_fused(engine: str, name: str, version: int) -> None:
    code, costs = FUSED[name]
    assert cost_of(code, version, engine) == costs[version]


@pytest.mark.parametrize("version", [1, 2])
def test_far_jump_through_ra(engine: str, version: int) -> None:
    assert cost_of(auipc(1, 0) + imm("jalr", 1, 1, 8), version, engine) == 3
    assert cost_of(lui(1, 0x10) + imm("jalr", 1, 1, 8), version, engine) == 3


@pytest.mark.parametrize(("version", "cost"), [(0, 4), (1, 3), (2, 4)])
def test_lui_jalr_through_another_register(engine: str, version: int, cost: int) -> None:
    code = lui(5, 0x10) + imm("jalr", 1, 5, 8)
    assert cost_of(code, version, engine) == cost


def test_look_ahead_stops_at_what_cannot_be_decoded(engine: str) -> None:
    """An `add` whose successor is no instruction stays an `add`; the failure is reported for the successor."""
    machine = loaded(program(reg("add", 5, 6, 7) + bytes(4)), 2, engine)
    with pytest.raises(InvalidInstruction) as raised:
        machine.run()
    assert (raised.value.pc, raised.value.instruction) == (0x10004, 0)


class TestLimit:
    def test_exactly_enough(self, engine: str) -> None:
        machine = loaded(program(imm("addi", 5, 5, 1) * 3 + ECALL), 1, engine, max_cycles=503)
        machine.run()
        assert machine.cycles == 503

    def test_one_too_few_and_then_enough(self, engine: str) -> None:
        machine = loaded(program(imm("addi", 5, 5, 1) * 3 + ECALL), 1, engine, max_cycles=502)
        with pytest.raises(CyclesExceeded):
            machine.run()
        assert machine.cycles == 0  # the whole block is charged before it begins
        assert machine.get_register(5) == 0
        machine.max_cycles = 503
        machine.run()
        assert machine.cycles == 503
        assert machine.get_register(5) == 3

    def test_blocks_have_16_instructions(self, engine: str) -> None:
        machine = loaded(program(imm("addi", 5, 5, 1) * 20 + ECALL), 1, engine, max_cycles=519)
        with pytest.raises(CyclesExceeded):
            machine.run()
        assert (machine.cycles, machine.get_register(5)) == (16, 16)

    def test_already_beyond(self, engine: str) -> None:
        machine = loaded(program(ECALL), 1, engine, max_cycles=600)
        machine.add_cycles_unchecked(601)
        with pytest.raises(CyclesExceeded):
            machine.run()
        assert machine.cycles == 601

    def test_largest_limit(self, engine: str) -> None:
        machine = loaded(program(ECALL), 1, engine, max_cycles=(1 << 64) - 1)
        machine.cycles = (1 << 64) - 501
        machine.run()
        assert machine.cycles == (1 << 64) - 1

    def test_overflow(self, engine: str) -> None:
        machine = loaded(program(ECALL), 1, engine, max_cycles=(1 << 64) - 1)
        machine.cycles = (1 << 64) - 500
        with pytest.raises(CyclesOverflow):
            machine.run()

    def test_slices_of_a_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The interpreter is called for a limited number of cycles at a time, which must not be seen."""
        loop = li(5, 100) + reg("mul", 6, 6, 6) * 5 + imm("addi", 5, 5, -1) + branch("bne", 5, 0, -24) + ECALL
        monkeypatch.setattr("vm.wasm.machine._SLICE", 700)
        enough, too_few = (loaded(program(loop), 1, "wasm", max_cycles=limit) for limit in (3413, 3412))
        enough.run()
        assert enough.cycles == 13 + 100 * 29 + 500
        with pytest.raises(CyclesExceeded):
            too_few.run()
        assert too_few.cycles == 13 + 100 * 29

    def test_more_cycles_than_one_slice(self) -> None:
        loop = li(5, 30_000_000) + imm("addi", 5, 5, -1) + branch("bne", 5, 0, -4) + ECALL
        machine = loaded(program(loop), 1, "wasm", max_cycles=1 << 40)
        machine.run()
        assert machine.cycles == 13 + 30_000_000 * 4 + 500

    def test_adding(self, engine: str) -> None:
        machine = create_machine(1, 100, engine)
        machine.add_cycles(100)
        with pytest.raises(CyclesExceeded):
            machine.add_cycles(1)
        assert machine.cycles == 100
        with pytest.raises(CyclesOverflow):
            machine.add_cycles(1 << 64)
        machine.add_cycles_unchecked(5)
        assert machine.cycles == 105
