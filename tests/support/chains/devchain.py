"""The in-process dev chain with Bob as its miner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ckb_node import devchain
from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.devchain import DevChain, ManualClock, dev_consensus
from ckb_node.txpool.limits import PoolLimits
from consensus.params import Consensus
from storage.chain_store import ChainStore
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
