"""Chain-root MMR (RFC 44): a Merkle mountain range over all headers of a chain, genesis being leaf 0.

A node is a 120-byte HeaderDigest; here it is raw bytes, and `HeaderDigest.trusted(node)` reads it. A leaf speaks of one
header; an inner node of the range that its two children cover. Nodes have positions in the order of their creation: a
leaf, then the parents that it completes. The root of a chain goes, hashed, into the extension of the next block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

from consensus.codec.layout import HEADER_DIGEST as NODE
from consensus.crypto.difficulty import U256_MAX, compact_to_difficulty
from consensus.crypto.hashing import ckb_hash
from consensus.errors import CkbError
from consensus.lookup import require
from consensus.types.blockchain import Header
from consensus.types.core import GENESIS_EPOCH, EpochFraction, HeaderDigest, is_next_in_epoch

NodeAt = Callable[[int], bytes]
"""The node at a position that exists."""


class MmrReader(Protocol):
    """Stored nodes."""

    def mmr_node(self, position: int) -> bytes | None:
        """The 120-byte node at a position, None when there is none."""
        ...


class MmrError(CkbError):
    """Nodes that cannot belong to one chain."""


class MmrNumberError(MmrError):
    """The blocks of two nodes are not adjacent, or a node's range runs backwards."""

    def __init__(self, end: int, start: int) -> None:
        super().__init__(f"the blocks are not continuous: {end} is followed by {start}")
        self.end = end
        self.start = start


class MmrEpochError(MmrError):
    """The epochs of two nodes are not adjacent, or a node's range runs backwards."""

    def __init__(self, end: EpochFraction, start: EpochFraction) -> None:
        super().__init__(f"the epochs are not continuous: {end} is followed by {start}")
        self.end = end
        self.start = start


class MmrDifficultyError(MmrError):
    """A node's difficulties contradict each other or do not fit."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# Nodes


def leaf_digest(header: Header) -> bytes:
    """The leaf of one header."""
    difficulty = compact_to_difficulty(header.compact_target).to_bytes(32, "little")
    number, epoch, timestamp, target = header.number, header.epoch, header.timestamp, header.compact_target
    return NODE.pack(header.hash, difficulty, number, number, epoch, epoch, timestamp, timestamp, target, target)


def digest_hash(node: bytes) -> bytes:
    """32-byte hash of a node: what an inner node's `children_hash` and the extension commit to."""
    return ckb_hash(node)


def merge(left: bytes, right: bytes) -> bytes:
    """RFC 44 "MMR Node": the parent of two nodes whose blocks follow each other; MmrError when they do not."""
    _, left_total, number, left_end, epoch, left_end_epoch, time, _, target, _ = NODE.unpack(left)
    _, right_total, right_start, end, right_start_epoch, end_epoch, _, end_time, _, end_target = NODE.unpack(right)
    if left_end + 1 != right_start:
        raise MmrNumberError(left_end, right_start)
    _check_epochs_adjacent(left_end_epoch, right_start_epoch)
    total = int.from_bytes(left_total, "little") + int.from_bytes(right_total, "little")
    if total > U256_MAX:
        raise MmrDifficultyError("the total difficulty exceeds 256 bits")
    children = ckb_hash(_left_hash(left) + ckb_hash(right))
    packed_total = total.to_bytes(32, "little")
    return NODE.pack(children, packed_total, number, end, epoch, end_epoch, time, end_time, target, end_target)


@lru_cache(maxsize=128)
def _left_hash(node: bytes) -> bytes:
    """Cached: a peak is the left child in the merges of many blocks."""
    return ckb_hash(node)


def _check_epochs_adjacent(left_end: int, right_start: int) -> None:
    # Every block bags a dozen peaks, and nearly always they follow within one epoch: packed numbers suffice.
    if is_next_in_epoch(right_start, left_end):
        return
    end, start = EpochFraction.unpack(left_end), EpochFraction.unpack(right_start)
    if end != GENESIS_EPOCH and not start.is_successor_of(end):
        raise MmrEpochError(end, start)


def verify_digest(node: bytes) -> None:
    """RFC 44 "MMR Node": a node from outside is consistent: ranges run forward, difficulty is a sum."""
    digest = HeaderDigest.parse(node)
    if digest.start_number > digest.end_number:
        raise MmrNumberError(digest.start_number, digest.end_number)
    start, end = EpochFraction.unpack(digest.start_epoch), EpochFraction.unpack(digest.end_epoch)
    if start.number > end.number or (start.number == end.number and start.index > end.index):
        raise MmrEpochError(start, end)
    if start.number == end.number:
        _check_difficulty_in_epoch(digest)


def _check_difficulty_in_epoch(digest: HeaderDigest) -> None:
    """All blocks of an epoch have one target, so the total is a product."""
    if digest.start_compact_target != digest.end_compact_target:
        raise MmrDifficultyError("the compact targets differ inside one epoch")
    blocks = digest.end_number - digest.start_number + 1
    if digest.total_difficulty != compact_to_difficulty(digest.start_compact_target) * blocks:
        raise MmrDifficultyError("the total difficulty is not the sum of the epoch's blocks")


# Positions


def mmr_size(leaf_count: int) -> int:
    """Nodes of an MMR with this many leaves: a full tree for each bit of the count."""
    return 2 * leaf_count - leaf_count.bit_count()


def mmr_positions(number: int) -> range:
    """Positions that block `number` adds: its leaf and the parents that the leaf completes."""
    return range(mmr_size(number), mmr_size(number + 1))


def leaf_position(index: int) -> int:
    """Position of leaf `index` (the number of its block)."""
    return mmr_size(index)


def peak_positions(leaf_count: int) -> list[int]:
    """Roots of the full trees, left and largest first."""
    peaks, end = [], 0
    while leaf_count:
        leaves = 1 << leaf_count.bit_length() - 1
        end += 2 * leaves - 1
        peaks.append(end - 1)
        leaf_count -= leaves
    return peaks


# Growing and bagging


def append(leaf_count: int, leaf: bytes, node_at: NodeAt) -> list[bytes]:
    """The nodes that a new leaf adds to an MMR of `leaf_count` leaves, at positions `mmr_size(leaf_count)` onwards."""
    new_nodes, position, height = [leaf], mmr_size(leaf_count), 0
    # Each low bit that is set is a tree of the same height as the one just completed, and directly left of it.
    while leaf_count >> height & 1:
        sibling = position - ((2 << height) - 1)
        new_nodes.append(merge(node_at(sibling), new_nodes[-1]))
        position += 1
        height += 1
    return new_nodes


def root(leaf_count: int, node_at: NodeAt) -> bytes:
    """The node over all leaves (at least one): peaks are merged from the right, each as the left of what it has."""
    return bag([node_at(position) for position in peak_positions(leaf_count)])


def bag(peaks: Sequence[bytes]) -> bytes:
    """The node over these peaks (at least one), merged as `root` says."""
    *rest, bagged = peaks
    for peak in reversed(rest):
        bagged = merge(peak, bagged)
    return bagged


def chain_root(reader: MmrReader, number: int) -> bytes:
    """The node over blocks 0 to `number` of the reader's main chain."""
    return root(number + 1, _stored(reader))


def chain_root_hash(reader: MmrReader, parent_number: int) -> bytes:
    """What the extension of the block after `parent_number` must begin with (RFC 44)."""
    return digest_hash(chain_root(reader, parent_number))


def nodes_of_block(reader: MmrReader, header: Header) -> tuple[int, list[bytes]]:
    """First position, and nodes, that a block adds to the MMR of all blocks before it."""
    return leaf_position(header.number), append(header.number, leaf_digest(header), _stored(reader))


def _stored(reader: MmrReader) -> NodeAt:
    return lambda position: require(reader.mmr_node(position), "MMR node", position)
