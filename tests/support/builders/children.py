"""The next block of a chain, valid as far as its transactions and uncles are: made with the rules themselves."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.context import ChainReader
from consensus.params import Consensus
from consensus.rules.dao import dao_field_in_epoch
from consensus.rules.epoch import next_epoch_ext
from consensus.rules.mmr import chain_root_hash
from consensus.rules.resolve import resolve_block
from consensus.rules.reward import block_reward, has_finalization_target
from consensus.types.blockchain import Block, CellbaseWitness, Header, Script, Transaction, UncleBlock
from tests.support.builders.blocks import BLOCK_INTERVAL_MS, a_cellbase, a_header, an_output


def next_header(consensus: Consensus, chain: ChainReader, **fields: object) -> Header:
    """A header on the tip that commits to no body yet."""
    tip = chain.tip_header()
    epoch = next_epoch_ext(consensus, tip, chain.tip_epoch(), chain)
    values: dict[str, object] = {
        "number": tip.number + 1,
        "parent_hash": tip.hash,
        "timestamp": tip.timestamp + BLOCK_INTERVAL_MS,
        "epoch": epoch.fraction_at(tip.number + 1).pack(),
        "compact_target": epoch.compact_target,
    }
    return a_header(**(values | fields))


def next_cellbase(consensus: Consensus, chain: ChainReader, miner: Script) -> Transaction:
    """Pays what is due to the miner of the block that is final now, and names the miner of this one."""
    tip = chain.tip_header()
    witness = CellbaseWitness(lock=miner, message=b"").raw
    if not has_finalization_target(consensus, tip.number + 1):
        return a_cellbase(tip.number + 1, witness=witness)
    lock, reward = block_reward(consensus, tip, chain)
    due = an_output(reward.total, lock)
    outputs = [due] if due.occupied_capacity(0) <= reward.total else []
    return a_cellbase(tip.number + 1, outputs, witness)


def next_block(
    consensus: Consensus,
    chain: ChainReader,
    transactions: Sequence[Transaction],
    *,
    proposals: Sequence[bytes] = (),
    uncles: Sequence[UncleBlock] = (),
    **fields: object,
) -> Block:
    """A child of the tip; the first transaction is its cellbase, `fields` are those of its header."""
    block = Block(
        header=next_header(consensus, chain, **fields),
        uncles=uncles,
        transactions=transactions,
        proposals=proposals,
        extension=chain_root_hash(chain, chain.tip_header().number),
    ).with_roots()
    return with_dao(consensus, chain, block)


def with_dao(consensus: Consensus, chain: ChainReader, block: Block) -> Block:
    """The block with the DAO field that its transactions demand, as far as they can be resolved."""
    tip = chain.tip_header()
    epoch = next_epoch_ext(consensus, tip, chain.tip_epoch(), chain)
    dao = dao_field_in_epoch(consensus, resolve_block(block, chain, chain), tip, epoch, chain)
    return block.replace(header=block.header.with_fields(dao=dao))
