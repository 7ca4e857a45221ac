"""The simulated chain: no proof of work, epochs of a few blocks, a hardfork in each of the first ones, toy scripts."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache

from consensus.crypto.hashing import ZERO_HASH, data_hash
from consensus.params import Consensus, Hardforks, PowFunc, ProposalWindow
from consensus.rules.dao import genesis_dao_field
from consensus.rules.epoch import genesis_block_issuance, genesis_epoch_ext
from consensus.types.blockchain import (
    HASH_TYPE_DATA,
    HASH_TYPE_TYPE,
    NULL_OUT_POINT,
    SHANNONS_PER_BYTE,
    Block,
    CellbaseWitness,
    CellInput,
    CellOutput,
    Header,
    RawHeader,
    RawTransaction,
    Script,
    Transaction,
    out_point_key,
)
from tests.support.vm.script_programs import DATA, Program

CKB = SHANNONS_PER_BYTE
START_MS = 1_700_000_000_000
NOW_MS = START_MS + 10**10
"""The node's clock, far ahead of all blocks but those that come from the future."""
LATER_MS = NOW_MS + 60_000
"""The clock when the time of these has come."""

PURSES = 24
PURSE_CAPACITY = 200_000 * CKB
GENESIS_EPOCH_LENGTH = 5
PRIMARY_REWARD, SECONDARY_REWARD = 191_780_821_917_808, 61_369_863_013_698
COMPACT_TARGET = 0x20010000
FORKS = Hardforks(rfc_0028=2, rfc_0032=1, rfc_0049=3)
CHAIN_ROOT_EPOCH = 1

LOAD_TX_HASH, LOAD_WITNESS = 2061, 2074
GROUP_INPUT = 1 << 56 | 1
SIGNATURE_AT = 20
"""Where the lock begins in serialised WitnessArgs: behind the table's header and its own length."""
LENGTH_AT, HASH_AT, WITNESS_AT = DATA, DATA + 8, DATA + 48


def toy_lock_code() -> bytes:
    """A lock that opens when `lock` of its group's first WitnessArgs is the transaction's hash: a signature that
    anybody can make, but that covers what a real one does."""
    program = Program()
    for number, at, arguments in (
        (LOAD_TX_HASH, HASH_AT, (0,)),
        (LOAD_WITNESS, WITNESS_AT, (SIGNATURE_AT, 0, GROUP_INPUT)),
    ):
        program.set64(LENGTH_AT, 32)
        program.check(number, at, LENGTH_AT, *arguments, code=1)
    for word in range(0, 32, 8):
        program.load64(8, HASH_AT + word)
        program.load64(9, WITNESS_AT + word)
        same = f"same{word}"
        program._branch_equal(8, 9, same)
        program.exit(2)
        program.label(same)
    program.exit(0)
    return program.elf()


def yes_code() -> bytes:
    """A program that says yes."""
    program = Program()
    program.exit(0)
    return program.elf()


TOY_LOCK, YES = toy_lock_code(), yes_code()
NOBODY = Script(code_hash=ZERO_HASH, hash_type=HASH_TYPE_DATA, args=b"")
"""A lock that never opens: code cells stay."""

TOY_TYPE, YES_TYPE, DAO_TYPE = (
    Script(code_hash=b"\x77" * 32, hash_type=HASH_TYPE_DATA, args=name) for name in (b"toy", b"yes", b"dao")
)
"""Type scripts of the code cells, which nobody runs; other scripts name these cells by them."""


def lock(owner: int, hash_type: int = HASH_TYPE_TYPE) -> Script:
    """The toy lock, for one owner; found by type or by data, for the VM that `hash_type` says."""
    code_hash = TOY_TYPE.hash if hash_type == HASH_TYPE_TYPE else data_hash(TOY_LOCK)
    return Script(code_hash=code_hash, hash_type=hash_type, args=bytes([owner]))


def yes_script(hash_type: int, args: bytes = b"") -> Script:
    """A type script that says yes."""
    code_hash = YES_TYPE.hash if hash_type == HASH_TYPE_TYPE else data_hash(YES)
    return Script(code_hash=code_hash, hash_type=hash_type, args=args)


DAO = Script(code_hash=DAO_TYPE.hash, hash_type=HASH_TYPE_TYPE, args=b"")
"""NervosDAO whose script says yes: the rules of consensus alone decide about interest."""

MINER = lock(0)


def cellbase(number: int, outputs: list[CellOutput], miner: Script = MINER, message: bytes = b"") -> Transaction:
    """A cellbase with these outputs, empty data."""
    body = RawTransaction(
        version=0,
        cell_deps=[],
        header_deps=[],
        inputs=[CellInput(since=number, previous_output=NULL_OUT_POINT)],
        outputs=outputs,
        outputs_data=[b""] * len(outputs),
    )
    return Transaction(body=body, witnesses=[CellbaseWitness(lock=miner, message=message).raw])


def _genesis() -> Block:
    codes = [(TOY_LOCK, TOY_TYPE), (YES, YES_TYPE), (YES, DAO_TYPE)]
    cells = [CellOutput(capacity=20_000 * CKB, lock=NOBODY, type_=type_) for _, type_ in codes]
    cells += [CellOutput(capacity=PURSE_CAPACITY, lock=lock(i % 4), type_=None) for i in range(PURSES)]
    first = cellbase(0, cells)
    data = [code for code, _ in codes] + [b""] * PURSES
    first = first.replace(body=first.body.replace(outputs_data=data))
    issuance = [genesis_block_issuance(reward, GENESIS_EPOCH_LENGTH) for reward in (PRIMARY_REWARD, SECONDARY_REWARD)]
    dao = genesis_dao_field([first], bytes(20), Fraction(6, 10), *issuance)
    raw = RawHeader(
        version=0,
        compact_target=COMPACT_TARGET,
        timestamp=START_MS,
        number=0,
        epoch=0,
        parent_hash=ZERO_HASH,
        transactions_root=ZERO_HASH,
        proposals_hash=ZERO_HASH,
        extra_hash=ZERO_HASH,
        dao=dao,
    )
    return Block(header=Header(body=raw, nonce=0), uncles=[], transactions=[first], proposals=[]).with_roots()


@cache
def simulated_consensus() -> Consensus:
    """The chain's parameters; `with_window` changes them."""
    duration_s, orphan_rate = 40, Fraction(1, 10)
    return Consensus(
        id="simulated",
        genesis_block=_genesis(),
        genesis_epoch=genesis_epoch_ext(PRIMARY_REWARD, COMPACT_TARGET, GENESIS_EPOCH_LENGTH, duration_s, orphan_rate),
        pow_func=PowFunc.DUMMY,
        initial_primary_epoch_reward=PRIMARY_REWARD,
        secondary_epoch_reward=SECONDARY_REWARD,
        orphan_rate_target=orphan_rate,
        epoch_duration_target_s=duration_s,
        min_epoch_length=3,
        max_epoch_length=6,
        cellbase_maturity_epochs=1,
        max_block_proposals=12,
        rfc_0044_epoch=CHAIN_ROOT_EPOCH,
        hardforks=FORKS,
        starting_block_limiting_dao_withdrawing_lock=0,
        dao_type_hash=DAO_TYPE.hash,
    )


def with_window(closest: int, farthest: int) -> Consensus:
    """The chain with another proposal window, and so another delay until miners are paid."""
    return replace(simulated_consensus(), proposal_window=ProposalWindow(closest, farthest))


def code_point(index: int) -> bytes:
    """Out point of a code cell: 0 the toy lock, 1 and 2 yes."""
    return out_point_key(simulated_consensus().genesis_block.transactions[0].hash, index)
