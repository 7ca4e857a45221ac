"""Proofs over the chain-root MMR (RFC 44)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.rules.mmr import MmrError, append, bag, leaf_digest, root
from consensus.rules.mmr_proof import MmrProofError, ProofPlan, plan_proof, proven_root
from consensus.types.blockchain import Header
from consensus.types.core import EpochFraction
from tests.support.chains.unchecked import header

TARGET = 0x1E01_5555
COUNT = 70


def header_at(number: int) -> Header:
    return header(number=number, epoch=EpochFraction(0, number, 1000), compact_target=TARGET)


LEAVES = [leaf_digest(header_at(number)) for number in range(COUNT)]
NODES: list[bytes] = []
for _number in range(COUNT):
    NODES += append(_number, LEAVES[_number], NODES.__getitem__)


def proof_of(leaf_count: int, leaves: Sequence[int]) -> list[bytes]:
    plan = plan_proof(leaf_count, leaves)
    proof = [NODES[position] for position in plan.positions]
    return [*proof, bag([NODES[position] for position in plan.bagged])] if plan.bagged else proof


@st.composite
def questions(draw: st.DrawFn) -> tuple[int, list[int]]:
    count = draw(st.integers(1, COUNT))
    return count, draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=8))


@given(questions())
def test_proofs_lead_to_the_root(question: tuple[int, list[int]]) -> None:
    count, leaves = question
    proof = proof_of(count, leaves)
    assert len(proof) == plan_proof(count, leaves).length
    assert proven_root(count, {leaf: LEAVES[leaf] for leaf in leaves}, proof) == root(count, NODES.__getitem__)


def test_positions() -> None:
    """Of eleven leaves, in trees of eight, two and one."""
    assert plan_proof(11, [0]) == ProofPlan([1, 5, 13], [17, 18])
    assert list(plan_proof(11, [5, 2]).positions) == [4, 7, 2, 12]
    assert list(plan_proof(11, [9]).positions) == [14, 15]
    assert list(plan_proof(11, [9]).bagged) == [18]
    assert plan_proof(11, [10]).positions == [14, 17]
    assert plan_proof(11, [10]).length == 2
    assert plan_proof(1, [0]).length == 0


@pytest.mark.parametrize("leaves", [[], [-1], [11], [3, 11]])
def test_no_such_leaves(leaves: list[int]) -> None:
    with pytest.raises(MmrProofError):
        plan_proof(11, leaves)


def test_a_changed_proof_leads_elsewhere() -> None:
    proof, leaves = proof_of(11, [3]), {3: LEAVES[3]}
    expected = root(11, NODES.__getitem__)
    for at, node in enumerate(proof):
        for changed in (bytes([node[0] ^ 1]) + node[1:], NODES[at + 20]):
            try:
                assert proven_root(11, leaves, [*proof[:at], changed, *proof[at + 1 :]]) != expected
            except MmrError:
                continue


def test_a_proof_of_another_length() -> None:
    proof = proof_of(11, [3])
    for other in (proof[:-1], [*proof, proof[-1]], []):
        with pytest.raises(MmrProofError):
            proven_root(11, {3: LEAVES[3]}, other)
