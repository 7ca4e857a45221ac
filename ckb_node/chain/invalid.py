"""What stays of invalid blocks: their hashes, so that they are not looked at again, and not their bodies."""

from __future__ import annotations

from consensus.lookup import require
from consensus.types.blockchain import Header
from consensus.types.core import INVALID, BlockExt
from storage.chain_state import ChainState
from storage.chain_txn import ChainTxn


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


def remember_invalid(txn: ChainTxn, bad: Header, ext: BlockExt) -> None:
    """A block, stored or not, is invalid, and so are all stored ones that stand on it: on them nothing is built again.

    `ext` is what is known of the block.
    """
    for header in stored_descendants(txn, bad):
        above = require(txn.block_ext(header.hash), "block ext", header.hash)
        txn.delete_block(header)
        txn.note_invalid(header.hash, above.replace(verified_flag=INVALID))
    if txn.header(bad.hash) is not None:
        txn.delete_block(bad)
    txn.note_invalid(bad.hash, ext.replace(verified_flag=INVALID))
