"""Real blocks: what the header commits to, the rules of a block alone, and that no part can be changed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from consensus.errors import BlockError
from consensus.rules.block import (
    ExtraHashError,
    ProposalsHashError,
    TransactionsRootError,
    UncleProposalsHashError,
    verify_block_body,
    verify_cellbase,
    verify_commitments,
)
from consensus.types.blockchain import Block, CellbaseWitness, Header, Transaction, UncleBlock
from tests.realchain.kinds import MAINNET, TESTNET, RealBlock
from tests.realchain.vectors import BLOCKS, FIRST_BLOCKS
from tests.support.chains.unchecked import make_consensus

CONSENSUS = make_consensus()


def named(real: RealBlock) -> str:
    return f"{real.network}-{real.block.number}"


@pytest.mark.parametrize("real", BLOCKS, ids=named)
def test_hash_commitments_and_body(real: RealBlock) -> None:
    block = real.block
    assert block.hash.hex() == real.hash
    assert block.raw.hex() == real.raw
    assert block.replace().raw == block.raw
    verify_block_body(CONSENSUS, block)
    CellbaseWitness.parse(block.cellbase_witness)
    for uncle in block.uncles:
        assert uncle.header.epoch & 0xFFFFFF == block.header.epoch & 0xFFFFFF
        assert uncle.header.number < block.number


@pytest.mark.parametrize("network", [MAINNET, TESTNET])
def test_the_first_blocks_are_a_chain(network: str) -> None:
    blocks = [real.block for real in FIRST_BLOCKS[network]]
    assert [block.number for block in blocks] == list(range(1, len(blocks) + 1))
    assert all(child.parent_hash == parent.hash for parent, child in pairwise(blocks))
    genesis = {
        MAINNET: "92b197aa1fba0f63633922c61c92375c9c074a93e85963554f5499fe1450d0e5",
        TESTNET: "10639e0895502b5688a6be8cf69460d76541bfa4821629d86d62ba0aae3f9606",
    }
    assert blocks[0].parent_hash.hex() == genesis[network]


def test_there_is_everything_that_a_block_can_hold() -> None:
    """Uncles with and without proposals, proposals, many transactions, extensions."""
    blocks = [real.block for real in BLOCKS]
    assert sum(len(block.uncles) for block in blocks) >= 8
    assert any(uncle.proposals for block in blocks for uncle in block.uncles)
    assert sum(1 for block in blocks if block.proposals) >= 40
    assert max(len(block.transactions) for block in blocks) >= 5
    assert sum(1 for block in blocks if block.extension is not None) == 4
    assert all(len(block.extension) == 32 for block in blocks if block.extension is not None)


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def with_witness_changed(block: Block) -> Block:
    *others, last = block.transactions
    changed = Transaction(body=last.body, witnesses=[*last.witnesses[:-1], flipped(last.witnesses[-1])])
    return block.replace(transactions=[*others, changed])


def with_version_changed(block: Block) -> Block:
    *others, last = block.transactions
    body = last.body.replace(version=1)
    return block.replace(transactions=[*others, Transaction(body=body, witnesses=last.witnesses)])


def with_proposal_changed(block: Block) -> Block:
    return block.replace(proposals=[*block.proposals[:-1], flipped(block.proposals[-1])])


def with_transactions_reversed(block: Block) -> Block:
    return block.replace(transactions=list(reversed(block.transactions)))


def with_uncle_changed(block: Block) -> Block:
    """The nonce is not in the hash that work is over, but it is in the uncle's."""
    *others, last = block.uncles
    header: Header = last.header.with_fields(nonce=last.header.nonce ^ 1)
    return block.replace(uncles=[*others, UncleBlock(header=header, proposals=last.proposals)])


def with_uncles_reversed(block: Block) -> Block:
    return block.replace(uncles=list(reversed(block.uncles)))


def with_uncle_proposal(block: Block) -> Block:
    *others, last = block.uncles
    return block.replace(uncles=[*others, UncleBlock(header=last.header, proposals=[*last.proposals, bytes(10)])])


def with_extension_changed(block: Block) -> Block:
    assert block.extension is not None
    return block.replace(extension=flipped(block.extension))


def with_extension(block: Block) -> Block:
    return block.replace(extension=b"\x01")


DAMAGES: list[tuple[Callable[[Block], Block], type[BlockError], Callable[[Block], bool]]] = [
    (with_witness_changed, TransactionsRootError, lambda block: bool(block.transactions[-1].witnesses[-1])),
    (with_version_changed, TransactionsRootError, lambda block: True),
    (with_transactions_reversed, TransactionsRootError, lambda block: len(block.transactions) > 1),
    (with_proposal_changed, ProposalsHashError, lambda block: bool(block.proposals)),
    (with_uncle_changed, ExtraHashError, lambda block: bool(block.uncles)),
    (with_uncles_reversed, ExtraHashError, lambda block: len(block.uncles) > 1),
    (with_uncle_proposal, UncleProposalsHashError, lambda block: bool(block.uncles)),
    (with_extension_changed, ExtraHashError, lambda block: block.extension is not None),
    (with_extension, ExtraHashError, lambda block: block.extension is None),
]


@pytest.mark.parametrize(("damage", "error", "applies"), DAMAGES)
def test_a_changed_body_is_not_the_header_s(
    damage: Callable[[Block], Block], error: type[BlockError], applies: Callable[[Block], bool]
) -> None:
    tried = 0
    for real in BLOCKS:
        if applies(real.block):
            with pytest.raises(error):
                verify_commitments(damage(real.block))
            tried += 1
    assert tried >= 2


def test_a_cellbase_of_another_height_is_refused() -> None:
    """What stands in its input is the height."""
    for parent, child in pairwise(FIRST_BLOCKS[MAINNET]):
        swapped = child.block.replace(transactions=parent.block.transactions[:1])
        with pytest.raises(BlockError):
            verify_cellbase(swapped)
