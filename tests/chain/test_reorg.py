"""A branch of several blocks: scripts run beside, and the outcome is that of one block after the other."""

from __future__ import annotations

import pytest

from ckb_node.chain.errors import InvalidBranchError
from consensus.rules.verify_block import BlockTransactionError
from consensus.types.blockchain import Block
from storage.compare import state_differences
from tests.support.chains.branches import branch, submit_all, tip_of, verified_flag, with_wrong_dao
from tests.support.chains.devchain import dev_chain
from tests.support.chains.long_chain import ChainMaker, chain_with_a_bad_signature

PER_BLOCK = 3


def paying_chain(blocks: int) -> list[Block]:
    maker = ChainMaker()
    transfers = list(maker.transfers(maker.cells(blocks * PER_BLOCK)))
    maker.add_in_two_phases([transfers[at : at + PER_BLOCK] for at in range(0, len(transfers), PER_BLOCK)])
    return [Block.parse(raw) for raw in maker.raw_blocks]


async def test_facts_are_those_of_blocks_that_came_one_by_one() -> None:
    blocks = paying_chain(6)
    shorter = await branch(b"shorter", len(blocks) - 1)
    async with dev_chain() as one_by_one, dev_chain() as at_once:
        await submit_all(one_by_one, blocks)
        await submit_all(at_once, [*shorter, *blocks])
        a, b = one_by_one.chain.view(), at_once.chain.view()
        assert tip_of(at_once) == blocks[-1].hash
        assert state_differences(a, b) == []
        for block in blocks:
            ours, theirs = a.block_ext(block.hash), b.block_ext(block.hash)
            assert ours is not None
            assert theirs is not None
            assert theirs.verified is True
            assert theirs.replace(received_at=0) == ours.replace(received_at=0)
            assert len(ours.cycles or ()) == len(block.transactions) - 1
            assert all(ours.cycles or ())


@pytest.mark.parametrize("is_more_wrong_above", [False, True])
async def test_the_lowest_bad_block_is_named_and_all_above_it_are_invalid(is_more_wrong_above: bool) -> None:
    blocks = chain_with_a_bad_signature()
    at = max(index for index, block in enumerate(blocks) if len(block.transactions) > 1)
    if is_more_wrong_above:
        blocks[-1] = with_wrong_dao(blocks[-1])
    shorter = await branch(b"shorter", len(blocks) - 1)
    async with dev_chain() as dev:
        await submit_all(dev, [*shorter, *blocks[:-1]])
        with pytest.raises(InvalidBranchError) as caught:
            await dev.chain.process(blocks[-1])
        assert caught.value.block_hash == blocks[at].hash
        assert isinstance(caught.value.cause, BlockTransactionError)
        assert tip_of(dev) == shorter[-1].hash
        assert [verified_flag(dev, block) for block in blocks] == [None] * at + [False] * (len(blocks) - at)
