"""What is written of a block, one function each: store, attach, detach, invalid. Both policies of writing use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from consensus.crypto.difficulty import compact_to_difficulty
from consensus.fast.mmr import nodes_of_next
from consensus.lookup import require
from consensus.rules.mmr import nodes_of_block
from consensus.types.blockchain import Block, Header
from consensus.types.core import INVALID, VALID, BlockExt, EpochExt, valid_block_ext
from storage.chain_state import ChainState
from storage.chain_txn import ChainTxn


class ChainTotals(NamedTuple):
    """What a block's ancestors and header make known: work and uncles from genesis on, and when it came (ms).

    Uncles of an epoch are the difference of two such counts.
    """

    total_difficulty: int
    total_uncles_count: int
    received_at: int


class TxTotals(NamedTuple):
    """What verification learnt of a block's transactions without the cellbase; fees in shannons, sizes in bytes."""

    fees: Sequence[int]
    cycles: Sequence[int]
    sizes: Sequence[int]


NO_TRANSACTIONS = TxTotals([], [], [])


def write_ext(
    txn: ChainTxn, block_hash: bytes, place: ChainTotals, *, verified: bool | None, facts: TxTotals | None = None
) -> BlockExt:
    """The only writer of BlockExt. `verified`: None until the block was attached once, False when it is invalid.

    `facts` are those of a valid block that was verified; a block that was attached without rules has none.
    """
    if verified and facts is not None:
        ext = valid_block_ext(*place, facts.fees, facts.cycles, facts.sizes)
    else:
        ext = BlockExt(
            total_difficulty=place.total_difficulty,
            total_uncles_count=place.total_uncles_count,
            received_at=place.received_at,
            txs_fees=[],
            verified_flag=None if verified is None else VALID if verified else INVALID,
        )
    if verified is False:
        txn.note_invalid(block_hash, ext)
    else:
        txn.insert_ext(block_hash, ext)
    return ext


def stored_ext(state: ChainState, block_hash: bytes) -> BlockExt:
    """What is known of a stored block. Raises ChainDataError."""
    return require(state.block_ext(block_hash), "block ext", block_hash)


def place_of(ext: BlockExt) -> ChainTotals:
    """The place of a block that is known."""
    return ChainTotals(ext.total_difficulty, ext.total_uncles_count, ext.received_at)


def place_after(parent: BlockExt, block: Block, received_at: int) -> ChainTotals:
    """The place of a block above its parent."""
    return ChainTotals(
        parent.total_difficulty + compact_to_difficulty(block.header.compact_target),
        parent.total_uncles_count + (len(block.uncles) if block.has_uncles else 0),
        received_at,
    )


def store_block(
    txn: ChainTxn,
    block: Block,
    epoch: EpochExt,
    place: ChainTotals,
    *,
    verified: bool | None = None,
    facts: TxTotals | None = None,
) -> BlockExt:
    """Put a block into the store, on whatever branch; `verified` and `facts` as for `write_ext`."""
    block_hash = block.hash
    txn.insert_block(block)
    txn.insert_epoch(block_hash, epoch)
    return write_ext(txn, block_hash, place, verified=verified, facts=facts)


def attach_block(txn: ChainTxn, block: Block) -> None:
    """Make a stored block the tip, with its nodes of the chain-root MMR; its parent is the tip."""
    header = block.header
    txn.attach_block(block, nodes_of_next(txn, header) if header.number else nodes_of_block(txn, header)[1])


def detach_to(txn: ChainTxn, ancestor_hash: bytes) -> list[bytes]:
    """Make an ancestor of the tip the tip; hashes of the blocks above it, newest first."""
    detached = []
    while (tip_hash := txn.tip_header().hash) != ancestor_hash:
        txn.detach_block(require(txn.block(tip_hash), "block", tip_hash))
        detached.append(tip_hash)
    return detached


def write_invalid(txn: ChainTxn, bad: Header, place: ChainTotals) -> None:
    """Remember that a block, stored or not, is invalid, and all stored ones that stand on it: nothing is built on them.

    Only their hashes and places stay, so that they are not verified again, not their bodies.
    """
    for header in stored_descendants(txn, bad):
        above = place_of(stored_ext(txn, header.hash))
        txn.delete_block(header)
        write_ext(txn, header.hash, above, verified=False)
    if txn.header(bad.hash) is not None:
        txn.delete_block(bad)
    else:
        txn.header_rows.delete(bad)
    write_ext(txn, bad.hash, place, verified=False)


def stored_descendants(state: ChainState, root: Header) -> list[Header]:
    """Headers of all stored blocks that stand on `root`, on whatever branch, lowest first."""
    found: list[Header] = []
    parents, number = {root.hash}, root.number
    while parents:
        number += 1
        stored = (require(state.header(each), "header", each) for each in state.stored_hashes(number))
        children = [header for header in stored if header.parent_hash in parents]
        found += children
        parents = {header.hash for header in children}
    return found
