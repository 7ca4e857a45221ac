"""Macro-op fusion: neighbouring instructions that are executed, and charged, as one.

A rule names the instructions in order and the conditions on their operands; `2.rs1` is the operand rs1 of the third
instruction, `x1` the register of that number. The first rule that fits wins. Looking ahead never fails: where no
instruction can be decoded, no rule fits.

Two rules are more than a discount, since a fused instruction does not do what its parts would do one after the other.
Both are part of consensus:
- In version 1 a far jump writes only ra, even if the address went through another register, and the sum of the two
  immediates wraps at 32 bits.
- `sbb` does not look at rs2 of its second instruction and always takes the borrow of the first subtraction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from vm.constants import VERSION1, VERSION2
from vm.isa.instruction import Instruction
from vm.isa.table import CODE
from vm.isa.word import sign_extend

I32_MIN: Final = -(1 << 31)
I32_MAX: Final = (1 << 31) - 1


class Immediate(Enum):
    """How the immediate of a fused instruction comes from the first two parts."""

    NONE = "no immediate"
    WRAPPED_SUM = "the sum, wrapped to 32 bits"
    CHECKED_SUM = "the sum; the rule does not fit if it leaves 32 bits"
    CHECKED_SUM_WITH_PC = "the sum plus the pc; the rule does not fit if any step leaves 32 bits"


@dataclass(frozen=True, slots=True)
class Operand:
    """An operand of part `part`, or (part = -1) the constant register `constant`."""

    part: int
    field: str
    constant: int = 0

    @classmethod
    def parse(cls, text: str) -> "Operand":
        """From its text, see the rules below."""
        if text.startswith("x"):
            return cls(-1, "", int(text[1:]))
        part, field = text.split(".")
        return cls(int(part), field)

    def value(self, parts: Sequence[Instruction]) -> int:
        """Its value in these instructions."""
        if self.part < 0:
            return self.constant
        number: int = getattr(parts[self.part], self.field)
        return number


@dataclass(frozen=True, slots=True)
class Condition:
    """Two operands are the same register, or are not."""

    left: Operand
    right: Operand
    equal: bool

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """From its text, see the rules below."""
        equal = "!=" not in text
        left, right = text.split("=" if equal else "!=")
        return cls(Operand.parse(left), Operand.parse(right), equal)

    def holds(self, parts: Sequence[Instruction]) -> bool:
        """Whether these instructions meet it."""
        return (self.left.value(parts) == self.right.value(parts)) is self.equal


@dataclass(frozen=True, slots=True)
class FusionRule:
    """`parts` (op codes) become `op` if all `conditions` hold. `operands` fill rd, rs1, rs2, rs3, rs4."""

    op: int
    versions: tuple[int, ...]
    parts: tuple[int, ...]
    conditions: tuple[Condition, ...]
    operands: tuple[Operand, ...]
    immediate: Immediate


def _rule(
    op: str,
    versions: tuple[int, ...],
    parts: str,
    conditions: str,
    operands: str,
    immediate: Immediate = Immediate.NONE,
) -> FusionRule:
    return FusionRule(
        CODE[op],
        versions,
        tuple(CODE[part] for part in parts.split()),
        tuple(Condition.parse(text) for text in conditions.split()),
        tuple(Operand.parse(text) for text in operands.split()),
        immediate,
    )


_SINCE1: Final = (VERSION1, VERSION2)
_ONLY1: Final = (VERSION1,)
_SINCE2: Final = (VERSION2,)

_SAME_SOURCES: Final = "0.rd!=0.rs1 0.rd!=0.rs2 0.rs1=1.rs1 0.rs2=1.rs2 0.rd!=1.rd"
_BOTH_RESULTS: Final = "0.rd 0.rs1 0.rs2 1.rd"

RULES: Final = (
    _rule(
        "adc",
        _SINCE1,
        "add sltu add sltu or",
        "0.rd=0.rs1 0.rs1!=0.rs2 1.rd=0.rs2 1.rs1=0.rs1 1.rs2=0.rs2 2.rd=0.rs1 2.rs1=0.rs1 2.rs2!=0.rs1 2.rs2!=0.rs2 "
        "3.rd=2.rs2 3.rs1=2.rs1 3.rs2=2.rs2 4.rd=0.rs2 4.rs1=0.rs2 4.rs2=2.rs2 0.rd!=x0 1.rd!=x0 3.rd!=x0",
        "0.rd 1.rd 3.rd",
    ),
    _rule(
        "add3a",
        _SINCE2,
        "add sltu add",
        "0.rs2=0.rd 1.rs1=0.rd 1.rs2=0.rs1 2.rs1=1.rd 0.rd!=0.rs1 0.rd!=2.rs2 1.rd!=2.rs2 0.rd!=x0 1.rd!=x0",
        "0.rd 0.rs1 1.rd 2.rd 2.rs2",
    ),
    _rule(
        "add3b",
        _SINCE2,
        "add sltu add",
        "1.rd=0.rs1 1.rs1=0.rd 1.rs2=0.rs1 2.rs1=0.rs1 0.rd!=0.rs1 0.rd!=2.rs2 0.rs1!=2.rs2 0.rd!=x0 0.rs1!=x0",
        "0.rd 0.rs1 0.rs2 2.rd 2.rs2",
    ),
    _rule(
        "add3c",
        _SINCE2,
        "add sltu add",
        "1.rs1=0.rd 1.rs2=0.rs1 2.rd=1.rd 2.rs1=1.rd 0.rd!=0.rs1 0.rd!=2.rs2 1.rd!=2.rs2 0.rd!=x0 1.rd!=x0",
        "0.rd 0.rs1 0.rs2 1.rd 2.rs2",
    ),
    _rule("adcs", _SINCE2, "add sltu", "1.rs1=0.rd 1.rs2=0.rs1 0.rd!=0.rs1 0.rd!=x0", "0.rd 0.rs1 0.rs2 1.rd"),
    _rule(
        "adcs",
        _SINCE2,
        "add sltu",
        "0.rd=0.rs1 1.rs1=0.rd 1.rs2=0.rs2 0.rd!=0.rs2 0.rd!=x0",
        "0.rd 0.rs2 0.rs1 1.rd",
    ),
    _rule(
        "sbb",
        _SINCE1,
        "sub sltu sub sltu or",
        "0.rd=0.rs2 0.rs1!=0.rs2 1.rd!=0.rs1 1.rd!=0.rs2 1.rs1=0.rs1 2.rd=0.rs1 2.rs1=0.rs2 2.rs2!=0.rs1 2.rs2!=0.rs2 "
        "2.rs2!=1.rd 3.rd=2.rs2 3.rs1=0.rs2 3.rs2=0.rs1 4.rd=0.rd 4.rs1=2.rs2 4.rs2=1.rd "
        "0.rs1!=x0 0.rs2!=x0 2.rs2!=x0 1.rd!=x0",
        "0.rs1 0.rs2 2.rs2 1.rd",
    ),
    _rule("sbbs", _SINCE2, "sub sltu", "1.rs1=0.rs1 1.rs2=0.rs2 0.rd!=0.rs1 0.rd!=0.rs2", "0.rd 0.rs1 0.rs2 1.rd"),
    _rule("far_jump_abs", _ONLY1, "lui jalr", "1.rs1=0.rd 1.rd=x1", "x1", Immediate.WRAPPED_SUM),
    _rule("far_jump_abs", _SINCE2, "lui jalr", "1.rs1=0.rd 1.rd=x1 1.rs1=x1", "x1", Immediate.WRAPPED_SUM),
    _rule("load_imm", _SINCE1, "lui addiw", "1.rs1=1.rd 1.rd=0.rd", "0.rd", Immediate.WRAPPED_SUM),
    _rule("far_jump_rel", _ONLY1, "auipc jalr", "1.rs1=0.rd 1.rd=x1", "x1", Immediate.WRAPPED_SUM),
    _rule("far_jump_rel", _SINCE2, "auipc jalr", "1.rs1=0.rd 1.rd=x1 1.rs1=x1", "x1", Immediate.CHECKED_SUM),
    _rule("load_imm", _SINCE2, "auipc addi", "1.rs1=1.rd 1.rd=0.rd", "0.rd", Immediate.CHECKED_SUM_WITH_PC),
    _rule("wide_mul", _SINCE1, "mulh mul", _SAME_SOURCES, _BOTH_RESULTS),
    _rule("wide_mulu", _SINCE1, "mulhu mul", _SAME_SOURCES, _BOTH_RESULTS),
    _rule("wide_mulsu", _SINCE1, "mulhsu mul", _SAME_SOURCES, _BOTH_RESULTS),
    _rule("wide_div", _SINCE1, "div rem", _SAME_SOURCES, _BOTH_RESULTS),
    _rule("wide_divu", _SINCE1, "divu remu", _SAME_SOURCES, _BOTH_RESULTS),
)


def rules_by_head(version: int) -> dict[int, tuple[FusionRule, ...]]:
    """The rules of `version` in order, by the op code of their first part."""
    found: dict[int, list[FusionRule]] = {}
    for rule in RULES:
        if version in rule.versions:
            found.setdefault(rule.parts[0], []).append(rule)
    return {head: tuple(rules) for head, rules in found.items()}


_BY_HEAD: Final = {version: rules_by_head(version) for version in (0, 1, 2)}

LookAhead = Callable[[int], Instruction | None]


def fuse(head: Instruction, pc: int, version: int, look_ahead: LookAhead) -> Instruction:
    """`head`, which lies at `pc`, or the fused instruction that begins with it.

    `look_ahead(address)` gives the single instruction at an address, or None if there is none.
    """
    for rule in _BY_HEAD[version].get(head.op, ()):
        fused = _apply(rule, head, pc, look_ahead)
        if fused is not None:
            return fused
    return head


def _apply(rule: FusionRule, head: Instruction, pc: int, look_ahead: LookAhead) -> Instruction | None:
    parts = [head]
    length = head.length
    for op in rule.parts[1:]:
        part = look_ahead(pc + length)
        if part is None or part.op != op:
            return None
        parts.append(part)
        length += part.length
    if not all(condition.holds(parts) for condition in rule.conditions):
        return None
    imm = _immediate(rule.immediate, parts, pc)
    if imm is None:
        return None
    registers = [operand.value(parts) for operand in rule.operands]
    rd, rs1, rs2, rs3, rs4 = registers + [0] * (5 - len(registers))
    return Instruction(rule.op, rd, rs1, rs2, imm, length, rs3, rs4)


def _immediate(kind: Immediate, parts: Sequence[Instruction], pc: int) -> int | None:
    if kind is Immediate.NONE:
        return 0
    total = parts[0].imm + parts[1].imm
    if kind is Immediate.WRAPPED_SUM:
        return sign_extend(total, 32)
    if not I32_MIN <= total <= I32_MAX:
        return None
    if kind is Immediate.CHECKED_SUM:
        return total
    total += pc
    return total if pc <= I32_MAX and I32_MIN <= total <= I32_MAX else None
