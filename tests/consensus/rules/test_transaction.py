"""Rules of one transaction: for each rule one that just passes and one that just fails."""

from __future__ import annotations

import pytest

from consensus.errors import TransactionError, text_with_kind
from consensus.params import Consensus
from consensus.rules.transaction import (
    CapacityOverflowError,
    CellbaseImmatureError,
    DaoLockSizeError,
    DuplicateCellDepsError,
    DuplicateHeaderDepsError,
    EmptyTransactionError,
    InsufficientCellCapacityError,
    InvalidDepTypeError,
    InvalidLockHashTypeError,
    InvalidTypeHashTypeError,
    LockHashTypeNotPermittedError,
    OutputsDataLengthError,
    OutputsSumOverflowError,
    Source,
    TransactionSizeError,
    TransactionVersionError,
    verify_capacity,
    verify_dao_lock_sizes,
    verify_enumerations,
    verify_maturity,
    verify_time_relative,
)
from consensus.rules.verify_transaction import verify_transaction_contextual, verify_transaction_non_contextual
from consensus.tx_env import TxEnv
from consensus.types.blockchain import (
    HASH_TYPE_DATA,
    HASH_TYPE_DATA1,
    HASH_TYPE_DATA2,
    HASH_TYPE_TYPE,
    NULL_OUT_POINT,
    CellDep,
    CellOutput,
    OutPoint,
    Script,
    Transaction,
)
from consensus.types.core import CellMeta, EpochFraction, ResolvedTransaction, TransactionInfo
from tests.support.builders.blocks import (
    CKB,
    a_cell,
    a_consensus,
    a_dep,
    a_header,
    a_transaction,
    an_input,
    an_output,
    lock_script,
    out_point,
    resolved,
)
from tests.support.chains.valid import ValidChain

CONSENSUS = a_consensus()
OCCUPIED = (8 + 33) * CKB
"""What an output with an empty lock and no data takes."""


def alone(transaction: Transaction, consensus: Consensus = CONSENSUS) -> None:
    verify_transaction_non_contextual(consensus, transaction)


def text_of(error: type[TransactionError], transaction: Transaction) -> str:
    with pytest.raises(error) as caught:
        alone(transaction)
    assert text_with_kind(caught.value) == f"Transaction({caught.value})"
    return str(caught.value)


# Of the bytes alone


def test_version() -> None:
    alone(a_transaction(version=0))
    assert text_of(TransactionVersionError, a_transaction(version=1)) == "MismatchedVersion: expected 0, got 1"


def test_size_counts_the_offset_in_the_block() -> None:
    transaction = a_transaction()
    size = transaction.raw_size + 4
    alone(transaction, a_consensus(max_block_bytes=size))
    with pytest.raises(TransactionSizeError) as caught:
        alone(transaction, a_consensus(max_block_bytes=size - 1))
    assert str(caught.value) == (
        f"ExceededMaximumBlockBytes: expected transaction serialized size ({size}) < block size limit ({size - 1})"
    )


def test_inputs_and_outputs() -> None:
    assert text_of(EmptyTransactionError, a_transaction(inputs=[])) == "Empty(Inputs)"
    assert text_of(EmptyTransactionError, a_transaction(outputs=[])) == "Empty(Outputs)"
    alone(a_transaction([an_input(NULL_OUT_POINT)], [], witnesses=[b""]))
    two_inputs = [an_input(NULL_OUT_POINT), an_input(out_point())]
    assert text_of(EmptyTransactionError, a_transaction(two_inputs, [])) == "Empty(Outputs)"


def test_duplicate_cell_deps_are_the_same_out_point_with_the_same_dep_type() -> None:
    first = out_point(b"\xab" * 32, 258)
    alone(a_transaction(cell_deps=[a_dep(first, 0), a_dep(first, 1), a_dep(out_point(b"\xab" * 32, 259))]))
    text = text_of(DuplicateCellDepsError, a_transaction(cell_deps=[a_dep(first, 1), a_dep(first, 0), a_dep(first, 1)]))
    assert text == f"DuplicateCellDeps(OutPoint {{ tx_hash: Byte32(0x{'ab' * 32}), index: Uint32(0x02010000) }})"


def test_duplicate_header_deps() -> None:
    alone(a_transaction(header_deps=[b"\x01" * 32, b"\x02" * 32]))
    text = text_of(DuplicateHeaderDepsError, a_transaction(header_deps=[b"\x01" * 32, b"\x02" * 32, b"\x01" * 32]))
    assert text == f"DuplicateHeaderDeps(Byte32(0x{'01' * 32}))"


@pytest.mark.parametrize("data", [[], [b"", b""]])
def test_each_output_has_its_data(data: list[bytes]) -> None:
    text = text_of(OutputsDataLengthError, a_transaction(outputs=[an_output()], data=data))
    assert text == f"OutputsDataLengthMismatch: expected outputs data length ({len(data)}) = outputs length (1)"


@pytest.mark.parametrize("hash_type", [HASH_TYPE_DATA, HASH_TYPE_TYPE, HASH_TYPE_DATA1, HASH_TYPE_DATA2])
def test_lock_hash_types(hash_type: int) -> None:
    alone(a_transaction(outputs=[an_output(lock=lock_script(hash_type=hash_type))]))


@pytest.mark.parametrize(
    ("hash_type", "error"),
    [
        (6, LockHashTypeNotPermittedError),
        (254, LockHashTypeNotPermittedError),
        (3, InvalidLockHashTypeError),
        (255, InvalidLockHashTypeError),
    ],
)
def test_lock_hash_types_that_are_not_enabled(hash_type: int, error: type[TransactionError]) -> None:
    text_of(error, a_transaction(outputs=[an_output(), an_output(lock=lock_script(hash_type=hash_type))]))


# Capacity


def spend(inputs: list[CellMeta], *capacities: int) -> ResolvedTransaction:
    outputs = [an_output(capacity) for capacity in capacities]
    return resolved(a_transaction([an_input(cell.as_out_point()) for cell in inputs], outputs), inputs)


def test_outputs_have_no_more_capacity_than_inputs() -> None:
    inputs = [a_cell(an_output(100 * CKB)), a_cell(an_output(50 * CKB))]
    verify_capacity(CONSENSUS, spend(inputs, 50 * CKB, 100 * CKB))
    with pytest.raises(OutputsSumOverflowError) as caught:
        verify_capacity(CONSENSUS, spend(inputs, 50 * CKB, 100 * CKB + 1))
    assert str(caught.value) == (
        "OutputsSumOverflow: expected outputs capacity (0x37e11d601) <= inputs capacity (0x37e11d600)"
    )


def test_sums_beyond_64_bits_are_refused() -> None:
    half = 1 << 63
    with pytest.raises(CapacityOverflowError):
        verify_capacity(CONSENSUS, spend([a_cell(an_output(half)), a_cell(an_output(half))], half))
    with pytest.raises(CapacityOverflowError):
        verify_capacity(CONSENSUS, spend([a_cell(an_output(half))], half, half))


def test_a_sum_of_64_bits_is_not_refused() -> None:
    most = (1 << 64) - 1
    verify_capacity(CONSENSUS, spend([a_cell(an_output(most))], most))


def test_an_output_pays_for_its_bytes() -> None:
    inputs = [a_cell(an_output(10_000 * CKB))]
    verify_capacity(CONSENSUS, spend(inputs, OCCUPIED))
    with pytest.raises(InsufficientCellCapacityError) as caught:
        verify_capacity(CONSENSUS, spend(inputs, OCCUPIED, OCCUPIED - 1))
    assert caught.value.index == 1
    assert str(caught.value) == (
        "InsufficientCellCapacity(Outputs[1]): expected occupied capacity (0xf4610900) <= capacity (0xf46108ff)"
    )


def test_data_arguments_and_type_script_take_capacity() -> None:
    inputs = [a_cell(an_output(10_000 * CKB))]
    size = 8 + (33 + 20) + (33 + 7) + 11
    output = an_output(size * CKB, lock_script(bytes(20)), lock_script(bytes(7)))
    verify_capacity(CONSENSUS, resolved(a_transaction(outputs=[output], data=[bytes(11)]), inputs))
    with pytest.raises(InsufficientCellCapacityError):
        verify_capacity(CONSENSUS, resolved(a_transaction(outputs=[output], data=[bytes(12)]), inputs))


def dao_script(hash_type: int = HASH_TYPE_TYPE) -> Script:
    assert CONSENSUS.dao_type_hash is not None
    return Script(code_hash=CONSENSUS.dao_type_hash, hash_type=hash_type, args=b"")


def test_a_dao_input_may_bring_interest() -> None:
    dao_cell = a_cell(an_output(200 * CKB, type_=dao_script()))
    verify_capacity(CONSENSUS, spend([a_cell(), dao_cell], 1000 * CKB))
    for other in (an_output(200 * CKB, type_=dao_script(HASH_TYPE_DATA)), an_output(200 * CKB, lock=dao_script())):
        with pytest.raises(OutputsSumOverflowError):
            verify_capacity(CONSENSUS, spend([a_cell(), a_cell(other)], 1000 * CKB))


def test_a_dao_input_does_not_excuse_outputs_that_are_too_small() -> None:
    with pytest.raises(InsufficientCellCapacityError):
        verify_capacity(CONSENSUS, spend([a_cell(an_output(200 * CKB, type_=dao_script()))], OCCUPIED - 1))


# Maturity

CREATED = EpochFraction(10, 1, 4)


def cellbase_cell(number: int = 100, index: int = 0) -> CellMeta:
    return a_cell(info=TransactionInfo(b"\x01" * 32, number, CREATED.pack(), index))


def env_in(epoch: EpochFraction) -> TxEnv:
    return TxEnv.committed(a_header(number=5000, epoch=epoch.pack()))


def test_a_cellbase_matures_after_four_epochs() -> None:
    rtx = spend([a_cell(), cellbase_cell()], 100 * CKB)
    verify_maturity(CONSENSUS, rtx, env_in(EpochFraction(14, 25, 100)))
    with pytest.raises(CellbaseImmatureError) as caught:
        verify_maturity(CONSENSUS, rtx, env_in(EpochFraction(14, 24, 100)))
    assert str(caught.value) == "CellbaseImmaturity(Inputs[1])"


def test_code_from_a_cellbase_matures_too_but_not_its_dep_group() -> None:
    young = env_in(EpochFraction(10, 50, 100))
    rtx = ResolvedTransaction(a_transaction(), [a_cell()], [cellbase_cell()], [])
    with pytest.raises(CellbaseImmatureError) as caught:
        verify_maturity(CONSENSUS, rtx, young)
    assert (caught.value.source, caught.value.index) == (Source.CELL_DEPS, 0)
    verify_maturity(CONSENSUS, ResolvedTransaction(a_transaction(), [a_cell()], [], [cellbase_cell()]), young)


def test_genesis_other_transactions_and_the_pool_are_free() -> None:
    cells = [cellbase_cell(number=0), cellbase_cell(index=1), a_cell(info=None)]
    verify_maturity(CONSENSUS, spend(cells, 100 * CKB), env_in(CREATED))


def test_maturity_of_zero_epochs() -> None:
    rtx = spend([cellbase_cell()], 100 * CKB)
    verify_maturity(a_consensus(cellbase_maturity_epochs=0), rtx, env_in(CREATED))


# Order


def test_maturity_comes_before_since_and_since_before_capacity() -> None:
    chain = ValidChain(CONSENSUS)
    young = cellbase_cell()
    too_much = [an_output(1000 * CKB)]
    rtx = resolved(a_transaction([an_input(young.as_out_point(), since=10**6)], too_much), [young])
    with pytest.raises(CellbaseImmatureError):
        verify_transaction_contextual(CONSENSUS, rtx, env_in(CREATED), chain)
    with pytest.raises(TransactionError, match="Immature"):
        verify_transaction_contextual(CONSENSUS, rtx, env_in(EpochFraction(20, 0, 1)), chain)
    rtx = resolved(a_transaction([an_input(young.as_out_point())], too_much), [young])
    with pytest.raises(OutputsSumOverflowError):
        verify_transaction_contextual(CONSENSUS, rtx, env_in(EpochFraction(20, 0, 1)), chain)
    verify_time_relative(CONSENSUS, rtx, env_in(EpochFraction(20, 0, 1)), chain)


def test_of_many_faults_the_first_rule_speaks() -> None:
    dep = a_dep(out_point())
    everything = {"version": 1, "cell_deps": [dep, dep], "data": [b"", b""]}
    bad_lock = [an_output(lock=lock_script(hash_type=3))]
    text_of(TransactionVersionError, a_transaction([], bad_lock, **everything))  # type: ignore[arg-type]
    everything["version"] = 0
    text_of(EmptyTransactionError, a_transaction([], bad_lock, **everything))  # type: ignore[arg-type]
    text_of(DuplicateCellDepsError, a_transaction(None, bad_lock, **everything))  # type: ignore[arg-type]
    text_of(OutputsDataLengthError, a_transaction(None, bad_lock, [b"", b""]))
    text_of(InvalidLockHashTypeError, a_transaction(None, bad_lock))


# DAO lock sizes

FIRST_LIMITED = CONSENSUS.starting_block_limiting_dao_withdrawing_lock


def withdrawal(
    number: int | None = FIRST_LIMITED,
    deposit_data: bytes = bytes(8),
    input_type: Script | None = None,
    output_type: Script | None = None,
    new_lock: Script | None = None,
) -> ResolvedTransaction:
    """Phase 1 at index 1; the new lock is one byte longer than the deposit's unless told otherwise."""
    info = None if number is None else TransactionInfo(b"\x01" * 32, number, CREATED.pack(), 1)
    deposit = a_cell(an_output(lock=lock_script(b"a"), type_=input_type or dao_script()), deposit_data, info)
    output = an_output(lock=new_lock or lock_script(b"bb"), type_=output_type or dao_script())
    return resolved(a_transaction(outputs=[an_output(), output], data=[b"", bytes(8)]), [a_cell(), deposit])


def test_a_withdrawal_keeps_the_size_of_the_lock() -> None:
    verify_dao_lock_sizes(CONSENSUS, withdrawal(new_lock=lock_script(b"b")))
    with pytest.raises(DaoLockSizeError) as caught:
        verify_dao_lock_sizes(CONSENSUS, withdrawal())
    assert str(caught.value) == (
        "The lock script size of deposit cell at index 1 does not match the withdrawing cell at the same index"
    )


@pytest.mark.parametrize("deposit_data", [b"", bytes(8), bytes(9)])
def test_any_zeros_count_as_a_deposit(deposit_data: bytes) -> None:
    with pytest.raises(DaoLockSizeError):
        verify_dao_lock_sizes(CONSENSUS, withdrawal(deposit_data=deposit_data))


def test_pool_deposits_are_limited() -> None:
    with pytest.raises(DaoLockSizeError):
        verify_dao_lock_sizes(CONSENSUS, withdrawal(number=None))


@pytest.mark.parametrize(
    "free",
    [
        withdrawal(number=FIRST_LIMITED - 1),
        withdrawal(deposit_data=bytes(7) + b"\x01"),
        withdrawal(input_type=lock_script()),
        withdrawal(output_type=lock_script()),
    ],
)
def test_old_deposits_phase_two_and_other_cells_are_free(free: ResolvedTransaction) -> None:
    verify_dao_lock_sizes(CONSENSUS, free)


@pytest.mark.parametrize("lock_args", [b"", bytes(20), bytes(300)])
@pytest.mark.parametrize("type_args", [None, b"", bytes(32)])
@pytest.mark.parametrize("data_size", [0, 1, 8, 4096])
def test_occupied_capacity_from_the_length_equals_the_sum_of_the_parts(
    lock_args: bytes, type_args: bytes | None, data_size: int
) -> None:
    lock = Script(code_hash=bytes(32), hash_type=1, args=lock_args)
    type_ = None if type_args is None else Script(code_hash=bytes(32), hash_type=0, args=type_args)
    output = CellOutput(capacity=1, lock=lock, type_=type_)
    assert output.occupied_capacity(data_size) == output.occupied_capacity_by_parts(data_size)


def test_the_kind_of_a_dep_is_one_that_exists() -> None:
    known = CellDep(out_point=OutPoint(tx_hash=bytes(32), index=0), dep_type=1)
    verify_enumerations(a_transaction(cell_deps=[known]))
    with pytest.raises(InvalidDepTypeError) as caught:
        verify_enumerations(a_transaction(cell_deps=[known.replace(dep_type=2)]))
    assert caught.value.dep_type == 2


@pytest.mark.parametrize(
    ("hash_type", "is_known"), [(0, True), (1, True), (2, True), (3, False), (254, True), (255, False)]
)
def test_the_hash_type_of_a_type_script_may_be_of_a_future_vm(hash_type: int, is_known: bool) -> None:
    output = an_output(type_=Script(code_hash=bytes(32), hash_type=hash_type, args=b""))
    transaction = a_transaction(outputs=[output], data=[b""])
    if is_known:
        verify_enumerations(transaction)
        return
    with pytest.raises(InvalidTypeHashTypeError) as caught:
        verify_enumerations(transaction)
    assert caught.value.hash_type == hash_type
