"""Which refusals their sender answers for, as the reference has it, and which are final."""

from __future__ import annotations

import pytest

from ckb_node.txpool.blame import is_final, is_malformed, is_of_size, lacks_cells
from ckb_node.txpool.rejects import (
    DeclaredWrongCycles,
    Duplicated,
    Expired,
    Invalidated,
    LowFeeRate,
    Malformed,
    PeerDropped,
    PoolFull,
    RbfRejected,
    Reject,
    ResolveFailed,
    TooLarge,
    TooManyAncestors,
    VerificationFailed,
)
from ckb_node.verification.stopping import TimeExceeded
from consensus.errors import CkbError
from consensus.rules.resolve import (
    DeadOutPointError,
    InvalidDepGroupError,
    InvalidHeaderDepError,
    OutOfOrderError,
    TooManyDepsError,
    UnknownOutPointError,
)
from consensus.rules.since import ImmatureError, InvalidSinceError
from consensus.rules.transaction import (
    CapacityOverflowError,
    CellbaseImmatureError,
    DaoLockSizeError,
    DuplicateCellDepsError,
    DuplicateHeaderDepsError,
    EmptyTransactionError,
    InsufficientCellCapacityError,
    InvalidLockHashTypeError,
    InvalidTypeHashTypeError,
    LockHashTypeNotPermittedError,
    OutputsDataLengthError,
    OutputsSumOverflowError,
    Source,
    TransactionSizeError,
    TransactionVersionError,
)
from consensus.script.errors import ARGV_TOO_LONG_TEXT, ExceededMaximumCycles, TransactionScriptError, VmInternalError
from consensus.types.blockchain import OutPoint, Transaction
from tests.support.chains.unchecked import cell_input, output, transaction
from vm.errors import Unexpected

POINT = bytes(36)
ARGV = VmInternalError(Unexpected(ARGV_TOO_LONG_TEXT))

MALFORMED: list[Reject] = [
    Malformed("cellbase like"),
    DeclaredWrongCycles(1, 2),
    ResolveFailed(TooManyDepsError()),
    *(
        VerificationFailed(cause)
        for cause in (
            OutputsSumOverflowError(1, 2),
            DuplicateCellDepsError(OutPoint(tx_hash=bytes(32), index=0)),
            DuplicateHeaderDepsError(bytes(32)),
            EmptyTransactionError(Source.INPUTS),
            InsufficientCellCapacityError(0, 2, 1),
            InvalidSinceError(0),
            TransactionSizeError(1, 2),
            InvalidLockHashTypeError(3),
            InvalidTypeHashTypeError(3),
            LockHashTypeNotPermittedError(6),
            OutputsDataLengthError(1, 2),
            CapacityOverflowError(),
            ExceededMaximumCycles(10),
            TransactionScriptError("Inputs[0].Lock", ExceededMaximumCycles(10)),
        )
    ),
]
EXCUSED: list[Reject] = [
    LowFeeRate(1000, 500, 1),
    TooManyAncestors(),
    TooLarge(600_000, 512_000),
    PoolFull("full"),
    Duplicated(bytes(32)),
    Expired(0),
    RbfRejected("too little"),
    Invalidated("a cell was spent"),
    PeerDropped(),
    *(
        ResolveFailed(cause)
        for cause in (
            DeadOutPointError(POINT),
            UnknownOutPointError(POINT),
            OutOfOrderError(POINT),
            InvalidDepGroupError(POINT),
            InvalidHeaderDepError(bytes(32)),
        )
    ),
    *(
        VerificationFailed(cause)
        for cause in (
            ImmatureError(0),
            CellbaseImmatureError(Source.INPUTS, 0),
            TransactionVersionError(0, 1),
            DaoLockSizeError(0),
            TimeExceeded(1.0),
            ARGV,
            TransactionScriptError("Inputs[0].Lock", ARGV),
        )
    ),
]


@pytest.mark.parametrize("reason", MALFORMED, ids=str)
def test_no_honest_peer_relays_these(reason: Reject) -> None:
    assert is_malformed(reason)


@pytest.mark.parametrize("reason", EXCUSED, ids=str)
def test_anybody_may_relay_these(reason: Reject) -> None:
    assert not is_malformed(reason)
    assert is_final(reason) == isinstance(reason, LowFeeRate)


def test_a_verdict_on_witnesses_or_cycles_is_not_one_on_the_hash() -> None:
    not_final = {type(cause_of(each)) for each in MALFORMED if not is_final(each)}
    assert not_final == {DeclaredWrongCycles, ExceededMaximumCycles, TransactionScriptError}


def test_larger_witnesses_may_be_why_a_fee_is_too_low_or_a_size_too_large() -> None:
    tx = transaction([cell_input(bytes(32))], [output(1)], witnesses=[])
    least = tx.raw_size + 4
    larger = Transaction(body=tx.body, witnesses=[bytes(5000)])
    for each in (tx, larger):
        assert is_of_size(LowFeeRate(1000, 10**6, least), each)
        assert not is_of_size(LowFeeRate(1000, 10**6, least - 1), each)
        assert is_of_size(VerificationFailed(TransactionSizeError(least, 10**6)), each)
        assert not is_of_size(VerificationFailed(TransactionSizeError(least - 1, 10**6)), each)
        assert is_of_size(TooLarge(10**6, least), each)
        assert not is_of_size(TooLarge(10**6, least - 1), each)
        assert not is_of_size(Malformed("cellbase like"), each)


def cause_of(reason: Reject) -> CkbError:
    return reason.cause if isinstance(reason, (VerificationFailed, ResolveFailed)) else reason


def test_cells_may_be_lacking() -> None:
    assert lacks_cells(ResolveFailed(UnknownOutPointError(POINT)))
    assert not any(lacks_cells(each) for each in MALFORMED)
    assert not lacks_cells(ResolveFailed(DeadOutPointError(POINT)))
