"""What generated code says of all outputs against the plain views."""

from __future__ import annotations

from random import Random

import pytest

from consensus.codec.layout import U64_MAX
from consensus.errors import CkbError
from consensus.kernels.outputs import MAX_INPUT, OutputsFacts, outputs_facts
from consensus.kernels.runtime import KernelLengthError
from consensus.rules.transaction import verify_occupied_capacity
from consensus.types.blockchain import CellDep, CellOutput, OutPoint, Script, Transaction
from tests.support.builders.blocks import CKB, a_transaction, an_input, an_output

POINT = OutPoint(tx_hash=b"\1" * 32, index=0)


def plain(transaction: Transaction) -> OutputsFacts:
    """By the views; for small transactions, whose rules read each output."""
    outputs = transaction.body.outputs
    try:
        verify_occupied_capacity(transaction)
        is_paid = True
    except (CkbError, ValueError):  # ValueError: not one data for each
        is_paid = False
    return OutputsFacts(
        len(outputs),
        len(transaction.body.outputs_data),
        is_paid,
        sum(each.capacity for each in outputs),
        frozenset(each.dep_type for each in transaction.body.cell_deps),
        frozenset(each.lock.hash_type for each in outputs),
        frozenset(each.type_.hash_type for each in outputs if each.type_ is not None),
    )


def agree(transaction: Transaction) -> OutputsFacts:
    """The facts, also among other bytes."""
    around = b"before" + transaction.raw + b"after"
    facts = outputs_facts(transaction.raw, 0, transaction.raw_size)
    assert facts == plain(transaction)
    assert outputs_facts(around, 6, 6 + transaction.raw_size) == facts
    return facts


def some_output(random: Random) -> CellOutput:
    def script() -> Script:
        args = random.randbytes(random.randrange(30))
        return Script(code_hash=random.randbytes(32), hash_type=random.randrange(256), args=args)

    type_ = script() if random.random() < 0.5 else None
    return an_output(random.choice([0, 90 * CKB, 140 * CKB, random.getrandbits(64), U64_MAX]), script(), type_)


def some_transaction(random: Random) -> Transaction:
    outputs = [some_output(random) for _ in range(random.randrange(6))]
    deps = [CellDep(out_point=POINT, dep_type=random.choice([0, 1, 200])) for _ in range(random.randrange(4))]
    made = a_transaction([an_input(POINT.raw)] * random.randrange(3), outputs, cell_deps=deps)
    data = [random.randbytes(random.randrange(20)) for _ in range(len(outputs) + random.choice([0, 0, 0, 1]))]
    return Transaction(body=made.body.replace(outputs_data=data), witnesses=[b"", random.randbytes(9)])


@pytest.mark.parametrize("seed", range(300))
def test_the_same_as_the_plain_views(seed: int) -> None:
    agree(some_transaction(Random(seed)))


def test_to_the_shannon() -> None:
    lock = Script(code_hash=bytes(32), hash_type=1, args=b"four")
    need = (8 + 32 + 1 + 4 + 3) * CKB
    for type_, more in ((None, 0), (lock, 37 * CKB)):
        for missing in (0, 1):
            output = an_output(need + more - missing, lock, type_)
            made = a_transaction([an_input(POINT.raw)], [output])
            whole = Transaction(body=made.body.replace(outputs_data=[b"abc"]), witnesses=[])
            assert agree(whole).pays_for_bytes is (not missing)


def test_a_sum_beyond_64_bits() -> None:
    made = a_transaction([an_input(POINT.raw)], [an_output(U64_MAX)] * 3)
    assert agree(made).capacity == 3 * U64_MAX


def test_too_much_is_no_input() -> None:
    large = Transaction(body=a_transaction().body, witnesses=[bytes(MAX_INPUT)])
    with pytest.raises(KernelLengthError):
        outputs_facts(large.raw, 0, large.raw_size)
