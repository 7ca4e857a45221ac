"""Module Chain: what blocks issued and paid, and fees of late."""

from __future__ import annotations

from collections.abc import Iterator

from ckb_node.jsonrpc_types.hex_text import bytes_text, uint_text
from ckb_node.rpc.chain_results import BlockEconomicStateJson, BlockIssuanceJson, FeeRateStatisticsJson, MinerRewardJson
from ckb_node.rpc.params import H256, Uint64
from ckb_node.rpc.registry import Methods, Module, always_expensive
from ckb_node.rpc.services import ChainView, Services
from ckb_node.txpool.entry import fee_rate, weight
from consensus.lookup import require
from consensus.rules.epoch import secondary_issuance
from consensus.rules.reward import block_reward
from consensus.types.core import BlockExt

METHODS = Methods(Module.CHAIN)

DEFAULT_FEE_BLOCKS, MAX_FEE_BLOCKS = 21, 101


@METHODS.method(price=always_expensive)
def get_block_economic_state(services: Services, block_hash: H256) -> BlockEconomicStateJson | None:
    """What a main-chain block issued and what its miner was paid, in shannons.

    Null for the genesis block, for a hash that is not on the main chain, and until the block is final: its miner is
    paid by the cellbase of the block `finalized_at`, 11 blocks later.
    """
    consensus = services.chain.consensus
    with services.chain.view() as view:
        header = view.header(block_hash) if view.is_main(block_hash) else None
        if header is None or header.number == 0:
            return None
        finalized_at = view.main_hash(header.number + consensus.finalization_delay)
        parent_hash = view.main_hash(header.number + consensus.finalization_delay - 1)
        if finalized_at is None or parent_hash is None:
            return None
        parent = require(view.header(parent_hash), "header", parent_hash)
        _, reward = block_reward(consensus, parent, view)
        epoch = require(view.block_epoch(block_hash), "epoch of block", block_hash)
        ext = require(view.block_ext(block_hash), "block ext", block_hash)
        secondary = secondary_issuance(epoch, header.number, consensus.secondary_epoch_reward)
        return BlockEconomicStateJson(
            BlockIssuanceJson(uint_text(epoch.block_reward(header.number)), uint_text(secondary)),
            MinerRewardJson(
                uint_text(reward.primary),
                uint_text(reward.secondary),
                uint_text(reward.tx_fee),
                uint_text(reward.proposal_reward),
            ),
            uint_text(sum(ext.txs_fees)),
            bytes_text(finalized_at),
        )


@METHODS.method(price=always_expensive)
def get_fee_rate_statistics(services: Services, target: Uint64 | None = None) -> FeeRateStatisticsJson | None:
    """Mean and median fee rate (shannons per kilo-weight) of the transactions in the last `target` blocks.

    `target` is 1 to 101, default 21; an even number counts as the next odd one. Null when there were none.
    """
    with services.chain.view() as view:
        return _statistics(view, DEFAULT_FEE_BLOCKS if target is None else target)


@METHODS.method(price=always_expensive)
def get_fee_rate_statics(services: Services, target: Uint64 | None = None) -> FeeRateStatisticsJson | None:
    """Deprecated since 0.109, but still answered: a misspelt `get_fee_rate_statistics`."""
    return get_fee_rate_statistics(services, target)


def _statistics(view: ChainView, target: int) -> FeeRateStatisticsJson | None:
    blocks = min(target | 1, MAX_FEE_BLOCKS)
    tip = view.tip_header().number
    rates = sorted(rate for number in range(max(1, tip + 1 - blocks), tip + 1) for rate in _block_rates(view, number))
    if not rates:
        return None
    middle = len(rates) // 2
    median = rates[middle] if len(rates) % 2 else (rates[middle - 1] + rates[middle]) // 2
    return FeeRateStatisticsJson(uint_text(sum(rates) // len(rates)), uint_text(median))


def _block_rates(view: ChainView, number: int) -> Iterator[int]:
    """Fee rates of a main-chain block's transactions, the cellbase left out; none where sizes or cycles are unknown."""
    block_hash = view.main_hash(number)
    ext = None if block_hash is None else view.block_ext(block_hash)
    if ext is None or ext.cycles is None or ext.txs_sizes is None:
        return
    for fee, cycles, size in zip(ext.txs_fees, ext.cycles, _sizes_without_cellbase(ext), strict=False):
        yield fee_rate(fee, weight(size, cycles))


def _sizes_without_cellbase(ext: BlockExt) -> list[int]:
    sizes = list(ext.txs_sizes or ())
    return sizes[len(sizes) - len(ext.txs_fees) :]
