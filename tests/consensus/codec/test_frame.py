"""Blocks parsed by their frame: it says what the plain strict check says of the bytes, and reads the same."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from consensus.codec.frame import ordinary_frame
from consensus.errors import MoleculeError
from consensus.types.blockchain import Block
from tests.support.builders.blocks import a_consensus, a_transaction
from tests.support.chains.valid import ValidChain
from tests.support.fuzz import examples

HEADER_AT: dict[bytes | None, int] = {None: 20, b"": 24, b"extension" * 5: 24}
"""Where the header of a block with this extension begins."""


def plain_verdict(raw: bytes) -> str | None:
    """What `Table.check` says of a block."""
    try:
        Block.check(raw, 0, len(raw), compatible=False)
    except MoleculeError as error:
        return str(error)
    return None


def verdict(raw: bytes) -> str | None:
    try:
        Block.parse(raw)
    except MoleculeError as error:
        return str(error)
    return None


def a_block(
    extension: bytes | None = None, proposals: int = 0, transactions: int = 1, *, with_uncle: bool = False
) -> Block:
    chain = ValidChain(a_consensus())
    chain.grow(3)
    return Block(
        header=chain.next_header(),
        uncles=[chain.an_uncle(2)] if with_uncle else [],
        transactions=[a_transaction(witnesses=[bytes(number)]) for number in range(transactions)],
        proposals=[bytes([number]) * 10 for number in range(proposals)],
        extension=extension,
    )


BLOCKS = [
    a_block(extension, proposals, transactions)
    for extension in HEADER_AT
    for proposals in (0, 3)
    for transactions in (0, 1, 4)
]


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_ordinary_blocks(block: Block) -> None:
    raw = block.raw
    assert ordinary_frame(raw) is not None
    parsed, viewed = Block.parse(raw), Block.trusted(raw)
    assert list(parsed.bounds) == list(viewed.bounds)
    assert parsed.header == viewed.header
    assert parsed.header.hash == block.header.hash
    assert [each.hash for each in parsed.tx_slices] == [each.hash for each in viewed.tx_slices]
    assert [each.raw for each in parsed.tx_slices] == [each.raw for each in block.transactions]
    assert (parsed.extension, list(parsed.proposals)) == (block.extension, list(block.proposals))
    assert parsed.own_proposal_ids == list(block.proposals)
    assert parsed.raw is raw, "it is not copied"


def test_others_are_left_to_the_plain_check() -> None:
    for extension in HEADER_AT:
        raw = a_block(extension, with_uncle=True).raw
        assert ordinary_frame(raw) is None
        assert Block.parse(raw).has_uncles
    empty = b"\4\0\0\0"
    for raw in (b"", empty, empty * 60, BLOCKS[0].raw + b"\0", BLOCKS[0].raw[:-1]):
        assert ordinary_frame(raw) is None
        assert verdict(raw) == plain_verdict(raw)
        assert verdict(raw) is not None


def test_an_extra_field_is_for_the_compatible() -> None:
    block = BLOCKS[-1]
    parts = [block.header.raw, *(block.raw[a:b] for a, b in zip(block.bounds[1:], block.bounds[2:], strict=False))]
    head = 4 * (len(parts) + 2)
    offsets, at = [], head
    for part in (*parts, b"new"):
        offsets.append(at)
        at += len(part)
    raw = b"".join(number.to_bytes(4, "little") for number in (at, *offsets)) + b"".join(parts) + b"new"
    assert ordinary_frame(raw) is None
    assert verdict(raw) == plain_verdict(raw) is not None
    assert Block.parse(raw, compatible=True).header == block.header


@pytest.mark.parametrize("extension", list(HEADER_AT))
def test_every_bit_of_the_frame(extension: bytes | None) -> None:
    raw = a_block(extension, proposals=1).raw
    at = HEADER_AT[extension]
    header = range(8 * at, 8 * (at + 208))
    for bit in range(8 * len(raw)):
        if bit in header:  # any 208 bytes are a header
            continue
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        assert verdict(bytes(changed)) == plain_verdict(bytes(changed)), bit


@pytest.mark.fuzz
@hypothesis_settings(max_examples=examples(300), deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_spoilt_blocks(seed: int) -> None:
    random = Random(seed)
    raw = bytearray(random.choice(BLOCKS).raw)
    for _ in range(random.randint(1, 4)):
        at = 4 * random.randrange(len(raw) // 4)
        match random.randrange(4):
            case 0:
                raw[at : at + 4] = random.choice((0, 1, 4, 10, 20, 24, 232, 236, len(raw), 1 << 31)).to_bytes(
                    4, "little"
                )
            case 1:
                raw[at : at + 4] = raw[4 * random.randrange(8) :][:4]
            case 2:
                raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)
            case _:
                del raw[at : at + random.choice((1, 4))]
    assert verdict(bytes(raw)) == plain_verdict(bytes(raw))
