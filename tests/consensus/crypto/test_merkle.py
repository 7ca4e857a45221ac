"""Complete binary Merkle tree, RFC 6."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.crypto.hashing import ZERO_HASH, ckb_hash
from consensus.crypto.merkle import (
    MerkleProofError,
    TreeProof,
    build_loose_proof,
    build_proof,
    merkle_nodes,
    merkle_root,
    proof_root,
    proven_leaves,
)


def items(count: int) -> list[bytes]:
    """Hashes T0, T1, … of the RFC."""
    return [ckb_hash(b"item %d" % number) for number in range(count)]


def merge(left: bytes, right: bytes) -> bytes:
    return ckb_hash(left + right)


def root_by_pairing(leaves: Sequence[bytes]) -> bytes:
    """The root of two leaves or more without node numbers: the deepest level first, then level by level."""
    level = list(leaves)
    width = 1 << (len(level) - 1).bit_length() >> 1
    # the deepest level holds as many of the last leaves as do not fit the full level above it
    deepest = 2 * (len(level) - width)
    split = len(level) - deepest
    upper, lower = level[:split], level[split:]
    level = [merge(a, b) for a, b in zip(lower[::2], lower[1::2], strict=True)] + upper
    while len(level) > 1:
        level = [merge(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def test_six_items() -> None:
    """The tree that RFC 6 draws."""
    t = items(6)
    b3, b4 = merge(t[2], t[3]), merge(t[4], t[5])
    b1, b2 = merge(b3, b4), merge(t[0], t[1])
    assert merkle_nodes(t) == [merge(b1, b2), b1, b2, b3, b4, *t]


def test_seven_items() -> None:
    t = items(7)
    b3, b4, b5 = merge(t[1], t[2]), merge(t[3], t[4]), merge(t[5], t[6])
    b1, b2 = merge(b3, b4), merge(b5, t[0])
    assert merkle_nodes(t) == [merge(b1, b2), b1, b2, b3, b4, b5, *t]


def test_small_trees() -> None:
    t = items(2)
    assert merkle_root([]) == ZERO_HASH
    assert merkle_root(t[:1]) == t[0]
    assert merkle_root(t) == merge(*t)


def test_proof_of_rfc_6() -> None:
    """[T1, T4] of six: nodes [T5, T0, B3], indexes 9 and 6 in the order of the items' hashes."""
    t = items(6)
    proof = build_proof(t, [1, 4])
    assert proof.lemmas == (t[5], t[0], merge(t[2], t[3]))
    assert proof.indices == ((6, 9) if t[1] < t[4] else (9, 6))
    assert proof_root(proof, [t[4], t[1]]) == merkle_root(t)


def test_proof_of_the_only_leaf() -> None:
    proof = build_proof([b"\1" * 32], [0])
    assert proof == TreeProof((0,), ())
    assert proof_root(proof, [b"\1" * 32]) == b"\1" * 32


@pytest.mark.parametrize("positions", [[], [6], [-1], [0, 0]])
def test_leaves_that_cannot_be_proven(positions: list[int]) -> None:
    with pytest.raises(MerkleProofError):
        build_proof(items(6), positions)
    with pytest.raises(MerkleProofError):
        build_proof([], positions)


def test_proofs_that_do_not_fit() -> None:
    t = items(6)
    proof = build_proof(t, [1, 4])
    leaves = [t[1], t[4]]
    wrong = [
        (proof, []),
        (proof, [t[1]]),
        (TreeProof((), ()), []),
        (TreeProof(proof.indices, proof.lemmas[:-1]), leaves),
        (TreeProof(proof.indices, (*proof.lemmas, ZERO_HASH)), leaves),
        (TreeProof((-1, *proof.indices[1:]), proof.lemmas), leaves),
        (TreeProof((0, *proof.indices[1:]), proof.lemmas), leaves),
        (TreeProof((proof.indices[0],) * 2, proof.lemmas), leaves),
        (TreeProof(((1 << 32) - 1, 6), proof.lemmas), leaves),
    ]
    for bad_proof, bad_leaves in wrong:
        with pytest.raises(MerkleProofError):
            proof_root(bad_proof, bad_leaves)
    assert proof_root(proof, [t[1], t[5]]) != merkle_root(t)


def test_proven_leaves() -> None:
    t = items(6)
    proof = build_proof(t, [0, 3])
    assert sorted(proven_leaves(t, proof)) == sorted([t[0], t[3]])
    for indices in ((), (4,), (11,), (-1,)):
        with pytest.raises(MerkleProofError):
            proven_leaves(t, TreeProof(indices, ()))
    with pytest.raises(MerkleProofError):
        proven_leaves([], proof)


@given(count=st.integers(2, 200))
def test_node_numbers_do_not_matter_to_the_root(count: int) -> None:
    assert merkle_root(items(count)) == root_by_pairing(items(count))


@settings(deadline=None)
@given(data=st.data(), count=st.integers(1, 60))
def test_every_proof_leads_to_the_root(data: st.DataObject, count: int) -> None:
    leaves = items(count)
    positions = data.draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True))
    proof = build_proof(leaves, positions)
    chosen = data.draw(st.permutations([leaves[position] for position in positions]))
    assert proof_root(proof, chosen) == merkle_root(leaves)
    assert sorted(proven_leaves(leaves, proof)) == sorted(chosen)
    if proof.lemmas:
        altered = TreeProof(proof.indices, (*proof.lemmas[:-1], ZERO_HASH))
        assert proof_root(altered, chosen) != merkle_root(leaves)


@given(
    indices=st.lists(st.integers(0, 40) | st.integers(0, (1 << 32) - 1), max_size=6),
    lemmas=st.integers(0, 8),
)
def test_hostile_proofs_end_in_a_root_or_an_error(indices: list[int], lemmas: int) -> None:
    try:
        root = proof_root(TreeProof(tuple(indices), tuple(items(lemmas))), items(len(indices)))
    except MerkleProofError:
        return
    assert len(root) == 32


@pytest.mark.parametrize(("count", "positions"), [(1, [0, 0]), (2, [1, 1]), (6, [4, 1, 4])])
def test_a_loose_proof_names_leaves_twice(count: int, positions: list[int]) -> None:
    """Nobody can follow it, unless the leaf is the root; the reference answers light clients so, or stops."""
    t = items(count)
    with pytest.raises(MerkleProofError):
        build_proof(t, positions)
    proof = build_loose_proof(t, positions)
    assert sorted(proof.indices) == sorted(position + count - 1 for position in positions)
    assert len(proof.lemmas) >= (count > 1)


@pytest.mark.parametrize("positions", [[], [-1], [6], [2, 6]])
def test_no_such_leaf(positions: list[int]) -> None:
    with pytest.raises(MerkleProofError):
        build_loose_proof(items(6), positions)


@given(st.integers(1, 40), st.data())
def test_a_loose_proof_of_distinct_leaves_is_the_proof(count: int, data: st.DataObject) -> None:
    positions = data.draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True))
    assert build_loose_proof(items(count), positions) == build_proof(items(count), positions)
