"""Two-step confirmation (RFC 20): commits 2 to 10 blocks after the proposal."""

from __future__ import annotations

import pytest

from consensus.lookup import ChainDataError
from consensus.params import ProposalWindow
from consensus.rules.two_phase import NotProposedError, proposed_ids, verify_two_phase, window_numbers
from tests.support.builders.blocks import a_consensus
from tests.support.chains.valid import ValidChain

WINDOW = ProposalWindow(closest=2, farthest=10)


@pytest.fixture
def chain() -> ValidChain:
    return ValidChain(a_consensus())


@pytest.mark.parametrize(
    ("number", "heights"),
    [(1, []), (2, []), (3, [1]), (10, list(range(1, 9))), (11, list(range(1, 10))), (12, list(range(2, 11)))],
)
def test_window(number: int, heights: list[int]) -> None:
    assert list(window_numbers(WINDOW, number)) == heights


@pytest.mark.parametrize(("distance", "is_valid"), [(1, False), (2, True), (10, True), (11, False)])
def test_distance_between_proposal_and_commitment(chain: ValidChain, distance: int, is_valid: bool) -> None:
    transaction = chain.spend(0)
    chain.grow(3)
    chain.attach(chain.next_block(proposals=[transaction.short_id]))
    chain.grow(distance - 1)
    block = chain.next_block([transaction])
    if is_valid:
        verify_two_phase(WINDOW, block, chain)
    else:
        with pytest.raises(NotProposedError) as caught:
            verify_two_phase(WINDOW, block, chain)
        assert caught.value.tx_hash == transaction.hash
        assert str(caught.value) == "Block(Commit(Invalid))"


def test_an_uncle_may_propose(chain: ValidChain) -> None:
    transaction = chain.spend(0)
    chain.grow(2)
    chain.attach(chain.next_block(uncles=[chain.an_uncle(2, [transaction.short_id])]))
    chain.grow(1)
    verify_two_phase(WINDOW, chain.next_block([transaction]), chain)


def test_a_proposal_in_the_block_itself_does_not_count(chain: ValidChain) -> None:
    transaction = chain.spend(0)
    chain.grow(5)
    with pytest.raises(NotProposedError):
        verify_two_phase(WINDOW, chain.next_block([transaction], proposals=[transaction.short_id]), chain)


def test_every_transaction_is_checked(chain: ValidChain) -> None:
    first, second = chain.spend(0), chain.spend(1)
    chain.attach(chain.next_block(proposals=[first.short_id]))
    chain.grow(1)
    verify_two_phase(WINDOW, chain.next_block([first]), chain)
    with pytest.raises(NotProposedError) as caught:
        verify_two_phase(WINDOW, chain.next_block([first, second]), chain)
    assert caught.value.tx_hash == second.hash


def test_the_cellbase_needs_no_proposal(chain: ValidChain) -> None:
    verify_two_phase(WINDOW, chain.next_block(), chain)


def test_proposed_ids_at_the_tip(chain: ValidChain) -> None:
    transaction = chain.spend(0)
    chain.attach(chain.next_block(proposals=[transaction.short_id]))
    assert proposed_ids(WINDOW, 2, chain) == set()
    assert proposed_ids(WINDOW, 3, chain) == {transaction.short_id}
    with pytest.raises(ChainDataError):
        proposed_ids(WINDOW, 10, chain)
