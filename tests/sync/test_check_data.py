"""What makes a peer's transactions malformed before anything is looked up."""

from __future__ import annotations

import pytest

from ckb_node.sync.check_data import block_is_sound, transaction_is_sound
from consensus.types.blockchain import CellDep, CellOutput, OutPoint, Script, Transaction
from tests.support.builders.blocks import a_header, a_transaction, an_input, an_output
from tests.support.chains.unchecked import block as a_block

POINT = OutPoint(tx_hash=b"\1" * 32, index=0)


def script(hash_type: int) -> Script:
    return Script(code_hash=bytes(32), hash_type=hash_type, args=b"")


def with_output(output: CellOutput, count: int = 1) -> Transaction:
    return a_transaction([an_input(POINT.raw)], [output] * count)


def with_dep(dep_type: int) -> Transaction:
    return a_transaction([an_input(POINT.raw)], [an_output(1)], cell_deps=[CellDep(out_point=POINT, dep_type=dep_type)])


def with_data(count: int) -> Transaction:
    plain = a_transaction([an_input(POINT.raw)], [an_output(1)])
    return Transaction(body=plain.body.replace(outputs_data=[b""] * count), witnesses=[])


def is_sound_alone(transaction: Transaction) -> bool:
    """Though other bytes stand around it."""
    return transaction_is_sound(b"before" + transaction.raw + b"after", 6, 6 + transaction.raw_size)


@pytest.mark.parametrize(
    ("transaction", "is_sound"),
    [
        (with_data(1), True),
        (with_data(0), False),
        (with_data(2), False),
        (with_dep(0), True),
        (with_dep(1), True),
        (with_dep(2), False),
        *((with_output(CellOutput(capacity=1, lock=script(kind), type_=None)), True) for kind in (0, 1, 2, 4, 6, 254)),
        *((with_output(CellOutput(capacity=1, lock=script(kind), type_=None)), False) for kind in (3, 129, 255)),
        (with_output(CellOutput(capacity=1, lock=script(0), type_=script(6))), True),
        (with_output(CellOutput(capacity=1, lock=script(0), type_=script(5))), False),
        *((with_output(CellOutput(capacity=1, lock=script(kind), type_=None), 20), kind == 2) for kind in (2, 3)),
        *((with_output(CellOutput(capacity=1, lock=script(0), type_=script(kind)), 20), kind == 2) for kind in (2, 3)),
    ],
)
def test_data_of_a_transaction(transaction: Transaction, is_sound: bool) -> None:
    for _ in range(2):  # the second time from memory
        assert is_sound_alone(transaction) is is_sound
        assert block_is_sound(a_block(a_header(), [transaction])) is is_sound
    large = Transaction(body=transaction.body, witnesses=[bytes(5000)])
    block = a_block(a_header(), [large])
    assert block.checked_transactions[0][2] is None  # no layout is learnt of it
    assert block_is_sound(block) is is_sound_alone(large) is is_sound
