"""Candidate uncles: bounded, and only what a block may embed is chosen."""

from __future__ import annotations

import pytest

from ckb_node.chain.events import BlockDecided, Verdict
from ckb_node.mining import uncles
from ckb_node.mining.uncles import CandidateUncles, choose_uncles
from consensus.rules.uncles import UncleError, UncleFault, verify_uncles
from consensus.types.blockchain import Block, UncleBlock
from tests.support.chains.branches import branch, submit_all
from tests.support.chains.devchain import DevChain, dev_chain


def numbered(block: Block, number: int, nonce: int = 0) -> Block:
    return block.replace(header=block.header.with_fields(number=number, nonce=nonce))


@pytest.fixture
async def a_block() -> Block:
    return (await branch(b"any", 1))[0]


async def test_bounded_per_height(a_block: Block) -> None:
    candidates = CandidateUncles()
    for nonce in range(uncles.MAX_PER_HEIGHT + 5):
        candidates.add(numbered(a_block, 7, nonce))
    assert len(candidates) == uncles.MAX_PER_HEIGHT
    before = candidates.version
    candidates.add(numbered(a_block, 7, 0))
    assert (len(candidates), candidates.version) == (uncles.MAX_PER_HEIGHT, before)


async def test_the_lowest_heights_leave_a_full_pool(a_block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uncles, "MAX_CANDIDATES", 4)
    candidates = CandidateUncles()
    for number, nonce in ((5, 0), (5, 1), (6, 0), (7, 0), (5, 2), (4, 0)):
        candidates.add(numbered(a_block, number, nonce))
    assert [uncle.header.number for uncle in candidates.lowest_first()] == [5, 5, 6, 7]
    candidates.add(numbered(a_block, 8))
    assert [uncle.header.number for uncle in candidates.lowest_first()] == [6, 7, 8]
    candidates.forget_before(8)
    assert [uncle.header.number for uncle in candidates.lowest_first()] == [8]
    assert len(candidates) == 1


def chosen(dev: DevChain, *candidates: Block) -> list[bytes]:
    """Hashes of the chosen uncles, which the consensus rule must accept."""
    view = dev.chain.view()
    epoch = view.tip_epoch()
    offered = [UncleBlock(header=block.header, proposals=block.proposals) for block in candidates]
    found = choose_uncles(dev.consensus, offered, epoch, view)
    tip = view.tip_header()
    header = tip.with_fields(number=tip.number + 1, parent_hash=tip.hash)
    nephew = Block(header=header, uncles=found, transactions=[], proposals=[])
    verify_uncles(dev.consensus, nephew, epoch, view)
    return [uncle.hash for uncle in found]


async def test_only_valid_ones_are_chosen_and_no_more_than_two() -> None:
    main, side, other = await branch(b"main", 4), await branch(b"side", 3), await branch(b"other", 1)
    async with dev_chain() as dev:
        await submit_all(dev, main)
        assert chosen(dev, *main) == [], "not what is on the main chain"
        assert chosen(dev, side[1]) == [], "its parent is unknown to the main chain"
        assert chosen(dev, side[0], side[1]) == [side[0].hash, side[1].hash], "unless the block embeds that too"
        assert chosen(dev, other[0], side[0], side[1]) == [other[0].hash, side[0].hash]
        assert chosen(dev, side[0], side[0]) == [side[0].hash]
        too_high = numbered(side[0], 5)
        wrong_target = side[0].replace(header=side[0].header.with_fields(compact_target=0x1D00FFFF))
        wrong_epoch = side[0].replace(header=side[0].header.with_fields(epoch=side[0].header.epoch + 1))
        assert chosen(dev, too_high, wrong_target, wrong_epoch) == []
        twice = side[0].replace(proposals=[bytes(10)] * 2)
        assert chosen(dev, twice) == []


async def test_lost_blocks_become_uncles_once() -> None:
    main, side = await branch(b"main", 2), await branch(b"side", 1)
    async with dev_chain() as dev:
        await submit_all(dev, [*side, *main])
        block = await dev.mine()
        assert [uncle.hash for uncle in block.uncles] == [side[0].hash], "it was the best until main grew longer"
        assert list((await dev.mine()).uncles) == []


async def test_uncles_of_the_last_epoch_are_forgotten() -> None:
    side = await branch(b"side", 1)
    async with dev_chain() as dev:
        while dev.chain.view().tip_epoch().number == 0:
            await dev.mine()
        dev.assembler.on_side_block(side[0])
        block = await dev.mine()
        assert list(block.uncles) == []
        assert len(dev.assembler.uncles) == 0


async def test_what_an_uncle_proposes_may_be_committed() -> None:
    """And the nephew does not propose it again."""
    side = await branch(b"side", 1)
    async with dev_chain() as dev:
        await dev.mine()
        short_id = bytes(range(10))
        proposing = side[0].replace(proposals=[short_id]).with_roots()
        await dev.chain.submit_block(proposing)
        block = await dev.mine()
        assert [uncle.hash for uncle in block.uncles] == [proposing.hash]
        assert short_id in dev.pool.pool.proposals.gap
        await dev.mine()
        assert short_id in dev.pool.pool.proposals.proposed


async def test_truncated_blocks_are_no_candidates() -> None:
    """Neither those of the main chain nor those beside it, though a block that stood before stays one."""
    base = await branch(b"base", 3)
    main, side = await branch(b"main", 3, base), await branch(b"side", 2, base)
    old_side = await branch(b"old side", 1, base[:1])
    async with dev_chain() as dev:
        await submit_all(dev, [*base, *main, *side, *old_side])
        assert len(dev.assembler.uncles) == 3
        await dev.chain.truncate(base[-1].hash)
        assert [uncle.hash for uncle in dev.assembler.uncles.lowest_first()] == [old_side[0].hash]
        made = [await dev.mine() for _ in range(3)]
        assert {uncle.hash for block in made for uncle in block.uncles} == {old_side[0].hash}
        assert not any(block.proposals for block in made)


async def test_the_fault_of_an_uncle_is_no_fault_twice() -> None:
    async with dev_chain() as dev:
        main, side = await branch(b"main", 2), await branch(b"side", 1)
        await submit_all(dev, [*main, *side])
        block = (await dev.assembler.block_template()).to_block()
        assert [uncle.hash for uncle in block.uncles] == [side[0].hash]
        for listener in dev.chain._decided_listeners:
            error = UncleError(UncleFault.DUPLICATE, side[0].hash)
            listener(BlockDecided(block, Verdict.REFUSED, error=error))
        assert not (await dev.assembler.block_template()).uncles
