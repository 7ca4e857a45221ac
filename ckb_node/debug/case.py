"""What is debugged: a transaction with all that its scripts may read, and the rules that hold for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from consensus.crypto.hashing import ZERO_HASH, data_hash
from consensus.params import Hardforks
from consensus.script.code import CodeIndex
from consensus.script.context import ScriptChain, ScriptEnv
from consensus.script.groups import ScriptGroup
from consensus.types.blockchain import (
    HASH_TYPE_TYPE,
    Block,
    CellDep,
    CellInput,
    CellOutput,
    Header,
    OutPoint,
    RawTransaction,
    Script,
    Transaction,
)
from consensus.types.core import CellMeta, ResolvedTransaction, TransactionInfo


@dataclass(frozen=True)
class KnownBlocks:
    """The blocks that a transaction names, by hash. Satisfies ScriptChain and resolve.HeaderChecker."""

    headers: dict[bytes, Header]
    extensions: dict[bytes, bytes]

    def is_main(self, block_hash: bytes) -> bool:
        return block_hash in self.headers

    def header(self, block_hash: bytes) -> Header | None:
        return self.headers.get(block_hash)

    def block(self, block_hash: bytes) -> Block | None:
        """What scripts can read of a block: its header and extension."""
        header = self.headers.get(block_hash)
        if header is None:
            return None
        extension = self.extensions.get(block_hash)
        return Block(header=header, uncles=[], transactions=[], proposals=[], extension=extension)


@dataclass(frozen=True)
class Env:
    """Satisfies ScriptEnv."""

    epoch_without_proposal_window: int


@dataclass(frozen=True)
class Rules:
    """What scripts depend on of a chain's parameters. Satisfies HasHardforks."""

    hardforks: Hardforks


@dataclass(frozen=True)
class DebugCase:
    """Everything that a run needs. `args`: argv of the programs."""

    rtx: ResolvedTransaction
    chain: ScriptChain
    rules: Rules
    env: ScriptEnv
    args: Sequence[bytes] = ()


def rules_of_vm(vm_version: int) -> tuple[Rules, Env]:
    """Rules in which this version of the VM is the newest one that is active; `type` scripts run on it."""
    return Rules(Hardforks(rfc_0032=1, rfc_0049=2)), Env(vm_version)


def cell_in_block(out_point: bytes, output: CellOutput, data: bytes, block_hash: bytes | None) -> CellMeta:
    """A cell. `block_hash` is that of the block with its transaction, if it is known.

    Scripts can read only the block's hash, so number, epoch and index are 0.
    """
    info = None if block_hash is None else TransactionInfo(block_hash, 0, 0, 0)
    return CellMeta(out_point, output, len(data), data_hash(data), info, lambda: data)


def bare_case(program: bytes, args: Sequence[bytes], vm_version: int) -> DebugCase:
    """A program as the lock of the only input of a transaction that has nothing else."""
    nobody = Script(code_hash=ZERO_HASH, hash_type=0, args=b"")
    name = Script(code_hash=ZERO_HASH, hash_type=0, args=b"program")
    lock = Script(code_hash=name.hash, hash_type=HASH_TYPE_TYPE, args=b"")
    code_at, cell_at = OutPoint(tx_hash=ZERO_HASH, index=0), OutPoint(tx_hash=ZERO_HASH, index=1)
    code = CellOutput(capacity=0, lock=nobody, type_=name)
    spent = CellOutput(capacity=0, lock=lock, type_=None)
    body = RawTransaction(
        version=0,
        cell_deps=[CellDep(out_point=code_at, dep_type=0)],
        header_deps=[],
        inputs=[CellInput(since=0, previous_output=cell_at)],
        outputs=[],
        outputs_data=[],
    )
    rtx = ResolvedTransaction(
        Transaction(body=body, witnesses=[]),
        inputs=[cell_in_block(cell_at.raw, spent, b"", None)],
        cell_deps=[cell_in_block(code_at.raw, code, program, None)],
        dep_groups=[],
    )
    rules, env = rules_of_vm(vm_version)
    return DebugCase(rtx, KnownBlocks({}, {}), rules, env, tuple(args))


def with_program(case: DebugCase, group: ScriptGroup, program: bytes) -> DebugCase:
    """The case with another program in the place of a group's. Raises ScriptError if there is no such place.

    The cell keeps its data hash, so that scripts still find it.
    """
    cells = list(case.rtx.cell_deps)
    index = CodeIndex(cells).find(group.script)
    old = cells[index]
    cells[index] = CellMeta(old.out_point, old.output, len(program), old.data_hash, old.info, lambda: program)
    return replace(case, rtx=replace(case.rtx, cell_deps=cells))
