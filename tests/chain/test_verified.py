"""Who tells peers of blocks hears of the next tip when its rules have passed, before the disk has it."""

from __future__ import annotations

import pytest

from consensus.errors import CkbError
from consensus.types.blockchain import Block
from tests.support.chains.branches import branch, is_stored, with_wrong_dao
from tests.support.chains.devchain import DevChain, dev_chain


class Heard:
    """What was told, in order."""

    def __init__(self, dev: DevChain) -> None:
        self.told: list[tuple[str, bytes]] = []
        dev.chain.listen(lambda change: self.told.append(("changed", change.new_tip.hash)))
        dev.chain.listen_verified(self._verified)

    def _verified(self, block: Block) -> None:
        self.told.append(("verified", block.hash))


async def test_a_tip_is_told_when_it_is_verified_and_when_it_is_there() -> None:
    async with dev_chain() as dev:
        heard = Heard(dev)
        block = await dev.mine()
        assert heard.told == [("verified", block.hash), ("changed", block.hash)]


async def test_it_is_told_before_the_commit() -> None:
    async with dev_chain() as dev:
        stored: list[bool] = []
        block = (await branch(b"", 1))[0]
        dev.writer.listen(lambda _: stored.append(is_stored(dev, block)))
        await dev.chain.submit_block(block)
        assert stored == [False, True]


async def test_new_blocks_of_miners_are_told_on_whatever_branch() -> None:
    ours, other = await branch(b"", 1), await branch(b"other", 1)
    async with dev_chain() as dev:
        submitted: list[Block] = []
        dev.chain.listen_submitted(submitted.append)
        await dev.chain.process(ours[0])
        await dev.chain.submit_block(ours[0])
        assert submitted == [], "it was there"
        await dev.chain.submit_block(other[0])
        assert submitted == other


async def test_nobody_hears_of_a_block_that_breaks_a_rule() -> None:
    async with dev_chain() as dev:
        heard = Heard(dev)
        with pytest.raises(CkbError):
            await dev.chain.submit_block(with_wrong_dao((await branch(b"", 1))[0]))
        assert heard.told == []


async def test_a_side_block_is_not_verified_yet() -> None:
    async with dev_chain() as dev:
        await dev.mine()
        heard = Heard(dev)
        await dev.chain.submit_block((await branch(b"other", 1))[0])
        assert heard.told == []


async def test_of_a_branch_that_wins_its_end_is_told() -> None:
    async with dev_chain() as dev:
        await dev.mine()
        side = await branch(b"other", 2)
        heard = Heard(dev)
        for block in side:
            await dev.chain.submit_block(block)
        assert heard.told == [("verified", side[-1].hash), ("changed", side[-1].hash)]
