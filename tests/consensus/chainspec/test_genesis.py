"""Rules of the genesis block; cases of ckb `verification/src/tests/genesis_verifier.rs` and one for each other rule."""

from dataclasses import replace
from typing import Any

import pytest

from consensus.chainspec.genesis import GenesisCellbaseError, GenesisDaoError, GenesisUnclesError, verify_genesis
from consensus.params import Consensus
from consensus.rules.epoch import EpochNumberMismatchError
from consensus.rules.header import NumberError, UnknownParentError
from consensus.types.blockchain import NULL_OUT_POINT, CellInput, Transaction, UncleBlock
from consensus.types.core import EpochFraction
from tests.support.chains.unchecked import (
    SHANNONS,
    block,
    cell_input,
    cellbase,
    header,
    make_consensus,
    output,
    script,
    transaction,
)

SATOSHI = bytes.fromhex("62e907b15cbf27d5425399ebf6f0fb50ebb88f18")


def with_genesis(consensus: Consensus, *transactions: Transaction, **header_fields: Any) -> Consensus:
    """The chain with another genesis block; without transactions only the header changes."""
    genesis = consensus.genesis_block
    if transactions:
        genesis = block(genesis.header, transactions)
    return replace(consensus, genesis_block=genesis.replace(header=genesis.header.with_fields(**header_fields)))


def test_good_genesis() -> None:
    verify_genesis(make_consensus())
    first = cellbase(0, [output(8_400_000 * SHANNONS, script(SATOSHI)), output(900 * SHANNONS)])
    second = transaction([cell_input(first.hash, 1)], [output(900 * SHANNONS)])
    verify_genesis(make_consensus([first, second], genesis_length=1743))


def test_number() -> None:
    with pytest.raises(NumberError) as caught:
        verify_genesis(with_genesis(make_consensus(), number=42))
    assert (caught.value.expected, caught.value.actual) == (0, 42)


def test_epoch_number() -> None:
    verify_genesis(with_genesis(make_consensus(), epoch=EpochFraction(0, 3, 10).pack()))
    with pytest.raises(EpochNumberMismatchError) as caught:
        verify_genesis(with_genesis(make_consensus(), epoch=EpochFraction(1, 0, 0).pack()))
    assert (caught.value.expected, caught.value.actual) == (0, 1)


def test_parent() -> None:
    with pytest.raises(UnknownParentError) as caught:
        verify_genesis(with_genesis(make_consensus(), parent_hash=b"\x2a" * 32))
    assert caught.value.parent_hash == b"\x2a" * 32


def test_uncles() -> None:
    consensus = make_consensus()
    genesis = consensus.genesis_block.replace(uncles=[UncleBlock(header=header(), proposals=[])])
    with pytest.raises(GenesisUnclesError, match="OverCount") as caught:
        verify_genesis(replace(consensus, genesis_block=genesis))
    assert caught.value.count == 1


GOOD = cellbase(0, [output(1_000 * SHANNONS)])
OTHER = transaction([cell_input(b"\x09" * 32)], [output(61 * SHANNONS)])


@pytest.mark.parametrize(
    ("transactions", "reason"),
    [
        ([OTHER], "InvalidQuantity"),
        ([GOOD, cellbase(0)], "InvalidQuantity"),
        ([OTHER, GOOD], "InvalidPosition"),
        ([GOOD.replace(body=GOOD.body.replace(outputs_data=[]))], "InvalidOutputQuantity"),
        ([GOOD.replace(body=GOOD.body.replace(outputs_data=[b"", b""]))], "InvalidOutputQuantity"),
        ([cellbase(1, [output(1_000 * SHANNONS)])], "InvalidInput"),
    ],
)
def test_cellbase(transactions: list[Transaction], reason: str) -> None:
    with pytest.raises(GenesisCellbaseError, match=reason) as caught:
        verify_genesis(with_genesis(make_consensus(), *transactions))
    assert caught.value.reason == reason


def test_cellbase_input_is_that_of_block_0() -> None:
    assert GOOD.body.inputs[0] == CellInput(since=0, previous_output=NULL_OUT_POINT)


def test_dao_field() -> None:
    consensus = make_consensus()
    field = consensus.genesis_block.header.dao
    with pytest.raises(GenesisDaoError, match="InvalidDAO") as caught:
        verify_genesis(with_genesis(consensus, dao=bytes(32)))
    assert (caught.value.expected, caught.value.actual) == (field, bytes(32))
    for changes in (
        {"initial_primary_epoch_reward": 1},
        {"secondary_epoch_reward": 1},
        {"genesis_epoch": consensus.genesis_epoch.replace(length=999)},
    ):
        with pytest.raises(GenesisDaoError):
            verify_genesis(replace(consensus, **changes))
