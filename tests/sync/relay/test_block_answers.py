"""Answers to peers that lack transactions of a block."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ckb_node.sync.relay.block_answers import MAX_INDEXES, MAX_READS, block_transactions
from ckb_node.sync.relay.status import RelayStatus
from network.messages.protocols import RELAY_MESSAGE, BlockTransactions, GetBlockTransactions
from tests.sync.relay.kit import Case, Story, ban_of, messages, story


def question(block_hash: bytes, indexes: Sequence[int], uncles: Sequence[int] = ()) -> GetBlockTransactions:
    return GetBlockTransactions(block_hash=block_hash, indexes=indexes, uncle_indexes=uncles)


def whole(told: Story) -> Case:
    return Case(blocks=[*told.base, told.block, told.sibling, told.nephew])


def test_transactions_in_the_order_of_the_question() -> None:
    case, block = whole(story()), story().block
    peer = case.peer()
    assert case.say(peer, question(block.hash, [3, 1, 6])) is RelayStatus.OK
    case.run()
    expected = BlockTransactions(
        block_hash=block.hash, transactions=[block.transactions[at] for at in (3, 1, 6)], uncles=[]
    )
    assert messages(peer) == [expected]


def test_uncles() -> None:
    case, nephew = whole(story()), story().nephew
    peer = case.peer()
    case.say(peer, question(nephew.hash, [], [0]))
    case.run()
    assert messages(peer) == [BlockTransactions(block_hash=nephew.hash, transactions=[], uncles=nephew.uncles)]


def test_blocks_of_side_branches_are_answered_too() -> None:
    case, sibling = whole(story()), story().sibling
    peer = case.peer()
    case.say(peer, question(sibling.hash, [0]))
    case.run()
    (answer,) = messages(peer)
    assert isinstance(answer, BlockTransactions)
    assert list(answer.transactions) == list(sibling.transactions)


def test_what_the_block_does_not_have_is_left_out() -> None:
    case, block = whole(story()), story().block
    peer = case.peer()
    case.say(peer, question(block.hash, [0, 7, 0xFFFF_FFFF], [0]))
    case.run()
    (answer,) = messages(peer)
    assert isinstance(answer, BlockTransactions)
    assert list(answer.transactions) == [block.transactions[0]]


def test_silence_about_an_unknown_block() -> None:
    case = Case()
    peer = case.peer()
    case.say(peer, question(bytes(32), [0]))
    case.run()
    assert messages(peer) == []
    assert not peer.has_ended


def test_what_was_announced_lately_is_answered_at_once() -> None:
    case, block = Case(), story().block
    case.chain.process(block)
    peer = case.peer()
    case.say(peer, question(block.hash, [1]))
    assert len(messages(peer)) == 1


def test_400_too_many_indexes() -> None:
    case, block = whole(story()), story().block
    peer = case.peer()
    assert case.say(peer, question(block.hash, range(MAX_INDEXES))) is RelayStatus.OK
    assert case.say(peer, question(block.hash, range(MAX_INDEXES + 1))) is None
    assert ban_of(peer) == "400"


def test_400_too_many_uncle_indexes() -> None:
    case, block = whole(story()), story().block
    peer = case.peer()
    case.say(peer, question(block.hash, [], [0, 1, 2]))
    assert ban_of(peer) == "400"


def test_a_transaction_many_times_is_not_answered() -> None:
    """32,767 copies of a large one would be more than any message may have."""
    block = story().block
    assert block_transactions(block, [1, 1], []) is not None
    assert block_transactions(block, [1] * 100, []) is None


def test_reads_for_one_peer_are_bounded() -> None:
    case, block = whole(story()), story().base[0]
    peer, other = case.peer(1), case.peer(2)
    asked = [case.say(peer, question(block.hash, [0])) for _ in range(MAX_READS + 1)]
    assert asked == [RelayStatus.OK] * MAX_READS + [RelayStatus.IGNORED]
    assert case.say(other, question(block.hash, [0])) is RelayStatus.OK
    case.run()
    assert [len(messages(each)) for each in (peer, other)] == [MAX_READS, 1]
    assert case.say(peer, question(block.hash, [0])) is RelayStatus.OK


def test_nothing_is_kept_of_a_peer_that_left() -> None:
    case, block = whole(story()), story().base[0]
    peer = case.peer()
    case.say(peer, question(block.hash, [0]))
    case.protocol.closed(peer)
    case.run()
    assert not case.relay._answers._reads


def test_a_fault_of_the_disk_is_not_the_peers() -> None:
    case, block = whole(story()), story().base[0]
    peer = case.peer()
    case.chain.fault = OSError("the disk is gone")
    case.say(peer, question(block.hash, [0]))
    case.run()
    assert messages(peer) == []
    assert not peer.has_ended


@pytest.mark.parametrize("indexes", [[], [0], [0, 1, 2, 3, 4, 5, 6]])
def test_the_message_is_that_of_the_schema(indexes: list[int]) -> None:
    block = story().block
    plain = BlockTransactions(block_hash=block.hash, transactions=[block.transactions[at] for at in indexes], uncles=[])
    assert block_transactions(block, indexes, []) == RELAY_MESSAGE.pack(plain)
