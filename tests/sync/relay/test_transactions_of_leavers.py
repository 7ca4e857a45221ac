"""Relay of transactions: peers that leave, or close Relay, while something is wanted of them or read."""

from __future__ import annotations

from ckb_node.sync.relay.unread import ITEMS_AT_ONCE
from ckb_node.txpool.events import ParentsMissing
from network.limits import RELAY
from network.messages.protocols import RelayTransactionHashes
from tests.sync.relay.kit_transactions import Relays, a_transaction, some_hashes

MOST = 32_767


def test_nothing_is_wanted_of_a_peer_that_has_left_for_then_nobody_would_be_asked() -> None:
    relays = Relays()
    gone, other = relays.peer(), relays.peer()
    tx, parent = relays.delivered_by(gone), a_transaction(8)
    relays.close(gone)
    relays.pool.tell(ParentsMissing(tx.hash, gone.session_id, [parent.hash]))
    assert len(relays.transactions) == 0
    relays.announce(other, parent.hash)
    relays.clock.advance(0.1)
    assert relays.asked(other) == [parent.hash]


def test_a_peer_that_has_closed_relay_is_asked_for_nothing_though_sync_goes_on() -> None:
    relays = Relays()
    closing, other = relays.peer(), relays.peer()
    hashes = some_hashes(1000)
    relays.transactions.received_hashes(closing, RelayTransactionHashes(tx_hashes=hashes))
    closing.close(RELAY)
    relays.transactions.closed(closing)
    relays.pool.tell(ParentsMissing(bytes(32), closing.session_id, some_hashes(1, seed=2)))
    relays.clock.advance(1.0)
    assert len(relays.transactions) == 0
    relays.announce(other, *hashes)
    relays.clock.advance(0.1)
    assert relays.asked(other) == hashes


def test_what_a_peer_gave_that_has_closed_relay_is_not_read_to_its_end() -> None:
    relays = Relays()
    peer = relays.peer()
    offered = [a_transaction(serial) for serial in range(3 * ITEMS_AT_ONCE)]
    relays.announce(peer, *(each.hash for each in offered))
    relays.clock.advance(0.1)
    relays.deliver(peer, *offered)
    peer.close(RELAY)
    relays.transactions.closed(peer)
    relays.clock.advance(1.0)
    assert len(relays.pool.submitted) == ITEMS_AT_ONCE


# --------------------------------------------------------------------- ending


def test_a_long_message_of_one_who_goes_is_not_looked_at_to_its_end() -> None:
    relays = Relays()
    peer, _ = relays.peer(), relays.peer()
    relays.transactions.received_hashes(peer, RelayTransactionHashes(tx_hashes=some_hashes(MOST)))
    relays.close(peer)
    relays.clock.advance(1.0)
    assert len(relays.transactions) == 0
    assert relays.asked(peer) == []
