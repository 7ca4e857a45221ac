"""The in-process dev chain with Bob as its miner."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ckb_node import devchain
from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.devchain import DevChain, ManualClock, dev_consensus
from ckb_node.txpool.limits import PoolLimits
from consensus.params import Consensus
from consensus.types.blockchain import Block
from storage.chain_store import ChainStore
from storage.compare import state_differences
from tests.support.builders.wallet import BOB_KEY, Wallet

__all__ = ["DevChain", "ManualClock", "dev_chain", "dev_consensus"]


@asynccontextmanager
async def dev_chain(
    consensus: Consensus | None = None,
    store: ChainStore | None = None,
    limits: PoolLimits | None = None,
    message: bytes = b"",
    assume_valid: AssumeValid | None = None,
) -> AsyncIterator[DevChain]:
    """Open a dev chain, and close it at the end."""
    async with devchain.dev_chain(Wallet(BOB_KEY).lock, consensus, store, limits, message, assume_valid) as dev:
        yield dev


def committed(blocks: Sequence[Block]) -> set[bytes]:
    return {tx.hash for block in blocks for tx in block.transactions[1:]}


def assert_equals_replay(dev: DevChain) -> None:
    """The state equals that of a store which saw the main chain's blocks only."""
    with dev.store.view() as view:
        tip = view.tip_header().number
        blocks = [view.block(view.main_hash(number) or b"") for number in range(1, tip + 1)]
        fresh = ChainStore.in_memory()
        replayer = type(dev.writer)(dev.consensus, fresh, dev.scripts, dev.clock.now_ms)
        replayer.start(bytes(32))
        for block in blocks:
            assert block is not None
            replayer.process(block)
        with fresh.view() as replayed:
            assert state_differences(view, replayed) == []
        fresh.close()


async def pool_hashes(dev: DevChain) -> set[bytes]:
    ids = await dev.pool.ids()
    return {*ids.pending, *ids.proposed}
