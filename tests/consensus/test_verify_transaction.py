"""All rules of one transaction of the pool."""

from __future__ import annotations

import pytest

from consensus.errors import DaoError
from consensus.rules.since import ImmatureError
from consensus.rules.transaction import DaoLockSizeError, OutputsSumOverflowError
from consensus.rules.verify_block import TransactionVerified, verify_transaction
from consensus.tx_env import TxEnv
from consensus.types.blockchain import HASH_TYPE_TYPE, Script, Transaction
from consensus.types.core import ResolvedTransaction
from tests.consensus.kit_block import (
    CKB,
    FakeRunner,
    MemoryChain,
    a_cell,
    a_consensus,
    a_transaction,
    an_input,
    an_output,
    lock_script,
    resolved,
)


@pytest.fixture
def chain() -> MemoryChain:
    return MemoryChain(a_consensus())


def check(chain: MemoryChain, rtx: ResolvedTransaction, runner: FakeRunner | None = None) -> TransactionVerified:
    env = TxEnv.submitted(chain.tip_header())
    return verify_transaction(chain.consensus, rtx, env, chain, runner or FakeRunner(), max_cycles=5000)


def resolve(chain: MemoryChain, transaction: Transaction) -> ResolvedTransaction:
    return resolved(transaction, [chain.cells[each.previous_output.raw] for each in transaction.body.inputs])


def dao_script(chain: MemoryChain) -> Script:
    assert chain.consensus.dao_type_hash is not None
    return Script(code_hash=chain.consensus.dao_type_hash, hash_type=HASH_TYPE_TYPE, args=b"")


def test_fee_and_cycles(chain: MemoryChain) -> None:
    runner = FakeRunner(cycles=77)
    assert check(chain, resolve(chain, chain.spend(0, fee=3 * CKB)), runner) == TransactionVerified(3 * CKB, 77)
    assert runner.asked[0][2] == 5000


def test_since_is_judged_by_the_first_block_that_can_commit_it(chain: MemoryChain) -> None:
    """At tip 0 that is block 3: proposed in 1, and the window closes in at 2."""
    check(chain, resolve(chain, chain.spend(0, since=3)))
    with pytest.raises(ImmatureError):
        check(chain, resolve(chain, chain.spend(0, since=4)))


def test_no_script_runs_for_what_cheaper_rules_refuse(chain: MemoryChain) -> None:
    runner = FakeRunner()
    with pytest.raises(ImmatureError):
        check(chain, resolve(chain, chain.spend(0, since=4)), runner)
    with pytest.raises(OutputsSumOverflowError):
        check(chain, resolve(chain, chain.spend(0, fee=-1)), runner)
    assert runner.asked == []


def test_a_dao_withdrawal_without_proof_has_no_fee(chain: MemoryChain) -> None:
    cell = a_cell(an_output(1000 * CKB, type_=dao_script(chain)), (5).to_bytes(8, "little"))
    transaction = a_transaction([an_input(cell.as_out_point())], [an_output(1001 * CKB)])
    with pytest.raises(DaoError):
        check(chain, resolved(transaction, [cell]))


def test_dao_lock_sizes_always_count_in_the_pool() -> None:
    chain = MemoryChain(a_consensus(rfc_0044_epoch=1 << 30))
    deposit = a_cell(an_output(1000 * CKB, lock_script(b"a"), dao_script(chain)), bytes(8))
    for args, is_valid in ((b"b", True), (b"bb", False)):
        output = an_output(1000 * CKB, lock_script(args), dao_script(chain))
        rtx = resolved(a_transaction([an_input(deposit.as_out_point())], [output], [b"\x01" + bytes(7)]), [deposit])
        if is_valid:
            check(chain, rtx)
        else:
            with pytest.raises(DaoLockSizeError):
                check(chain, rtx)
