"""The built-in type ID script (RFC 22)."""

from __future__ import annotations

import pytest

from consensus.crypto.hashing import ckb_hash
from consensus.params import TYPE_ID_CODE_HASH
from consensus.script.errors import ExceededMaximumCycles, ValidationFailure
from consensus.script.groups import GroupKind, ScriptGroup
from consensus.script.type_id import TYPE_ID_CYCLES, is_type_id, type_id_args, verify_type_id
from consensus.types.blockchain import CellInput, OutPoint, Script
from tests.support.builders.scripts import make_transaction

FIRST_INPUT = CellInput(since=7, previous_output=OutPoint(tx_hash=b"\x11" * 32, index=3))
TRANSACTION = make_transaction(inputs=[FIRST_INPUT])
ARGS = ckb_hash(FIRST_INPUT.raw + (2).to_bytes(8, "little"))


def group(args: bytes, inputs: list[int], outputs: list[int]) -> ScriptGroup:
    script = Script(code_hash=TYPE_ID_CODE_HASH, hash_type=1, args=args)
    return ScriptGroup(script, GroupKind.TYPE, inputs, outputs)


def exit_code(type_id: ScriptGroup) -> int:
    with pytest.raises(ValidationFailure) as caught:
        verify_type_id(TRANSACTION, type_id, TYPE_ID_CYCLES)
    return caught.value.exit_code


def test_only_code_hash_and_hash_type_together_name_it() -> None:
    assert is_type_id(Script(code_hash=TYPE_ID_CODE_HASH, hash_type=1, args=b""))
    assert not is_type_id(Script(code_hash=TYPE_ID_CODE_HASH, hash_type=0, args=b""))
    assert not is_type_id(Script(code_hash=bytes(32), hash_type=1, args=b""))


def test_creation_takes_the_hash_of_the_first_input_with_since_and_the_output_index() -> None:
    assert type_id_args(TRANSACTION, 2) == ARGS
    assert verify_type_id(TRANSACTION, group(ARGS, [], [2]), TYPE_ID_CYCLES) == TYPE_ID_CYCLES


def test_creation_with_other_args_fails() -> None:
    assert exit_code(group(ARGS, [], [1])) == -3
    assert exit_code(group(bytes(32), [], [2])) == -3


def test_moving_and_destroying_are_free() -> None:
    assert verify_type_id(TRANSACTION, group(bytes(32), [0], [0]), TYPE_ID_CYCLES) == TYPE_ID_CYCLES
    assert verify_type_id(TRANSACTION, group(bytes(32), [0], []), TYPE_ID_CYCLES) == TYPE_ID_CYCLES


@pytest.mark.parametrize("size", [0, 31, 33])
def test_args_have_32_bytes(size: int) -> None:
    assert exit_code(group(bytes(size), [0], [0])) == -1


@pytest.mark.parametrize(("inputs", "outputs"), [([0, 1], []), ([], [0, 1]), ([0], [0, 1]), ([0, 1], [0])])
def test_one_cell_at_most_on_each_side(inputs: list[int], outputs: list[int]) -> None:
    assert exit_code(group(ARGS, inputs, outputs)) == -2


def test_too_few_cycles_come_before_everything_else() -> None:
    with pytest.raises(ExceededMaximumCycles, match="ExceededMaximumCycles: expect cycles <= 999999"):
        verify_type_id(TRANSACTION, group(b"", [], [2]), TYPE_ID_CYCLES - 1)


def test_a_transaction_without_inputs_creates_nothing() -> None:
    with pytest.raises(ValidationFailure) as caught:
        verify_type_id(make_transaction(inputs=[]), group(ARGS, [], [2]), TYPE_ID_CYCLES)
    assert caught.value.exit_code == -1
