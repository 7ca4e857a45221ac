"""The default lock: what wallets sign is accepted, anything else refused with its own exit code."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.builders.mock_transactions import (
    ALICE,
    BOB,
    CKB,
    DATA,
    NO_SIGNATURE,
    OTHER_LOCK,
    SIGHASH,
    Cell,
    Key,
    Mock,
    cell,
    code,
    payment,
    script,
    sign,
    signed,
    system_deps,
    witness,
)
from tests.support.vm.harness import Result, lock_group, run

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
FIELD = 2**256 - 2**32 - 977

OK = 0
ARGUMENTS_LENGTH, ENCODING, SYSCALL, NO_KEY, BAD_SIGNATURE = -1, -2, -3, -11, -14
SCRIPT_TOO_LONG, WITNESS_SIZE, KEY_HASH, DATA_CELL, RECOVERY_ID = -21, -22, -31, -101, -102


def unlock(mock: Mock, first: int = 0, version: int = 2) -> Result:
    return run(code(SIGHASH), mock, lock_group(mock, first), version)


def with_signature(changes: dict[int, bytes]) -> Mock:
    """A signed payment whose signature has other bytes at some offsets."""

    def make(message: bytes) -> bytes:
        signature = bytearray(ALICE.sign(message))
        for start, value in changes.items():
            signature[start : start + len(value)] = value
        return bytes(signature)

    return sign(payment(), [0], make)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_accepts_a_signed_payment(version: int) -> None:
    result = unlock(signed(payment(inputs=(cell(version=version),))), version=version)
    assert result.code == OK
    assert result.cycles < 1_000_000


def test_cycles_stay_within_the_budget_of_a_lock_run() -> None:
    cycles = [unlock(signed(payment(inputs=(cell(Key(n)),)), Key(n))) for n in (1, 2, 3, ORDER - 1, ORDER // 2)]
    assert [result.code for result in cycles] == [OK] * 5
    assert max(result.cycles for result in cycles) < 500_000


def test_accepts_other_fields_and_data_in_the_witness() -> None:
    assert unlock(signed(payment(witness(NO_SIGNATURE, b"in", b"out" * 1000)))).code == OK


def test_accepts_high_s() -> None:
    def make(message: bytes) -> bytes:
        signature = ALICE.sign(message)
        s = int.from_bytes(signature[32:64], "big")
        return signature[:32] + (ORDER - s).to_bytes(32, "big") + bytes([signature[64] ^ 1])

    assert unlock(sign(payment(), [0], make)).code == OK


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9])
def test_one_signature_covers_the_group_and_the_extra_witnesses(count: int) -> None:
    inputs = (cell(),) * count
    mock = signed(
        payment(witness(NO_SIGNATURE), *[b"w%d" % i for i in range(count + 1)], inputs=inputs),
        group=tuple(range(count)),
    )
    assert unlock(mock).code == OK
    for index in range(1, count + 2):
        assert unlock(mock.with_witness(index, b"other")).code != OK


def test_empty_witnesses_count() -> None:
    mock = signed(payment(witness(NO_SIGNATURE), b""))
    assert unlock(mock).code == OK
    assert unlock(replace(mock, witnesses=mock.witnesses[:1])).code != OK


def test_witnesses_of_other_locks_are_not_covered() -> None:
    inputs = (Cell(lock=OTHER_LOCK), cell(), Cell(lock=OTHER_LOCK), cell())
    mock = payment(b"theirs", witness(NO_SIGNATURE), b"theirs too", b"mine", inputs=inputs)
    mock = signed(mock, group=(1, 3))
    assert unlock(mock, 1).code == OK
    assert unlock(mock.with_witness(0, b"x").with_witness(2, b"y"), 1).code == OK
    assert unlock(mock.with_witness(3, b"x"), 1).code != OK


def test_two_owners_sign_each_for_themselves() -> None:
    mock = payment(witness(NO_SIGNATURE), witness(NO_SIGNATURE), inputs=(cell(ALICE), cell(BOB)))
    mock = signed(signed(mock, ALICE, (0,)), BOB, (1,))
    assert unlock(mock, 0).code == OK
    assert unlock(mock, 1).code == OK


def test_refuses_another_key() -> None:
    assert unlock(signed(payment(), BOB)).code == KEY_HASH


def test_refuses_a_changed_transaction() -> None:
    mock = signed(payment())
    assert unlock(replace(mock, outputs=[Cell(capacity=401 * CKB)])).code != OK


def test_refuses_a_changed_field_of_the_signed_witness() -> None:
    mock = signed(payment(witness(NO_SIGNATURE, b"in")))
    signature = mock.witnesses[0][20:85]
    assert unlock(mock.with_witness(0, witness(signature, b"in"))).code == OK
    assert unlock(mock.with_witness(0, witness(signature, b"IN"))).code != OK


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({0: bytes(32)}, NO_KEY),
        ({32: bytes(32)}, NO_KEY),
        ({0: ORDER.to_bytes(32, "big")}, BAD_SIGNATURE),
        ({32: ORDER.to_bytes(32, "big")}, BAD_SIGNATURE),
        ({32: b"\xff" * 32}, BAD_SIGNATURE),
        # no point of the curve has x = 5
        ({0: (5).to_bytes(32, "big"), 64: b"\0"}, NO_KEY),
        # x = r + n must be below the field's p
        ({0: (FIELD - ORDER).to_bytes(32, "big"), 64: b"\2"}, NO_KEY),
        ({64: b"\4"}, RECOVERY_ID),
        ({64: b"\xff"}, RECOVERY_ID),
    ],
)
def test_refuses_numbers_that_are_no_signature(changes: dict[int, bytes], code: int) -> None:
    assert unlock(with_signature(changes)).code == code


@pytest.mark.parametrize("bit", [0, 1, 100, 255, 256, 400, 511, 512])
def test_refuses_one_wrong_bit(bit: int) -> None:
    def make(message: bytes) -> bytes:
        signature = bytearray(ALICE.sign(message))
        signature[bit // 8] ^= 1 << bit % 8
        return bytes(signature)

    assert unlock(sign(payment(), [0], make)).code in {NO_KEY, BAD_SIGNATURE, KEY_HASH}


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (b"", ENCODING),
        (NO_SIGNATURE, ENCODING),
        (witness(), ENCODING),
        (witness(None, b"in"), ENCODING),
        (witness(NO_SIGNATURE) + b"\0", ENCODING),
        (witness(NO_SIGNATURE)[:-1], ENCODING),
        (witness(b""), ARGUMENTS_LENGTH),
        (witness(bytes(64)), ARGUMENTS_LENGTH),
        (witness(bytes(66)), ARGUMENTS_LENGTH),
        (witness(NO_SIGNATURE, bytes(32768)), WITNESS_SIZE),
    ],
)
def test_refuses_a_malformed_first_witness(first: bytes, code: int) -> None:
    assert unlock(payment(first)).code == code


def test_refuses_a_table_with_a_fourth_field() -> None:
    plain = witness(NO_SIGNATURE)
    fields = plain[16:]
    starts = [int.from_bytes(plain[i : i + 4], "little") + 4 for i in (4, 8, 12)]
    numbers = [len(plain) + 4, *starts, len(plain) + 4]
    longer = b"".join(n.to_bytes(4, "little") for n in numbers) + fields
    assert unlock(payment(longer)).code == ENCODING


def test_refuses_without_witness() -> None:
    assert unlock(replace(payment(), witnesses=[])).code == SYSCALL


@pytest.mark.parametrize("group", [True, False])
def test_other_witnesses_have_a_size_limit(group: bool) -> None:
    inputs = (cell(),) * (2 if group else 1)
    members = (0, 1) if group else (0,)
    mock = payment(witness(NO_SIGNATURE), bytes(32768), inputs=inputs)
    assert unlock(signed(mock, group=members)).code == OK
    assert unlock(signed(mock.with_witness(1, bytes(32769)), group=members)).code == WITNESS_SIZE


@pytest.mark.parametrize("size", [0, 19, 21, 32])
def test_refuses_args_of_another_size(size: int) -> None:
    mock = payment(inputs=(Cell(lock=script(SIGHASH, bytes(size))),))
    assert unlock(mock).code == ARGUMENTS_LENGTH


def test_refuses_a_script_beyond_the_size_limit() -> None:
    mock = payment(inputs=(Cell(lock=script(SIGHASH, bytes(32768))),))
    assert unlock(mock).code == SCRIPT_TOO_LONG


def test_needs_the_data_cell() -> None:
    mock = payment()
    without = replace(mock, deps=[dep for dep in system_deps() if dep.data != code(DATA)])
    assert unlock(signed(without)).code == DATA_CELL


def test_a_changed_data_cell_is_not_the_data_cell() -> None:
    data = bytearray(code(DATA))
    data[100] ^= 1
    deps = [Cell(data=bytes(data)) if dep.data == code(DATA) else dep for dep in system_deps()]
    assert unlock(signed(replace(payment(), deps=deps))).code == DATA_CELL
