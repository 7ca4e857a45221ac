"""Headers and transactions read straight to bytes: the bytes, and the complaints, of the plain readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ckb_node.jsonrpc_types.block_view import decode_block_view, encode_block_view
from ckb_node.jsonrpc_types.chain import (
    BlockJson,
    HeaderJson,
    TransactionJson,
    block_json,
    header_json,
    read_block,
    read_header,
    read_transaction,
    transaction_json,
)
from ckb_node.jsonrpc_types.fast_read import block_of, header_bytes, transaction_bytes
from ckb_node.jsonrpc_types.hex_text import BadTextError
from consensus.errors import MoleculeError
from consensus.types.blockchain import Block, RawTransaction, Transaction
from tests.support.builders.blocks import (
    a_consensus,
    a_dep,
    a_header,
    an_input,
    an_output,
    lock_script,
)
from tests.support.chains.valid import ValidChain
from tests.support.fuzz import examples

T = TypeVar("T")

TEXTS = (
    "", "0x", "0", "0x0", "0x00", "0x1", "0X1", "0xF", "0xff", "0x FF", "0xf ", "0xg0", "-0x1", "0x-1", "0x1_0", "١",
    "0x" + "0" * 64, "0x" + "AB" * 32, "0x" + "ab" * 31, "0x" + " ab" * 20, "0x" + "f" * 8, "0x1" + "0" * 8,
    "0x1" + "0" * 16, "0x" + "f" * 32, "0x1" + "0" * 32, "data", "data1", "data127", "data128", "type", "\udcff",
)  # fmt: skip
"""What may stand where a number, bytes or a name should."""


def outcome(read: Callable[[T], bytes], value: T) -> bytes | str:
    try:
        return read(value)
    except (BadTextError, MoleculeError) as error:
        return f"{type(error).__name__}: {error}"


def assert_same_transaction(value: TransactionJson) -> None:
    assert outcome(transaction_bytes, value) == outcome(lambda each: read_transaction(each).raw, value)


def assert_same_header(value: HeaderJson) -> None:
    assert outcome(header_bytes, value) == outcome(lambda each: read_header(each).raw, value)


def transactions() -> Iterator[Transaction]:
    nothing = RawTransaction(version=0, cell_deps=[], header_deps=[], inputs=[], outputs=[], outputs_data=[])
    yield Transaction(body=nothing, witnesses=[])
    full = RawTransaction(
        version=0xFFFFFFFF,
        cell_deps=[a_dep(b"\1" * 36), a_dep(b"\2" * 36, 1)],
        header_deps=[b"\3" * 32, b"\4" * 32],
        inputs=[an_input(b"\5" * 36, since=(1 << 64) - 1), an_input(b"\6" * 36)],
        outputs=[
            an_output((1 << 64) - 1, lock_script(b"args", 254), lock_script(b"", 1)),
            an_output(0, lock_script(bytes(300), 0)),
        ],
        outputs_data=[b"", b"data", b"more than outputs"],
    )
    yield Transaction(body=full, witnesses=[b"", bytes(1000)])


def replaced(value: Any, random: Random, texts: tuple[str, ...]) -> Any:
    """The plain JSON value with one of its texts replaced, or a list shorter or longer by one."""
    places: list[tuple[Any, Any]] = []

    def visit(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, child in items:
            places.append((node, key))
            visit(child)

    visit(value)
    node, key = random.choice(places)
    if isinstance(node[key], list) and node[key]:
        node[key].append(random.choice(node[key]))
    elif isinstance(node[key], str) and key != "dep_type":
        node[key] = random.choice(texts)
    return value


@pytest.mark.parametrize("transaction", list(transactions()), ids=["empty", "full"])
def test_transactions(transaction: Transaction) -> None:
    assert transaction_bytes(transaction_json(transaction)) == transaction.raw


def test_headers() -> None:
    for header in (a_header(), a_header(number=(1 << 64) - 1, compact_target=0xFFFFFFFF).replace(nonce=(1 << 128) - 1)):
        assert header_bytes(header_json(header)) == header.raw


@pytest.mark.parametrize("text", TEXTS)
def test_each_text_in_each_place(text: str) -> None:
    for name in HeaderJson.__struct_fields__:
        assert_same_header(msgspec.structs.replace(header_json(a_header()), **{name: text}))
    full = transaction_json(list(transactions())[1])
    for change in (
        {"version": text},
        {"header_deps": [text]},
        {"outputs_data": [text]},
        {"witnesses": ["0x", text]},
        {"inputs": [msgspec.structs.replace(full.inputs[0], since=text)]},
        {"outputs": [msgspec.structs.replace(full.outputs[0], capacity=text)]},
    ):
        assert_same_transaction(msgspec.structs.replace(full, **change))
    for change in ({"code_hash": text}, {"hash_type": text}, {"args": text}):
        script = msgspec.structs.replace(full.outputs[0].lock, **change)
        for place in ("lock", "type"):
            output = msgspec.structs.replace(full.outputs[0], **{place: script})
            assert_same_transaction(msgspec.structs.replace(full, outputs=[output]))
    for change in ({"tx_hash": text}, {"index": text}):
        point = msgspec.structs.replace(full.inputs[0].previous_output, **change)
        cell_input = msgspec.structs.replace(full.inputs[0], previous_output=point)
        dep = msgspec.structs.replace(full.cell_deps[0], out_point=point)
        assert_same_transaction(msgspec.structs.replace(full, inputs=[cell_input]))
        assert_same_transaction(msgspec.structs.replace(full, cell_deps=[dep]))


@pytest.mark.fuzz
@hypothesis_settings(max_examples=examples(200), deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_spoilt_transactions(seed: int) -> None:
    random = Random(seed)
    value = msgspec.to_builtins(transaction_json(random.choice(list(transactions()))))
    for _ in range(random.randint(1, 3)):
        value = replaced(value, random, TEXTS)
    assert_same_transaction(msgspec.convert(value, TransactionJson))


def a_block(extension: bytes | None) -> Block:
    """With a bit of everything."""
    chain = ValidChain(a_consensus())
    chain.grow(3)
    return Block(
        header=chain.next_header(),
        uncles=[chain.an_uncle(2, [b"proposed.."])],
        transactions=list(transactions()),
        proposals=[b"0123456789"],
        extension=extension,
    )


@pytest.mark.parametrize("extension", [None, b"", b"extension"])
def test_blocks_of_miners(extension: bytes | None) -> None:
    block = a_block(extension)
    assert block_of(block_json(block)).raw == block.raw


@pytest.mark.fuzz
@hypothesis_settings(max_examples=examples(100), deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_spoilt_blocks(seed: int) -> None:
    random = Random(seed)
    value = replaced(msgspec.to_builtins(block_json(a_block(b"extension"))), random, TEXTS)
    spoilt = msgspec.convert(value, BlockJson)
    assert outcome(lambda each: block_of(each).raw, spoilt) == outcome(lambda each: read_block(each).raw, spoilt)


@pytest.mark.parametrize("extension", [None, b"", b"extension"])
def test_blocks_come_back(extension: bytes | None) -> None:
    block = a_block(extension)
    assert decode_block_view(encode_block_view(block)).raw == block.raw
