"""Lines of exported chains: what the reference wrote reads and writes the same, and nothing else is believed."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckb_node.commands.block_lines import BlockLineError, read_blocks
from ckb_node.jsonrpc_types.block_view import BlockTextError, decode_block_view, encode_block_view
from consensus.types.blockchain import Block
from tests.support.fuzz import examples
from tests.support.nodes.directories import mined

# Block 2 of a dev chain, as `ckb export` of the reference node 0.206.0 wrote it.
REFERENCE_LINE = (
    b'{"header":{"version":"0x0","compact_target":"0x20010000","timestamp":"0x1a20272f929","number":"0x2",'
    b'"epoch":"0xa0002000000","parent_hash":"0x15c8933cb41b92c24adb2abc751699fb5bc642f764a6e6bd712d8b3835415dd5",'
    b'"transactions_root":"0xbd3df6f19c8d433bf0c71027c9378b85d78c50134e124ca72e1927349faf8f03",'
    b'"proposals_hash":"0x0000000000000000000000000000000000000000000000000000000000000000",'
    b'"extra_hash":"0x7f285adca285097843fd36e56d4a3b88a00f7b32104f9f4803db4bc8d08674bb",'
    b'"dao":"0x1d78d68e4363a12ee3e511f1fa862300f091bde0110f00000053322801fbfe06","nonce":"0x0",'
    b'"hash":"0xeadc4fba8f48c7b28357f76228e49138e767eb716d69d1fb16dce84e582bd97b"},"uncles":[],"transactions":['
    b'{"version":"0x0","cell_deps":[],"header_deps":[],"inputs":[{"since":"0x2","previous_output":{'
    b'"tx_hash":"0x0000000000000000000000000000000000000000000000000000000000000000","index":"0xffffffff"}}],'
    b'"outputs":[],"outputs_data":[],"witnesses":["0x800000000c000000550000004900000010000000300000003100000'
    b"09bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce80114000000c8328aabcd9b9e8e64fbc566c4385c"
    b'3bdeb219d7270000000000000020302e3230362e302028356562626333392d646972747920323032362d30342d313029"],'
    b'"hash":"0xdb9e84bc7bf583f0d0f2dcd82a41229bf52cfa45edbedfb7a4d0d3120b8e4066"}],"proposals":[],'
    b'"extension":"0xf6eaa817ccd10bd1846257fa20c9345c2e2b10b1b19e5fd2fa446171d5e8f9fa"}'
)

HEADER_HASH = b',"hash":"0xeadc4fba8f48c7b28357f76228e49138e767eb716d69d1fb16dce84e582bd97b"'


def test_a_line_of_the_reference() -> None:
    block = decode_block_view(REFERENCE_LINE)
    assert block.hash.hex() == "eadc4fba8f48c7b28357f76228e49138e767eb716d69d1fb16dce84e582bd97b"
    assert block.transactions[0].hash.hex() == "db9e84bc7bf583f0d0f2dcd82a41229bf52cfa45edbedfb7a4d0d3120b8e4066"
    assert block.with_roots() is block
    assert encode_block_view(block) == REFERENCE_LINE


def test_what_is_written_reads_the_same() -> None:
    for block in mined():
        again = decode_block_view(encode_block_view(block))
        assert again.raw == block.raw
        assert Block.parse(again.raw) == block


def test_hashes_may_be_missing_and_other_members_are_passed_over() -> None:
    text = REFERENCE_LINE.replace(HEADER_HASH, b"")
    text = text.replace(b'"uncles":[]', b'"uncles":[],"colour":{"red":[1,2,3]}')
    assert decode_block_view(text) == decode_block_view(REFERENCE_LINE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b"\xff\xfe", "malformed"),
        (b'{"x":' + b"[" * 200_000, "nested too deeply"),
        (REFERENCE_LINE[:-1], "truncated"),
        (REFERENCE_LINE.replace(b'"number":"0x2"', b'"number":"0x3"'), "but it is"),
        (REFERENCE_LINE.replace(b'"number":"0x2"', b'"number":"0x02"'), "redundant leading zeros"),
        (REFERENCE_LINE.replace(b'"number":"0x2"', b'"number":2'), "Expected `str`"),
        (REFERENCE_LINE.replace(b'"nonce":"0x0"', b'"nonce":"0x' + b"f" * 33 + b'"'), "too large"),
        (REFERENCE_LINE.replace(b'"proposals":[]', b'"proposals":["0x00"]'), "ProposalShortId"),
        (REFERENCE_LINE.replace(b'"uncles":[],', b""), "uncles"),
    ],
)
def test_bad_texts(text: bytes, reason: str) -> None:
    with pytest.raises(BlockTextError, match=reason):
        decode_block_view(text)


def test_lines_are_bounded_before_they_are_read() -> None:
    class Endless(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            assert size is not None
            assert 0 < size <= 100_001
            return b"x" * size

    with pytest.raises(BlockLineError, match="line 1: longer than 100000 bytes"):
        next(read_blocks(Endless(), limit=100_000))


def test_empty_lines_do_not_count_and_bad_ones_are_numbered() -> None:
    file = io.BytesIO(b"\n" + REFERENCE_LINE + b"\r\n\n" + b"nonsense\n")
    lines = read_blocks(file)
    line = next(lines)
    assert (line.number, line.size, line.block.number) == (2, len(REFERENCE_LINE) + 2, 2)
    with pytest.raises(BlockLineError, match="line 4: no block"):
        next(lines)


@given(st.integers(0, len(REFERENCE_LINE) - 1), st.binary(min_size=0, max_size=3))
@settings(max_examples=examples(300), deadline=None)
def test_a_changed_line_has_the_same_header_or_is_refused(at: int, new: bytes) -> None:
    """The header's hash covers the header; whether the header covers the body is the rules' to find out."""
    text = REFERENCE_LINE[:at] + new + REFERENCE_LINE[at + 1 :]
    try:
        block = decode_block_view(text)
    except BlockTextError:
        return
    if HEADER_HASH in text:
        assert block.header == decode_block_view(REFERENCE_LINE).header
    assert Block.parse(block.raw) == block
