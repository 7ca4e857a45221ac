"""Templates as work, good and bad ones, and the block that comes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ckb_node.jsonrpc_types.chain import read_block
from ckb_node.miner.block_work import BadTemplateError, read_work, submission
from consensus.crypto.difficulty import compact_to_target
from consensus.params import PowFunc
from tests.miner.kit_node import template


def read(function: PowFunc = PowFunc.EAGLESONG, **changes: Any) -> Any:
    return read_work(json.dumps(template() | changes).encode(), function)


def test_a_template_is_work() -> None:
    got = read(compact_target="0x1e015555")
    header = got.block.header
    assert got.work.pow_hash == header.pow_hash
    assert got.work.target == compact_to_target(0x1E015555)
    assert (got.work.prefix, got.work.number, got.work_id) == (b"", 0x401, "0x1")
    assert header.transactions_root == got.block.transactions_root()
    assert header.extra_hash == got.block.extra_hash()


def test_work_of_another_parent_is_other_work() -> None:
    assert read().key == read().key
    assert read().key != read(work_id="0x2").key
    assert read().key != read(parent_hash="0x" + "77" * 32).key


def test_the_nonce_is_the_bytes_that_were_hashed() -> None:
    """Its number is read from them with the last byte first; JSON has no redundant zeros."""
    got, nonce = read(), bytes(range(14)) + bytes(2)
    work_id, block = submission(got, nonce)
    assert work_id == "0x1"
    assert block.header.nonce == hex(int.from_bytes(nonce, "little"))
    assert not block.header.nonce.startswith("0x0")
    solved = read_block(block)
    assert solved.header.raw[-16:] == nonce
    assert solved.header.pow_hash == got.work.pow_hash


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 50_000,
        json.dumps(template() | {"number": "1"}).encode(),
        json.dumps(template() | {"number": "0x" + "f" * 17}).encode(),
        json.dumps(template() | {"parent_hash": "0x12"}).encode(),
        json.dumps(template() | {"transactions": [{}]}).encode(),
        json.dumps(template() | {"compact_target": "0x0"}).encode(),
        json.dumps(template() | {"compact_target": "0x21000001"}).encode(),
    ],
)
def test_what_is_no_template_is_refused(text: bytes) -> None:
    with pytest.raises(BadTemplateError):
        read_work(text, PowFunc.EAGLESONG)


def test_dummy_work_needs_no_target() -> None:
    assert read(PowFunc.DUMMY, compact_target="0x0").work.target > 0
