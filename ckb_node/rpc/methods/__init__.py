"""The methods, in one or more files for each module of the interface."""

from __future__ import annotations

from collections.abc import Iterable

from ckb_node.rpc.methods import (
    alert,
    chain_blocks,
    chain_proofs,
    chain_rewards,
    chain_transactions,
    debug,
    experiment,
    explain,
    integration_test,
    miner,
    net,
    pool,
    stats,
    stratum,
    subscription,
    terminal,
)
from ckb_node.rpc.registry import Methods

OWN_MODULES: Iterable[Methods] = (
    net.METHODS,
    pool.METHODS,
    miner.METHODS,
    stratum.METHODS,
    chain_blocks.METHODS,
    chain_transactions.METHODS,
    chain_rewards.METHODS,
    chain_proofs.METHODS,
    explain.METHODS,
    stats.METHODS,
    experiment.METHODS,
    integration_test.METHODS,
    alert.METHODS,
    subscription.METHODS,
    debug.METHODS,
    terminal.METHODS,
)
"""Always registered; `ckb_node.node` adds the methods of the indexer."""
