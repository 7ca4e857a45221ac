"""The multi-signature lock: thresholds, required signers, lock time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from consensus.crypto.hashing import blake160
from tests.scripts.kit_multisig import configuration, epoch
from tests.support.builders.mock_transactions import MULTISIG, Cell, Key, Mock, code, script, sign, witness
from tests.support.vm.harness import Result, lock_group, run

KEYS = [Key(1000 + n) for n in range(5)]
STRANGER = Key(77)

OK = 0
ARGUMENTS_LENGTH, ENCODING, SYSCALL, NO_KEY = -1, -2, -3, -11
WITNESS_SIZE, SINCE_FLAGS, SINCE_VALUE, RECOVERY_ID = -22, -23, -24, -102
RESERVED_FIELD, KEY_COUNT, THRESHOLD, REQUIRE_FIRST = -41, -42, -43, -44
CONFIGURATION_HASH, SIGNER = -51, -52


def spend(config: bytes, signatures: int, since: bytes = b"", inputs_since: Sequence[int] = (0,)) -> Mock:
    """A transaction of one group, still with zeros for the signatures."""
    lock = script(MULTISIG, blake160(config) + since)
    first = witness(config + bytes(65 * signatures))
    return Mock([Cell(lock=lock, since=value) for value in inputs_since], [Cell()], [first])


def unlock(mock: Mock, version: int = 2) -> Result:
    return run(code(MULTISIG), mock, lock_group(mock, 0), version)


def signed(mock: Mock, config: bytes, signers: Sequence[Key]) -> Mock:
    group = list(range(len(mock.inputs)))
    return sign(mock, group, lambda message: config + b"".join(key.sign(message) for key in signers))


def check(require_first: int, threshold: int, keys: Sequence[Key], signers: Sequence[Key]) -> int:
    config = configuration(require_first, threshold, keys)
    return unlock(signed(spend(config, threshold), config, signers)).code


@pytest.mark.parametrize(
    ("require_first", "threshold", "count", "signers"),
    [
        (0, 1, 1, [0]),
        (0, 2, 3, [0, 1]),
        (0, 2, 3, [2, 0]),
        (0, 2, 3, [1, 2]),
        (1, 2, 3, [0, 2]),
        (1, 2, 3, [1, 0]),
        (2, 2, 3, [1, 0]),
        (0, 3, 3, [2, 1, 0]),
        (5, 5, 5, [4, 2, 0, 1, 3]),
    ],
)
def test_accepts_enough_signers(require_first: int, threshold: int, count: int, signers: list[int]) -> None:
    assert check(require_first, threshold, KEYS[:count], [KEYS[i] for i in signers]) == OK


@pytest.mark.parametrize(("since", "end"), [(0, OK), (99, OK), (1 << 63, SINCE_FLAGS), (0x20 << 56 | 7, SINCE_FLAGS)])
def test_without_since_in_args_it_is_block_number_zero(since: int, end: int) -> None:
    config = configuration(0, 1, KEYS[:1])
    assert unlock(signed(spend(config, 1, inputs_since=(since,)), config, KEYS[:1])).code == end


@pytest.mark.parametrize("version", [0, 1])
def test_runs_on_older_machines(version: int) -> None:
    config = configuration(0, 1, KEYS[:2])
    mock = spend(config, 1)
    old = replace(mock, inputs=[Cell(lock=script(MULTISIG, blake160(config), version))])
    assert unlock(signed(old, config, KEYS[1:2]), version).code == OK


@pytest.mark.parametrize(
    ("require_first", "signers"),
    [(0, [KEYS[0], STRANGER]), (0, [KEYS[0], KEYS[0]]), (1, [KEYS[1], KEYS[2]]), (2, [KEYS[0], KEYS[2]])],
)
def test_refuses_wrong_signers(require_first: int, signers: list[Key]) -> None:
    assert check(require_first, 2, KEYS[:3], signers) == SIGNER


def test_a_key_listed_twice_may_sign_twice() -> None:
    keys = [KEYS[0], KEYS[0], KEYS[1]]
    assert check(0, 2, keys, [KEYS[0], KEYS[0]]) == OK
    assert check(0, 3, keys, [KEYS[0], KEYS[0], KEYS[0]]) == SIGNER


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (configuration(0, 1, KEYS[:2], reserved=1), RESERVED_FIELD),
        (bytes([0, 0, 1, 0]), KEY_COUNT),
        (configuration(0, 0, KEYS[:2]), THRESHOLD),
        (configuration(0, 3, KEYS[:2]), THRESHOLD),
        (configuration(2, 1, KEYS[:2]), REQUIRE_FIRST),
    ],
)
def test_refuses_an_impossible_configuration(config: bytes, code: int) -> None:
    assert unlock(spend(config, 1)).code == code


def test_refuses_another_configuration() -> None:
    config, other = configuration(0, 1, KEYS[:2]), configuration(0, 1, [STRANGER, KEYS[1]])
    mock = spend(config, 1).with_witness(0, witness(other + bytes(65)))
    assert unlock(signed(mock, other, [STRANGER])).code == CONFIGURATION_HASH


def test_refuses_a_lock_field_of_another_size() -> None:
    config = configuration(0, 2, KEYS[:3])
    assert unlock(spend(config, 1)).code == WITNESS_SIZE
    assert unlock(spend(config, 3)).code == WITNESS_SIZE
    assert unlock(spend(config, 2).with_witness(0, witness(b"\0\0\1"))).code == WITNESS_SIZE


def test_refuses_malformed_witnesses() -> None:
    mock = spend(configuration(0, 1, KEYS[:1]), 1)
    assert unlock(mock.with_witness(0, b"")).code == ENCODING
    assert unlock(mock.with_witness(0, witness())).code == ENCODING
    assert unlock(replace(mock, witnesses=[])).code == SYSCALL


def test_refuses_args_of_another_size() -> None:
    config = configuration(0, 1, KEYS[:1])
    assert unlock(spend(config, 1, bytes(7))).code == ARGUMENTS_LENGTH
    assert unlock(spend(config, 1, bytes(9))).code == ARGUMENTS_LENGTH


def test_refuses_zeros_for_a_signature() -> None:
    assert unlock(spend(configuration(0, 1, KEYS[:1]), 1)).code == NO_KEY


def test_refuses_a_recovery_id_beyond_three() -> None:
    config = configuration(0, 1, KEYS[:1])
    mock = sign(spend(config, 1), [0], lambda message: config + KEYS[0].sign(message)[:64] + b"\4")
    assert unlock(mock).code == RECOVERY_ID


def test_the_signature_covers_the_configuration_and_other_witnesses() -> None:
    config = configuration(0, 1, KEYS[:2])
    mock = spend(config, 1, inputs_since=(0, 0))
    mock = signed(replace(mock, witnesses=[*mock.witnesses, b"second", b"extra"]), config, KEYS[:1])
    assert unlock(mock).code == OK
    assert unlock(mock.with_witness(1, b"Second")).code == SIGNER
    assert unlock(mock.with_witness(2, b"Extra")).code == SIGNER


@pytest.mark.parametrize(
    ("required", "inputs", "code"),
    [
        (100, (100,), OK),
        (100, (101, 100), OK),
        (100, (99,), SINCE_VALUE),
        (100, (100, 99), SINCE_VALUE),
        (100, (1 << 63 | 100,), SINCE_FLAGS),
        (1 << 63 | 100, (1 << 63 | 100,), OK),
        (1 << 63 | 100, (100,), SINCE_FLAGS),
        (0x40 << 56 | 5, (0x40 << 56 | 5,), OK),
        (0x40 << 56 | 5, (0x20 << 56 | 5,), SINCE_FLAGS),
        # 1/2 of an epoch, however it is written
        (epoch(7, 1, 2), (epoch(7, 500, 1000),), OK),
        (epoch(7, 500, 1000), (epoch(7, 1, 2),), OK),
        (epoch(7, 1, 2), (epoch(7, 499, 1000),), SINCE_VALUE),
        (epoch(7, 1, 2), (epoch(8, 0, 1),), OK),
        (epoch(7, 1, 2), (epoch(6, 999, 1000),), SINCE_VALUE),
        # a relative epoch is compared as a plain number, as on the public chains
        (epoch(7, 1, 2, relative=True), (epoch(7, 500, 1000, relative=True),), OK),
        (epoch(7, 500, 1000, relative=True), (epoch(7, 1, 2, relative=True),), SINCE_VALUE),
    ],
)
def test_lock_time(required: int, inputs: tuple[int, ...], code: int) -> None:
    config = configuration(0, 1, KEYS[:1])
    mock = spend(config, 1, required.to_bytes(8, "little"), inputs)
    assert unlock(signed(mock, config, KEYS[:1])).code == code
