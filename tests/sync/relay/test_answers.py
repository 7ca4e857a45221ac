"""Answers to peers that ask for transactions: in batches, at a pace, in turns."""

from __future__ import annotations

import pytest

from ckb_node.sync.relay import answers
from ckb_node.sync.relay.answers import KEYS_AT_ONCE
from ckb_node.sync.relay.pool import PooledTransaction
from ckb_node.sync.relay.transactions import LOOKED_UP_AT_ONCE
from network.messages.protocols import RelayTransactions
from tests.support.network.peers import FakePeer
from tests.sync.relay.kit_transactions import Relays, a_transaction, batches, some_hashes, taken

MINUTE = 60
THREE_DAYS = 3 * 24 * 60 * MINUTE
MOST = 32_767


def is_banned(peer: FakePeer) -> bool:
    """A question that is asked anew each time."""
    return peer.banned is not None


def test_pool_entries_are_sent_with_their_cycles_and_others_left_out() -> None:
    relays = Relays()
    peer, tx = relays.peer(), a_transaction(1)
    relays.pool.add(tx, cycles=1234)
    relays.ask(peer, bytes(32), tx.hash)
    (message,) = taken(peer, RelayTransactions)
    assert [(each.transaction, each.cycles) for each in message.transactions] == [(tx, 1234)]
    relays.ask(peer, bytes(32))
    assert taken(peer, RelayTransactions) == []


def test_parents_come_before_children_whatever_was_asked_first() -> None:
    relays = Relays()
    peer, parent = relays.peer(), a_transaction(1)
    child = a_transaction(2, parent=parent.hash)
    relays.pool.add(child, parent)
    relays.ask(peer, child.hash, parent.hash)
    assert batches(taken(peer, RelayTransactions)) == [[parent.hash, child.hash]]


def test_two_equal_short_ids_are_418() -> None:
    relays = Relays()
    peer = relays.peer()
    relays.ask(peer, bytes(32), bytes(31) + b"\x01")
    assert peer.banned is not None
    assert peer.banned[1].startswith("418")


def test_too_many_asked_for_is_400() -> None:
    relays = Relays()
    peer = relays.peer()
    relays.ask(peer, *some_hashes(MOST + 1))
    assert peer.banned is not None
    assert peer.banned[1].startswith("400")


def test_answers_are_batches_of_a_megabyte() -> None:
    relays = Relays()
    peer = relays.peer()
    txs = [a_transaction(serial, size=400_000) for serial in range(5)]
    relays.pool.add(*txs)
    relays.ask_at_once(peer, *(each.hash for each in txs))
    messages = taken(peer, RelayTransactions)
    assert batches(messages) == [[each.hash for each in part] for part in (txs[:2], txs[2:4], txs[4:])]
    assert all(len(each.raw) <= 1 << 20 for each in messages)


def test_a_transaction_larger_than_a_batch_goes_alone() -> None:
    relays = Relays()
    peer = relays.peer()
    txs = [a_transaction(0), a_transaction(1, size=1_100_000), a_transaction(2)]
    relays.pool.add(*txs)
    relays.ask_at_once(peer, *(each.hash for each in txs))
    assert batches(taken(peer, RelayTransactions)) == [[each.hash] for each in txs]


def test_answers_are_slower_than_a_peer_drops_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PEER_BURST", 1 << 30)
    relays = Relays()
    peer = relays.peer()
    txs = [a_transaction(serial, size=1_000_000) for serial in range(60)]
    relays.pool.add(*txs)
    relays.ask_at_once(peer, *(each.hash for each in txs))
    counts = []
    for _ in range(40):
        counts.append(len(taken(peer, RelayTransactions)))
        relays.clock.advance(0.1)
    assert sum(counts) == 60
    assert max(sum(counts[at : at + 10]) for at in range(30)) <= 50, "a burst and a second's part"
    assert max(counts) <= 5


def test_one_peer_has_so_many_bytes_at_once_and_the_others_at_a_pace() -> None:
    """It may ask for the same large transactions again and again."""
    relays = Relays()
    greedy, modest = relays.peer(), relays.peer()
    txs = [a_transaction(serial, size=1_000_000) for serial in range(60)]
    relays.pool.add(*txs)
    for _ in range(100):
        relays.ask(greedy, *(each.hash for each in txs))
        relays.clock.advance(0.1)
    given = sum(each.raw_size for each in taken(greedy, RelayTransactions))
    most = answers.PEER_BURST + 10 * answers.PEER_RATE
    assert most - (1 << 20) <= given <= most + (1 << 20)
    relays.ask(modest, txs[0].hash)
    relays.clock.advance(0.1)
    assert len(taken(modest, RelayTransactions)) == 1


def test_a_peer_that_does_not_read_gets_no_more() -> None:
    relays = Relays()
    peer = relays.peer()
    txs = [a_transaction(serial, size=1_000_000) for serial in range(10)]
    relays.pool.add(*txs)
    peer.queued_bytes = 3 << 20
    relays.ask(peer, *(each.hash for each in txs))
    relays.clock.advance(5)
    assert taken(peer, RelayTransactions) == []
    peer.queued_bytes = 0
    relays.clock.advance(5)
    assert len(taken(peer, RelayTransactions)) == 10


def test_one_peers_questions_do_not_starve_anothers() -> None:
    relays = Relays()
    greedy, modest = relays.peer(), relays.peer()
    txs = [a_transaction(serial, size=1_000_000) for serial in range(100)]
    relays.pool.add(*txs)
    relays.ask(greedy, *(each.hash for each in txs))
    relays.ask(modest, txs[0].hash)
    relays.clock.advance(0.2)
    assert len(taken(modest, RelayTransactions)) == 1


def test_a_long_question_is_read_in_slices() -> None:
    """To look up 32,767 hashes at once takes 40 ms."""
    relays = Relays()
    peer, gone, equal = relays.peer(), relays.peer(), relays.peer()
    parent = a_transaction(1)
    child = a_transaction(2, parent=parent.hash)
    relays.pool.add(child, parent)
    looked_at: list[int] = []
    pooled = relays.pool.pooled

    def count(tx_hash: bytes) -> PooledTransaction | None:
        looked_at.append(1)
        return pooled(tx_hash)

    relays.pool.pooled = count  # type: ignore[method-assign]
    question = [child.hash, *some_hashes(MOST - 2), parent.hash]
    relays.ask(peer, *question)
    assert len(looked_at) == LOOKED_UP_AT_ONCE
    relays.ask(gone, *question)
    relays.close(gone)
    relays.ask(equal, *question[:-1], question[1])
    assert not is_banned(equal)
    relays.clock.advance(0.1)
    assert batches(taken(peer, RelayTransactions)) == [[parent.hash, child.hash]]
    assert equal.banned is not None
    assert equal.banned[1].startswith("418")
    assert relays.transactions._answers.waiting(gone.session_id) == 0
    assert gone.sent == []


def test_a_long_answer_is_made_in_slices() -> None:
    relays = Relays()
    peer = relays.peer()
    txs = [a_transaction(serial) for serial in range(2 * KEYS_AT_ONCE)]
    relays.pool.add(*txs)
    relays.ask(peer, *(each.hash for each in txs))
    assert batches(taken(peer, RelayTransactions)) == [[each.hash for each in txs[:KEYS_AT_ONCE]]]
    relays.clock.advance(0.0)
    assert [len(each.transactions) for each in taken(peer, RelayTransactions)] == [KEYS_AT_ONCE]


def test_what_is_not_there_costs_slices_too() -> None:
    relays = Relays()
    peer, tx = relays.peer(), a_transaction(1)
    relays.pool.add(tx)
    relays.ask(peer, *some_hashes(LOOKED_UP_AT_ONCE), tx.hash)
    assert taken(peer, RelayTransactions) == []
    relays.clock.advance(0.0)
    assert batches(taken(peer, RelayTransactions)) == [[tx.hash]]
