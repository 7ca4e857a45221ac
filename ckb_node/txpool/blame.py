"""Who is to blame for a refused transaction, and whether it may be offered again.

A peer verifies what it relays, so it answers for what no state of the pool can make valid. It does not answer for what
depends on the pool, on the tip, or on us.
"""

from __future__ import annotations

from typing import Final

from ckb_node.txpool.limits import fee_at
from ckb_node.txpool.rejects import (
    DeclaredWrongCycles,
    LowFeeRate,
    Malformed,
    PeerDropped,
    Reject,
    ResolveFailed,
    TooLarge,
    VerificationFailed,
)
from consensus.codec.layout import BLOCK_ENTRY_SIZE, NUMBER_SIZE, TRANSACTION_HEAD
from consensus.errors import CkbError, ScriptError
from consensus.rules.resolve import TooManyDepsError, UnknownOutPointError
from consensus.rules.since import InvalidSinceError
from consensus.rules.transaction import (
    CapacityOverflowError,
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
    TransactionSizeError,
)
from consensus.script.errors import ARGV_TOO_LONG_TEXT
from consensus.types.blockchain import Transaction

__all__ = ["is_final", "is_malformed", "is_of_copy", "is_of_size", "lacks_cells"]

_MALFORMED: Final = (
    CapacityOverflowError,
    DuplicateCellDepsError,
    DuplicateHeaderDepsError,
    EmptyTransactionError,
    InsufficientCellCapacityError,
    InvalidDepTypeError,
    InvalidLockHashTypeError,
    InvalidSinceError,
    InvalidTypeHashTypeError,
    LockHashTypeNotPermittedError,
    OutputsDataLengthError,
    OutputsSumOverflowError,
    TransactionSizeError,
)


def is_malformed(reason: Reject) -> bool:
    """No honest node relays it: whoever gave it is banned.

    The text of a failure that old nodes do not detect (ARGV_TOO_LONG_TEXT) excuses its sender; so does a budget of
    ours (ckb_node.verification.stopping.BudgetExceeded), which is no rule.
    """
    if isinstance(reason, ResolveFailed):
        return isinstance(reason.cause, TooManyDepsError)
    if isinstance(reason, VerificationFailed):
        return isinstance(reason.cause, _MALFORMED) or _has_failed_script(reason.cause)
    return isinstance(reason, (Malformed, DeclaredWrongCycles))


def is_final(reason: Reject) -> bool:
    """A transaction of this hash need not be looked at again, from whomever it comes.

    Scripts and cycles judge what one peer sent: another's may have the witnesses and the cycles that are right, which
    the hash does not cover.
    """
    if isinstance(reason, DeclaredWrongCycles):
        return False
    if isinstance(reason, VerificationFailed) and isinstance(reason.cause, ScriptError):
        return False
    return isinstance(reason, LowFeeRate) or is_malformed(reason)


def is_of_copy(reason: Reject) -> bool:
    """It was its giver's fault, and another's copy of the same hash may be good, as `is_final` says."""
    if isinstance(reason, VerificationFailed):
        return _has_failed_script(reason.cause)
    return isinstance(reason, (DeclaredWrongCycles, PeerDropped))


def is_of_size(reason: Reject, transaction: Transaction) -> bool:
    """It is too large, or pays too little for its size, and with smaller witnesses it might not: somebody may have made
    them larger. Then a copy of the same hash may be good, too, and `is_final` does not hold."""
    witnesses_at = TRANSACTION_HEAD.unpack_from(transaction.raw)[2]
    least: int = witnesses_at + NUMBER_SIZE + BLOCK_ENTRY_SIZE
    if isinstance(reason, LowFeeRate):
        return reason.fee >= fee_at(reason.min_fee_rate, least)
    cause = reason.cause if isinstance(reason, VerificationFailed) else reason
    return isinstance(cause, (TooLarge, TransactionSizeError)) and least <= cause.limit


def lacks_cells(reason: Reject) -> bool:
    """It names a cell that is not live here: its parent has not come yet, or the cell was spent long ago."""
    return isinstance(reason, ResolveFailed) and isinstance(reason.cause, UnknownOutPointError)


def _has_failed_script(cause: CkbError) -> bool:
    return isinstance(cause, ScriptError) and ARGV_TOO_LONG_TEXT not in str(cause)
