"""The chain-root MMR by generated code that caches the peaks of the chain's tip, see consensus/fast/block.py.

A block's hash names the MMR of it and all blocks below it, whatever chain they are on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from consensus.kernels import mmr as kernel
from consensus.kernels.mmr import grow, root_hash_of
from consensus.lookup import require
from consensus.rules.mmr import MmrReader, bag, leaf_digest, nodes_of_block, peak_positions
from consensus.types.blockchain import Header


def chain_root_of(reader: MmrReader, tip: Header) -> bytes | None:
    """`consensus.rules.mmr.chain_root_hash` for the block after the tip; None where that says what is wrong."""
    return root_hash_of(tip.hash, partial(_peaks, reader, tip.number + 1))


def nodes_of_next(reader: MmrReader, header: Header) -> Sequence[bytes]:
    """The nodes of `consensus.rules.mmr.nodes_of_block` for the block after the tip. Raises MmrError as that."""
    number, leaf = header.number, leaf_digest(header)
    merges = (number ^ (number + 1)).bit_length() - 1  # one for each low bit of the number of leaves that is set
    added = grow(header.parent_hash, partial(_peaks, reader, number), leaf, merges, header.hash)
    return nodes_of_block(reader, header)[1] if added is None else [leaf, *added]


def bagged(peaks: Sequence[bytes]) -> bytes:
    """`consensus.rules.mmr.bag`. Raises MmrError as that."""
    found = kernel.bag(peaks)
    return bag(peaks) if found is None else found[0]


def _peaks(reader: MmrReader, leaves: int) -> Sequence[bytes]:
    return [require(reader.mmr_node(position), "MMR node", position) for position in peak_positions(leaves)]
