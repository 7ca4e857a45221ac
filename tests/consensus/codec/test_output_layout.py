"""Layouts of outputs pass what the plain check passes, and transactions read by them have the facts of plain ones."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import accumulate
from random import Random
from struct import Struct

import pytest

from consensus.codec.output_layout import FEW, MAX_LEARNT, OutputLayouts, facts_if_equal
from consensus.codec.tx_layout import TxLayout, learn_layout, read_layout
from consensus.codec.walk import Walk
from consensus.errors import MoleculeError
from consensus.types.blockchain import CellOutput, Script
from tests.support.builders.blocks import a_transaction, an_input, an_output, lock_script


def outputs(random: Random, count: int) -> list[CellOutput]:
    """Of a few structures, with some of their own."""
    made = []
    for _ in range(count):
        lock = lock_script(
            random.randbytes(random.choice((0, 20, 20, 20, random.randrange(60)))), random.choice((0, 1))
        )
        type_ = lock_script(random.randbytes(32)) if random.random() < 0.3 else None
        made.append(an_output(random.randrange(1 << 64), lock, type_))
    return made


def passes(layouts: OutputLayouts, raw: bytes) -> bool:
    try:
        layouts.check_all(raw, [0, len(raw)])
    except MoleculeError:
        return False
    return True


def passes_plainly(raw: bytes) -> bool:
    try:
        CellOutput.check(raw, 0, len(raw), False)
    except MoleculeError:
        return False
    return True


@pytest.mark.parametrize("seed", range(3))
def test_each_changed_bit_is_judged_as_by_the_plain_check(seed: int) -> None:
    random = Random(seed)
    made = [output.raw for output in outputs(random, 6)]
    layouts = OutputLayouts(CellOutput.check, sizes=4)
    refused = 0
    for raw in made:
        assert passes(layouts, raw)
        for bit in range(8 * len(raw)):
            at, mask = bit // 8, 1 << bit % 8
            changed = raw[:at] + bytes([raw[at] ^ mask]) + raw[at + 1 :]
            assert passes(layouts, changed) == passes_plainly(changed), bit
            refused += not passes_plainly(changed)
        assert not passes(layouts, raw[:-1])
        assert not passes(layouts, raw + b"\0")
    assert refused


def test_an_output_of_a_known_structure_is_not_walked() -> None:
    walked: list[int] = []
    layouts = OutputLayouts(lambda buf, start, end, compatible: walked.append(start))
    raw = [an_output(capacity, lock_script(bytes([capacity] * 20))).raw for capacity in range(9)]
    layouts.check_all(b"".join(raw), list(accumulate(map(len, raw), initial=0)))
    assert walked == [0]


def test_of_one_vector_not_all_new_structures_are_derived() -> None:
    walked: list[int] = []
    layouts = OutputLayouts(lambda buf, start, end, compatible: walked.append(start))
    raw = [an_output(1, lock_script(bytes(size))).raw for size in range(MAX_LEARNT + 5)]
    bounds = list(accumulate(map(len, raw), initial=0))
    layouts.check_all(b"".join(raw), bounds)
    assert walked == bounds[:-1]
    walked.clear()
    layouts.check_all(b"".join(raw), bounds)
    assert walked == bounds[MAX_LEARNT:-1]


@pytest.mark.parametrize("is_warm", [False, True])
def test_a_layout_that_is_not_kept_has_the_same_facts_and_fits_nothing(is_warm: bool) -> None:
    random = Random(7)
    transaction = a_transaction([an_input(bytes(36))] * 3, outputs(random, 40), witnesses=[b"a", b""])
    raw, layouts = transaction.raw, OutputLayouts(CellOutput.check)
    if is_warm:
        raws = [output.raw for output in transaction.body.outputs]
        layouts.check_all(b"".join(raws), list(accumulate(map(len, raws), initial=0)))
    learnt, read = learn_layout(raw), read_layout(raw, layouts)
    assert learnt.fits(raw, 0)
    assert not read.fits(raw, 0)
    assert facts(replace(read, structure=learnt.structure, expected=learnt.expected)) == facts(learnt)


@pytest.mark.parametrize("type_", [None, lock_script(b"type")])
def test_outputs_of_one_structure_have_the_facts_of_one(type_: Script | None) -> None:
    raws = [an_output(capacity, lock_script(bytes([capacity] * 20)), type_).raw for capacity in range(FEW + 3)]
    raw, bounds = b"---" + b"".join(raws), [*accumulate(map(len, raws), initial=3)]
    assert facts_if_equal(raw, bounds) == Walk(raws[0]).output((0, len(raws[0])))
    transaction = a_transaction([an_input(bytes(36))], [CellOutput.parse(each) for each in raws])
    learnt, read = learn_layout(transaction.raw), read_layout(transaction.raw, OutputLayouts(CellOutput.check))
    assert facts(replace(read, structure=learnt.structure, expected=learnt.expected)) == facts(learnt)


def test_outputs_that_differ_in_a_hash_type_a_size_or_a_part_have_no_common_facts() -> None:
    alike = [an_output(capacity, lock_script(bytes(20))).raw for capacity in range(FEW + 3)]
    others = [
        an_output(1, lock_script(bytes(20), 4)).raw,
        an_output(1, lock_script(bytes(21))).raw,
        an_output(1, lock_script(bytes(20)), lock_script(b"")).raw,
    ]
    for at in range(len(alike)):
        for other in others:
            raws = [*alike[:at], other, *alike[at + 1 :]]
            bounds = [*accumulate(map(len, raws), initial=0)]
            assert facts_if_equal(b"".join(raws), bounds) is None
    longer, shorter = an_output(1, lock_script(bytes(24))).raw, an_output(1, lock_script(bytes(16))).raw
    raws = [longer, shorter, *alike]  # as long together as outputs that are alike
    assert facts_if_equal(b"".join(raws), [*accumulate(map(len, raws), initial=0)]) is None
    assert facts_if_equal(b"", [0]) is None


def facts(layout: TxLayout) -> list[object]:
    """All that a layout says, readers by their formats."""
    values = [getattr(layout, each.name) for each in fields(TxLayout)]
    return [value.format if isinstance(value, Struct) else value for value in values]
