"""The dev chain's own miner."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from ckb_node.mining.dev_miner import DevMiner
from consensus.errors import BlockError
from consensus.types.blockchain import Block
from tests.support.chains.devchain import dev_chain


async def test_mines_on_the_tip() -> None:
    async with dev_chain() as dev:
        first, second = await dev.miner.mine_one(), await dev.miner.mine_one()
        assert second.parent_hash == first.hash
        assert dev.chain.view().tip_header() == second.header


async def test_goes_on_after_a_refused_block(monkeypatch: pytest.MonkeyPatch) -> None:
    async with dev_chain() as dev:
        submit, calls = dev.chain.submit_block, 0

        async def refuse_the_second(block: Block) -> bytes:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise BlockError("a reason")
            return await submit(block)

        monkeypatch.setattr(dev.chain, "submit_block", refuse_the_second)
        tip = asyncio.Event()
        dev.chain.listen(lambda change: tip.set() if change.new_tip.number == 3 else None)
        with capture_logs() as logs:
            running = asyncio.get_running_loop().create_task(DevMiner(dev.chain, dev.assembler, 0.001).run())
            async with asyncio.timeout(10):
                await tip.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert [entry["reason"] for entry in logs if entry["log_level"] == "warning"] == ["a reason"]
