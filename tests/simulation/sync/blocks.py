"""The chain of simulated nodes, and how blocks and transactions for it are made: by the rules themselves.

No proof of work; epochs of a few blocks, whose difficulty follows the blocks' times unless a chain says otherwise. The
genesis block has cells that anyone may spend, and cells that nobody can spend: a transaction that tries is invalid.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from itertools import count
from typing import Final

from ckb_node.verification.scripts import ScriptService, VerifiedTransactions
from consensus.context import ChainReader
from consensus.crypto.hashing import data_hash
from consensus.params import Consensus, PowFunc
from consensus.rules.dao import genesis_dao_field
from consensus.rules.epoch import genesis_block_issuance, genesis_epoch_ext
from consensus.rules.pow import first_without_work
from consensus.rules.verify_block import PreparedBlock
from consensus.types.blockchain import (
    HASH_TYPE_DATA1,
    NULL_OUT_POINT,
    Block,
    CellbaseWitness,
    Header,
    OutPoint,
    Script,
    Transaction,
    UncleBlock,
)
from tests.simulation.clock import START_WALL_MS
from tests.support.builders.blocks import (
    CKB,
    COMPACT_TARGET,
    MINER_LOCK,
    a_dep,
    a_header,
    a_transaction,
    an_input,
    an_output,
)
from tests.support.builders.children import next_block, next_cellbase
from tests.support.vm.script_programs import Program
from vm.errors import EngineFailure

EPOCH_LENGTH: Final = 40
BLOCK_TIME: Final = 8.0
"""Seconds between blocks at which the difficulty stays."""
FREE_CELLS: Final = 400
LOCKED_CELLS: Final = 16
CELL_CAPACITY: Final = 10_000 * CKB
FEE: Final = 1_000_000
CYCLES: Final = 509
"""What the free lock takes; `test_attacks.py` holds it true."""
_CODE_CAPACITY: Final = 100_000 * CKB
_PRIMARY, _SECONDARY = 191_780_821_917_808, 61_369_863_013_698


def _program(exit_code: int) -> bytes:
    program = Program()
    program.exit(exit_code)
    return program.elf()


PASSES: Final = _program(0)
FAILS: Final = _program(1)
FREE_LOCK: Final = Script(code_hash=data_hash(PASSES), hash_type=HASH_TYPE_DATA1, args=b"")
LOCKED_LOCK: Final = Script(code_hash=data_hash(FAILS), hash_type=HASH_TYPE_DATA1, args=b"")


@cache
def sim_consensus(
    age: float = 3600.0, *, adjusts: bool = False, min_chain_work: int = 0, pow_func: PowFunc = PowFunc.DUMMY
) -> Consensus:
    """A chain whose genesis block is `age` seconds old when a simulation begins: older than a day, and a node that
    knows no more is in its initial download. `adjusts`: the difficulty follows the blocks' times."""
    genesis = _genesis(START_WALL_MS - int(age * 1000))
    duration = int(EPOCH_LENGTH * BLOCK_TIME)
    return Consensus(
        id="ckb_sim",
        genesis_block=genesis,
        genesis_epoch=genesis_epoch_ext(_PRIMARY, COMPACT_TARGET, EPOCH_LENGTH, duration, Fraction(1, 40)),
        pow_func=pow_func,
        epoch_duration_target_s=duration,
        min_epoch_length=EPOCH_LENGTH,
        max_epoch_length=EPOCH_LENGTH,
        permanent_difficulty_in_dummy=not adjusts,
        min_chain_work=min_chain_work,
    )


def _genesis(timestamp: int) -> Block:
    """Its one transaction: the two programs, then the cells."""
    outputs = [an_output(_CODE_CAPACITY, MINER_LOCK)] * 2
    outputs += [an_output(CELL_CAPACITY, FREE_LOCK)] * FREE_CELLS
    outputs += [an_output(CELL_CAPACITY, LOCKED_LOCK)] * LOCKED_CELLS
    data = [PASSES, FAILS, *(b"" for _ in range(FREE_CELLS + LOCKED_CELLS))]
    witness = CellbaseWitness(lock=MINER_LOCK, message=b"").raw
    cellbase = a_transaction([an_input(NULL_OUT_POINT, 0)], outputs, data, witnesses=[witness])
    issuance = [genesis_block_issuance(reward, EPOCH_LENGTH) for reward in (_PRIMARY, _SECONDARY)]
    dao = genesis_dao_field([cellbase], bytes(20), Fraction(6, 10), *issuance)
    header = a_header(number=0, timestamp=timestamp, dao=dao)
    return Block(header=header, uncles=[], transactions=[cellbase], proposals=[]).with_roots()


_VERIFIED: Final = VerifiedTransactions()
"""One cache for all nodes of the process: each script runs once."""


class SimScripts(ScriptService):
    """Scripts of one node. While `breaks` the process that runs them dies."""

    def __init__(self, consensus: Consensus) -> None:
        super().__init__(consensus)
        self.verified = _VERIFIED
        self.breaks = False

    def run_block(self, reader: ChainReader, prepared: PreparedBlock) -> list[int]:
        if self.breaks:
            raise EngineFailure("the simulated script process died")
        return super().run_block(reader, prepared)


# --- transactions ---


def _genesis_point(consensus: Consensus, index: int) -> OutPoint:
    return OutPoint(tx_hash=consensus.genesis_block.transactions[0].hash, index=index)


def free_cell(consensus: Consensus, number: int) -> OutPoint:
    """One of FREE_CELLS that anyone may spend."""
    return _genesis_point(consensus, 2 + number % FREE_CELLS)


def locked_cell(consensus: Consensus, number: int) -> OutPoint:
    """One of LOCKED_CELLS that nobody can spend."""
    return _genesis_point(consensus, 2 + FREE_CELLS + number % LOCKED_CELLS)


def spending(
    consensus: Consensus, cell: OutPoint, *, fee: int = FEE, capacity: int = CELL_CAPACITY, data: bytes = b""
) -> Transaction:
    """Moves all of a cell, but for the fee, into one that anyone may spend; another `data` makes another of it."""
    deps = [a_dep(_genesis_point(consensus, 0)), a_dep(_genesis_point(consensus, 1))]
    return a_transaction([an_input(cell)], [an_output(capacity - fee, FREE_LOCK)], [data], cell_deps=deps)


def output_of(transaction: Transaction) -> OutPoint:
    """Its first cell."""
    return OutPoint(tx_hash=transaction.hash, index=0)


# --- blocks ---


def miner_lock(name: str) -> Script:
    """Blocks of two miners differ by this."""
    return MINER_LOCK.replace(args=name.encode())


def build_block(
    consensus: Consensus,
    reader: ChainReader,
    now_ms: int,
    miner: str,
    transactions: Sequence[Transaction] = (),
    *,
    proposals: Sequence[bytes] = (),
    uncles: Sequence[UncleBlock] = (),
) -> Block:
    """A valid child of the tip, if the transactions and uncles are. `now_ms`: its time, unless the tip is as late."""
    timestamp = max(now_ms, reader.tip_header().timestamp + 1)
    body = [next_cellbase(consensus, reader, miner_lock(miner)), *transactions]
    block = next_block(consensus, reader, body, proposals=proposals, uncles=uncles, timestamp=timestamp)
    return with_work(consensus, block)


def with_work(consensus: Consensus, block: Block, *, is_bad: bool = False) -> Block:
    """The block with a nonce that is a solution, or with one that is none (`is_bad`)."""
    if consensus.pow_func is PowFunc.DUMMY:
        return block
    nonces = (block.header.with_fields(nonce=nonce) for nonce in count())
    return block.replace(header=next(each for each in nonces if has_work(consensus, each) is not is_bad))


def has_work(consensus: Consensus, header: Header) -> bool:
    return first_without_work(consensus, [header.raw]) is None
