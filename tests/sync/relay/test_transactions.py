"""Relay of transactions: who is told, who is asked, what comes back, and what misuse costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ckb_node.sync.relay.transactions import MAX_WANTED
from ckb_node.txpool.events import ParentsMissing, RemoteRefused, TransactionAccepted
from ckb_node.txpool.rejects import (
    DeclaredWrongCycles,
    Duplicated,
    Invalidated,
    LowFeeRate,
    Malformed,
    PeerDropped,
    PoolFull,
    RbfRejected,
    Reject,
    ResolveFailed,
    VerificationFailed,
)
from consensus.codec.layout import U32
from consensus.codec.molecule import pack_parts
from consensus.errors import MoleculeError
from consensus.rules.resolve import DeadOutPointError, TooManyDepsError
from consensus.script.errors import ARGV_TOO_LONG_TEXT, VmInternalError
from network.limits import RELAY
from network.messages.protocols import GetRelayTransactions, RelayTransaction, RelayTransactionHashes
from network.peer import SessionKind
from tests.support.network.peers import FakePeer
from tests.sync.relay.kit_transactions import CONSENSUS, Relays, a_transaction, some_hashes, taken
from vm.errors import Unexpected

MINUTE = 60
THREE_DAYS = 3 * 24 * 60 * MINUTE
MOST = 32_767


def is_banned(peer: FakePeer) -> bool:
    """A question that is asked anew each time."""
    return peer.banned is not None


# --------------------------------------------------------------------- announcing


def test_those_of_rpc_are_told_to_all_and_those_of_a_peer_to_all_but_it() -> None:
    relays = Relays()
    first, second, quiet = relays.peer(), relays.peer(), relays.peer(kind=SessionKind.BLOCK_RELAY_ONLY)
    own, given = a_transaction(1), a_transaction(2)
    relays.pool.tell(TransactionAccepted(own.hash, None))
    relays.pool.tell(TransactionAccepted(given.hash, first.session_id))
    relays.clock.advance(0.29)
    assert relays.told(second) == []
    relays.clock.advance(0.02)
    assert relays.told(first) == [own.hash]
    assert relays.told(second) == [own.hash, given.hash]
    assert relays.told(quiet) == []
    relays.clock.advance(10)
    assert relays.told(second) == [], "once"


def test_what_nobody_heard_is_told_to_the_first_who_comes() -> None:
    relays = Relays()
    own = a_transaction(1)
    relays.pool.tell(TransactionAccepted(own.hash, None))
    relays.clock.advance(60)
    peer = relays.peer()
    relays.clock.advance(0.3)
    assert relays.told(peer) == [own.hash]


def test_nothing_is_told_or_asked_during_the_initial_download() -> None:
    relays = Relays(is_downloading=True)
    peer, own = relays.peer(), a_transaction(1)
    relays.pool.tell(TransactionAccepted(own.hash, None))
    relays.announce(peer, a_transaction(2).hash)
    relays.clock.advance(10)
    assert relays.told(peer) == relays.asked(peer) == []
    relays.is_downloading = False
    relays.clock.advance(0.3)
    assert [len(each) for each in (relays.pool.submitted, relays.told(peer))] == [0, 1]


def test_a_transaction_that_rpc_submits_again_is_told_again() -> None:
    relays = Relays()
    peer, own = relays.peer(), a_transaction(1)
    for _ in range(2):
        relays.pool.tell(TransactionAccepted(own.hash, None))
        relays.clock.advance(0.3)
        assert relays.told(peer) == [own.hash]


def test_who_announced_it_is_not_told_of_it() -> None:
    relays = Relays()
    giver, other, third = relays.peer(), relays.peer(), relays.peer()
    tx = relays.delivered_by(giver, other)
    relays.pool.tell(TransactionAccepted(tx.hash, giver.session_id))
    relays.clock.advance(0.3)
    assert [relays.told(each) for each in (giver, other, third)] == [[], [], [tx.hash]]


def test_a_peer_is_not_told_of_more_than_it_lets_pass() -> None:
    relays = Relays()
    peer, hashes = relays.peer(), some_hashes(40_000)
    for each in hashes:
        relays.pool.tell(TransactionAccepted(each, None))
    relays.clock.advance(0.31)
    assert len(relays.told(peer)) < MOST
    relays.clock.advance(20)
    messages = taken(peer, RelayTransactionHashes)
    assert sum(len(each.tx_hashes) for each in messages) >= 20_000
    assert max(len(each.tx_hashes) for each in messages) < MOST


# --------------------------------------------------------------------- hashes received


def test_who_announces_is_asked_at_once_but_not_with_each_message() -> None:
    relays = Relays()
    peer, hashes = relays.peer(), some_hashes(1000)
    for each in hashes:
        relays.announce(peer, each)
        if each == hashes[0]:
            assert relays.asked(peer) == [each]
        relays.clock.advance(0.001)
    relays.clock.advance(0.1)
    messages = taken(peer, GetRelayTransactions)
    assert [each for message in messages for each in message.tx_hashes] == hashes[1:]
    assert 15 <= len(messages) <= 21, "peers drop more than 30 a second"


def test_the_first_announcer_is_asked_then_the_next() -> None:
    relays = Relays()
    first, second, tx = relays.peer(), relays.peer(), a_transaction(1)
    relays.announce(first, tx.hash)
    relays.announce(second, tx.hash)
    relays.clock.advance(0.1)
    assert (relays.asked(first), relays.asked(second)) == ([tx.hash], [])
    relays.clock.advance(29.8)
    assert (relays.asked(first), relays.asked(second)) == ([], [])
    relays.clock.advance(0.3)
    assert (relays.asked(first), relays.asked(second)) == ([], [tx.hash])
    relays.clock.advance(30.1)
    assert len(relays.transactions) == 0, "nobody is left to ask"


def test_when_the_asked_one_goes_the_next_is_asked_at_once() -> None:
    relays = Relays()
    first, second = relays.peer(), relays.peer()
    tx = relays.wanted_from(first, second)
    relays.close(first)
    relays.clock.advance(0.1)
    assert relays.asked(second) == [tx.hash]
    assert relays.pool.gone == [first.session_id]


def test_what_is_known_or_held_is_not_asked_for() -> None:
    relays = Relays()
    giver, other = relays.peer(), relays.peer()
    tx, held = relays.delivered_by(giver), a_transaction(2)
    relays.pool.add(held)
    relays.announce(other, tx.hash, held.hash)
    relays.clock.advance(100)
    assert relays.asked(other) == []


def test_400_for_too_many_hashes() -> None:
    relays = Relays()
    peer = relays.peer()
    relays.announce(peer, *some_hashes(MOST + 1))
    assert peer.banned is not None
    assert peer.banned[0] == 5 * MINUTE
    assert peer.banned[1].startswith("400")


def test_416_of_one_peer_alone() -> None:
    relays = Relays()
    peer = relays.peer()
    relays.announce(peer, *some_hashes(MOST - 1))
    assert not is_banned(peer)
    relays.announce(peer, *some_hashes(1, seed=1))
    assert peer.banned is not None
    assert peer.banned[0] == 5 * MINUTE
    assert peer.banned[1].startswith("416")


def test_416_is_of_the_peer_that_has_announced_too_many_itself() -> None:
    relays = Relays()
    flooder, honest, *_ = [relays.peer() for _ in range(8)]
    relays.announce(flooder, *some_hashes(MOST))
    assert not is_banned(flooder), "few in all"
    relays.announce(honest, *some_hashes(MAX_WANTED - MOST, seed=1))
    assert honest.banned is None, "the table is full, but it did not fill it"
    relays.announce(flooder, *some_hashes(1, seed=2))
    assert flooder.banned is not None
    assert flooder.banned[1].startswith("416")
    assert honest.banned is None


def test_what_was_sent_counts_no_more() -> None:
    relays = Relays()
    peer = relays.peer()
    txs = [a_transaction(serial) for serial in range(300)]
    relays.announce(peer, *(each.hash for each in txs))
    relays.clock.advance(0.1)
    relays.deliver(peer, *txs)
    relays.clock.advance(0.1)
    relays.announce(peer, *some_hashes(MOST - 1))
    assert peer.banned is None


def test_a_flood_of_hashes_is_not_looked_at() -> None:
    relays = Relays()
    peer, other = relays.peer(), relays.peer()
    known = some_hashes(MOST)
    for each in known:
        relays.known.add(each)
    for _ in range(5):
        relays.announce(peer, *known)
    tx = a_transaction(1)
    relays.announce(peer, tx.hash)
    relays.announce(other, tx.hash)
    relays.clock.advance(0.1)
    assert peer.banned is None
    assert (relays.asked(peer), relays.asked(other)) == ([], [tx.hash])


def test_peers_are_asked_for_as_much_as_they_can_send_and_the_pool_can_take() -> None:
    relays = Relays()
    peer, hashes = relays.peer(), some_hashes(10_000)
    relays.announce(peer, *hashes)
    relays.clock.advance(0.1)
    first = relays.asked(peer)
    assert 1000 <= len(first) <= 4096
    relays.clock.advance(1)
    assert relays.asked(peer) == [], "the others when these have come"
    relays.pool.room = 0
    relays.clock.advance(30)
    assert relays.asked(peer) == []
    relays.pool.room = 3
    relays.clock.advance(0.2)
    assert len(relays.asked(peer)) == 3


def test_large_transactions_are_asked_for_by_few() -> None:
    relays = Relays()
    peer = relays.peer()
    txs = [a_transaction(serial, size=200_000) for serial in range(200)]
    for start in range(0, 200, 5):
        some = txs[start : start + 5]
        relays.announce(peer, *(each.hash for each in some))
        relays.clock.advance(0.1)
        relays.deliver(peer, *some)
    taken(peer, GetRelayTransactions)
    relays.announce(peer, *some_hashes(1000))
    relays.clock.advance(0.1)
    assert len(relays.asked(peer)) == 64


# --------------------------------------------------------------------- transactions received


def test_only_what_this_peer_was_asked_for_counts() -> None:
    relays = Relays()
    asked, other = relays.peer(), relays.peer()
    tx = relays.wanted_from(asked, other)
    relays.deliver(other, tx)
    relays.deliver(asked, a_transaction(2))
    assert relays.pool.submitted == []
    assert (asked.banned, other.banned) == (None, None)
    relays.deliver(asked, tx, cycles=77)
    relays.deliver(asked, tx, cycles=77)
    assert relays.pool.submitted == [(tx, 77, asked.session_id)]


def test_unsound_content_is_400() -> None:
    relays = Relays()
    peer = relays.peer()
    bad = a_transaction(1, outputs_data=2)
    relays.deliver(peer, bad)
    assert not peer.has_ended, "nothing was asked for: it is not looked at"
    relays.announce(peer, bad.hash)
    relays.clock.advance(0.1)
    relays.deliver(peer, bad)
    assert relays.pool.submitted == []
    assert peer.banned is not None
    assert peer.banned[1].startswith("400")


def test_declared_cycles_above_the_limit_of_a_block() -> None:
    relays = Relays()
    peer, other = relays.peer(), relays.peer()
    fine = relays.wanted_from(peer, serial=1)
    bad = relays.wanted_from(other, serial=2)
    relays.deliver(peer, fine, cycles=CONSENSUS.max_block_cycles)
    assert peer.banned is None
    relays.deliver(other, bad, cycles=CONSENSUS.max_block_cycles + 1)
    assert other.banned is not None
    assert other.banned[0] == THREE_DAYS
    assert relays.pool.dropped == [other.session_id]
    assert [each[0] for each in relays.pool.submitted] == [fine]


def test_a_long_message_is_taken_in_slices() -> None:
    relays = Relays()
    peer = relays.peer()
    txs = [a_transaction(serial) for serial in range(600)]
    relays.announce(peer, *(each.hash for each in txs))
    relays.clock.advance(0.1)
    relays.deliver(peer, *txs)
    assert 0 < len(relays.pool.submitted) < 600
    relays.clock.advance(0.01)
    assert [each[0] for each in relays.pool.submitted] == txs


def test_who_sends_an_item_that_cannot_be_read_is_banned_though_others_before_it_are_fine() -> None:
    relays = Relays()
    peer = relays.peer()
    txs = [a_transaction(serial) for serial in range(100)]
    relays.announce(peer, *(each.hash for each in txs))
    relays.clock.advance(0.1)
    entries = [RelayTransaction(cycles=1, transaction=each).raw for each in txs]
    entries[80] = entries[80][:-1] + b"more"
    relays.transactions.received_transactions(peer, U32.pack(1) + pack_parts([pack_parts(entries)]))
    assert not peer.has_ended, "it is read in slices"
    relays.clock.advance(0.01)
    assert peer.banned is not None
    assert peer.banned[1].startswith("relay: undecodable")
    assert [each[0] for each in relays.pool.submitted] == txs[:80]
    assert RELAY not in peer.held


@pytest.mark.parametrize("vector", [b"", U32.pack(4) + b"more", pack_parts([b"", b""])[:-1]])
def test_a_broken_vector_of_transactions_is_undecodable(vector: bytes) -> None:
    relays = Relays()
    peer = relays.peer()
    relays.wanted_from(peer)
    with pytest.raises(MoleculeError):
        relays.transactions.received_transactions(peer, U32.pack(1) + pack_parts([vector]))


def script_failure(text: str) -> Reject:
    return VerificationFailed(VmInternalError(Unexpected(text)))


BANNED = [
    (DeclaredWrongCycles(1, 2), "wrong declared cycles"),
    (Malformed("cellbase like"), "invalid"),
    (script_failure("out of memory"), "invalid"),
    (ResolveFailed(TooManyDepsError()), "invalid"),
]
UNPUNISHED: list[Callable[[bytes], Reject]] = [
    lambda _: script_failure(ARGV_TOO_LONG_TEXT),
    lambda _: LowFeeRate(1000, 500, 1),
    lambda _: PoolFull("the pool is full"),
    Duplicated,
    lambda tx_hash: ResolveFailed(DeadOutPointError(tx_hash + bytes(4))),
    lambda _: RbfRejected("pays too little"),
    lambda _: Invalidated("the chain cannot be read for it"),
    lambda _: PeerDropped(),
]


@pytest.mark.parametrize(("reason", "text"), BANNED)
def test_who_gave_an_invalid_one_is_banned(reason: Reject, text: str) -> None:
    relays = Relays()
    peer = relays.peer()
    tx = relays.delivered_by(peer)
    relays.pool.tell(RemoteRefused(tx.hash, peer.session_id, reason))
    assert peer.banned is not None
    assert peer.banned[0] == THREE_DAYS
    assert text in peer.banned[1]
    assert relays.pool.dropped == [peer.session_id]


@pytest.mark.parametrize("reason_of", UNPUNISHED)
def test_what_is_nobodys_fault_is_not_punished(reason_of: Callable[[bytes], Reject]) -> None:
    relays = Relays()
    peer = relays.peer()
    tx = relays.delivered_by(peer)
    relays.pool.tell(RemoteRefused(tx.hash, peer.session_id, reason_of(tx.hash)))
    assert peer.banned is None
    assert relays.pool.dropped == []


def test_an_invalid_one_that_a_block_proposed_is_nobodys_fault() -> None:
    relays = Relays()
    peer = relays.peer()
    relays.pool.tell(RemoteRefused(bytes(32), None, Malformed("cellbase like")))
    assert peer.banned is None


@pytest.mark.parametrize(
    ("reason", "is_asked_again"),
    [
        (PoolFull("the pool is full"), True),
        (ResolveFailed(DeadOutPointError(bytes(36))), True),
        (DeclaredWrongCycles(1, 2), True),
        (script_failure("a junk witness"), True),
        (LowFeeRate(1000, 500, 1), False),
        (Malformed("cellbase like"), False),
        (Duplicated(bytes(32)), False),
    ],
)
def test_what_is_not_final_may_be_offered_again(reason: Reject, is_asked_again: bool) -> None:
    relays = Relays()
    giver, other = relays.peer(), relays.peer()
    tx = relays.delivered_by(giver)
    relays.pool.tell(RemoteRefused(tx.hash, giver.session_id, reason))
    relays.announce(other, tx.hash)
    relays.clock.advance(0.1)
    assert relays.asked(other) == ([tx.hash] if is_asked_again else [])


@pytest.mark.parametrize("reason", [DeclaredWrongCycles(1, 2), script_failure("a junk witness"), PeerDropped()])
def test_one_bad_copy_does_not_keep_a_transaction_away(reason: Reject) -> None:
    """The hash covers neither witnesses nor declared cycles: other announcers are asked, before and after it came."""
    relays = Relays()
    bad, early, late = relays.peer(), relays.peer(), relays.peer()
    tx = relays.delivered_by(bad, early)
    relays.announce(late, tx.hash)
    relays.pool.tell(RemoteRefused(tx.hash, bad.session_id, reason))
    relays.clock.advance(0.1)
    assert relays.asked(early) == [tx.hash]
    relays.close(early)
    relays.clock.advance(0.1)
    assert relays.asked(late) == [tx.hash]


def test_a_copy_with_larger_witnesses_does_not_keep_a_transaction_away() -> None:
    """The pool refuses it for its fee, which is not its giver's fault for all that is known."""
    relays = Relays()
    bad, other, late = relays.peer(), relays.peer(), relays.peer()
    tx = relays.delivered_by(bad, other)
    relays.pool.tell(RemoteRefused(tx.hash, bad.session_id, LowFeeRate(1000, 500, 400), is_of_size=True))
    assert bad.banned is None
    relays.clock.advance(0.1)
    assert relays.asked(other) == [tx.hash]
    relays.close(other)
    relays.announce(late, tx.hash)
    relays.clock.advance(0.1)
    assert relays.asked(late) == [tx.hash]


def test_who_announces_what_came_as_a_proposal_or_by_gossip_is_asked_when_that_was_false() -> None:
    relays = Relays()
    peer, tx = relays.peer(), a_transaction(1)
    relays.pool.coming[tx.short_id] = tx
    relays.announce(peer, tx.hash)
    relays.clock.advance(0.1)
    assert relays.asked(peer) == []
    relays.pool.coming.clear()
    relays.pool.tell(RemoteRefused(tx.hash, None, script_failure("a junk witness")))
    relays.clock.advance(0.1)
    assert relays.asked(peer) == [tx.hash]


def test_what_left_the_pool_may_come_again() -> None:
    relays = Relays()
    peer, tx = relays.peer(), a_transaction(1)
    relays.pool.tell(TransactionAccepted(tx.hash, None))
    relays.pool.tell(RemoteRefused(tx.hash, None, PoolFull("evicted")))
    relays.announce(peer, tx.hash)
    relays.clock.advance(0.1)
    assert relays.asked(peer) == [tx.hash]


def test_the_parents_of_an_orphan_are_asked_for() -> None:
    relays = Relays()
    peer = relays.peer()
    tx = relays.delivered_by(peer)
    held, missing = a_transaction(7), a_transaction(8)
    relays.pool.add(held)
    relays.pool.tell(ParentsMissing(tx.hash, peer.session_id, [held.hash, missing.hash, tx.hash]))
    relays.clock.advance(0.1)
    assert relays.asked(peer) == [missing.hash]


def test_after_stop_nothing_happens() -> None:
    relays = Relays()
    peer = relays.peer()
    relays.transactions.stop()
    relays.proposals.stop()
    assert relays.pool.listener_count == 0
    assert relays.clock.waiting == 0
    relays.clock.advance(10)
    assert peer.sent == []


def test_the_reason_of_a_ban_says_what_failed() -> None:
    """The detail of a ban is what the operator reads."""
    relays = Relays()
    peer = relays.peer()
    tx = relays.delivered_by(peer)
    relays.pool.tell(RemoteRefused(tx.hash, peer.session_id, script_failure("bad memory")))
    assert peer.banned is not None
    assert "bad memory" in peer.banned[1]
