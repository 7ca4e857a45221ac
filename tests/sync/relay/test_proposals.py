"""Relay of proposals: what a block proposes and is not here is asked for once, and given to who asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import pytest

from ckb_node.sync.relay.proposals import LOOKED_UP_AT_ONCE, PATIENCE
from ckb_node.sync.relay.unread import MAX_CONTENT
from ckb_node.txpool.at_hand import Proposed
from ckb_node.txpool.events import RemoteRefused, TransactionAccepted
from ckb_node.txpool.rejects import LowFeeRate, Malformed, PeerDropped, Reject, VerificationFailed
from consensus.script.errors import ExceededMaximumCycles, TransactionScriptError
from consensus.types.blockchain import Transaction
from network.limits import RELAY
from network.messages.protocols import RELAY_MESSAGE, BlockProposal, GetBlockProposal
from network.peer import Direction, SessionKind
from tests.support.network.peers import FakePeer
from tests.sync.relay.kit import with_other_witness
from tests.sync.relay.kit_transactions import Relays, a_transaction, taken

BLOCK = bytes(range(32))
MOST = 3000


def ids(count: int, seed: int = 0) -> list[bytes]:
    return [(seed * 100_000 + serial).to_bytes(10, "big") for serial in range(count)]


def asked(peer: FakePeer) -> list[bytes]:
    return [each for message in taken(peer, GetBlockProposal) for each in message.proposals]


def give(relays: Relays, peer: FakePeer, *transactions: Transaction) -> None:
    relays.proposals.received_block_proposal(peer, RELAY_MESSAGE.pack(BlockProposal(transactions=transactions)))


def question(relays: Relays, peer: FakePeer, short_ids: Sequence[bytes]) -> None:
    relays.proposals.received_get_block_proposal(peer, GetBlockProposal(block_hash=BLOCK, proposals=short_ids))


def answers(peer: FakePeer) -> list[bytes]:
    return [each.hash for message in taken(peer, BlockProposal) for each in message.transactions]


# --------------------------------------------------------------------- asking


def test_what_is_not_here_is_asked_for_once() -> None:
    relays = Relays()
    first, second = relays.peer(), relays.peer()
    here, missing = a_transaction(1), a_transaction(2)
    relays.pool.add(here)
    relays.proposals.ask(first, BLOCK, [here.short_id, missing.short_id, missing.short_id])
    (message,) = taken(first, GetBlockProposal)
    assert (message.block_hash, list(message.proposals)) == (BLOCK, [missing.short_id])
    relays.proposals.ask(second, BLOCK, [missing.short_id])
    assert asked(second) == []
    relays.tip_number += 1
    relays.proposals.ask(second, BLOCK, [missing.short_id])
    assert asked(second) == [missing.short_id], "the next block proposes it too"


def test_who_cannot_be_asked_was_not_asked() -> None:
    relays = Relays()
    gone, there = relays.peer(), relays.peer()
    gone.disconnect("away")
    relays.proposals.ask(gone, BLOCK, ids(1))
    relays.proposals.ask(there, BLOCK, ids(1))
    assert asked(there) == ids(1)


def test_what_was_asked_for_goes_to_the_pool_and_the_rest_is_dropped() -> None:
    relays = Relays()
    peer, other = relays.peer(), relays.peer()
    tx = a_transaction(1)
    give(relays, peer, tx)
    assert relays.pool.submitted == []
    relays.proposals.ask(peer, BLOCK, [tx.short_id])
    give(relays, other, a_transaction(2), tx)
    assert relays.pool.submitted == [], "the other was not asked"
    give(relays, peer, a_transaction(2), tx)
    give(relays, peer, tx)
    assert relays.pool.submitted == [(tx, None, peer.session_id)]
    assert (peer.banned, other.banned) == (None, None)
    relays.announce(peer, tx.hash)
    relays.clock.advance(0.1)
    assert relays.asked(peer) == [], "it is known now"


def test_a_false_copy_of_who_was_not_asked_takes_no_place() -> None:
    """It has the same hash: that covers no witnesses."""
    relays = Relays()
    honest, liar, tx = relays.peer(), relays.peer(), a_transaction(1)
    relays.proposals.ask(honest, BLOCK, [tx.short_id])
    give(relays, liar, with_other_witness(tx))
    give(relays, honest, tx)
    assert relays.pool.submitted == [(tx, None, honest.session_id)]


FALSE: Final = [VerificationFailed(TransactionScriptError("Inputs[0].Lock", ExceededMaximumCycles(1))), PeerDropped()]


@pytest.mark.parametrize("reason", FALSE)
def test_after_a_false_copy_others_are_asked_who_told_of_the_block(reason: Reject) -> None:
    relays = Relays()
    liar, late, dialled = relays.peer(), relays.peer(), relays.peer(direction=Direction.OUTBOUND)
    relays.tellers += [liar, late, dialled]
    false, true = with_other_witness(a_transaction(1)), a_transaction(1)
    relays.proposals.ask(liar, BLOCK, [true.short_id])
    give(relays, liar, false)
    relays.clock.advance(10)
    assert (asked(late), asked(dialled)) == ([], []), "it is judged"
    relays.pool.tell(RemoteRefused(true.hash, None, reason))
    relays.clock.advance(0.1)
    (message,) = taken(dialled, GetBlockProposal)
    assert (message.block_hash, list(message.proposals)) == (BLOCK, [true.short_id])
    assert asked(late) == [], "one at a time, those that we have dialled first"
    give(relays, dialled, true)
    assert relays.pool.submitted[1:] == [(true, None, dialled.session_id)]


def test_a_copy_with_larger_witnesses_is_a_false_one_too() -> None:
    """The pool refuses it for its fee, before any script has run."""
    relays = Relays()
    liar, other, tx = relays.peer(), relays.peer(), a_transaction(1)
    relays.tellers += [liar, other]
    relays.proposals.ask(liar, BLOCK, [tx.short_id])
    give(relays, liar, with_other_witness(tx))
    relays.pool.tell(RemoteRefused(tx.hash, None, LowFeeRate(1000, 500, 400), is_of_size=True))
    relays.clock.advance(0.1)
    assert asked(other) == [tx.short_id]


def test_a_true_verdict_is_one_on_all_copies() -> None:
    relays = Relays()
    peer, other, tx = relays.peer(), relays.peer(), a_transaction(1)
    relays.tellers += [peer, other]
    relays.proposals.ask(peer, BLOCK, [tx.short_id])
    give(relays, peer, tx)
    relays.pool.tell(RemoteRefused(tx.hash, None, Malformed("cellbase like")))
    relays.clock.advance(10)
    assert asked(other) == []


def test_an_answer_that_came_while_another_copy_was_judged_is_asked_for_again() -> None:
    relays = Relays()
    liar, honest = relays.peer(), relays.peer()
    tx = relays.delivered_by(liar)
    relays.proposals.ask(honest, BLOCK, [tx.short_id])
    give(relays, honest, tx)
    assert len(relays.pool.submitted) == 1, "that of the liar, by relay"
    asked(honest)
    relays.tellers.append(honest)
    relays.pool.tell(RemoteRefused(tx.hash, liar.session_id, FALSE[0]))
    relays.clock.advance(0.1)
    assert asked(honest) == [tx.short_id]
    give(relays, honest, tx)
    assert relays.pool.submitted[1:] == [(tx, None, honest.session_id)]


def test_who_gives_nothing_is_not_the_only_one_that_is_asked() -> None:
    relays = Relays()
    peers, tx = [relays.peer() for _ in range(6)], a_transaction(1)
    relays.tellers += peers
    relays.proposals.ask(peers[0], BLOCK, [tx.short_id, *ids(2)])
    relays.pool.coming[ids(1)[0]] = tx
    relays.clock.advance(PATIENCE - 0.2)
    assert [asked(each) for each in peers[1:]] == [[]] * 5
    relays.clock.advance(0.4)
    assert [asked(each) for each in peers[1:3]] == [[tx.short_id, ids(2)[1]], []], "the other has come"
    relays.clock.advance(10 * PATIENCE)
    assert [len(asked(each)) for each in peers[1:]] == [0, 2, 2, 0, 0], "at most four"
    give(relays, peers[1], tx)
    assert relays.pool.submitted == [(tx, None, peers[1].session_id)], "who is late was asked, too"


def test_what_has_come_is_not_asked_for_again() -> None:
    relays = Relays()
    peer, other, tx = relays.peer(), relays.peer(), a_transaction(1)
    relays.tellers += [peer, other]
    relays.proposals.ask(peer, BLOCK, [tx.short_id])
    relays.pool.tell(TransactionAccepted(tx.hash, other.session_id))
    relays.clock.advance(10 * PATIENCE)
    assert asked(other) == []


def test_many_false_copies_cost_one_question_more() -> None:
    """A peer drops more than thirty messages a second."""
    relays = Relays()
    liar, other = relays.peer(), relays.peer()
    relays.tellers += [liar, other]
    txs = [a_transaction(serial) for serial in range(200)]
    relays.proposals.ask(liar, BLOCK, [each.short_id for each in txs])
    give(relays, liar, *map(with_other_witness, txs))
    relays.clock.advance(0.5)
    for tx in txs:
        relays.pool.tell(RemoteRefused(tx.hash, None, FALSE[0]))
    relays.clock.advance(0.1)
    (message,) = taken(other, GetBlockProposal)
    assert len(message.proposals) == 200


def test_waiting_ends_ten_blocks_back() -> None:
    relays = Relays()
    peer = relays.peer()
    early, late = a_transaction(1), a_transaction(2)
    relays.proposals.ask(peer, BLOCK, [early.short_id])
    relays.tip_number += 1
    relays.proposals.ask(peer, BLOCK, [late.short_id])
    relays.tip_number += 10
    give(relays, peer, early, late)
    assert [each[0] for each in relays.pool.submitted] == [late]


def test_400_for_too_many_transactions() -> None:
    relays = Relays()
    peer = relays.peer()
    give(relays, peer, *[a_transaction(1)] * (MOST + 1))
    assert peer.banned is not None
    assert peer.banned[1].startswith("400")


def test_a_long_message_is_read_in_slices_and_its_sender_waits() -> None:
    relays = Relays()
    peer = relays.peer()
    txs = [a_transaction(serial) for serial in range(300)]
    relays.proposals.ask(peer, BLOCK, [each.short_id for each in txs])
    give(relays, peer, *txs)
    assert 0 < len(relays.pool.submitted) < 300
    assert RELAY in peer.held
    relays.clock.advance(0.01)
    assert [each[0] for each in relays.pool.submitted] == txs
    assert RELAY not in peer.held


def test_who_was_asked_for_nothing_is_not_read() -> None:
    """Decoding and hashing two megabytes, thirty times a second, is not for nothing."""
    relays = Relays()
    asked_one, other = relays.peer(), relays.peer()
    txs = [a_transaction(serial) for serial in range(300)]
    relays.proposals.ask(asked_one, BLOCK, [each.short_id for each in txs])
    give(relays, other, *txs)
    assert RELAY not in other.held
    give(relays, asked_one, *txs)
    assert RELAY in asked_one.held


def test_what_is_larger_than_any_honest_message_is_not_looked_at() -> None:
    relays = Relays()
    peer, tx = relays.peer(), a_transaction(1)
    relays.proposals.ask(peer, BLOCK, [tx.short_id])
    give(relays, peer, tx, a_transaction(2, size=MAX_CONTENT))
    assert relays.pool.submitted == []


# --------------------------------------------------------------------- answering


def test_what_is_here_is_given_verified_or_not() -> None:
    relays = Relays()
    peer = relays.peer()
    pooled, waiting = a_transaction(1), a_transaction(2)
    relays.pool.add(pooled)
    relays.pool.coming[waiting.short_id] = waiting
    question(relays, peer, [pooled.short_id, waiting.short_id])
    assert answers(peer) == [pooled.hash, waiting.hash]


def test_what_needs_another_is_announced_instead_parents_first() -> None:
    """The reference refuses a proposed transaction for good whose parent it has not verified yet."""
    relays = Relays()
    peer, quiet = relays.peer(), relays.peer(kind=SessionKind.BLOCK_RELAY_ONLY)
    parent = a_transaction(1)
    child = a_transaction(2, parent=parent.hash)
    grandchild = a_transaction(3, parent=child.hash)
    relays.pool.add(parent, child, grandchild)
    for each in (peer, quiet):
        question(relays, each, [grandchild.short_id, child.short_id, parent.short_id])
    messages = [RELAY_MESSAGE.parse(payload) for payload in peer.take(RELAY)]
    assert [type(each) for each in messages] == [BlockProposal]
    assert answers(quiet) == [parent.hash]
    relays.clock.advance(0.3)
    assert relays.told(peer) == [child.hash, grandchild.hash]
    assert relays.told(quiet) == []
    relays.clock.advance(1)
    assert peer.take(RELAY) == [], "all were found"


def test_what_is_not_here_is_looked_for_once_more() -> None:
    relays = Relays()
    peer, soon, late = relays.peer(), a_transaction(1), a_transaction(2)
    question(relays, peer, [soon.short_id, late.short_id])
    relays.pool.add(soon)
    relays.clock.advance(0.1)
    assert answers(peer) == [soon.hash]
    relays.pool.add(late)
    relays.clock.advance(10)
    assert answers(peer) == []


def test_many_ids_are_looked_for_in_slices_the_first_time_and_the_second() -> None:
    relays = Relays()
    peer, gone = relays.peer(), relays.peer()
    here = [a_transaction(serial) for serial in range(2)]
    relays.pool.add(*here)
    looked_at: list[int] = []
    proposed = relays.pool.proposed

    def count(short_ids: Iterable[bytes]) -> Proposed:
        some = list(short_ids)
        looked_at.append(len(some))
        return proposed(some)

    relays.pool.proposed = count  # type: ignore[method-assign]
    asked_for = [here[0].short_id, *ids(MOST - 2), here[1].short_id]
    question(relays, peer, asked_for)
    question(relays, gone, asked_for)
    assert looked_at == [LOOKED_UP_AT_ONCE] * 2
    relays.close(gone)
    relays.clock.advance(0.09)
    assert sum(looked_at) == MOST + LOOKED_UP_AT_ONCE
    relays.clock.advance(0.2)
    assert sum(looked_at) == MOST + LOOKED_UP_AT_ONCE + MOST - 2
    assert max(looked_at) == LOOKED_UP_AT_ONCE
    assert answers(peer) == [each.hash for each in here]


def test_who_has_gone_is_forgotten() -> None:
    relays = Relays()
    peer, tx = relays.peer(), a_transaction(1)
    question(relays, peer, [tx.short_id])
    relays.close(peer)
    relays.pool.add(tx)
    relays.clock.advance(0.1)
    assert peer.sent == []


def test_too_many_or_equal_ids() -> None:
    relays = Relays()
    many, equal, fine = relays.peer(), relays.peer(), relays.peer()
    question(relays, many, ids(MOST + 1))
    question(relays, equal, ids(1) * 2)
    question(relays, fine, ids(MOST))
    assert many.banned is not None
    assert many.banned[1].startswith("400")
    assert equal.banned is not None
    assert equal.banned[1].startswith("418")
    assert fine.banned is None


def test_a_flood_of_questions_is_not_looked_up() -> None:
    relays = Relays()
    peer, tx = relays.peer(), a_transaction(1)
    relays.pool.add(tx)
    for seed in range(10):
        question(relays, peer, ids(MOST, seed))
    question(relays, peer, [tx.short_id])
    assert answers(peer) == []
    relays.clock.advance(1)
    question(relays, peer, [tx.short_id])
    assert answers(peer) == [tx.hash]
    assert peer.banned is None
