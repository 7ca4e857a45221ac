"""Block rewards. The worked example of proposals and the fees: ckb `util/reward-calculator/src/tests.rs`."""

import pytest

from consensus.lookup import ChainDataError
from consensus.params import Consensus, ProposalWindow
from consensus.rules.dao import DaoOverflowError, primary_block_reward, secondary_block_reward
from consensus.rules.reward import (
    BlockReward,
    block_reward,
    committer_reward,
    finalize_target,
    has_finalization_target,
    proposer_reward,
)
from consensus.types.blockchain import Block, Transaction, UncleBlock
from tests.support.chains.unchecked import UncheckedChain, header, make_consensus, script, transaction


def test_targets() -> None:
    consensus = make_consensus()
    assert [finalize_target(consensus, number) for number in (1, 10, 11, 12, 13, 100)] == [0, 0, 0, 1, 2, 89]
    assert [has_finalization_target(consensus, number) for number in (1, 11, 12)] == [False, False, True]
    narrow = make_consensus(proposal_window=ProposalWindow(2, 5))
    assert [finalize_target(narrow, number) for number in (6, 7, 19)] == [0, 1, 13]


def transactions(count: int) -> list[Transaction]:
    return [transaction(version=100 * (index + 1)) for index in range(count)]


def uncle(*proposals: bytes) -> UncleBlock:
    return UncleBlock(header=header(number=1), proposals=proposals)


def grow(chain: UncheckedChain, until: int) -> None:
    while chain.tip_header().number < until:
        chain.extend()


def at(chain: UncheckedChain, number: int) -> Block:
    return chain.stored[chain.main[number]]


def example() -> tuple[Consensus, UncheckedChain]:
    """Window (2, 5); block 19 pays block 13.

    10: p1.  11: p2, uncle p3.  13, the target: p1 p3 p4 p5, uncle p6.  14: p4, commits 1 2 3.  15: commits 4.
    18: commits 5 6. Of the target's proposals 4, 5 and 6 were its own discovery.
    """
    consensus = make_consensus(proposal_window=ProposalWindow(2, 5))
    chain = UncheckedChain.with_genesis(consensus)
    tx1, tx2, tx3, tx4, tx5, tx6 = transactions(6)
    grow(chain, 9)
    chain.extend(proposals=[tx1.short_id])
    chain.extend(proposals=[tx2.short_id], uncles=[uncle(tx3.short_id)])
    chain.extend()
    ids = [tx.short_id for tx in (tx1, tx3, tx4, tx5)]
    chain.extend(proposals=ids, uncles=[uncle(tx6.short_id)])
    chain.extend([tx1, tx2, tx3], fees=[100, 20, 33], proposals=[tx4.short_id])
    chain.extend([tx4], fees=[300])
    chain.extend()
    chain.extend()
    chain.extend([tx5, tx6], fees=[41, 999])
    return consensus, chain


def test_proposer_reward_of_the_example() -> None:
    consensus, chain = example()
    reward = proposer_reward(consensus, at(chain, 18).header, at(chain, 13).header, chain)
    assert reward == 300 * 4 // 10 + 41 * 4 // 10 + 999 * 4 // 10


def test_block_1_counts_as_earlier_than_itself() -> None:
    """The search for earlier proposals stops at block 1, and takes it in even when block 1 is the target: only commits
    in block 11, which it does not reach, pay it. Nodes have always counted so."""
    for committed, reward in ((3, 0), (10, 0), (11, 400)):
        consensus = make_consensus()
        chain = UncheckedChain.with_genesis(consensus)
        tx = transaction(version=9)
        chain.extend(proposals=[tx.short_id])
        grow(chain, committed - 1)
        chain.extend([tx], fees=[1_000])
        grow(chain, 11)
        assert proposer_reward(consensus, chain.tip_header(), at(chain, 1).header, chain) == reward


def test_other_proposers_of_the_example() -> None:
    """Block 10 was first with tx 1, block 11 with 2 and 3; block 14 proposed 4 too late."""
    consensus, chain = example()
    assert proposer_reward(consensus, at(chain, 15).header, at(chain, 10).header, chain) == 40
    assert proposer_reward(consensus, at(chain, 16).header, at(chain, 11).header, chain) == 8 + 13
    chain.extend()
    assert proposer_reward(consensus, at(chain, 19).header, at(chain, 14).header, chain) == 0


def test_commits_after_the_parent_do_not_count() -> None:
    consensus, chain = example()
    assert proposer_reward(consensus, at(chain, 17).header, at(chain, 13).header, chain) == 300 * 4 // 10


def test_proposals_that_nobody_commits_pay_nothing() -> None:
    consensus = make_consensus()
    chain = UncheckedChain.with_genesis(consensus)
    chain.extend(proposals=[bytes(10)])
    grow(chain, 11)
    assert proposer_reward(consensus, chain.tip_header(), at(chain, 1).header, chain) == 0


def test_window_of_the_public_chains() -> None:
    """A transaction proposed in 5 and committed in 7 (first) or 15 (last) pays block 5 through block 16."""
    for committed in (7, 15):
        consensus = make_consensus()
        chain = UncheckedChain.with_genesis(consensus)
        tx = transaction(version=9)
        grow(chain, 4)
        chain.extend(proposals=[tx.short_id])
        grow(chain, committed - 1)
        chain.extend([tx], fees=[1_000])
        grow(chain, 15)
        _, reward = block_reward(consensus, chain.tip_header(), chain)
        assert reward.proposal_reward == 400


def test_an_earlier_proposal_inside_the_window_takes_the_reward() -> None:
    """Proposed in 4 and 5: committed in 14 block 4 is in the window and wins, in 15 it is not."""
    for committed, of_block_5 in ((14, 0), (15, 400)):
        consensus = make_consensus()
        chain = UncheckedChain.with_genesis(consensus)
        tx = transaction(version=9)
        grow(chain, 3)
        chain.extend(proposals=[tx.short_id])
        chain.extend(proposals=[tx.short_id])
        grow(chain, committed - 1)
        chain.extend([tx], fees=[1_000])
        grow(chain, 15)
        assert proposer_reward(consensus, at(chain, 15).header, at(chain, 5).header, chain) == of_block_5
        grow(chain, 14)
        assert proposer_reward(consensus, at(chain, 14).header, at(chain, 4).header, chain) == 400 - of_block_5


def test_committer_gets_what_the_proposer_does_not() -> None:
    """Not 60 %, rounded: 33 pays 13 and 20."""
    consensus = make_consensus()
    chain = UncheckedChain.with_genesis(consensus)
    target = chain.extend(transactions(4), fees=[100, 20, 33, 34])
    assert committer_reward(consensus, target.header, chain) == 60 + 12 + 20 + 21


def test_whole_reward_goes_to_the_targets_miner() -> None:
    consensus = make_consensus()
    chain = UncheckedChain.with_genesis(consensus)
    early, late = transactions(2)
    miner = script(b"miner of block 4")
    chain.extend(proposals=[early.short_id])
    chain.extend()
    grow(chain, 3)
    target = chain.extend([early], fees=[1_001], proposals=[late.short_id], lock=miner)
    grow(chain, 5)
    chain.extend([late], fees=[501])
    grow(chain, 14)
    lock, reward = block_reward(consensus, chain.tip_header(), chain)
    primary = primary_block_reward(target.header, chain)
    secondary = secondary_block_reward(consensus, target.header, chain)
    assert primary == consensus.genesis_epoch.base_block_reward + 1
    assert secondary > 0
    assert lock == miner
    assert reward == BlockReward(primary + secondary + 601 + 200, primary, secondary, 601, 200)


def test_first_blocks_look_at_genesis() -> None:
    consensus = make_consensus()
    chain = UncheckedChain.with_genesis(consensus)
    _, reward = block_reward(consensus, chain.tip_header(), chain)
    assert reward.secondary == reward.tx_fee == reward.proposal_reward == 0
    assert reward.total == reward.primary == consensus.genesis_epoch.block_reward(0)


def test_total_must_fit() -> None:
    consensus = make_consensus()
    chain = UncheckedChain.with_genesis(consensus)
    chain.extend(transactions(3), fees=[1 << 63, 1 << 63, 1 << 63])
    grow(chain, 11)
    with pytest.raises(DaoOverflowError):
        block_reward(consensus, chain.tip_header(), chain)


def test_missing_data_is_named() -> None:
    consensus = make_consensus()
    chain = UncheckedChain.with_genesis(consensus)
    grow(chain, 11)
    del chain.exts[chain.main[1]]
    with pytest.raises(ChainDataError, match="block ext") as caught:
        block_reward(consensus, chain.tip_header(), chain)
    assert caught.value.key == chain.main[1]
