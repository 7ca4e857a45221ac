"""Large transactions: what passes by generated code keeps the plain rules, and sums are the same."""

from __future__ import annotations

import pytest

from consensus.errors import CkbError
from consensus.fast.large import is_sound_large
from consensus.rules.outputs import facts_of_large, outputs_capacity
from consensus.rules.transaction import InsufficientCellCapacityError, verify_occupied_capacity
from consensus.rules.verify_transaction import verify_transaction_non_contextual
from consensus.types.blockchain import CellDep, OutPoint, RawTransaction, Transaction
from tests.support.builders.blocks import CKB, a_consensus, a_transaction, an_input, an_output, lock_script

POINT = OutPoint(tx_hash=b"\1" * 32, index=0)
DEP = CellDep(out_point=POINT, dep_type=0)
MANY = 200


def good() -> RawTransaction:
    outputs = [an_output(100 * CKB + index) for index in range(MANY)]
    return a_transaction([an_input(POINT.raw)], outputs, cell_deps=[DEP], header_deps=[bytes(32)]).body


def with_output(body: RawTransaction, **changes: object) -> RawTransaction:
    """The last one changed."""
    return body.replace(outputs=[*body.outputs[:-1], body.outputs[-1].replace(**changes)])


GOOD = good()


@pytest.mark.parametrize(
    "body",
    [
        GOOD,
        GOOD.replace(version=1),
        GOOD.replace(inputs=[]),
        GOOD.replace(outputs=[], outputs_data=[]),
        GOOD.replace(outputs_data=GOOD.outputs_data[:-1]),
        GOOD.replace(cell_deps=[DEP, DEP.replace(dep_type=1)]),
        GOOD.replace(cell_deps=[DEP, DEP]),
        GOOD.replace(cell_deps=[DEP.replace(dep_type=2)]),
        GOOD.replace(header_deps=[bytes(32), b"\1" * 32]),
        GOOD.replace(header_deps=[bytes(32), b"\1" * 32, bytes(32)]),
        *(with_output(GOOD, lock=lock_script(b"", kind)) for kind in (1, 2, 3, 4, 6, 255)),
        *(with_output(GOOD, type_=lock_script(b"", kind)) for kind in (1, 2, 3, 4, 6, 255)),
    ],
)
def test_the_verdict_is_that_of_the_plain_rules(body: RawTransaction) -> None:
    transaction = Transaction(body=body, witnesses=[bytes(5000)])
    try:
        verify_transaction_non_contextual(a_consensus(), transaction)
        keeps_rules = True
    except CkbError:
        keeps_rules = False
    assert is_sound_large(Transaction.parse(transaction.raw)) is keeps_rules


def test_a_small_one_is_left_to_the_plain_rules() -> None:
    small = a_transaction([an_input(POINT.raw)], [an_output()])
    assert facts_of_large(small) is None
    assert not is_sound_large(small)


def test_sums_and_what_outputs_take() -> None:
    large = Transaction(body=GOOD, witnesses=[])
    assert facts_of_large(large) is not None
    assert outputs_capacity(large) == sum(each.capacity for each in large.body.outputs)
    verify_occupied_capacity(large)
    poor = Transaction(body=with_output(GOOD, capacity=CKB), witnesses=[])
    with pytest.raises(InsufficientCellCapacityError) as error:
        verify_occupied_capacity(poor)
    assert error.value.index == MANY - 1
