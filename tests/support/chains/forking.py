"""A dev chain whose scripts go over to version 2 of the VM, and locks that tell the versions apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from consensus.crypto.hashing import ckb_hash
from consensus.params import Consensus
from consensus.types.blockchain import (
    HASH_TYPE_TYPE,
    CellDep,
    CellInput,
    CellOutput,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
)
from tests.support.builders.wallet import sighash_dep
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.funded_pool import ALICE, FEE, Cell, cell_of
from tests.support.vm.assembler import ECALL, branch, imm, program, reg

FORK_EPOCH: Final = 2
TYPE_ID: Final = b"TYPE_ID".rjust(32, b"\0")
_A0, _A7 = 10, 17
_ASK_VERSION = imm("addi", _A7, 0, 2041) + ECALL
_EXIT = imm("addi", _A7, 0, 93) + ECALL
_NOP = imm("addi", 0, 0, 0)


class Program(Enum):
    """What lets its cells be spent; found by its type hash."""

    ONLY_VM_1 = _ASK_VERSION + imm("addi", _A0, _A0, -1) + reg("sltu", _A0, 0, _A0) + _EXIT
    ONLY_VM_2 = _ASK_VERSION + imm("addi", _A0, _A0, -2) + reg("sltu", _A0, 0, _A0) + _EXIT
    SLOWER_ON_VM_2 = (  # by three nops
        _ASK_VERSION + imm("addi", _A0, _A0, -2) + branch("bne", _A0, 0, 16) + 3 * _NOP + imm("addi", _A0, 0, 0) + _EXIT
    )

    @property
    def elf(self) -> bytes:
        return program(self.value)

    def passes_on(self, vm_version: int) -> bool:
        return self is Program.SLOWER_ON_VM_2 or (self is Program.ONLY_VM_1) == (vm_version == 1)


def forking(epoch: int = FORK_EPOCH) -> Consensus:
    """The dev chain, but scripts go over to version 2 of the VM from this epoch on."""
    consensus = dev_consensus()
    return replace(consensus, hardforks=replace(consensus.hardforks, rfc_0049=epoch))


@dataclass(frozen=True)
class Guard:
    """A program on the chain."""

    program: Program
    code: OutPoint
    lock: Script

    def spend(self, *cells: Cell, fee: int = FEE, outputs: Sequence[Script] = (ALICE.lock,),
              reads: Sequence[OutPoint] = (), data: bytes = b"") -> Transaction:  # fmt: skip
        """Spend cells that it guards into equal ones with these locks, each with the data."""
        total = sum(capacity for _, capacity in cells) - fee
        each, rest = divmod(total, len(outputs))
        body = RawTransaction(
            version=0,
            cell_deps=[CellDep(out_point=out_point, dep_type=0) for out_point in (self.code, *reads)],
            header_deps=[],
            inputs=[CellInput(since=0, previous_output=out_point) for out_point, _ in cells],
            outputs=[
                CellOutput(capacity=each + (rest if index == 0 else 0), lock=lock, type_=None)
                for index, lock in enumerate(outputs)
            ],
            outputs_data=[data] * len(outputs),
        )
        return Transaction(body=body, witnesses=[])


def deploy(consensus: Consensus, purse: Cell, programs: Sequence[Program], count: int, capacity: int,
           fee: int = 100_000) -> tuple[Transaction, dict[Program, Guard], dict[Program, list[Cell]]]:  # fmt: skip
    """A transaction of Alice's with the programs and `count` cells that each of them guards; what it makes."""
    first = CellInput(since=0, previous_output=purse[0])
    types = [_type_id(first, index) for index in range(len(programs))]
    locks = [Script(code_hash=each.hash, hash_type=HASH_TYPE_TYPE, args=b"") for each in types]
    codes = [CellOutput(capacity=capacity, lock=ALICE.lock, type_=each) for each in types]
    guarded = [CellOutput(capacity=capacity, lock=lock, type_=None) for lock in locks for _ in range(count)]
    spent = capacity * (len(codes) + len(guarded)) + fee
    change = CellOutput(capacity=purse[1] - spent, lock=ALICE.lock, type_=None)
    body = RawTransaction(
        version=0,
        cell_deps=[sighash_dep(consensus)],
        header_deps=[],
        inputs=[first],
        outputs=[*codes, *guarded, change],
        outputs_data=[*(each.elf for each in programs), *[b""] * (len(guarded) + 1)],
    )
    tx = ALICE.sign(body)
    guards, cells = dict[Program, Guard](), dict[Program, list[Cell]]()
    for index, (each, lock) in enumerate(zip(programs, locks, strict=True)):
        guards[each] = Guard(each, cell_of(tx, index)[0], lock)
        begin = len(programs) + index * count
        cells[each] = [cell_of(tx, at) for at in range(begin, begin + count)]
    return tx, guards, cells


def _type_id(first: CellInput, index: int) -> Script:
    args = ckb_hash(first.raw + index.to_bytes(8, "little"))
    return Script(code_hash=TYPE_ID, hash_type=HASH_TYPE_TYPE, args=args)
