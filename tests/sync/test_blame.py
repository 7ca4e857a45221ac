"""Who is to blame for a block or a transaction."""

from __future__ import annotations

import pytest

from ckb_node.sync.blame import is_senders_fault
from ckb_node.verification.stopping import TimeExceeded
from consensus.errors import CkbError, ScriptError
from consensus.rules.block import TransactionsRootError
from consensus.rules.header import BlockTimeTooNewError, BlockTimeTooOldError, UnknownParentError
from consensus.script.errors import ARGV_TOO_LONG_TEXT, TransactionScriptError

ARGV = TransactionScriptError("Inputs[0].Lock", ScriptError(ARGV_TOO_LONG_TEXT))


@pytest.mark.parametrize(
    ("error", "is_to_blame"),
    [
        (BlockTimeTooOldError(5, 4), True),
        (BlockTimeTooNewError(4, 5), False),
        (UnknownParentError(bytes(32)), False),
        (TransactionsRootError(), True),
        (TimeExceeded(2.0), False),
        (TransactionScriptError("Inputs[0].Lock", ScriptError("another")), True),
        (ARGV, False),
    ],
)
def test_blame(error: CkbError, is_to_blame: bool) -> None:
    assert is_senders_fault(error) is is_to_blame
