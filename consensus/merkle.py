"""Complete binary Merkle tree (RFC 6): 2n-1 nodes in heap order, leaves last; a node is blake2b of its two children."""

from collections.abc import Sequence

from consensus.hashing import ZERO_HASH, ckb_hash


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Root of 32-byte leaves; zero for none, the leaf itself for one."""
    if not leaves:
        return ZERO_HASH
    nodes = merkle_nodes(leaves)
    return nodes[0]


def merkle_nodes(leaves: Sequence[bytes]) -> list[bytes]:
    """All 2n-1 nodes, root first; `leaves` must not be empty."""
    count = len(leaves)
    nodes = [b""] * (count - 1) + list(leaves)
    for index in range(count - 2, -1, -1):
        nodes[index] = ckb_hash(nodes[2 * index + 1] + nodes[2 * index + 2])
    return nodes
