"""The constant tables of the decoder inside WebAssembly, made from the table of instructions."""

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from vm.isa.compressed import decode_half
from vm.isa.fusion import rules_by_head
from vm.isa.profile import Isa
from vm.isa.table import OPS, Extension, Form, OpSpec
from vm.isa.word import candidates
from vm.wasm.layout import GROUP_COUNT, NO_OP
from vm.wasm.operations import LOADS, STORES

FORM_NUMBER: Final = {form: number for number, form in enumerate(Form)}

# Ops that exist only in decoded blocks.
GOTO: Final = len(OPS)  # jump to the immediate
JUMP_REGISTER: Final = len(OPS) + 1  # jalr without a link
OP_COUNT: Final = len(OPS) + 2
_KNOWN: Final = 0xFFF0_707F  # bits that the tables of words are made for
_BUT_FIELD: Final = _KNOWN & ~(31 << 20)  # without those that tell the members of a group apart
_GROUP_BASE: Final = 0xC0  # bytes from here on in the table of words are group numbers


class Kind(IntEnum):
    """How an instruction becomes entries of a decoded block."""

    PURE = 0  # only writes rd: nothing to do if that is x0
    LOAD = 1  # also may fail, or do more than to write rd
    STORE = 2
    WIDE = 3  # fused; writes up to three registers
    BRANCH = 4
    JUMP = 5
    JUMP_REGISTER = 6
    PC_RELATIVE = 7  # ends a block and needs its own address
    ECALL = 8
    IDLE = 9  # ends a block and does nothing


_KINDS: Final = {
    **dict.fromkeys(LOADS, Kind.LOAD),
    **dict.fromkeys(STORES, Kind.STORE),
    **dict.fromkeys(("jal",), Kind.JUMP),
    **dict.fromkeys(("jalr",), Kind.JUMP_REGISTER),
    **dict.fromkeys(("auipc", "far_jump_rel", "far_jump_abs"), Kind.PC_RELATIVE),
    **dict.fromkeys(("ecall",), Kind.ECALL),
    **dict.fromkeys(("fence", "fencei", "ebreak"), Kind.IDLE),
    **dict.fromkeys(("load_imm",), Kind.PURE),
}


def kind_of(spec: OpSpec) -> Kind:
    """How the decoder and the interpreter treat an op."""
    if spec.name in _KINDS:
        return _KINDS[spec.name]
    if spec.extension is Extension.A:
        return Kind.LOAD
    if spec.form is Form.B:
        return Kind.BRANCH
    return Kind.WIDE if spec.form is Form.FUSED else Kind.PURE


def compressed_table(version: int) -> bytes:
    """A packed instruction for each of the 65536 patterns of 16 bits."""
    table = bytearray(b"\xff" * (8 * 65536))
    for half in range(65536):
        decoded = decode_half(half, version) if half & 3 != 3 else None
        if decoded is not None:
            entry = struct.pack("<BBBBi", decoded.op, decoded.rd, decoded.rs1, decoded.rs2, decoded.imm)
            table[8 * half : 8 * half + 8] = entry
    return bytes(table)


def word_tables(version: int, isa: Isa) -> tuple[bytes, bytes]:
    """The op for opcode[6:2] | funct3 << 5 | funct7 << 8, or a group; and the groups, by bits 24:20.

    What is found still has to be checked against mask and match.
    """
    by_key = candidates(version, isa)
    ops = bytearray([NO_OP]) * 32768
    groups: list[bytes] = []
    for key in range(32768):
        word = (key & 31) << 2 | 3 | (key >> 5 & 7) << 12 | (key >> 8) << 25
        fitting = [spec for spec in by_key.get(word & 0x707F, ()) if _fits(spec, word, _BUT_FIELD)]
        if not fitting:
            continue
        found = [_op_of(fitting, word | field << 20) for field in range(32)]
        distinct = {op for op in found if op != NO_OP}
        if len(distinct) == 1:
            ops[key] = distinct.pop()
        elif distinct:
            group = bytes(found)
            if group not in groups:
                groups.append(group)
            ops[key] = _GROUP_BASE + groups.index(group)
    if len(groups) > GROUP_COUNT:
        raise ValueError("too many groups of instructions")
    return bytes(ops), b"".join(groups)


def _op_of(specs: Sequence[OpSpec], word: int) -> int:
    """The op that fits `word` as far as opcode, funct3, funct7 and bits 24:20 say."""
    for spec in specs:
        if _fits(spec, word, _KNOWN):
            return spec.code
    return NO_OP


def _fits(spec: OpSpec, word: int, known: int) -> bool:
    """The bits of `word` that are known do not contradict the instruction."""
    return (word ^ spec.match) & spec.mask & known == 0


def op_info(version: int) -> bytes:
    """Mask, match, form, kind, cost and whether fusion may begin here, for each op."""
    heads = rules_by_head(version)
    return b"".join(
        struct.pack(
            "<IIBBHB3x",
            spec.mask,
            spec.match,
            FORM_NUMBER[spec.form],
            kind_of(spec),
            spec.cost,
            spec.code in heads,
        )
        for spec in OPS
    )


GROUP_BASE: Final = _GROUP_BASE
