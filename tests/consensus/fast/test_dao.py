"""NervosDAO over flat bytes against the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import TypeVar

from consensus.codec.layout import DAO_FIELD, U64_MAX
from consensus.codec.tx_layout import learn_layout
from consensus.errors import CkbError, MoleculeError
from consensus.fast.dao import fast_maximum_withdraw, keeps_lock_size, packed_input_type
from consensus.rules.dao import dao_type_code, maximum_withdraw_of_input
from consensus.rules.transaction import require_same_lock_size
from consensus.types.blockchain import CellOutput, Header, Transaction, WitnessArgs
from consensus.types.core import CellMeta, TransactionInfo
from consensus.types.tx_slice import TxSlice
from tests.consensus.fast.kit_kinds import DAO, NOT_DAO, TOKEN
from tests.support.builders.blocks import CKB, a_cell, a_consensus, a_header, a_transaction, an_output, lock_script

CONSENSUS = a_consensus(dao_type_hash=DAO.code_hash, starting_block_limiting_dao_withdrawing_lock=100)
DAO_CODE = dao_type_code(CONSENSUS)


class Headers:
    """By their hashes."""

    def __init__(self, headers: Sequence[Header]) -> None:
        self._headers: Mapping[bytes, Header] = {header.hash: header for header in headers}

    def header(self, block_hash: bytes) -> Header | None:
        return self._headers.get(block_hash)


def slice_of(transaction: Transaction) -> TxSlice:
    raw = transaction.raw
    return TxSlice(raw, 0, len(raw), learn_layout(raw))


# ---------------------------------------------------------------- witnesses


def input_type_by_codec(witness: bytes) -> bytes | None:
    try:
        return WitnessArgs.parse(witness).input_type
    except MoleculeError:
        return None


def some_witness(random: Random) -> bytes:
    lock, input_type, output_type = (
        random.choice((None, b"", bytes(8), random.randbytes(random.choice((1, 8, 65))))) for _ in range(3)
    )
    return WitnessArgs(lock=lock, input_type=input_type, output_type=output_type).raw


def test_input_type_of_witnesses_also_with_any_byte_changed_lost_or_added() -> None:
    random, found = Random(1), 0
    for _ in range(60):
        witness = some_witness(random)
        changed = [witness[:at] + bytes([random.randrange(256)]) + witness[at + 1 :] for at in range(len(witness))]
        changed += [witness[:at] for at in range(len(witness))] + [witness + b"\0", witness[:4] + witness]
        for each in (witness, *changed):
            assert packed_input_type(each) == input_type_by_codec(each), each.hex()
            found += packed_input_type(each) is not None
    assert found > 500


# ---------------------------------------------------------------- what deposits are worth


T = TypeVar("T")


def mostly(random: Random, good: T, *others: T) -> T:
    """The first in four of five cases."""
    return good if random.random() < 0.8 else random.choice(others)


def a_dated_header(random: Random, number: int) -> Header:
    rate = mostly(random, 10**16 + number * random.randrange(10**15), 0, 1, 10**16, U64_MAX)
    return a_header(number=number, dao=DAO_FIELD.pack(1, rate, 3, 4))


def by_rule(cell: CellMeta, transaction: Transaction, index: int, headers: Headers) -> int | None:
    try:
        return maximum_withdraw_of_input(index, cell, transaction.body.header_deps, transaction.witnesses, headers)
    except CkbError:
        return None


def test_worth_of_withdrawing_cells() -> None:
    random, worths = Random(2), []
    for _ in range(3000):
        deposit, withdrawing = (a_dated_header(random, at) for at in mostly(random, (5, 9), (9, 5), (7, 7)))
        both = [deposit.hash, withdrawing.hash]
        headers = Headers(mostly(random, [deposit, withdrawing], [deposit], [withdrawing]))
        named = mostly(random, both, both[::-1], both[:1], [])
        input_type = mostly(random, bytes(8), b"\1" + bytes(7), b"\2" + bytes(7), bytes(7) + b"\x80", b"\0", None)
        witness = WitnessArgs(lock=bytes(65), input_type=input_type, output_type=None).raw
        index = random.randrange(3)
        witnesses = [*[b""] * index, mostly(random, witness, b"?")][: mostly(random, 9, 0)]
        output = an_output(mostly(random, 200 * CKB, 10 * CKB, U64_MAX, 1000), lock_script(b"saver"), DAO)
        info = mostly(random, TransactionInfo(withdrawing.hash, withdrawing.number, 0, 1), None)
        cell = a_cell(output, b"\1" * 8, info)
        transaction = a_transaction(outputs=[an_output()], header_deps=named, witnesses=witnesses)
        worths.append(by_rule(cell, transaction, index, headers))
        assert fast_maximum_withdraw(index, cell, slice_of(transaction), headers) == worths[-1]
    assert 300 < worths.count(None) < 2700


# ---------------------------------------------------------------- sizes of locks


def passes(cell: CellMeta, output: CellOutput) -> bool:
    try:
        require_same_lock_size(CONSENSUS, 0, cell, output)
    except CkbError:
        return False
    return True


def test_sizes_of_locks() -> None:
    verdicts = []
    for data in (bytes(8), b"", bytes(7) + b"\1"):
        for info in (None, TransactionInfo(bytes(32), 99, 0, 1), TransactionInfo(bytes(32), 100, 0, 1)):
            for args in (b"", b"12345", b"123456"):
                for type_ in (None, DAO, NOT_DAO, TOKEN, DAO.replace(args=b"x")):
                    cell = a_cell(an_output(lock=lock_script(b"owner"), type_=DAO), data, info)
                    output = an_output(lock=lock_script(args), type_=type_)
                    transaction = slice_of(a_transaction(outputs=[output]))
                    verdicts.append(keeps_lock_size(CONSENSUS, DAO_CODE, cell, transaction, 0))
                    assert verdicts[-1] == passes(cell, output)
    assert verdicts.count(False) > 10
