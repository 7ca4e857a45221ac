"""Strict checks by generated code against the plain ones."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from consensus.codec.layout import U32
from consensus.codec.molecule import Kind, kind, pack_parts, vector
from consensus.errors import MoleculeError
from consensus.kernels.strict import Strict, parse_block, verify_strict
from consensus.kernels.strict_code import CHECKS, MAX_INPUT, Prefilled
from consensus.types.blockchain import Block, CellDep, OutPoint, Script, Transaction, UncleBlock
from tests.support.builders.blocks import a_header, a_transaction, an_input, an_output

POINT = OutPoint(tx_hash=b"\1" * 32, index=0)
SCRIPT = Script(code_hash=bytes(32), hash_type=1, args=b"args")

TRANSACTIONS = [
    a_transaction(),
    a_transaction([an_input(POINT.raw)] * 3, [an_output(1), an_output(2, lock=SCRIPT, type_=SCRIPT)]),
    a_transaction([an_input(POINT.raw)], [], witnesses=[b"", b"witness"]),
    a_transaction(
        [an_input(POINT.raw)], [an_output(1)], cell_deps=[CellDep(out_point=POINT, dep_type=1)], header_deps=[bytes(32)]
    ),
]
UNCLE = UncleBlock(header=a_header(), proposals=[bytes(10)] * 2)


def a_block(*transactions: Transaction, extension: bytes | None = None, uncles: int = 0) -> Block:
    return Block(
        header=a_header(),
        uncles=[UNCLE] * uncles,
        transactions=transactions,
        proposals=[bytes(10)],
        extension=extension,
    )


BLOCKS = [
    a_block(),
    a_block(*TRANSACTIONS),
    a_block(TRANSACTIONS[0], extension=bytes(32)),
    a_block(*TRANSACTIONS, extension=b"", uncles=2),
]
SAMPLES = [
    *((Strict.TRANSACTION, each.raw) for each in TRANSACTIONS),
    *((Strict.TRANSACTIONS, vector(kind(Transaction)).pack(TRANSACTIONS[:count])) for count in (0, 1, 4)),
    (
        Strict.PREFILLED,
        vector(kind(Prefilled)).pack([Prefilled(index=at, transaction=each) for at, each in enumerate(TRANSACTIONS)]),
    ),
    *((Strict.BLOCK, each.raw) for each in BLOCKS),
]


def passes(check: Callable[[], object]) -> bool:
    try:
        check()
    except MoleculeError:
        return False
    return True


def agree(what: Strict, raw: bytes) -> bool:
    """Both checks say the same, also among other bytes; whether it passes."""
    plain: Kind[Any] = CHECKS[what.value]
    expected = passes(lambda: plain.check(raw, 0, len(raw), False))
    assert passes(lambda: verify_strict(what, raw, 0, len(raw))) is expected, raw.hex()
    around = b"before" + raw + b"after!"
    assert passes(lambda: verify_strict(what, around, 6, 6 + len(raw))) is expected, raw.hex()
    return expected


@pytest.mark.parametrize(("what", "raw"), SAMPLES)
def test_what_is_well_formed_passes(what: Strict, raw: bytes) -> None:
    assert agree(what, raw)


@pytest.mark.parametrize(("what", "raw"), SAMPLES)
def test_each_cut_and_each_number_changed(what: Strict, raw: bytes) -> None:
    random = Random(1)
    for end in random.sample(range(len(raw)), min(len(raw), 60)):
        agree(what, raw[:end])
        agree(what, raw[:end] + raw[end + 1 :])
    assert not agree(what, raw + b"\0")
    numbers = [at for at in range(len(raw) - 3) if U32.unpack_from(raw, at)[0] <= len(raw)]
    for at in numbers:
        (value,) = U32.unpack_from(raw, at)
        near = (value + 1, value + 4, value + 44, len(raw))
        for other in (0, 3, 4, 8, *near, 1 << 31, 0xFFFFFFFC, random.getrandbits(32)):
            agree(what, raw[:at] + U32.pack(other) + raw[at + 4 :])


@pytest.mark.parametrize(
    "raw", [b"", b"\4\0\0\0", b"\5\0\0\0", b"\4\0\0", bytes(8), b"\x08\0\0\0\x08\0\0\0", pack_parts([b""])]
)
@pytest.mark.parametrize("what", list(Strict))
def test_next_to_nothing(what: Strict, raw: bytes) -> None:
    agree(what, raw)


def test_unknown_fields_pass_nowhere() -> None:
    transaction = TRANSACTIONS[1]
    longer = pack_parts([transaction.body.raw, transaction.raw[-4:], b"more"])
    assert not agree(Strict.TRANSACTION, longer)
    assert not agree(Strict.TRANSACTIONS, pack_parts([longer]))
    block = BLOCKS[2]
    fields = [block.raw[start:end] for start, end in zip(block.bounds, block.bounds[1:], strict=False)]
    assert agree(Strict.BLOCK, pack_parts(fields))
    assert not agree(Strict.BLOCK, pack_parts([*fields, b"\0\0\0\0"]))


def test_more_than_a_call_takes_is_checked_too() -> None:
    large = Transaction(body=TRANSACTIONS[0].body, witnesses=[bytes(MAX_INPUT)])
    assert agree(Strict.TRANSACTION, large.raw)
    assert not agree(Strict.TRANSACTION, large.raw[:-1])


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_is_the_same_as_by_the_plain_check(block: Block) -> None:
    quick, plain = parse_block(block.raw), Block.parse(block.raw)
    assert quick == plain
    assert list(quick.bounds) == list(plain.bounds)
    assert quick.header == plain.header
    quick_layouts, plain_layouts = quick.checked_transactions, plain.checked_transactions
    assert [(start, end) for start, end, _ in quick_layouts] == [(start, end) for start, end, _ in plain_layouts]
    assert [layout is None for _, _, layout in quick_layouts] == [layout is None for _, _, layout in plain_layouts]
    with pytest.raises(MoleculeError):
        parse_block(block.raw[:-1])
