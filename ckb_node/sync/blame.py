"""Whether who gave a block or transaction is to blame for the rule that it breaks."""

from __future__ import annotations

from ckb_node.verification.stopping import BudgetExceeded
from consensus.errors import CkbError
from consensus.rules.header import TemporaryHeaderError
from consensus.script.errors import ARGV_TOO_LONG_TEXT

__all__ = ["is_senders_fault"]


def is_senders_fault(error: CkbError) -> bool:
    """Not of a header that may be valid later, of what is too much for this node alone, nor of what nodes of older
    versions take for valid."""
    is_ours = isinstance(error, (TemporaryHeaderError, BudgetExceeded))
    return not is_ours and ARGV_TOO_LONG_TEXT not in str(error)
