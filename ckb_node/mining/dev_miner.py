"""The dev chain's miner: Dummy proof of work, one block per interval."""

from __future__ import annotations

import asyncio

import structlog

from ckb_node.chain.service import ChainService
from ckb_node.mining.assembler import BlockAssembler
from consensus.errors import CkbError
from consensus.types.blockchain import Block

log = structlog.get_logger(__name__)


class DevMiner:
    """Mines on the node itself; needs a chain whose proof of work is Dummy."""

    def __init__(self, chain: ChainService, assembler: BlockAssembler, interval_s: float) -> None:
        self._chain, self._assembler, self._interval_s = chain, assembler, interval_s

    async def mine_one(self) -> Block:
        """One block on the tip. Raises what block processing raises."""
        template = await self._assembler.block_template()
        block = await self._chain.run_in_reader(template.to_block)
        await self._chain.submit_block(block)
        return block

    async def run(self) -> None:
        """Mine until cancelled. Raises what storage raises."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.mine_one()
            except CkbError as error:
                log.warning("a mined block was refused", reason=str(error))
