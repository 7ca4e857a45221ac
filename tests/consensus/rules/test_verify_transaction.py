"""The rules of one transaction in order: of the pool, and of a block without its scripts."""

from __future__ import annotations

import pytest

from consensus.errors import DaoError, ScriptError
from consensus.rules.since import ImmatureError
from consensus.rules.transaction import DaoLockSizeError, OutputsSumOverflowError
from consensus.rules.verify_transaction import verify_block_transaction, verify_transaction
from consensus.tx_env import TxEnv
from consensus.types.blockchain import HASH_TYPE_TYPE, Script, Transaction
from consensus.types.core import ResolvedTransaction
from tests.support.builders.blocks import (
    CKB,
    FakeRunner,
    a_cell,
    a_consensus,
    a_transaction,
    an_input,
    an_output,
    lock_script,
    resolved,
)
from tests.support.chains.valid import ValidChain


@pytest.fixture
def chain() -> ValidChain:
    return ValidChain(a_consensus())


def check(chain: ValidChain, rtx: ResolvedTransaction, runner: FakeRunner | None = None) -> int:
    env = TxEnv.submitted(chain.tip_header())
    return verify_transaction(chain.consensus, rtx, env, chain, (runner or FakeRunner()).run, max_cycles=5000)


def fee_in_block(chain: ValidChain, rtx: ResolvedTransaction) -> int:
    env = TxEnv.submitted(chain.tip_header())
    return verify_block_transaction(chain.consensus, rtx, env, chain, chain.tip_header())


def resolve(chain: ValidChain, transaction: Transaction) -> ResolvedTransaction:
    return resolved(transaction, [chain.cells[each.previous_output.raw] for each in transaction.body.inputs])


def dao_script(chain: ValidChain) -> Script:
    assert chain.consensus.dao_type_hash is not None
    return Script(code_hash=chain.consensus.dao_type_hash, hash_type=HASH_TYPE_TYPE, args=b"")


def test_fee_and_cycles(chain: ValidChain) -> None:
    runner = FakeRunner(cycles=77)
    rtx = resolve(chain, chain.spend(0, fee=3 * CKB))
    assert (fee_in_block(chain, rtx), check(chain, rtx, runner)) == (3 * CKB, 77)
    assert runner.asked[0][2] == 5000


def test_since_is_judged_by_the_first_block_that_can_commit_it(chain: ValidChain) -> None:
    """At tip 0 that is block 3: proposed in 1, and the window closes in at 2."""
    check(chain, resolve(chain, chain.spend(0, since=3)))
    with pytest.raises(ImmatureError):
        check(chain, resolve(chain, chain.spend(0, since=4)))


def test_no_script_runs_for_what_cheaper_rules_refuse(chain: ValidChain) -> None:
    runner = FakeRunner()
    with pytest.raises(ImmatureError):
        check(chain, resolve(chain, chain.spend(0, since=4)), runner)
    with pytest.raises(OutputsSumOverflowError):
        check(chain, resolve(chain, chain.spend(0, fee=-1)), runner)
    assert runner.asked == []


def test_a_dao_withdrawal_without_proof_has_no_fee(chain: ValidChain) -> None:
    cell = a_cell(an_output(1000 * CKB, type_=dao_script(chain)), (5).to_bytes(8, "little"))
    transaction = a_transaction([an_input(cell.as_out_point())], [an_output(1001 * CKB)])
    with pytest.raises(DaoError):
        fee_in_block(chain, resolved(transaction, [cell]))


def withdrawal(chain: ValidChain, args: bytes) -> ResolvedTransaction:
    """Starts a withdrawal of a deposit whose lock has one byte of arguments, to a lock with these."""
    deposit = a_cell(an_output(1000 * CKB, lock_script(b"a"), dao_script(chain)), bytes(8))
    output = an_output(1000 * CKB, lock_script(args), dao_script(chain))
    return resolved(a_transaction([an_input(deposit.as_out_point())], [output], [b"\x01" + bytes(7)]), [deposit])


def test_dao_lock_sizes_always_count_in_the_pool() -> None:
    chain = ValidChain(a_consensus(rfc_0044_epoch=1 << 30))
    check(chain, withdrawal(chain, b"b"))
    with pytest.raises(DaoLockSizeError):
        check(chain, withdrawal(chain, b"bb"))


def test_dao_lock_sizes_count_in_a_block_from_the_epoch_of_rfc_44_on() -> None:
    before, after = ValidChain(a_consensus(rfc_0044_epoch=1 << 30)), ValidChain(a_consensus(rfc_0044_epoch=0))
    assert fee_in_block(before, withdrawal(before, b"bb")) == 0
    with pytest.raises(DaoLockSizeError):
        fee_in_block(after, withdrawal(after, b"bb"))


def test_in_the_pool_scripts_come_before_dao_lock_sizes(chain: ValidChain) -> None:
    """As in the reference: whoever breaks both is told of the script."""

    def run(rtx: ResolvedTransaction, env: TxEnv, max_cycles: int) -> int:
        raise ScriptError("it fails")

    env = TxEnv.submitted(chain.tip_header())
    with pytest.raises(ScriptError):
        verify_transaction(chain.consensus, withdrawal(chain, b"bb"), env, chain, run, 5000)


def test_scripts_that_did_not_end_decide_nothing(chain: ValidChain) -> None:
    def run(rtx: ResolvedTransaction, env: TxEnv, max_cycles: int) -> int | None:
        return None

    env = TxEnv.submitted(chain.tip_header())
    assert verify_transaction(chain.consensus, withdrawal(chain, b"bb"), env, chain, run, 5000) is None
