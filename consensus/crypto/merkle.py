"""Complete binary Merkle tree (RFC 6): 2n-1 nodes in heap order, leaves last; a node is blake2b of its two children.

Node i has the children 2i+1 and 2i+2; leaf k of n is node k+n-1. A proof names the nodes of its leaves and holds, from
the highest node down, those hashes that cannot be computed from the leaves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from consensus.crypto.hashing import ZERO_HASH, ckb_hash
from consensus.errors import CkbError


class MerkleProofError(CkbError):
    """A proof that cannot be made of these leaves, or does not lead to a root."""


@dataclass(frozen=True, slots=True)
class TreeProof:
    """That leaves are in a tree. `indices` are their nodes, in the order of the leaves' hashes."""

    indices: tuple[int, ...]
    lemmas: tuple[bytes, ...]


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Root of 32-byte leaves; zero for none, the leaf itself for one."""
    if not leaves:
        return ZERO_HASH
    return leaves[0] if len(leaves) == 1 else merkle_nodes(leaves)[0]


def merkle_nodes(leaves: Sequence[bytes]) -> list[bytes]:
    """All 2n-1 nodes, root first; `leaves` must not be empty."""
    count = len(leaves)
    nodes = [b""] * (count - 1) + list(leaves)
    for index in range(count - 2, -1, -1):
        nodes[index] = ckb_hash(nodes[2 * index + 1] + nodes[2 * index + 2])
    return nodes


def _sibling(index: int) -> int:
    """The other child of the parent; left children have odd indices."""
    return ((index + 1) ^ 1) - 1


def build_proof(leaves: Sequence[bytes], positions: Sequence[int]) -> TreeProof:
    """Prove the leaves at these positions, 0 to n-1, each once. MerkleProofError when there is no such leaf."""
    if len(set(positions)) != len(positions):
        raise MerkleProofError("a proof needs leaves, each named once")
    return build_loose_proof(leaves, positions)


def build_loose_proof(leaves: Sequence[bytes], positions: Sequence[int]) -> TreeProof:
    """As `build_proof`; leaves may be named twice, as light clients may ask. Nobody can follow such a proof, but it is
    what other nodes answer."""
    if not positions:
        raise MerkleProofError("a proof needs leaves")
    if min(positions) < 0 or max(positions) >= len(leaves):
        raise MerkleProofError(f"no leaf {max(positions)} among {len(leaves)}")
    nodes = merkle_nodes(leaves)
    indices = [position + len(leaves) - 1 for position in positions]
    lemmas = []
    # Highest node first: both children of a parent, when known, meet at the front of the queue.
    queue = deque(sorted(indices, reverse=True))
    while queue and queue[0] != 0:
        index = queue.popleft()
        if queue and queue[0] == _sibling(index):
            queue.popleft()
        else:
            lemmas.append(nodes[_sibling(index)])
        if index > 2:  # the root is not in the queue
            queue.append((index - 1) // 2)
    return TreeProof(tuple(sorted(indices, key=lambda index: nodes[index])), tuple(lemmas))


def proof_root(proof: TreeProof, leaves: Sequence[bytes]) -> bytes:
    """Root of the tree that holds these leaves, in any order, if the proof is right. The caller compares the root.

    MerkleProofError when the proof does not fit the leaves, or hashes are missing or left over.
    """
    if not leaves or len(leaves) != len(proof.indices):
        raise MerkleProofError(f"the proof is for {len(proof.indices)} leaves, there are {len(leaves)}")
    if min(proof.indices) < 0:
        raise MerkleProofError(f"no node {min(proof.indices)}")
    known = zip(proof.indices, sorted(leaves), strict=True)
    queue = deque(sorted(known, reverse=True))
    lemmas = iter(proof.lemmas)
    while queue[0][0] > 0:
        index, node = queue.popleft()
        if queue and queue[0][0] == _sibling(index):
            sibling = queue.popleft()[1]
        else:
            lemma = next(lemmas, None)
            if lemma is None:
                raise MerkleProofError("the proof lacks hashes")
            sibling = lemma
        parent = node + sibling if index % 2 else sibling + node
        queue.append(((index - 1) // 2, ckb_hash(parent)))
    if len(queue) > 1 or next(lemmas, None) is not None:
        raise MerkleProofError("the proof has more than the leaves need")
    return queue[0][1]


def proven_leaves(leaves: Sequence[bytes], proof: TreeProof) -> list[bytes]:
    """The leaves that a proof names, given all leaves of the tree, in the proof's order."""
    first = len(leaves) - 1
    positions = [index - first for index in proof.indices]
    if not leaves or not positions or min(positions) < 0 or max(positions) > first:
        raise MerkleProofError("the proof names nodes that are no leaves of this tree")
    return [leaves[position] for position in positions]
