"""The language of the operator's filters, and what they leave out of the index."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ckb_node.indexer.custom_filters import CustomFilters
from ckb_node.indexer.filter_language import MAX_DEPTH, MAX_PROGRAM, FilterError, compile_filter
from ckb_node.indexer.index import Index
from ckb_node.indexer.keys import CELL, CELL_HEAD
from storage.memory import MemoryStore
from tests.indexer.kit_index import CODES, Model, a_chain

SCOPE = {
    "block": {"header": {"number": "0x10"}, "transactions": [1, 2]},
    "output": {"type": None, "lock": {"args": "0x0102"}},
    "output_data": "0x",
}


def value(text: str) -> Any:
    return compile_filter(text)(dict(SCOPE))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('block.header.number.to_uint() >= "0x0".to_uint()', True),
        ('block.header.number.to_uint() < "16".to_uint()', False),
        ("let script = output.type; script != () && script.code_hash == 1", False),
        ('let script = output.lock; script!=() && script.args == "0x0102";', True),
        ("1 + 2 * 3 == 7 && !(1 > 2)", True),
        ("-7 / 2 == -3 && -7 % 2 == -1", True),
        ("false || 1 == 1 && 2 == 2", True),
        ("2 - 1 - 1 == 0", True),
        ('1 == "1" || 1 == "1".to_uint()', False),
        ('1 < "2"', False),
        ('output["lock"].args.len() == 6 && block.transactions.len() == 2', True),
        ("block.transactions[0] == 1 && block.transactions[-1] == 2", True),
        ('output_data.starts_with("0x") && output.lock.args.contains("01") && "ab".ends_with("b")', True),
        ('to_uint("0xff") == "0b11111111".to_uint() && to_uint("0o377") == "255".to_uint()', True),
        ("block.missing == ()", True),
        ('output.type?.args == () && output?.lock?.args == "0x0102"', True),
        ('"a\\"b" == "a\\"b"', True),
    ],
)
def test_values(text: str, expected: bool) -> None:
    assert value(text) is expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "ends too early"),
        ("1 +", "ends too early"),
        ("(1", "is missing"),
        ("1 2", "not expected"),
        ("let = 1; 1", "`let` wants"),
        ("fn x() { 1 }", "not expected|not understood"),
        ("while true {}", "not expected|not understood"),
        ("a.b()", "unknown method"),
        ("import(1)", "unknown method"),
        ("9223372036854775808", "too large"),
        ('"\\u"', "unknown escape"),
        ("@", "not understood"),
        ("(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1), "nested"),
        ("!" * (MAX_DEPTH + 1) + "true", "nested"),
        ("1" * (MAX_PROGRAM + 1), "longer than"),
    ],
)
def test_programs_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(FilterError, match=reason):
        compile_filter(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("missing", "there is no 'missing'"),
        ("output.type.args", "there is no 'args' in a value of type"),
        ("1 && true", "true or false is wanted"),
        ("1 / 0", "division by zero"),
        ("9223372036854775807 + 1", "out of range"),
        ('"0".to_uint() - "1".to_uint()', "out of range"),
        ('"x".to_uint()', "not a number"),
        ('"' + "9" * 400 + '".to_uint()', "too large"),
        ('"a" + "b"', "no '\\+' of text and text"),
        ("block.transactions[2]", "there is no 2"),
        ("true.len()", "has no length"),
    ],
)
def test_values_that_do_not_exist(text: str, reason: str) -> None:
    with pytest.raises(FilterError, match=reason):
        value(text)


def test_only_cells_that_the_filter_takes_are_indexed() -> None:
    wanted = f'output.lock.code_hash == "0x{CODES[0].hex()}" && output_data != "0x00000000"'
    chain = a_chain(random.Random(7), 12)
    kept = Index(MemoryStore(), CustomFilters(None, wanted))
    for block in chain:
        kept.append(block)
    live = {key[1:] for key, _ in kept.store.iterator(prefix=CELL)}
    expected = {row.out_point for row in Model(chain).live if row.output.lock.code_hash == CODES[0] and row.data}
    assert live == expected
    assert live
    for _ in chain:
        kept.rollback()
    assert list(kept.store.iterator()) == []


def test_blocks_that_the_filter_leaves_out_have_a_tip_only() -> None:
    chain = a_chain(random.Random(8), 10)
    kept = Index(MemoryStore(), CustomFilters('block.header.number.to_uint() >= "0x6".to_uint()'))
    for block in chain:
        kept.append(block)
    numbers = {CELL_HEAD.unpack_from(packed)[0] for _, packed in kept.store.iterator(prefix=CELL)}
    assert numbers
    assert min(numbers) >= 6
    assert kept.tip() == (9, chain[-1].hash)


def test_an_index_of_other_filters_is_not_sound() -> None:
    store = MemoryStore()
    kept = Index(store)
    for block in a_chain(random.Random(9), 3):
        kept.append(block)
    assert Index(store).is_sound(10)
    assert not Index(store, CustomFilters(None, "true")).is_sound(10)


def test_a_filter_that_gives_no_verdict_stops_the_index() -> None:
    kept = Index(MemoryStore(), CustomFilters("1"))
    with pytest.raises(FilterError, match="block_filter: the result is neither true nor false"):
        kept.append(a_chain(random.Random(9), 1)[0])
    assert kept.tip() is None
