"""Answers to peers that lack transactions of a block."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ckb_node.sync.relay import block_answers
from ckb_node.sync.relay.block_answers import (
    INDEX_PRICE,
    MAX_INDEXES,
    MAX_OPEN,
    MAX_UNSENT_BYTES,
    QUESTION_PRICE,
    block_transactions,
)
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
    twice = block_transactions(block, [1, 1], [])
    assert twice is not None
    answer = RELAY_MESSAGE.parse(twice)
    assert isinstance(answer, BlockTransactions)
    assert list(answer.transactions) == [block.transactions[1]] * 2, "as the reference"
    assert block_transactions(block, [*range(7)] * 2, []) is None
    assert block_transactions(block, [1] * 100, []) is None


def test_reads_for_one_peer_are_bounded() -> None:
    case, block = whole(story()), story().base[0]
    peer, other = case.peer(1), case.peer(2)
    asked = [case.say(peer, question(block.hash, [0])) for _ in range(MAX_OPEN + 1)]
    assert asked == [RelayStatus.OK] * MAX_OPEN + [RelayStatus.IGNORED]
    assert case.say(other, question(block.hash, [0])) is RelayStatus.OK
    case.run()
    assert [len(messages(each)) for each in (peer, other)] == [MAX_OPEN, 1]
    assert case.say(peer, question(block.hash, [0])) is RelayStatus.OK


def test_nothing_is_kept_of_a_peer_that_left() -> None:
    case, block = whole(story()), story().base[0]
    peer = case.peer()
    case.say(peer, question(block.hash, [0]))
    case.protocol.closed(peer)
    case.run()
    assert not case.relay._answers._lines


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


# --------------------------------------------------------------------- pace


def recent_case() -> Case:
    """The block was announced lately."""
    case = Case()
    case.chain.process(story().block)
    return case


def test_who_asks_for_whole_blocks_gets_so_many_at_once_and_the_others_at_a_pace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(block_answers, "PEER_RATE", 10_000)
    monkeypatch.setattr(block_answers, "PEER_BURST", 50_000)
    case, block = recent_case(), story().block
    greedy, honest = case.peer(1), case.peer(2)
    whole_block = question(block.hash, range(7))
    price = QUESTION_PRICE + 7 * INDEX_PRICE + len(block_transactions(block, range(7), []) or b"")
    for _ in range(200):
        case.say(greedy, whole_block)
        case.scheduler.advance(0.05)
    expected = (50_000 + 10 * 10_000) / price
    assert expected <= len(messages(greedy)) <= expected + 1
    case.say(greedy, whole_block)
    assert case.say(honest, whole_block) is RelayStatus.OK
    assert len(messages(honest)) == 1, "at once"


def test_indexes_cost_whether_the_block_has_them_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_answers, "PEER_RATE", 1)
    monkeypatch.setattr(block_answers, "PEER_BURST", MAX_INDEXES * INDEX_PRICE)
    case, block = recent_case(), story().block
    peer = case.peer()
    for _ in range(3):
        case.say(peer, question(block.hash, [9] * MAX_INDEXES))
        case.scheduler.advance(0.05)
    assert len(messages(peer)) == 1


def test_reading_a_block_costs_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_answers, "PEER_RATE", 1)
    case, block = whole(story()), story().base[0]
    monkeypatch.setattr(block_answers, "PEER_BURST", 2 * QUESTION_PRICE + len(block.raw))
    peer = case.peer()
    for _ in range(5):
        case.say(peer, question(block.hash, []))
        case.scheduler.advance(0.05)
    assert len(messages(peer)) == 2


def test_a_peer_that_does_not_take_what_was_sent_waits() -> None:
    case, block = recent_case(), story().block
    peer = case.peer()
    peer.queued_bytes = MAX_UNSENT_BYTES + 1
    assert case.say(peer, question(block.hash, [1])) is RelayStatus.OK
    case.scheduler.advance(1.0)
    assert messages(peer) == []
    peer.queued_bytes = 0
    case.scheduler.advance(0.1)
    assert len(messages(peer)) == 1


def test_a_new_block_is_asked_for_by_all_at_the_same_time() -> None:
    """Each has its answer within this moment, and between two of them the event loop may do something else."""
    case, block = recent_case(), story().block
    peers = [case.peer(seed) for seed in range(1, 101)]
    for peer in peers:
        case.say(peer, question(block.hash, range(7)))
    assert [len(peer.sent) > 0 for peer in peers].count(True) == 1
    case.scheduler.advance(0.0)
    assert all(len(messages(peer)) == 1 for peer in peers)


def test_a_block_that_is_read_holds_up_no_new_one() -> None:
    case, block = Case(blocks=story().base), story().block
    case.chain.process(block)
    slow, quick = case.peer(1), case.peer(2)
    case.chain.read = lambda work, done: None  # type: ignore[method-assign]
    case.say(slow, question(story().base[0].hash, [0]))
    case.say(slow, question(story().base[0].hash, [0]))
    case.say(quick, question(block.hash, [0]))
    case.scheduler.advance(0.0)
    assert (len(messages(slow)), len(messages(quick))) == (0, 1)


def test_all_peers_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_answers, "RATE", 50_000)
    monkeypatch.setattr(block_answers, "BURST", 100_000)
    case, block = recent_case(), story().block
    peers = [case.peer(seed) for seed in range(1, 31)]
    price = QUESTION_PRICE + 7 * INDEX_PRICE + len(block_transactions(block, range(7), []) or b"")
    for _ in range(100):
        for peer in peers:
            case.say(peer, question(block.hash, range(7)))
        case.scheduler.advance(0.1)
    expected = (100_000 + 10 * 50_000) / price
    counts = [len(messages(peer)) for peer in peers]
    assert expected <= sum(counts) <= expected + 1
    assert max(counts) - min(counts) <= 1, "in turns"
