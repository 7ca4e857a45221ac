"""Proofs that blocks are leaves of a chain-root MMR, in the form that light clients get (RFC 44).

A proof lists nodes: for each full tree that holds leaves to be proven, from left to right, those that cannot be
computed from the leaves, level by level from the lowest, and for each other tree its root. The roots right of the last
tree with leaves are one node, bagged as in the chain root.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from consensus.errors import CkbError
from consensus.rules.mmr import bag, leaf_position, merge

__all__ = ["MmrProofError", "ProofPlan", "plan_proof", "proven_root"]


class MmrProofError(CkbError):
    """A proof that cannot be made, or does not lead from its leaves to a root."""


@dataclass(frozen=True, slots=True)
class ProofPlan:
    """Positions of a proof's nodes. Those of `bagged` are roots of trees, which make one node together, the proof's
    last; there is none when they are none."""

    positions: Sequence[int]
    bagged: Sequence[int]

    @property
    def length(self) -> int:
        """Nodes of the proof."""
        return len(self.positions) + bool(self.bagged)


@dataclass(frozen=True, slots=True)
class _Tree:
    """A full tree over the leaves from `first` on, two to the power of `height` of them."""

    first: int
    height: int

    @property
    def end(self) -> int:
        return self.first + (1 << self.height)

    @property
    def root_position(self) -> int:
        return _position(self.first >> self.height, self.height)


def plan_proof(leaf_count: int, leaves: Sequence[int]) -> ProofPlan:
    """Which nodes prove these leaves, in any order, of the first `leaf_count`. MmrProofError when they are none, or one
    is beyond."""
    wanted = sorted(set(leaves))
    if not wanted or wanted[0] < 0 or wanted[-1] >= leaf_count:
        raise MmrProofError(f"no proof of these leaves among {leaf_count}")
    positions: list[int] = []
    bagged: list[int] = []
    at = 0
    for tree in _trees(leaf_count):
        start = at
        while at < len(wanted) and wanted[at] < tree.end:
            at += 1
        if start == len(wanted):
            bagged.append(tree.root_position)
        elif start == at:
            positions.append(tree.root_position)
        else:
            positions += _siblings(tree, wanted[start:at])
    return ProofPlan(positions, bagged)


def proven_root(leaf_count: int, leaves: Mapping[int, bytes], proof: Sequence[bytes]) -> bytes:
    """The root to which a proof leads from digests of leaves by their index. The caller compares it.

    MmrProofError when the proof does not fit, MmrError when its nodes do not fit each other.
    """
    plan = plan_proof(leaf_count, list(leaves))
    if len(proof) != plan.length:
        raise MmrProofError(f"the proof has {len(proof)} nodes instead of {plan.length}")
    given, last = iter(proof), max(leaves)
    roots = []
    for tree in _trees(leaf_count):
        if tree.first > last:  # one node stands for this tree and those right of it
            roots.append(next(given))
            break
        inside = {leaf: leaves[leaf] for leaf in sorted(leaves) if tree.first <= leaf < tree.end}
        roots.append(_root_of(tree, inside, given) if inside else next(given))
    return bag(roots)


def _trees(leaf_count: int) -> Iterator[_Tree]:
    """The full trees, left and largest first."""
    first = 0
    for height in range(leaf_count.bit_length() - 1, -1, -1):
        if leaf_count >> height & 1:
            yield _Tree(first, height)
            first += 1 << height


def _siblings(tree: _Tree, leaves: Sequence[int]) -> Iterator[int]:
    """Positions of what the leaves lack up to the tree's root."""
    nodes = list(leaves)
    for height in range(tree.height):
        known = set(nodes)
        for node in nodes:
            if node ^ 1 not in known:
                yield _position(node ^ 1, height)
        nodes = sorted({node >> 1 for node in nodes})


def _root_of(tree: _Tree, leaves: Mapping[int, bytes], given: Iterator[bytes]) -> bytes:
    nodes = dict(leaves)
    for _ in range(tree.height):
        above: dict[int, bytes] = {}
        for node, digest in nodes.items():
            if node >> 1 in above:
                continue
            other = nodes.get(node ^ 1)
            sibling = next(given) if other is None else other
            above[node >> 1] = merge(sibling, digest) if node & 1 else merge(digest, sibling)
        nodes = above
    return nodes[tree.first >> tree.height]


def _position(node: int, height: int) -> int:
    """Where the node number `node` of those at `height` stands: it came with its last leaf."""
    return leaf_position((node + 1 << height) - 1) + height
