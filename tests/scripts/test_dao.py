"""The DAO type script: deposits, phase 1 and phase 2 (RFC 23)."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from consensus.types.blockchain import Header
from consensus.types.core import EpochFraction
from tests.support.builders.mock_transactions import CKB, DAO, Cell, Mock, code, header, script, witness
from tests.support.vm.harness import Result, run, type_group

TYPE = script(DAO)
RATE = 10**16

OK, INDEX_OUT_OF_BOUND, ITEM_MISSING = 0, 1, 2
ARGUMENTS, SYSCALL, ENCODING, WITNESS_TOO_LONG, OVERFLOW = -2, -4, -11, -12, -13
WITHDRAW_BLOCK, CAPACITY, EPOCH, SINCE, TOO_MANY_OUTPUTS = -14, -15, -16, -17, -18
NEW_DEPOSIT, WITHDRAWING_CELL = -19, -20

ABSOLUTE_EPOCH = 0x20 << 56
DEPOSITED = EpochFraction(35, 554, 1000)
REQUESTED = EpochFraction(100, 100, 1000)
UNLOCKED = EpochFraction(215, 554, 1000)
DEPOSIT_BLOCK = header(1554, DEPOSITED.pack(), RATE + 1000)


def number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def verify(mock: Mock, version: int = 2) -> Result:
    return run(code(DAO), mock, type_group(mock, script(DAO, version=version)), version)


def deposit(capacity: int = 1000 * CKB, block: Header | None = None, version: int = 2) -> Cell:
    return Cell(type_=script(DAO, version=version), capacity=capacity, data=bytes(8), header=block)


def withdrawing(capacity: int = 1000 * CKB, block: int = 1554) -> Cell:
    return Cell(type_=TYPE, capacity=capacity, data=number(block))


# Deposit


@pytest.mark.parametrize("version", [0, 1, 2])
def test_deposit(version: int) -> None:
    mock = Mock(
        [Cell(capacity=3000 * CKB)], [deposit(version=version), deposit(500 * CKB, version=version), Cell()], []
    )
    assert verify(mock, version).code == OK


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (number(1), NEW_DEPOSIT),
        (number(1 << 63), NEW_DEPOSIT),
        (bytes(9), SYSCALL),
        (bytes(7), SYSCALL),
        (b"", SYSCALL),
    ],
)
def test_refuses_a_deposit_with_other_data(data: bytes, code: int) -> None:
    assert verify(Mock([Cell()], [replace(deposit(), data=data)], [])).code == code


@pytest.mark.parametrize(("outputs", "code"), [(64, OK), (65, TOO_MANY_OUTPUTS), (200, TOO_MANY_OUTPUTS)])
def test_refuses_more_than_64_outputs(outputs: int, code: int) -> None:
    assert verify(Mock([Cell()], [deposit(), *[Cell(capacity=0)] * (outputs - 1)], [])).code == code


def test_the_first_64_outputs_are_checked_first() -> None:
    many = [replace(deposit(0), data=number(1)), *[Cell(capacity=0)] * 70]
    assert verify(Mock([Cell()], many, [])).code == NEW_DEPOSIT


def test_outputs_may_not_exceed_inputs() -> None:
    assert verify(Mock([Cell()], [deposit(1000 * CKB)], [])).code == OK
    assert verify(Mock([Cell()], [deposit(1000 * CKB), Cell(capacity=1)], [])).code == CAPACITY


def test_refuses_capacities_that_overflow() -> None:
    huge = Cell(capacity=2**63)
    assert verify(Mock([huge, huge], [deposit()], [])).code == OVERFLOW
    assert verify(Mock([Cell()], [deposit(), huge, huge], [])).code == OVERFLOW


def test_refuses_args() -> None:
    lock = script(DAO, b"x")
    mock = Mock([Cell()], [replace(deposit(), type_=lock)], [])
    assert run(code(DAO), mock, type_group(mock, lock)).code == ARGUMENTS


# Phase 1


def request(output: Cell | None = None) -> Mock:
    outputs = [withdrawing() if output is None else output, Cell(capacity=1)]
    return Mock([deposit(block=DEPOSIT_BLOCK), Cell()], outputs, [], header_deps=[DEPOSIT_BLOCK])


def test_phase_1() -> None:
    assert verify(request()).code == OK


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (withdrawing(block=1555), WITHDRAWING_CELL),
        (withdrawing(block=0), WITHDRAWING_CELL),
        (withdrawing(capacity=999 * CKB), WITHDRAWING_CELL),
        (withdrawing(capacity=1001 * CKB), WITHDRAWING_CELL),
        (replace(withdrawing(), type_=script(DAO, b"other")), WITHDRAWING_CELL),
        (replace(withdrawing(), data=number(1554) + b"\0"), SYSCALL),
        (Cell(), ITEM_MISSING),
    ],
)
def test_refuses_another_withdrawing_cell(output: Cell, code: int) -> None:
    assert verify(request(output)).code == code


def test_phase_1_needs_an_output_at_the_same_index() -> None:
    mock = request()
    moved = replace(mock, inputs=[Cell(), mock.inputs[0]])
    assert verify(moved).code == ITEM_MISSING
    assert verify(replace(moved, outputs=[Cell()])).code == INDEX_OUT_OF_BOUND
    assert verify(replace(moved, outputs=[Cell(), Cell()])).code == ITEM_MISSING
    assert verify(replace(moved, outputs=[Cell(), withdrawing()])).code == OK


def test_phase_1_needs_the_deposit_header() -> None:
    assert verify(replace(request(), header_deps=[])).code == ITEM_MISSING


# Phase 2


def withdrawal(
    deposited: EpochFraction = DEPOSITED,
    requested: EpochFraction = REQUESTED,
    since: int = ABSOLUTE_EPOCH | UNLOCKED.pack(),
    paid: int = 0,
    capacity: int = 1000 * CKB,
    rates: tuple[int, int] = (RATE, RATE),
) -> Mock:
    """One withdrawing cell, paid out with so much more than its capacity."""
    blocks = [header(1554, deposited.pack(), rates[0]), header(2_000_610, requested.pack(), rates[1])]
    cell = replace(withdrawing(capacity), since=since, header=blocks[1])
    return Mock([cell], [Cell(capacity=capacity + paid)], [witness(b"", number(0))], header_deps=blocks)


def test_phase_2() -> None:
    result = verify(withdrawal())
    assert result.code == OK
    assert result.cycles < 60_000


def test_pays_the_compensation_of_rfc_23() -> None:
    """The RFC's own example: 200000000000 shannons grow to 200155259131 between two mainnet blocks."""
    lock = script(DAO, bytes(20))
    rates = (10_000_435_847_357_921, 10_008_616_347_796_555)
    mock = withdrawal(capacity=200_000_000_000, rates=rates, paid=155_259_131)
    mock = replace(mock, inputs=[replace(mock.inputs[0], lock=lock)])
    assert verify(mock).code == OK
    assert verify(replace(mock, outputs=[Cell(capacity=200_155_259_132)])).code == CAPACITY


@pytest.mark.parametrize(
    ("capacity", "rate"),
    [
        (150 * CKB, RATE),
        (150 * CKB, RATE + 1),
        (1000 * CKB, 123_456_789_012_345_678),
        (1000 * CKB, 2**64 - 1),
        (33_600_000_000 * CKB, 2 * RATE - 1),
        (33_600_000_000 * CKB, 54_321_098_765_432_109),
    ],
)
def test_compensation_is_exact(capacity: int, rate: int) -> None:
    occupied = withdrawing().output().occupied_capacity(8)
    paid = (capacity - occupied) * rate // RATE + occupied - capacity
    assert verify(withdrawal(capacity=capacity, rates=(RATE, rate), paid=paid)).code == OK
    assert verify(withdrawal(capacity=capacity, rates=(RATE, rate), paid=paid + 1)).code == CAPACITY


def test_refuses_a_cell_below_its_occupied_capacity() -> None:
    assert verify(withdrawal(capacity=50 * CKB)).code == OVERFLOW


@pytest.mark.parametrize(
    ("deposited", "requested", "end"),
    [
        # lock periods are counted up: 1, 180 and exactly 180 epochs make one, one shannon of an epoch more makes two
        ((35, 554, 1000), (36, 554, 1000), 215),
        ((35, 554, 1000), (35, 555, 1000), 215),
        ((35, 554, 1000), (215, 554, 1000), 215),
        ((35, 554, 1000), (215, 555, 1000), 395),
        ((35, 1, 2), (215, 900, 1800), 215),
        ((35, 1, 2), (215, 901, 1800), 395),
        ((35, 1, 2), (215, 899, 1800), 215),
        ((0, 0, 1), (1000, 0, 1), 1080),
    ],
)
def test_lock_period(deposited: tuple[int, int, int], requested: tuple[int, int, int], end: int) -> None:
    start, finish = EpochFraction(*deposited), EpochFraction(*requested)

    def code(since: EpochFraction) -> int:
        return verify(withdrawal(start, finish, ABSOLUTE_EPOCH | since.pack())).code

    assert code(EpochFraction(end, start.index, start.length)) == OK
    assert code(EpochFraction(end + 1, 0, 1)) == OK
    assert code(EpochFraction(end - 1, start.index, start.length)) == SINCE
    # the same moment with a finer denominator, and a moment before it
    assert code(EpochFraction(end, start.index * 30, start.length * 30)) == OK
    if start.index:
        assert code(EpochFraction(end, start.index * 30 - 1, start.length * 30)) == SINCE


@pytest.mark.parametrize(
    ("since", "code"),
    [
        (0, SINCE),
        (UNLOCKED.pack(), SINCE),
        (0xA0 << 56 | UNLOCKED.pack(), SINCE),
        (ABSOLUTE_EPOCH | EpochFraction(216, 0, 0).pack(), OK),
        (ABSOLUTE_EPOCH | EpochFraction(215, 0, 0).pack(), SINCE),
        (ABSOLUTE_EPOCH | EpochFraction(216, 5, 5).pack(), EPOCH),
    ],
)
def test_since_must_be_an_absolute_epoch(since: int, code: int) -> None:
    assert verify(withdrawal(since=since)).code == code


@pytest.mark.parametrize("requested", [(34, 0, 1), (35, 0, 1), (35, 554, 1000), (35, 277, 500)])
def test_refuses_a_request_that_is_not_after_the_deposit(requested: tuple[int, int, int]) -> None:
    assert verify(withdrawal(requested=EpochFraction(*requested))).code == WITHDRAW_BLOCK


def test_refuses_the_header_of_another_block() -> None:
    mock = withdrawal()
    other = header(1555, EpochFraction(35, 555, 1000).pack())
    assert verify(replace(mock, header_deps=[other, mock.header_deps[1]])).code == WITHDRAW_BLOCK


def test_refuses_headers_of_epochs_that_cannot_be() -> None:
    assert verify(withdrawal(deposited=EpochFraction(35, 0, 0))).code == EPOCH
    assert verify(withdrawal(requested=EpochFraction(100, 7, 7))).code == EPOCH


def test_needs_both_headers() -> None:
    mock = withdrawal()
    first, second = mock.header_deps
    assert verify(replace(mock, header_deps=[first])).code == ITEM_MISSING
    assert verify(replace(mock, header_deps=[second, first])).code == WITHDRAW_BLOCK
    assert verify(replace(mock, header_deps=[second, first], witnesses=[witness(b"", number(1))])).code == OK


@pytest.mark.parametrize(
    ("witnesses", "code"),
    [
        ([], SYSCALL),
        ([b""], ENCODING),
        ([witness(b"")], ENCODING),
        ([witness(number(0))], ENCODING),
        ([witness(b"", bytes(4))], ENCODING),
        ([witness(b"", bytes(9))], ENCODING),
        ([witness(b"", number(0)) + b"\0"], ENCODING),
        ([witness(b"", number(2))], INDEX_OUT_OF_BOUND),
        # only the lowest byte counts, as in the deployed script: the node's own DAO rules read all eight
        ([witness(b"", number(1 << 8))], OK),
        ([witness(b"", number(1 << 63))], OK),
        ([witness(b"", number(1 << 63 | 2))], INDEX_OUT_OF_BOUND),
        ([witness(bytes(32768), number(0))], WITNESS_TOO_LONG),
    ],
)
def test_the_witness_names_the_deposit_header(witnesses: Sequence[bytes], code: int) -> None:
    assert verify(replace(withdrawal(), witnesses=witnesses)).code == code


def test_all_actions_in_one_transaction() -> None:
    """Two withdrawals, one request and two deposits beside plain cells."""
    paid_out = withdrawal(rates=(RATE, RATE + RATE // 10))
    first, second = paid_out.header_deps
    occupied = withdrawing().output().occupied_capacity(8)
    value = (1000 * CKB - occupied) * 11 // 10 + occupied
    asked = deposit(block=DEPOSIT_BLOCK)
    mock = Mock(
        inputs=[paid_out.inputs[0], asked, Cell(), paid_out.inputs[0]],
        outputs=[deposit(value), withdrawing(), deposit(value), Cell(capacity=1000 * CKB)],
        witnesses=[witness(None, number(1)), b"", b"", witness(None, number(1))],
        header_deps=[second, first, DEPOSIT_BLOCK],
    )
    assert verify(mock).code == OK
    assert verify(replace(mock, outputs=[*mock.outputs, Cell(capacity=1)])).code == CAPACITY
    late = [*mock.outputs[:2], withdrawing(value), *mock.outputs[3:]]
    assert verify(replace(mock, outputs=late)).code == NEW_DEPOSIT
