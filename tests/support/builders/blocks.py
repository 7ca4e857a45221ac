"""Small builders for tests of the block and transaction rules: transactions, cells, headers, a consensus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from consensus.crypto.hashing import ZERO_HASH
from consensus.params import Consensus, Hardforks, PowFunc
from consensus.rules.dao import genesis_dao_field
from consensus.rules.epoch import genesis_block_issuance, genesis_epoch_ext
from consensus.rules.resolve import cell_of_output
from consensus.tx_env import TxEnv
from consensus.types.blockchain import (
    HASH_TYPE_DATA,
    NULL_OUT_POINT,
    SHANNONS_PER_BYTE,
    Block,
    CellbaseWitness,
    CellDep,
    CellInput,
    CellOutput,
    Header,
    OutPoint,
    RawHeader,
    RawTransaction,
    Script,
    Transaction,
    out_point_key,
)
from consensus.types.core import CellMeta, ResolvedTransaction, TransactionInfo

CKB = SHANNONS_PER_BYTE
COMPACT_TARGET = 0x20010000
GENESIS_CELLS = 16
GENESIS_CELL_CAPACITY = 10_000 * CKB
BLOCK_INTERVAL_MS = 8_000
START_MS = 1_600_000_000_000


def lock_script(args: bytes = b"", hash_type: int = HASH_TYPE_DATA) -> Script:
    return Script(code_hash=b"\x11" * 32, hash_type=hash_type, args=args)


MINER_LOCK = lock_script(b"miner")


def out_point(tx_hash: bytes = b"\x22" * 32, index: int = 0) -> OutPoint:
    return OutPoint(tx_hash=tx_hash, index=index)


def an_output(capacity: int = 100 * CKB, lock: Script | None = None, type_: Script | None = None) -> CellOutput:
    return CellOutput(capacity=capacity, lock=lock or lock_script(), type_=type_)


def an_input(previous: OutPoint | bytes, since: int = 0) -> CellInput:
    return CellInput(
        since=since, previous_output=previous if isinstance(previous, OutPoint) else OutPoint.parse(previous)
    )


def a_dep(of: OutPoint | bytes, dep_type: int = 0) -> CellDep:
    return CellDep(out_point=of if isinstance(of, OutPoint) else OutPoint.parse(of), dep_type=dep_type)


def a_transaction(
    inputs: Sequence[CellInput] | None = None,
    outputs: Sequence[CellOutput] | None = None,
    data: Sequence[bytes] | None = None,
    *,
    cell_deps: Sequence[CellDep] = (),
    header_deps: Sequence[bytes] = (),
    witnesses: Sequence[bytes] = (),
    version: int = 0,
) -> Transaction:
    """One input and one output unless told otherwise; empty data for each output."""
    outputs = [an_output()] if outputs is None else outputs
    body = RawTransaction(
        version=version,
        cell_deps=cell_deps,
        header_deps=header_deps,
        inputs=[an_input(out_point())] if inputs is None else inputs,
        outputs=outputs,
        outputs_data=[b""] * len(outputs) if data is None else data,
    )
    return Transaction(body=body, witnesses=witnesses)


def a_cell(
    output: CellOutput | None = None,
    data: bytes = b"",
    info: TransactionInfo | None = None,
    key: bytes | None = None,
) -> CellMeta:
    transaction = a_transaction(outputs=[output or an_output()], data=[data])
    cell = cell_of_output(transaction, out_point_key(transaction.hash, 0), info)
    assert cell is not None
    if key is None:
        return cell
    return CellMeta(key, cell.output, cell.data_size, cell.data_hash, cell.info, lambda: data)


def resolved(
    transaction: Transaction, inputs: Sequence[CellMeta], deps: Sequence[CellMeta] = ()
) -> ResolvedTransaction:
    return ResolvedTransaction(transaction, inputs, deps, [])


def a_cellbase(number: int, outputs: Sequence[CellOutput] = (), witness: bytes | None = None) -> Transaction:
    if witness is None:
        witness = CellbaseWitness(lock=MINER_LOCK, message=b"").raw
    return a_transaction([an_input(NULL_OUT_POINT, number)], outputs, witnesses=[witness])


def a_header(**fields: object) -> Header:
    values: dict[str, Any] = {
        "version": 0,
        "compact_target": COMPACT_TARGET,
        "timestamp": START_MS,
        "number": 1,
        "epoch": 0,
        "parent_hash": ZERO_HASH,
        "transactions_root": ZERO_HASH,
        "proposals_hash": ZERO_HASH,
        "extra_hash": ZERO_HASH,
        "dao": bytes(32),
    }
    return Header(body=RawHeader(**(values | fields)), nonce=0)


def a_genesis(epoch_length: int) -> Block:
    """Cells that anyone may spend, all outputs of the first transaction, which is a cellbase."""
    outputs = [an_output(GENESIS_CELL_CAPACITY, lock_script(bytes([i]))) for i in range(GENESIS_CELLS)]
    cellbase = a_cellbase(0, outputs)
    issuance = [genesis_block_issuance(reward, epoch_length) for reward in (191_780_821_917_808, 61_369_863_013_698)]
    dao = genesis_dao_field([cellbase], b"\x00" * 20, Fraction(6, 10), *issuance)
    header = a_header(number=0, timestamp=START_MS, dao=dao)
    return Block(header=header, uncles=[], transactions=[cellbase], proposals=[]).with_roots()


def a_consensus(*, epoch_length: int = 1000, hardforks: Hardforks | None = None, **changes: object) -> Consensus:
    """A chain without proof of work whose first epoch outlasts any test."""
    epoch = genesis_epoch_ext(191_780_821_917_808, COMPACT_TARGET, epoch_length, 4 * 60 * 60, Fraction(1, 40))
    consensus = Consensus(
        id="ckb_test",
        genesis_block=a_genesis(epoch_length),
        genesis_epoch=epoch,
        pow_func=PowFunc.DUMMY,
        hardforks=hardforks or Hardforks(),
        dao_type_hash=b"\xda" * 32,
    )
    return replace(consensus, **changes)  # type: ignore[arg-type]


class FakeRunner:
    """Runs no script: every transaction takes the same cycles. Remembers what it was asked."""

    def __init__(self, cycles: int = 1000) -> None:
        self.cycles = cycles
        self.asked: list[tuple[bytes, TxEnv, int]] = []

    def run(self, rtx: ResolvedTransaction, env: TxEnv, max_cycles: int) -> int:
        self.asked.append((rtx.hash, env, max_cycles))
        return self.cycles
