"""What a transaction is judged by: its block, or the tip with the proposal window (RFC 20)."""

from __future__ import annotations

import pytest

from consensus.params import ProposalWindow
from consensus.tx_env import TxEnv
from consensus.types.blockchain import Header
from consensus.types.core import EpochFraction
from tests.support.builders.blocks import a_header

WINDOW = ProposalWindow(closest=2, farthest=10)


def header_at(index: int, length: int = 100) -> Header:
    return a_header(number=1000, epoch=EpochFraction(7, index, length).pack(), parent_hash=b"\x01" * 32)


def test_submitted_transaction_is_committed_three_blocks_later_at_the_earliest() -> None:
    tip = header_at(96)
    env = TxEnv.submitted(tip)
    assert (env.block_number(WINDOW), env.parent_hash, env.is_committed) == (1003, tip.hash, False)
    assert env.epoch == EpochFraction(7, 96, 100)


@pytest.mark.parametrize(("index", "epoch_number"), [(96, 7), (97, 8)])
def test_submitted_transaction_crosses_the_epoch_with_the_window(index: int, epoch_number: int) -> None:
    assert TxEnv.submitted(header_at(index)).epoch_number(WINDOW) == epoch_number


@pytest.mark.parametrize(("blocks", "number"), [(0, 1002), (1, 1001), (2, 1000), (5, 997)])
def test_proposed_transaction_counts_from_its_proposal(blocks: int, number: int) -> None:
    assert TxEnv.proposed(header_at(0), blocks).block_number(WINDOW) == number


def test_proposed_before_genesis_does_not_go_below_the_window() -> None:
    assert TxEnv.proposed(a_header(number=1), 5).block_number(WINDOW) == 2


@pytest.mark.parametrize(
    ("blocks", "index", "epoch_number"), [(0, 97, 7), (0, 98, 8), (1, 98, 7), (1, 99, 8), (9, 99, 7)]
)
def test_proposed_transaction_has_less_of_the_window_left(blocks: int, index: int, epoch_number: int) -> None:
    assert TxEnv.proposed(header_at(index), blocks).epoch_number(WINDOW) == epoch_number


def test_committed_transaction_is_judged_by_its_own_block() -> None:
    header = header_at(99)
    env = TxEnv.committed(header)
    assert (env.block_number(WINDOW), env.epoch_number(WINDOW), env.parent_hash) == (1000, 7, header.parent_hash)
    assert env.epoch_without_proposal_window == 7
    assert env.is_committed


@pytest.mark.parametrize(("index", "epoch_number"), [(98, 7), (99, 8)])
def test_scripts_in_the_pool_look_one_block_ahead_only(index: int, epoch_number: int) -> None:
    assert TxEnv.submitted(header_at(index)).epoch_without_proposal_window == epoch_number
    assert TxEnv.proposed(header_at(index), 1).epoch_without_proposal_window == epoch_number
