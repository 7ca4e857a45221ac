"""Atomics (A). There is only one processor, so they are plain memory operations.

The address need not be aligned. One that may not be written is refused before anything is done, also by an sc that
would not store.
"""

from collections.abc import Callable
from typing import Final

from vm.constants import RESERVATION
from vm.isa.instruction import Instruction
from vm.isa.word import sign_extend
from vm.reference.core import Core, semantics


@semantics("lr_w", "lr_d")
def load_reserved(core: Core, i: Instruction) -> None:
    """Nothing but an sc, or a later lr, ends a reservation. Version 0 may read the last bytes of the memory here."""
    address = core.registers[i.rs1]
    core.write(i.rd, _load(core, i, address))
    core.registers[RESERVATION] = address + 1


@semantics("sc_w", "sc_d")
def store_conditional(core: Core, i: Instruction) -> None:
    """Stores, and gives 0, if the address is reserved, whatever the width; else gives 1. Nothing is reserved then."""
    address, value = core.registers[i.rs1], core.registers[i.rs2]
    is_reserved = core.registers[RESERVATION] == address + 1
    core.memory.claim(address, _size(i))
    if is_reserved:
        _store(core, i, address, value)
    core.registers[RESERVATION] = 0
    core.write(i.rd, not is_reserved)


Operation = Callable[[int, int, int], int]

_OPERATIONS: Final[dict[str, Operation]] = {
    "amoswap": lambda old, new, bits: new,
    "amoadd": lambda old, new, bits: old + new,
    "amoxor": lambda old, new, bits: old ^ new,
    "amoand": lambda old, new, bits: old & new,
    "amoor": lambda old, new, bits: old | new,
    "amomin": lambda old, new, bits: min(sign_extend(old, bits), sign_extend(new, bits)),
    "amomax": lambda old, new, bits: max(sign_extend(old, bits), sign_extend(new, bits)),
    "amominu": lambda old, new, bits: min(old % (1 << bits), new % (1 << bits)),
    "amomaxu": lambda old, new, bits: max(old % (1 << bits), new % (1 << bits)),
}


@semantics(*(f"{name}_{suffix}" for name in _OPERATIONS for suffix in "wd"))
def read_modify_write(core: Core, i: Instruction) -> None:
    """rd becomes what was in memory; memory becomes a function of that and of rs2 as it was before."""
    address, operand = core.registers[i.rs1], core.registers[i.rs2]
    core.memory.claim(address, _size(i))
    old = _load(core, i, address)
    core.write(i.rd, old)
    _store(core, i, address, _OPERATIONS[i.name[:-2]](old, operand, 8 * _size(i)))


def _size(i: Instruction) -> int:
    return 4 if i.name.endswith("w") else 8


def _load(core: Core, i: Instruction, address: int) -> int:
    """As a signed number."""
    if _size(i) == 4:
        return sign_extend(core.memory.load32(address), 32)
    return sign_extend(core.memory.load64(address), 64)


def _store(core: Core, i: Instruction, address: int, value: int) -> None:
    if _size(i) == 4:
        core.memory.store32(address, value)
    else:
        core.memory.store64(address, value)
