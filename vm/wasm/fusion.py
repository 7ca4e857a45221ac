"""Generates the matching of fusion rules inside WebAssembly, from the rules of `vm.isa.fusion`."""

from typing import Final

from vm.isa.fusion import Condition, FusionRule, Immediate, Operand, rules_by_head
from vm.wasm import layout as at
from vm.wasm.emitter import I32, I64, Function, Label, Local, Module, Value, const, load

_ZERO: Final = const(I32, 0)
_FIELD: Final = {"rd": at.PART_RD, "rs1": at.PART_RS1, "rs2": at.PART_RS2}
_OPERANDS: Final = (at.PART_RD, at.PART_RS1, at.PART_RS2, at.PART_RS3, at.PART_RS4)


def _part(index: int) -> int:
    return at.PARTS + index * at.PART_SIZE


def _operand(operand: Operand) -> Value:
    if operand.part < 0:
        return const(I32, operand.constant)
    return load(I32, 1, _ZERO, _part(operand.part) + _FIELD[operand.field])


def _differs(condition: Condition) -> Value:
    """Whether a condition does not hold."""
    return _operand(condition.left).compare("ne" if condition.equal else "eq", _operand(condition.right))


def generate_fuse(module: Module, decode_single: Function, version: int) -> Function:
    """`() -> 0`: copy the first record, which is decoded, or the fusion that begins with it, to the result record."""
    look_ahead = _generate_look_ahead(module, decode_single)
    f = module.function((), (I32,))
    have = f.local(I32)  # records decoded so far
    head = f.local(I32)
    f.store(8, _ZERO, load(I64, 8, _ZERO, _part(0)), at.RESULT)
    f.store(8, _ZERO, load(I64, 8, _ZERO, _part(0) + at.PART_LENGTH), at.RESULT + at.PART_LENGTH)
    f.set(have, 1)
    f.set(head, load(I32, 1, _ZERO, _part(0)))
    for op, rules in rules_by_head(version).items():
        with f.if_(head.value.compare("eq", op)):
            for rule in rules:
                with f.block() as does_not_fit:
                    _match(f, rule, have, look_ahead, does_not_fit)
                    _write_result(f, rule, does_not_fit)
                    f.return_(_ZERO)
            f.return_(_ZERO)
    f.return_(_ZERO)
    f.unreachable()
    return f


def _generate_look_ahead(module: Module, decode_single: Function) -> Function:
    """`(record) -> op`: decode what follows the record before; NO_OP if there is no instruction."""
    f = module.function((I32,), (I32,))
    record = f.param(0)
    before = record.value - at.PART_SIZE
    address = load(I32, 4, before, at.PART_PC) + load(I32, 4, before, at.PART_LENGTH)
    with f.if_(f.call(decode_single, address, record.value)):
        f.store(1, record.value, const(I32, at.NO_OP))
    f.return_(load(I32, 1, record.value))
    f.unreachable()
    return f


def _match(f: Function, rule: FusionRule, have: Local, look_ahead: Function, does_not_fit: Label) -> None:
    for index, op in enumerate(rule.parts[1:], start=1):
        with f.if_(have.value.compare("le_u", index)):
            f.call_statement(look_ahead, const(I32, _part(index)))
            f.set(have, index + 1)
        f.branch_if(does_not_fit, load(I32, 1, _ZERO, _part(index)).compare("ne", op))
    for condition in rule.conditions:
        f.branch_if(does_not_fit, _differs(condition))


def _write_result(f: Function, rule: FusionRule, does_not_fit: Label) -> None:
    immediate = f.local(I64)
    if rule.immediate is not Immediate.NONE:
        _sum_immediates(f, rule.immediate, immediate, does_not_fit)
    f.store(8, _ZERO, const(I64, rule.op), at.RESULT)
    if rule.immediate is not Immediate.NONE:
        f.store(4, _ZERO, immediate.value, at.RESULT + at.PART_IMM)
    for offset, operand in zip(_OPERANDS, rule.operands, strict=False):
        f.store(1, _ZERO, _operand(operand), at.RESULT + offset)
    length = load(I32, 4, _ZERO, _part(0) + at.PART_LENGTH)
    for index in range(1, len(rule.parts)):
        length = length + load(I32, 4, _ZERO, _part(index) + at.PART_LENGTH)
    f.store(4, _ZERO, length, at.RESULT + at.PART_LENGTH)


def _sum_immediates(f: Function, kind: Immediate, immediate: Local, does_not_fit: Label) -> None:
    def part_immediate(index: int) -> Value:
        return load(I64, 4, _ZERO, _part(index) + at.PART_IMM, signed=True)

    def refuse_overflow() -> None:
        f.branch_if(does_not_fit, immediate.value.compare("ne", immediate.value.sign_extend(32)))

    f.set(immediate, part_immediate(0) + part_immediate(1))
    if kind is Immediate.WRAPPED_SUM:
        return
    refuse_overflow()
    if kind is Immediate.CHECKED_SUM_WITH_PC:
        f.set(immediate, immediate.value + load(I64, 4, _ZERO, _part(0) + at.PART_PC))
        refuse_overflow()
