"""Who is to blame for a refused transaction, and whether it may be offered again.

A peer verifies what it relays, so it answers for what no state of the pool can make valid. It does not answer for what
depends on the pool, on the tip, or on us.
"""

from __future__ import annotations

from typing import Final

from ckb_node.txpool.rejects import (
    DeclaredWrongCycles,
    LowFeeRate,
    Malformed,
    Reject,
    ResolveFailed,
    VerificationFailed,
)
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

__all__ = ["is_final", "is_malformed", "lacks_cells"]

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


def lacks_cells(reason: Reject) -> bool:
    """It names a cell that is not live here: its parent has not come yet, or the cell was spent long ago."""
    return isinstance(reason, ResolveFailed) and isinstance(reason.cause, UnknownOutPointError)


def _has_failed_script(cause: CkbError) -> bool:
    return isinstance(cause, ScriptError) and ARGV_TOO_LONG_TEXT not in str(cause)
