"""A dev chain inside the caller's process: chain service, pool, block assembler and miner, without sockets.

Its clock stands still but for what the caller lets pass, and blocks come when they are asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.service import ChainService
from ckb_node.chain.writer import ChainWriter
from ckb_node.mining.assembler import BlockAssembler, MinerConfig
from ckb_node.mining.dev_miner import DevMiner
from ckb_node.runtime.tasks import Tasks
from ckb_node.specs import cell_file, load_bundled
from ckb_node.txpool.limits import PoolLimits
from ckb_node.txpool.service import PoolService
from ckb_node.verification.scripts import ScriptService
from consensus.chainspec.spec import build_consensus
from consensus.params import Consensus
from consensus.types.blockchain import Block, Script
from storage.chain_store import ChainStore


@cache
def dev_consensus() -> Consensus:
    """The bundled dev chain with its default message."""
    return build_consensus(load_bundled("dev"), cell_file)


class ManualClock:
    """Milliseconds. It starts at a fixed time; `advance` lets time pass, `set_by` moves the wall clock alone."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.time_ms = now_ms
        self._set_ms = 0

    def now_ms(self) -> int:
        """The wall clock; a millisecond later with each call."""
        self.time_ms += 1
        return self.time_ms

    def advance(self, milliseconds: int) -> None:
        """Let time pass."""
        self.time_ms += milliseconds

    def set_by(self, milliseconds: int) -> None:
        """The wall clock is set; the monotonic one goes on."""
        self.time_ms += milliseconds
        self._set_ms += milliseconds

    def monotonic_ms(self) -> int:
        """A clock that `set_by` does not change."""
        return self.time_ms - self._set_ms


@dataclass
class DevChain:
    """A running dev chain."""

    consensus: Consensus
    store: ChainStore
    scripts: ScriptService
    writer: ChainWriter
    chain: ChainService
    pool: PoolService
    assembler: BlockAssembler
    miner: DevMiner
    clock: ManualClock

    async def mine(self, count: int = 1) -> Block:
        """Mine on the tip; the last block."""
        block = await self.miner.mine_one()
        for _ in range(count - 1):
            block = await self.miner.mine_one()
        return block

    async def settle_pool(self) -> None:
        """Let the pool bring back what reorgs detached, as its tasks do in a node."""
        async with asyncio.timeout(30), Tasks(self.clock.now_ms) as tasks:
            for name, run in self.pool.tasks().items():
                tasks.start_restartable(name, run)
            await self.pool.settled()


@asynccontextmanager
async def dev_chain(
    miner_lock: Script,
    consensus: Consensus | None = None,
    store: ChainStore | None = None,
    limits: PoolLimits | None = None,
    message: bytes = b"",
    assume_valid: AssumeValid | None = None,
) -> AsyncIterator[DevChain]:
    """Open a dev chain whose blocks pay to `miner_lock`, in memory unless a store is given; closed with the context."""
    consensus = consensus or dev_consensus()
    store = store or ChainStore.in_memory()
    clock = ManualClock()
    scripts = ScriptService(consensus)
    writer = ChainWriter(consensus, store, scripts, clock.now_ms, assume_valid)
    writer.start(bytes(32))
    chain = ChainService(writer)
    with ThreadPoolExecutor(2) as workers:
        pool = PoolService(
            chain, limits or PoolLimits(), scripts, workers, clock.now_ms, parallel=2, age_ms=clock.monotonic_ms
        )
        config = MinerConfig(miner_lock, message)
        assembler = BlockAssembler(chain, pool.pool, config, clock.now_ms)
        miner = DevMiner(chain, assembler, 0)
        try:
            yield DevChain(consensus, store, scripts, writer, chain, pool, assembler, miner, clock)
        finally:
            chain.close()
            store.close()
