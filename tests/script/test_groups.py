"""Script groups: what runs, once for which cells, in which order (RFC 22)."""

from __future__ import annotations

from consensus.script.groups import GroupKind, script_groups
from consensus.types.blockchain import Script
from tests.support.builders.scripts import make_cell, make_output, make_transaction, resolve


def make_script(number: int) -> Script:
    return Script(code_hash=bytes([number]) * 32, hash_type=0, args=b"")


A, B, C = (make_script(number) for number in (1, 2, 3))


def test_cells_with_the_same_script_form_one_group() -> None:
    rtx = resolve(make_transaction(), [make_cell(lock=A), make_cell(lock=B), make_cell(lock=A)])
    groups = {group.script.hash: group for group in script_groups(rtx)}
    assert groups[A.hash].input_indexes == [0, 2]
    assert groups[B.hash].input_indexes == [1]


def test_type_groups_span_inputs_and_outputs() -> None:
    transaction = make_transaction(outputs=[make_output(), make_output(type_=C), make_output(type_=C)])
    rtx = resolve(transaction, [make_cell(lock=A), make_cell(lock=A, type_=C)])
    lock, type_ = script_groups(rtx)
    assert (lock.kind, lock.input_indexes, lock.output_indexes) == (GroupKind.LOCK, [0, 1], [])
    assert (type_.kind, type_.input_indexes, type_.output_indexes) == (GroupKind.TYPE, [1], [1, 2])


def test_locks_of_outputs_do_not_run() -> None:
    rtx = resolve(make_transaction(outputs=[make_output(lock=B)]), [make_cell(lock=A)])
    assert [group.script for group in script_groups(rtx)] == [A]


def test_the_same_script_as_lock_and_type_runs_twice() -> None:
    rtx = resolve(make_transaction(), [make_cell(lock=A, type_=A)])
    assert [(group.script, group.kind) for group in script_groups(rtx)] == [(A, GroupKind.LOCK), (A, GroupKind.TYPE)]


def test_locks_run_before_types_each_in_order_of_their_hashes() -> None:
    scripts = [make_script(number) for number in range(20)]
    cells = [make_cell(lock=script, type_=script) for script in scripts]
    groups = script_groups(resolve(make_transaction(), cells))
    hashes = sorted(script.hash for script in scripts)
    assert [group.script.hash for group in groups] == hashes + hashes
    assert [group.kind for group in groups] == [GroupKind.LOCK] * 20 + [GroupKind.TYPE] * 20


def test_a_group_is_named_after_its_first_cell() -> None:
    transaction = make_transaction(outputs=[make_output(), make_output(type_=B), make_output(type_=C)])
    groups = script_groups(resolve(transaction, [make_cell(lock=A), make_cell(lock=A, type_=C)]))
    assert {group.script.hash: group.source for group in groups} == {
        A.hash: "Inputs[0].Lock",
        B.hash: "Outputs[1].Type",
        C.hash: "Inputs[1].Type",
    }
