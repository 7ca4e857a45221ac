"""The contextual driver on a small chain: valid blocks, and blocks with one thing wrong."""

from __future__ import annotations

import pytest

from consensus.errors import ScriptError
from consensus.params import Hardforks
from consensus.rules.block import CellbaseError, CellbaseFault, verify_block_body
from consensus.rules.block_contextual import (
    ChainRootError,
    DaoFieldMismatchError,
    NoExtensionError,
    ShortExtensionError,
)
from consensus.rules.epoch import EpochNumberMismatchError, EpochTargetMismatchError
from consensus.rules.header import verify_header
from consensus.rules.resolve import InvalidHeaderDepError, UnknownOutPointError
from consensus.rules.reward import BlockReward
from consensus.rules.since import ImmatureError
from consensus.rules.transaction import DaoLockSizeError, InsufficientCellCapacityError
from consensus.rules.two_phase import NotProposedError
from consensus.rules.uncles import UncleError
from consensus.rules.verify_block import (
    BlockCyclesError,
    BlockTransactionError,
    BlockVerified,
    NotOnTipError,
    finish_block,
    prepare_block,
    verify_block,
)
from consensus.tx_env import TxEnv
from consensus.types.blockchain import HASH_TYPE_TYPE, Block, CellbaseWitness, Script, Transaction, out_point_key
from consensus.types.core import EpochFraction, ResolvedTransaction
from tests.support.builders.blocks import (
    CKB,
    GENESIS_CELL_CAPACITY,
    MINER_LOCK,
    START_MS,
    FakeRunner,
    a_cellbase,
    a_consensus,
    a_transaction,
    an_input,
    an_output,
    lock_script,
)
from tests.support.chains.valid import ValidChain

RELATIVE_TIME = 1 << 63 | 1 << 62
NOW_MS = START_MS + 10**9


@pytest.fixture
def chain() -> ValidChain:
    return ValidChain(a_consensus())


def check(chain: ValidChain, block: Block, runner: FakeRunner | None = None) -> BlockVerified:
    """All rules of a new block, as the chain service applies them."""
    verify_header(chain.consensus, block.header, chain, NOW_MS)
    verify_block_body(chain.consensus, block)
    return verify_block(chain.consensus, block, chain, runner or FakeRunner())


def accept(chain: ValidChain, block: Block) -> BlockVerified:
    verified = check(chain, block)
    chain.attach(block)
    return verified


def propose(chain: ValidChain, *transactions: Transaction) -> None:
    """Now they may be committed."""
    chain.attach(chain.next_block(proposals=[tx.short_id for tx in transactions]))
    chain.grow(1)


def with_header(block: Block, **fields: object) -> Block:
    return block.replace(header=block.header.with_fields(**fields))


def with_cellbase(chain: ValidChain, block: Block, cellbase: Transaction) -> Block:
    changed = block.replace(transactions=[cellbase, *block.transactions[1:]]).with_roots()
    return chain.with_dao(changed)


def with_body(block: Block, transactions: list[Transaction]) -> Block:
    """The block with other transactions and a header that commits to them, its DAO field left as it is."""
    return block.replace(transactions=[block.transactions[0], *transactions]).with_roots()


# Valid chains


def test_a_chain_with_transactions_uncles_and_rewards(chain: ValidChain) -> None:
    first, second = chain.spend(0, fee=10 * CKB), chain.spend(1, fee=5 * CKB)
    child = a_transaction([an_input(first.output_keys()[0])], [an_output(GENESIS_CELL_CAPACITY - 30 * CKB)])
    accept(chain, chain.next_block())
    accept(chain, chain.next_block(proposals=[tx.short_id for tx in (first, child, second)]))
    accept(chain, chain.next_block(uncles=[chain.an_uncle(1)]))
    block = chain.next_block([first, child, second])
    verified = accept(chain, block)
    assert verified.fees == [10 * CKB, 20 * CKB, 5 * CKB]
    assert list(verified.cycles) == [1000, 1000, 1000]
    assert verified.sizes == [tx.raw_size + 4 for tx in (first, child, second)]
    assert [rtx.hash for rtx in verified.resolved] == [tx.hash for tx in block.transactions]
    for _ in range(15):
        accept(chain, chain.next_block())
    # Block 15 pays block 4, which committed: 60 % of 35 CKB in fees. Block 13 pays block 2, which proposed: 40 %.
    # Block 14 pays block 3, which earned the subsidy only; it differs a little from block to block.
    proposer, subsidy, committer = (chain.blocks[number].transactions[0].body.outputs[0] for number in (13, 14, 15))
    assert committer.lock == MINER_LOCK
    assert abs(committer.capacity - subsidy.capacity - 21 * CKB) < CKB // 10
    assert abs(proposer.capacity - subsidy.capacity - 14 * CKB) < CKB // 10


def test_a_chain_across_an_epoch() -> None:
    chain = ValidChain(a_consensus(epoch_length=4, permanent_difficulty_in_dummy=True, epoch_duration_target_s=80))
    for _ in range(9):
        accept(chain, chain.next_block())
    epochs = [str(EpochFraction.unpack(block.header.epoch)) for block in chain.blocks]
    assert epochs[3:6] == ["0(3/4)", "1(0/10)", "1(1/10)"]


# Place in the chain


def test_the_reader_must_stand_on_the_parent(chain: ValidChain) -> None:
    block = chain.next_block()
    chain.grow(1)
    with pytest.raises(NotOnTipError):
        verify_block(chain.consensus, block, chain, FakeRunner())


def test_epoch_and_target_are_computed(chain: ValidChain) -> None:
    chain.grow(1)
    block = chain.next_block()
    other_length = EpochFraction(0, 2, 999).pack()
    with pytest.raises(EpochNumberMismatchError):
        verify_block(chain.consensus, with_header(block, epoch=other_length), chain, FakeRunner())
    with pytest.raises(EpochTargetMismatchError):
        check(chain, with_header(block, compact_target=block.header.compact_target - 1))


def test_uncles_are_verified(chain: ValidChain) -> None:
    chain.grow(2)
    with pytest.raises(UncleError):
        check(chain, chain.next_block(uncles=[chain.an_uncle(1), chain.an_uncle(1)]))


def test_transactions_must_be_proposed(chain: ValidChain) -> None:
    chain.grow(2)
    with pytest.raises(NotProposedError):
        check(chain, chain.next_block([chain.spend(0)]))


def test_transactions_must_resolve(chain: ValidChain) -> None:
    spent, again = chain.spend(0), chain.spend(0, fee=2 * CKB)
    chain.commit(spent)
    propose(chain, again)
    with pytest.raises(UnknownOutPointError) as caught:
        check(chain, with_body(chain.next_block(), [again]))
    assert caught.value.out_point == chain.genesis_cell(0)


def test_the_parent_is_a_header_dep_but_the_block_itself_and_stale_blocks_are_not(chain: ValidChain) -> None:
    chain.grow(3)
    transaction = chain.spend(0, header_deps=[chain.blocks[-1].hash])
    resolve_only = chain.next_block([transaction])
    assert len(resolve_only.transactions) == 2
    stale = with_header(chain.blocks[2], timestamp=1)
    chain.store(stale, chain.tip_epoch())
    with pytest.raises(InvalidHeaderDepError):
        chain.next_block([chain.spend(0, header_deps=[stale.hash])])


# DAO field, reward, chain root


def test_the_dao_field_is_computed(chain: ValidChain) -> None:
    block = chain.next_block()
    spoiled = with_header(block, dao=block.header.dao[:-1] + bytes([block.header.dao[-1] ^ 1]))
    with pytest.raises(DaoFieldMismatchError) as caught:
        check(chain, spoiled)
    assert (caught.value.expected, caught.value.actual) == (block.header.dao, spoiled.header.dao)


def assert_fault(fault: CellbaseFault, chain: ValidChain, block: Block) -> None:
    with pytest.raises(CellbaseError) as caught:
        check(chain, block)
    assert caught.value.fault is fault


def test_the_first_eleven_blocks_pay_nobody(chain: ValidChain) -> None:
    chain.grow(10)
    block = chain.next_block()
    assert block.number == 11
    assert not block.transactions[0].body.outputs
    paying = with_cellbase(chain, block, a_cellbase(11, [an_output(100 * CKB, MINER_LOCK)]))
    assert_fault(CellbaseFault.REWARD_TARGET, chain, paying)
    accept(chain, block)
    assert chain.next_block().transactions[0].body.outputs


def test_the_cellbase_pays_exactly_what_is_due(chain: ValidChain) -> None:
    chain.grow(11)
    block = chain.next_block()
    due = block.transactions[0].body.outputs[0]
    check(chain, block)
    for capacity in (due.capacity - 1, due.capacity + 1):
        cellbase = a_cellbase(12, [due.replace(capacity=capacity)])
        assert_fault(CellbaseFault.REWARD_AMOUNT, chain, with_cellbase(chain, block, cellbase))
    thief = a_cellbase(12, [due.replace(lock=lock_script(b"thief"))])
    assert_fault(CellbaseFault.REWARD_TARGET, chain, with_cellbase(chain, block, thief))
    assert_fault(CellbaseFault.REWARD_AMOUNT, chain, with_cellbase(chain, block, a_cellbase(12)))


def test_a_reward_that_cannot_make_a_cell_is_not_paid() -> None:
    """The miner's lock takes more CKBytes than the reward has."""
    chain = ValidChain(a_consensus())
    witness = CellbaseWitness(lock=lock_script(bytes(3000)), message=b"")
    chain.attach(chain.next_block(cellbase=a_cellbase(1, witness=witness.raw)))
    chain.grow(10)
    block = chain.next_block()
    assert block.number == 12
    assert not block.transactions[0].body.outputs
    check(chain, block)
    paying = a_cellbase(12, [an_output(1900 * CKB, MINER_LOCK)])
    assert_fault(CellbaseFault.REWARD_TARGET, chain, with_cellbase(chain, block, paying))


@pytest.mark.parametrize(("missing", "is_paid"), [(0, True), (1, False)])
def test_a_reward_that_just_makes_a_cell_is_paid(
    chain: ValidChain, monkeypatch: pytest.MonkeyPatch, missing: int, is_paid: bool
) -> None:
    chain.grow(11)
    block = chain.next_block()
    total = an_output(0, MINER_LOCK).occupied_capacity(0) - missing
    reward = BlockReward(total=total, primary=total, secondary=0, tx_fee=0, proposal_reward=0)
    monkeypatch.setattr("consensus.rules.block_contextual.block_reward", lambda *_: (MINER_LOCK, reward))
    paying = with_cellbase(chain, block, a_cellbase(12, [an_output(total, MINER_LOCK)]))
    without = with_cellbase(chain, block, a_cellbase(12))
    accepted, refused = (paying, without) if is_paid else (without, paying)
    check(chain, accepted)
    assert_fault(CellbaseFault.REWARD_AMOUNT if is_paid else CellbaseFault.REWARD_TARGET, chain, refused)


def test_the_extension_starts_with_the_chain_root(chain: ValidChain) -> None:
    chain.grow(4)
    block = chain.next_block()
    root = block.extension
    assert root is not None
    assert len(root) == 32
    check(chain, block.replace(extension=root + bytes(64)).with_roots())
    with pytest.raises(NoExtensionError):
        check(chain, block.replace(extension=None).with_roots())
    with pytest.raises(ShortExtensionError):
        check(chain, block.replace(extension=root[:31]).with_roots())
    with pytest.raises(ChainRootError) as caught:
        check(chain, block.replace(extension=bytes(32)).with_roots())
    assert caught.value.expected == root


def test_the_parents_epoch_decides_about_the_chain_root() -> None:
    """RFC 44 from epoch 1: the first block of epoch 1 is still free, its child is not."""
    consensus = a_consensus(
        epoch_length=4, permanent_difficulty_in_dummy=True, epoch_duration_target_s=80, rfc_0044_epoch=1
    )
    chain = ValidChain(consensus)
    chain.grow(3)
    first = chain.next_block().replace(extension=None).with_roots()
    assert EpochFraction.unpack(first.header.epoch) == EpochFraction(1, 0, 10)
    accept(chain, first)
    accept_free = chain.next_block()
    check(chain, accept_free)
    with pytest.raises(NoExtensionError):
        check(chain, accept_free.replace(extension=None).with_roots())


# Transactions


def cause_of(chain: ValidChain, block: Block, index: int = 1) -> Exception:
    with pytest.raises(BlockTransactionError) as caught:
        check(chain, block)
    assert caught.value.index == index
    return caught.value.cause


def test_since_counts_from_the_block_itself(chain: ValidChain) -> None:
    transaction = chain.spend(0, since=4)
    propose(chain, transaction)
    error = cause_of(chain, chain.next_block([transaction]))
    assert isinstance(error, ImmatureError)
    chain.grow(1)
    check(chain, chain.next_block([transaction]))


def test_a_relative_lock_on_a_cell_of_the_same_block(chain: ValidChain) -> None:
    """Its header is not stored yet; the median of its ancestors is always below its timestamp."""
    parent = chain.spend(0)
    child = a_transaction([an_input(parent.output_keys()[0], RELATIVE_TIME)], [an_output(1000 * CKB)])
    propose(chain, parent, child)
    chain.grow(3)
    assert isinstance(cause_of(chain, chain.next_block([parent, child]), index=2), ImmatureError)
    by_number = a_transaction([an_input(parent.output_keys()[0], 1 << 63)], [an_output(1000 * CKB)])
    propose(chain, parent, by_number)
    check(chain, chain.next_block([parent, by_number]))


def test_the_same_lock_was_open_before_rfc_28() -> None:
    chain = ValidChain(a_consensus(hardforks=Hardforks(rfc_0028=1)))
    parent = chain.spend(0)
    child = a_transaction([an_input(parent.output_keys()[0], RELATIVE_TIME)], [an_output(1000 * CKB)])
    propose(chain, parent, child)
    check(chain, chain.next_block([parent, child]))


def test_capacity_rules_hold(chain: ValidChain) -> None:
    small = a_transaction([an_input(chain.genesis_cell(0))], [an_output(40 * CKB)])
    propose(chain, small)
    assert isinstance(cause_of(chain, chain.next_block([small])), InsufficientCellCapacityError)


def test_scripts_get_the_budget_that_is_left(chain: ValidChain) -> None:
    transactions = [chain.spend(index) for index in range(3)]
    propose(chain, *transactions)
    block = chain.next_block(transactions)
    runner = FakeRunner(cycles=1_000_000_000)
    verified = check(chain, block, runner)
    assert sum(verified.cycles) == 3_000_000_000
    assert [(asked[0], asked[2]) for asked in runner.asked] == [
        (transactions[0].hash, 3_500_000_000),
        (transactions[1].hash, 2_500_000_000),
        (transactions[2].hash, 1_500_000_000),
    ]
    assert {asked[1] for asked in runner.asked} == {TxEnv.committed(block.header)}


def test_the_sum_of_cycles_is_limited(chain: ValidChain) -> None:
    transactions = [chain.spend(0), chain.spend(1)]
    propose(chain, *transactions)
    block = chain.next_block(transactions)
    check(chain, block, FakeRunner(cycles=1_750_000_000))
    with pytest.raises(BlockCyclesError) as caught:
        check(chain, block, FakeRunner(cycles=1_750_000_001))
    assert (caught.value.limit, caught.value.actual) == (3_500_000_000, 3_500_000_002)
    prepared = prepare_block(chain.consensus, block, chain)
    with_scripts = [prepared.with_scripts(index).hash for index in range(len(prepared.fees))]
    assert with_scripts == [tx.hash for tx in transactions]
    assert list(prepared.witness_hashes) == [tx.witness_hash for tx in transactions]
    with pytest.raises(BlockCyclesError):
        finish_block(chain.consensus, prepared, [3_500_000_000, 1])


class FailingRunner(FakeRunner):
    """The second script that is run fails."""

    def run(self, rtx: ResolvedTransaction, env: TxEnv, max_cycles: int) -> int:
        super().run(rtx, env, max_cycles)
        if len(self.asked) == 2:
            raise ScriptError("it fails")
        return self.cycles


def test_a_failing_script_makes_the_block_invalid(chain: ValidChain) -> None:
    transactions = [chain.spend(0), chain.spend(1), chain.spend(2)]
    propose(chain, *transactions)
    with pytest.raises(BlockTransactionError) as caught:
        check(chain, chain.next_block(transactions), FailingRunner())
    assert caught.value.index == 2
    assert str(caught.value) == ("Block(BlockTransactions(BlockTransactionsError(index: 2, error: Script(it fails))))")


# DAO lock sizes in blocks


def dao_deposit_and_withdrawal(chain: ValidChain) -> Transaction:
    """Commits a deposit; the withdrawal (phase 1) changes the lock's size."""
    assert chain.consensus.dao_type_hash is not None
    dao = Script(code_hash=chain.consensus.dao_type_hash, hash_type=HASH_TYPE_TYPE, args=b"")
    deposit = a_transaction(
        [an_input(chain.genesis_cell(0))], [an_output(1000 * CKB, lock_script(b"a"), dao)], [bytes(8)]
    )
    chain.commit(deposit)
    key = out_point_key(deposit.hash, 0)
    header = chain.blocks[-1]
    withdrawal = a_transaction(
        [an_input(key)],
        [an_output(1000 * CKB, lock_script(b"bb"), dao)],
        [header.number.to_bytes(8, "little")],
        header_deps=[header.hash],
    )
    propose(chain, withdrawal)
    return withdrawal


@pytest.mark.parametrize(("rfc_0044_epoch", "first_limited", "is_valid"), [(0, 0, False), (1, 0, True), (0, 4, True)])
def test_dao_lock_sizes_with_rfc_44(rfc_0044_epoch: int, first_limited: int, is_valid: bool) -> None:
    consensus = a_consensus(rfc_0044_epoch=rfc_0044_epoch, starting_block_limiting_dao_withdrawing_lock=first_limited)
    chain = ValidChain(consensus)
    withdrawal = dao_deposit_and_withdrawal(chain)
    block = chain.next_block([withdrawal])
    if is_valid:
        check(chain, block)
    else:
        assert isinstance(cause_of(chain, block), DaoLockSizeError)
