"""Blocks given together, each with its own source: what was taken, which one was refused, and who gave it."""

from __future__ import annotations

import pytest

from ckb_node.chain.bulk import BulkOutcome
from ckb_node.chain.events import BlockDecided, Verdict
from consensus.errors import CkbError
from consensus.rules.block import ProposalsHashError
from consensus.rules.header import UnknownParentError
from consensus.types.blockchain import Block
from tests.support.chains.branches import branch, submit_all, tip_of, with_wrong_dao
from tests.support.chains.devchain import DevChain, dev_chain
from tests.support.chains.long_chain import chain_with_a_bad_signature


async def run(dev: DevChain, blocks: list[Block]) -> BulkOutcome:
    """Each block is given by its place."""
    return await dev.chain.start_run(blocks, list(range(len(blocks))))


async def test_blocks_that_stand_on_each_other_are_taken() -> None:
    made = await branch(b"ours", 6)
    async with dev_chain() as dev:
        assert (await run(dev, made[:4])).verdicts == [Verdict.BEST] * 4
        assert (await run(dev, made[2:])).verdicts == [Verdict.KNOWN] * 2 + [Verdict.BEST] * 2
        assert tip_of(dev) == made[-1].hash
        assert dev.chain.queue_limit.blocks == dev.chain.queue_limit.bytes == 0


def false_body(block: Block) -> Block:
    return block.replace(proposals=[bytes(10)])


@pytest.mark.parametrize("at", [0, 2, 5])
async def test_the_first_that_breaks_a_rule_is_told_with_its_giver(at: int) -> None:
    made = await branch(b"ours", 6)
    for spoil, kind in ((with_wrong_dao, CkbError), (false_body, ProposalsHashError)):
        blocks, decided = [*made[:at], spoil(made[at]), *made[at + 1 :]], list[BlockDecided]()
        async with dev_chain() as dev:
            dev.chain.listen_decided(decided.append)
            outcome = await run(dev, blocks)
            assert outcome.verdicts == [Verdict.BEST] * at
            assert outcome.refused == blocks[at]
            assert isinstance(outcome.error, kind)
            assert [(each.block, tuple(each.sources)) for each in decided] == [(blocks[at], (at,))]
            with dev.chain.view() as view:
                assert view.tip_header().number == at
            if kind is ProposalsHashError:
                assert (await run(dev, made)).error is None


async def test_scripts_that_fail_later_are_told_of_their_own_block() -> None:
    blocks, decided = chain_with_a_bad_signature(), list[BlockDecided]()
    async with dev_chain() as dev:
        dev.clock.advance(1 << 50)
        dev.chain.listen_decided(decided.append)
        outcome = await run(dev, blocks)
        bad = len(outcome.verdicts)
        assert 0 < bad < len(blocks) - 1
        assert outcome.refused == blocks[bad]
        assert [tuple(each.sources) for each in decided] == [(bad,)]
        assert tip_of(dev) == blocks[bad - 1].hash


async def test_a_gap_is_no_broken_rule() -> None:
    made, decided = await branch(b"ours", 4), list[BlockDecided]()
    async with dev_chain() as dev:
        dev.chain.listen_decided(decided.append)
        outcome = await run(dev, [made[0], made[2], made[3]])
        assert outcome.verdicts == [Verdict.BEST]
        assert outcome.refused == made[2]
        assert isinstance(outcome.error, UnknownParentError)
        assert decided == []


async def test_a_branch_is_taken_though_it_is_not_the_best_yet() -> None:
    ours, theirs = await branch(b"ours", 3), await branch(b"theirs", 5)
    async with dev_chain() as dev:
        await submit_all(dev, ours)
        verdicts = (await run(dev, theirs)).verdicts
        assert verdicts == [Verdict.SIDE] * 3 + [Verdict.BEST] * 2


async def test_one_block_needs_no_room_in_the_queue() -> None:
    made = await branch(b"ours", 2)
    async with dev_chain() as dev:
        dev.chain.queue_limit.take(1 << 30)
        assert await dev.chain.start_block(made[0], "alice") is Verdict.BEST
        dev.chain.queue_limit.release(1 << 30)
        assert await dev.chain.process(made[0]) is Verdict.KNOWN
        assert dev.chain.queue_limit.blocks == dev.chain.queue_limit.bytes == 0
