"""Compact blocks whose uncles or transactions are not what they seem: uncles, collisions, lies."""

from __future__ import annotations

import pytest

from ckb_node.sync.relay.status import RelayStatus
from consensus.types.blockchain import Block, Transaction, UncleBlock
from tests.sync.relay.kit import (
    Case,
    Maker,
    answer,
    asked,
    ban_of,
    compact,
    spoilt,
    story,
    with_other_witness,
)

S = RelayStatus


# ---------------------------------------------------------------- uncles


def with_uncle() -> Case:
    return Case(blocks=[*story().base, story().block])


def test_107_a_missing_uncle_is_asked_for() -> None:
    case, nephew = with_uncle(), story().nephew
    peer = case.peer()
    assert case.say(peer, compact(nephew)) is S.REQUIRES_TRANSACTIONS
    assert asked(peer) == ([], [0])
    assert case.say(peer, answer(nephew, [], [0])) is S.OK
    case.run()
    assert case.tip() == nephew.hash


def test_proposals_of_received_uncles_are_asked_for() -> None:
    uncle = Maker(story().base).make(proposals=story().transfers[:1])
    embedded = UncleBlock(header=uncle.header, proposals=uncle.proposals)
    nephew = Maker([*story().base, story().block]).make(uncles=[embedded])
    case = with_uncle()
    peer = case.peer()
    case.say(peer, compact(nephew))
    case.say(peer, answer(nephew, [], [0]))
    assert case.asked_proposals == [(peer.session_id, nephew.hash, [story().transfers[0].short_id])]
    case.run()
    assert case.tip() == nephew.hash


def test_an_uncle_that_waits_for_its_verdict_is_found() -> None:
    case, nephew = with_uncle(), story().nephew
    case.say(case.peer(1), compact(story().sibling))
    assert case.say(case.peer(2), compact(nephew)) is S.OK
    case.run()
    assert case.tip() == nephew.hash


def test_an_uncle_that_is_known_to_be_invalid_is_asked_for() -> None:
    """Of an uncle only header and proposals count, so the nephew is valid, and who tells of it is honest: a node that
    had the valid rival first has never verified the other."""
    bad = spoilt(story().block)
    case = Case(story().transfers)
    case.say(case.peer(1), compact(bad))
    case.run()
    case.chain.process(story().block)
    uncle = UncleBlock(header=bad.header, proposals=bad.proposals)
    nephew = Maker([*story().base, story().block]).make(uncles=[uncle])
    peers = [case.peer(seed) for seed in range(2, 6)]
    assert case.say(peers[0], compact(nephew)) is S.REQUIRES_TRANSACTIONS
    assert asked(peers[0]) == ([], [0])
    for peer in peers[1:]:
        case.say(peer, compact(nephew))
    assert case.say(peers[0], answer(nephew, [], [0])) is S.OK
    case.run()
    assert case.tip() == nephew.hash
    assert not any(peer.has_ended for peer in peers)


# ---------------------------------------------------------------- collisions and lies


def test_108_a_short_id_that_means_another_transaction_here() -> None:
    transfers, block = story().transfers, story().block
    case = Case([with_other_witness(transfers[0]), *transfers[1:]])
    peer = case.peer()
    assert case.say(peer, compact(block)) is S.MEETS_COLLISION
    assert asked(peer) == ([1, 2, 3, 4, 5, 6], [])
    assert case.say(peer, answer(block, [1, 2, 3, 4, 5, 6])) is S.OK
    case.run()
    assert case.tip() == block.hash
    assert case.relay.figures.collisions == 1


def test_108_after_an_answer() -> None:
    transfers, block = story().transfers, story().block
    case = Case([with_other_witness(transfers[0]), *transfers[2:]])
    peer = case.peer()
    case.say(peer, compact(block))
    assert asked(peer) == ([2], [])
    assert case.say(peer, answer(block, [2])) is S.MEETS_COLLISION
    assert asked(peer) == ([1, 2, 3, 4, 5, 6], [])
    assert case.say(peer, answer(block, [1, 2, 3, 4, 5, 6])) is S.OK
    case.run()
    assert case.tip() == block.hash


def test_409_all_is_prefilled_and_wrong() -> None:
    case, block = Case(), story().block
    peer = case.peer()
    whole = compact(block, tuple(range(6)), short_ids=[])
    assert case.say(peer, whole) is None
    assert ban_of(peer) == "409"
    assert case.relay.pending_count == 0


def test_409_all_was_asked_and_is_wrong() -> None:
    case, block = Case(), story().block
    peer = case.peer()
    case.say(peer, compact(block))
    lie = answer(block, [1, 2, 3, 4, 5, 6])
    first, *rest = lie.transactions
    assert case.say(peer, lie.replace(transactions=[with_other_witness(first), *rest])) is None
    assert ban_of(peer) == "409"


def test_a_liar_does_not_spoil_the_answers_of_others() -> None:
    """Its short ids beside a header that others have mined; the reference holds all answers against the first ones."""
    case, block = Case(), story().block
    liar, honest = case.peer(1), case.peer(2)
    ids = [number.to_bytes(10, "big") for number in range(6)]
    assert case.say(liar, compact(block, short_ids=ids)) is S.REQUIRES_TRANSACTIONS
    assert case.say(honest, compact(block)) is S.REQUIRES_TRANSACTIONS
    assert asked(honest) == ([1, 2, 3, 4, 5, 6], [])
    assert case.say(honest, answer(block, [1, 2, 3, 4, 5, 6])) is S.OK
    assert not honest.has_ended
    case.run()
    assert case.tip() == block.hash


def test_other_witnesses_from_one_peer_do_not_spoil_the_answer_of_another() -> None:
    case, block = Case(), story().block
    liar, honest = case.peer(1), case.peer(2)
    case.say(liar, compact(block))
    case.say(honest, compact(block))
    lie = answer(block, [1, 2, 3, 4, 5, 6])
    case.say(liar, lie.replace(transactions=[with_other_witness(tx) for tx in lie.transactions]))
    assert ban_of(liar) == "409"
    assert case.say(honest, answer(block, [1, 2, 3, 4, 5, 6])) is S.OK


@pytest.mark.parametrize(
    ("status", "change"),
    [
        ("410", lambda honest: honest.replace(transactions=honest.transactions[1:])),
        ("410", lambda honest: honest.replace(transactions=[*honest.transactions, honest.transactions[0]])),
        ("411", lambda honest: honest.replace(transactions=list(reversed(honest.transactions)))),
        ("412", lambda honest: honest.replace(uncles=[])),
        ("413", lambda honest: honest.replace(uncles=[UncleBlock(header=story().sibling.header, proposals=[])])),
    ],
)
def test_another_answer_than_was_asked_for(status: str, change: object) -> None:
    nephew = with_transfers_and_uncle()
    case = Case(blocks=[*story().base, story().sibling])
    peer = case.peer()
    assert case.say(peer, compact(nephew)) is S.REQUIRES_TRANSACTIONS
    assert asked(peer) == ([1, 2, 3, 4, 5, 6], [0])
    honest = answer(nephew, [1, 2, 3, 4, 5, 6], [0])
    assert callable(change)
    assert case.say(peer, change(honest)) is None
    assert ban_of(peer) == status
    assert case.relay.pending_count == 0


def with_transfers_and_uncle() -> Block:
    """On the sibling; the story's block is its uncle."""
    uncle = UncleBlock(header=story().block.header, proposals=story().block.proposals)
    return Maker([*story().base, story().sibling]).make(story().transfers, uncles=[uncle])


def test_transactions_and_uncles_are_asked_at_once() -> None:
    nephew = with_transfers_and_uncle()
    case = Case(story().transfers[:3], blocks=[*story().base, story().sibling])
    peer = case.peer()
    case.say(peer, compact(nephew))
    assert asked(peer) == ([4, 5, 6], [0])
    case.say(peer, answer(nephew, [4, 5, 6], [0]))
    case.run()
    assert case.tip() == nephew.hash


def test_400_transactions_with_impossible_bytes() -> None:
    case, block = Case(), story().block
    peer = case.peer()
    case.say(peer, compact(block))
    honest = answer(block, [1, 2, 3, 4, 5, 6])
    first, *rest = honest.transactions
    strange = Transaction(body=first.body.replace(outputs_data=[b"", b""]), witnesses=first.witnesses)
    assert case.say(peer, honest.replace(transactions=[strange, *rest])) is None
    assert ban_of(peer) == "400"


def test_101_an_answer_that_nobody_asked_for() -> None:
    case, block = Case(), story().block
    asked_peer, other = case.peer(1), case.peer(2)
    assert case.say(other, answer(block, [1])) is S.IGNORED
    case.say(asked_peer, compact(block))
    assert case.say(other, answer(block, [1])) is S.IGNORED
    assert not other.has_ended
