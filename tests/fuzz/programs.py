"""Random programs by kind and seed. The same seed always gives the same program (for one state of these generators)."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache

from tests.support.vm.assembler import (
    ATOMIC_OPS,
    BRANCH_OPS,
    CODE_BASE,
    DATA_BASE,
    ECALL,
    IMMEDIATE_OPS,
    PAGE,
    PF_R,
    PF_W,
    PF_X,
    STORE_OPS,
    Segment,
    atomic,
    branch,
    elf,
    half,
    imm,
    jal,
    li,
    lui,
    program,
    reg,
    store,
)
from tests.support.vm.random_flow import random_flow
from tests.support.vm.random_programs import EDGES, Generator, random_program
from vm.constants import MEMORY_SIZE
from vm.isa.compressed import decode_half
from vm.isa.profile import Isa
from vm.isa.word import decode_word

PLACED_BASE = 0x30000
"""Where code is put at run time."""

_LOADS = [name for name in IMMEDIATE_OPS if name.startswith("l")]
_SCRATCH = range(5, 18)
_TAME, _WILD = _SCRATCH[:10], _SCRATCH[10:]


@cache
def legal_halves(version: int) -> list[int]:
    """All compressed instructions of a version."""
    return [bits for bits in range(1 << 16) if bits & 3 != 3 and decode_half(bits, version) is not None]


def halves(rng: random.Random, version: int) -> bytes:
    """Compressed instructions of all kinds between others; the stack pointer and x8..x15 lie in the data."""
    generator = Generator(rng, version)
    code = b"".join(li(register, DATA_BASE + 8 * rng.randrange(512)) for register in (2, *range(8, 16)))
    for _ in range(rng.choice((20, 60, 150))):
        code += half(rng.choice(legal_halves(version))) if rng.random() < 0.6 else generator.any()
    return program(code + ECALL, data_size=8192)


def words(rng: random.Random, version: int) -> bytes:
    """Single words with random fields: legal ones, and at last most neighbours of such, those of A among them."""
    code = b"".join(li(register, rng.choice(EDGES)) for register in _SCRATCH)
    for _ in range(rng.choice((3, 10, 30))):
        word = random_word(rng)
        while rng.random() < 0.98 and decode_word(word, version) is None:
            word = random_word(rng)
        code += word.to_bytes(4, "little")
    return program(code + ECALL, data_size=8192)


def random_word(rng: random.Random) -> int:
    """Bits of an opcode without jumps; the upper part is often one that some instruction has."""
    opcode = rng.choice((0x13, 0x33, 0x1B, 0x3B, 0x13, 0x33, 0x1B, 0x3B, 0x37, 0x17, 0x2F, 0x0F, 0x73))
    word = rng.getrandbits(25) << 7 | opcode
    if rng.random() < 0.8:
        word = word & 0x01FF_FFFF | rng.choice((0x00, 0x01, 0x20, 0x05, 0x30, 0x10, 0x24, 0x34, 0x14, 0x04)) << 25
    return word


def edges(rng: random.Random, version: int) -> bytes:
    """Accesses and jumps around the borders of pages, segments and the memory."""
    generator = Generator(rng, version)
    code_size, data_base = PAGE * rng.choice((1, 2, 3)), CODE_BASE
    data_base += code_size if rng.random() < 0.7 else 2 * code_size
    borders = (0, CODE_BASE, CODE_BASE + PAGE, data_base, data_base + PAGE, data_base + 2 * PAGE, MEMORY_SIZE)
    far = (1 << 31, 1 << 32, (1 << 32) + CODE_BASE, 1 << 63, (1 << 64) - 8)
    body = b""
    for register in _SCRATCH:
        centre = rng.choice((*borders, rng.choice(far))) if register in _WILD else data_base + PAGE
        body += li(register, centre + rng.randrange(-9, 10))
    for _ in range(rng.choice((4, 12, 40))):
        base = rng.choice(_SCRATCH if rng.random() < 0.2 else _TAME)
        other, offset = rng.choice(_SCRATCH), rng.randrange(-12, 12)
        match rng.randrange(20):
            case 0 | 1 | 2 | 3:
                body += imm(rng.choice(_LOADS), rng.choice((0, 18, 19)), base, offset)
            case 4 | 5 | 6 | 7:
                body += store(rng.choice(list(STORE_OPS)), other, base, offset)
            case 8:
                body += imm("jalr", rng.choice((0, 1, base)), rng.choice(_WILD), offset)
            case 9:
                body += branch(rng.choice(list(BRANCH_OPS)), base, other, rng.choice((-8, -6, 4, 6, 8, 10)))
            case 10:
                body += jal(rng.choice((0, 1)), rng.choice((4, 6, 8, 10, -4)))
            case 11:
                body += generator.any()
            case _:
                body += reg(rng.choice(("add", "sub", "xor")), 18, 19, base)
    # The end of the code meets the end of its page, sometimes by half an instruction, sometimes not at all.
    body += rng.choice((ECALL, half(0x0001), half(0x0001) + ECALL, b""))
    start = max(code_size - len(body) - rng.choice((0, 0, 2, 64)), 0)
    padding = (half(0x0001) * start)[:start]
    code = (padding + body)[: rng.choice((code_size, code_size + 2, code_size + 8))]
    segments = [
        Segment(CODE_BASE, code, PF_R | PF_X),
        Segment(data_base, b"", PF_R | PF_W, memory_size=2 * PAGE),
    ]
    if rng.random() < 0.3:
        segments.append(Segment(data_base + 2 * PAGE, rng.randbytes(64), PF_R))
    return elf(segments, entry=CODE_BASE + start // 2 * 2)


def segments(rng: random.Random, version: int) -> bytes:
    """ELF files with several segments anywhere, overlapping, cut, with all flags; one of them holds code."""
    generator = Generator(rng, version)
    code = b"".join(generator.any() for _ in range(rng.choice((5, 30)))) + ECALL
    parts = [Segment(CODE_BASE + rng.choice((0, 0, 0, 2, 64)), code, PF_R | PF_X)]
    for _ in range(rng.randrange(5)):
        content = rng.randbytes(rng.choice((0, 1, 100, PAGE, 5000)))
        near = rng.choice(
            (CODE_BASE, CODE_BASE - PAGE, CODE_BASE + PAGE, DATA_BASE, 0, MEMORY_SIZE - PAGE, MEMORY_SIZE)
        )
        parts.append(
            Segment(
                max(near + rng.choice((0, 0, 0, 1, 100, -1)), 0),
                content,
                rng.choice((PF_R, PF_R | PF_W, PF_R | PF_W, PF_R | PF_X) * 5 + (PF_W, PF_R | PF_W | PF_X, 0)),
                memory_size=rng.choice((None, None, 0, 1, 3 * PAGE, 1 << 20) * 4 + (MEMORY_SIZE, (1 << 64) - 1)),
                file_size=rng.choice((None,) * 30 + (0, 1 << 20, (1 << 64) - 1)),
                kind=rng.choice((1, 1, 1, 0, 6)),
            )
        )
    rng.shuffle(parts)
    return elf(parts, entry=parts[0].address if rng.random() < 0.1 else CODE_BASE)


def mutated(rng: random.Random, version: int) -> bytes:
    """Another program with some bits, bytes or stretches changed; often in the headers."""
    file = bytearray(rng.choice((random_program, random_flow, halves, edges, segments))(rng, version))
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(min(64 + 2 * 56, len(file)) if rng.random() < 0.3 else len(file))
        match rng.randrange(4):
            case 0 | 1:
                file[at] ^= 1 << rng.randrange(8)
            case 2:
                file[at] = rng.randrange(256)
            case _:
                other = rng.randrange(len(file))
                size = rng.randrange(1, 9)
                file[at : at + size] = file[other : other + size]
    if rng.random() < 0.1:
        del file[rng.randrange(len(file)) :]
    return bytes(file)


def placed(rng: random.Random, version: int) -> bytes:
    """A program that jumps to code which is put there at its first ecall, and often back and forth."""
    generator = Generator(rng, version)
    code = b"".join(li(register, rng.choice(EDGES)) for register in range(5, 16)) + lui(3, 0x21) + ECALL
    back = len(code)
    code += b"".join(generator.any() for _ in range(rng.randrange(20)))
    code += imm("addi", 31, 31, 1) + li(30, PLACED_BASE + rng.choice((0, 0, 2, 4, 100))) + imm("jalr", 1, 30, 0)
    code += imm("addi", 29, 31, -rng.randrange(2, 6)) + branch("blt", 29, 0, back - len(code) - 4) + ECALL
    return program(code, data_size=8192)


def placed_code(rng: random.Random, version: int) -> bytes:
    """What is put at PLACED_BASE; it mostly returns to x1."""
    generator = Generator(rng, version)
    body = b"".join(generator.any() for _ in range(rng.choice((3, 30))))
    return body + imm("jalr", 0, 1, 0)


def atomics(rng: random.Random, version: int) -> bytes:
    """Streams and functions with atomics between other instructions."""
    return rng.choice((random_program, random_program, random_flow))(rng, version, Isa.CKB_WITH_ATOMICS)


def atomic_edges(rng: random.Random, version: int) -> bytes:
    """Atomics around the borders of pages, segments and the memory."""
    body = b""
    borders = (0, CODE_BASE, CODE_BASE + PAGE, DATA_BASE, DATA_BASE + PAGE, DATA_BASE + 2 * PAGE, MEMORY_SIZE)
    far = (1 << 32, 1 << 63, 1 << 64)
    for register in _SCRATCH:
        centre = DATA_BASE + PAGE if register in _TAME else rng.choice((*borders, rng.choice(far)))
        body += li(register, centre + rng.randrange(-9, 10))
    for _ in range(rng.choice((4, 12, 40))):
        base = rng.choice(_WILD if rng.random() < 0.1 else _TAME)
        name = rng.choice((*ATOMIC_OPS, "lr", "sc"))
        other = 0 if name == "lr" else rng.choice((*_SCRATCH, 18, 19))
        body += atomic(name, rng.choice("wd"), rng.choice((0, 18, 19, 20)), other, base)
        if rng.random() < 0.3:
            body += imm("addi", base, base, rng.choice((-8, -4, -1, 1, 4, 8)))
    return program(body + ECALL, data=rng.randbytes(2 * PAGE))


KINDS: dict[str, Callable[[random.Random, int], bytes]] = {
    "stream": random_program,
    "flow": random_flow,
    "halves": halves,
    "words": words,
    "edges": edges,
    "segments": segments,
    "mutated": mutated,
    "placed": placed,
    "atomics": atomics,
    "atomic-edges": atomic_edges,
}
WITH_ATOMICS = frozenset({"atomics", "atomic-edges"})
"""Kinds for engines that know atomics."""
