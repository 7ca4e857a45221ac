"""Blocks that were just attached are not read again for a template's reward; the template is the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckb_node.mining import recent
from ckb_node.mining.feed import TipSignal
from ckb_node.mining.recent import RecentBlocks
from consensus.types.blockchain import Header
from storage.chain_store import ChainView
from tests.support.chains.devchain import dev_chain
from tests.support.chains.funded_pool import funded


async def test_templates_are_the_same_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over blocks that propose and commit, up to those that pay for it."""
    async with funded() as funds:
        signal, assembler = TipSignal(funds.dev.chain), funds.dev.assembler
        for _ in range(funds.dev.consensus.finalization_delay + 6):
            if funds.cells:
                await funds.submit(funds.spend())
            await funds.dev.mine()
            own = await assembler.empty_template()
            assembler._recent = RecentBlocks()
            quick = await assembler.empty_template(signal.recent)
            plain = replace(await assembler.empty_template(), current_time=0, work_id=0)
            assert [replace(each, current_time=0, work_id=0) for each in (own, quick)] == [plain, plain]
        read: list[bytes] = []
        block = ChainView.block

        def noted(view: ChainView, block_hash: bytes) -> object:
            read.append(block_hash)
            return block(view, block_hash)

        monkeypatch.setattr(ChainView, "block", noted)
        await assembler.empty_template(signal.recent)
        assert read == []
        await assembler.empty_template()
        assert read


async def test_how_far_back_they_reach() -> None:
    async with dev_chain() as dev:
        await dev.mine()
        kept = RecentBlocks()
        dev.chain.listen(kept.note)
        tips = [(await dev.mine()).header for _ in range(2)]
        assert [kept.reach(tips[-1], count) for count in (1, 2, 3)] == [True, True, False]
        assert not kept.reach(replace_parent(tips[-1]), 1)
    async with dev_chain() as dev:
        kept = RecentBlocks()
        dev.chain.listen(kept.note)
        assert kept.reach(dev.consensus.genesis_block.header, 11)
        assert kept.reach((await dev.mine()).header, 11)  # the genesis block pays nobody


def replace_parent(header: Header) -> Header:
    """Another block on the same height."""
    return header.with_fields(parent_hash=bytes(32))


async def test_the_full_template_does_not_read_them_either(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds:
        await funds.submit(*(funds.spend() for _ in range(4)))
        await funds.dev.mine(funds.dev.consensus.finalization_delay + 3)
        monkeypatch.setattr(ChainView, "block", lambda *_: pytest.fail("a block is read"))
        assert (await funds.dev.assembler.block_template()).transactions == []


async def test_only_the_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MAX_RECENT", 2)
    async with dev_chain() as dev:
        kept = RecentBlocks()
        dev.chain.listen(kept.note)
        blocks = [await dev.mine() for _ in range(3)]
        assert [kept.get(each.hash) is not None for each in blocks] == [False, True, True]
        with dev.chain.view() as view:
            reader = kept.over(view)
            assert reader.block(blocks[0].hash) == blocks[0]
            assert reader.tip_header() == view.tip_header()
            assert reader.block(bytes(32)) is None
