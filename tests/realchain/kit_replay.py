"""Empty chains to replay blocks on."""

from __future__ import annotations

from ckb_node.chain.writer import ChainWriter
from ckb_node.runtime.clock import SystemClock
from ckb_node.verification.scripts import ScriptService
from consensus.params import Consensus
from storage.chain_store import ChainStore


def new_chain(consensus: Consensus) -> tuple[ChainStore, ChainWriter]:
    store = ChainStore.in_memory()
    writer = ChainWriter(consensus, store, ScriptService(consensus), SystemClock().now_ms)
    writer.start(bytes(32))
    return store, writer
