"""Blocks and transactions by topics: what is passed on, what becomes of them here, who answers for what is wrong."""

from __future__ import annotations

import pytest

from ckb_node.chain.initial_download import InitialDownload
from ckb_node.sync.blocks.refusals import Refusals
from ckb_node.sync.peers import SyncPeers
from ckb_node.sync.relay.assembly import Relay
from ckb_node.sync.relay.compact import compact_message
from ckb_node.sync.relay.gossip import NodeGossip
from ckb_node.sync.suspects import LOOKS, Suspects
from ckb_node.txpool.events import ParentsMissing, RemoteRefused, TransactionAccepted
from ckb_node.txpool.rejects import PoolFull
from consensus.types.blockchain import Block, Transaction
from network.libp2p.topics import BLOCKS, TRANSACTIONS
from network.limits import RELAY, SYNC
from network.messages.protocols import RELAY_MESSAGE, RelayTransaction, RelayTransactionHashes
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer
from tests.support.relay_pool import FakePool
from tests.sync.relay.kit import Maker, RelayChain, answer, asked, ban_of, compact, grown, spoilt, story


class Node:
    """With the story's base, and what it publishes."""

    def __init__(self, *, is_in_ibd: bool = False) -> None:
        self.scheduler = FakeScheduler()
        self.chain, self.pool, self.peers = RelayChain(self.scheduler, story().base), FakePool(), SyncPeers()
        ibd = InitialDownload()
        if not is_in_ibd:
            ibd.is_on(self.scheduler.wall_ms(), self.scheduler.wall_ms())
        suspects = Suspects(self.chain, self.peers, self.scheduler, lambda _: None)
        Refusals(self.chain, self.peers, suspects)
        self.relay = Relay(
            self.chain,
            self.pool,
            self.peers,
            suspects,
            self.scheduler,
            ibd,
            ask_headers=lambda _: None,
            headers_known=lambda: None,
            find_received=lambda _: None,
        )
        self.relay.start()
        self.published: list[tuple[int, bytes]] = []
        max_cycles = self.chain.consensus.max_block_cycles
        self.gossip = NodeGossip(self.relay, self.pool, max_cycles, lambda *it: self.published.append(it))
        self.verdicts: list[bool] = []

    def peer(self, seed: int = 1, *, with_relay: bool = True) -> FakePeer:
        peer = FakePeer(seed, protocols=[SYNC])
        self.peers.add(peer)
        return peer.connect(self.relay.protocol) if with_relay else peer

    def hear(self, peer: FakePeer, data: bytes, topic: int = BLOCKS) -> list[bool]:
        """Verdicts since the last time."""
        self.gossip.topics[topic].received(peer, data, self.verdicts.append)
        found, self.verdicts[:] = self.verdicts[:], []
        return found

    def hear_transaction(self, peer: FakePeer, transaction: Transaction, cycles: int = 1000) -> list[bool]:
        return self.hear(peer, RelayTransaction(cycles=cycles, transaction=transaction).raw, TRANSACTIONS)


def empty_block() -> Block:
    return Maker(story().base).make()


def test_a_block_is_passed_on_and_taken() -> None:
    node, block = Node(), empty_block()
    peer = node.peer()
    assert node.hear(peer, compact_message(block)) == [True]
    node.scheduler.advance(0.0)
    assert node.chain.tip().hash == block.hash
    assert node.published == [(BLOCKS, compact_message(block))]


def test_what_a_block_lacks_is_asked_of_who_passed_it_on() -> None:
    node, peer = Node(), None
    peer = node.peer()
    assert node.hear(peer, compact_message(story().block)) == [True]
    places, _ = asked(peer)
    assert places == list(range(1, len(story().block.transactions)))
    node.relay.protocol.received(peer, RELAY_MESSAGE.pack(answer(story().block, places)))
    node.scheduler.advance(0.0)
    assert node.chain.tip().hash == story().block.hash


def test_a_block_that_is_told_twice_is_passed_on_twice_but_taken_once() -> None:
    """The process drops the same content; other bytes for the same block are another content."""
    node, block = Node(), empty_block()
    assert node.hear(node.peer(1), compact_message(block)) == [True]
    node.scheduler.advance(0.0)
    assert node.hear(node.peer(2), compact_message(block)) == [True]
    assert len(node.chain.taken) == 1


@pytest.mark.parametrize("reason", ["ibd", "no relay", "stale", "no parent"])
def test_blocks_that_are_of_no_use_here_are_not_passed_on_and_cost_nothing(reason: str) -> None:
    node = Node(is_in_ibd=reason == "ibd")
    peer = node.peer(with_relay=reason != "no relay")
    block = empty_block()
    if reason == "stale":
        block = story().base[0]
        for each in grown(30).blocks[len(story().base) :]:
            node.chain.process(each)
    if reason == "no parent":
        maker = Maker(story().base)
        maker.add()
        block = maker.make()
    assert node.hear(peer, compact_message(block)) == [False]
    assert (peer.banned, node.chain.taken) == (None, [])


@pytest.mark.parametrize("data", [b"", b"\0", bytes(300), RELAY_MESSAGE.pack(RelayTransactionHashes(tx_hashes=[]))])
def test_who_passes_on_what_is_no_compact_block_is_banned(data: bytes) -> None:
    node = Node()
    peer = node.peer()
    assert node.hear(peer, data) == [False]
    assert peer.banned is not None


def test_who_passes_on_a_header_without_its_work_is_banned() -> None:
    node, block = Node(), empty_block()
    peer = node.peer()
    bad = block.replace(header=block.header.with_fields(compact_target=block.header.compact_target - 1))
    assert node.hear(peer, compact_message(bad)) == [False]
    assert ban_of(peer) is not None
    assert node.chain.taken == []


def test_who_passes_on_a_block_that_is_wrong_inside_is_not_blamed() -> None:
    """Only its miner can know."""
    node = Node()
    peer = node.peer()
    bad = spoilt(empty_block())
    assert node.hear(peer, compact_message(bad)) == [True]
    node.scheduler.advance(0.0)
    assert node.chain.taken != []
    assert node.chain.tip().hash != bad.hash
    other = node.peer(2)
    assert node.hear(other, compact_message(bad)) == [False]
    node.scheduler.advance(LOOKS + 1.0)
    assert (peer.banned, other.banned, node.published) == (None, None, [])


def test_who_passes_on_false_short_ids_is_not_blamed() -> None:
    node = Node()
    peer = node.peer()
    false = compact(story().block, short_ids=[bytes(10)] * 6)
    assert node.hear(peer, RELAY_MESSAGE.pack(false)) in ([True], [False])
    node.scheduler.advance(LOOKS + 1.0)
    assert peer.banned is None


# ------------------------------------------------------------ transactions


def test_a_transaction_is_passed_on_once_it_is_in_the_pool() -> None:
    node, transaction = Node(), story().transfers[0]
    peer = node.peer(with_relay=False)
    assert node.hear_transaction(peer, transaction) == []
    assert node.pool.submitted == [(transaction, 1000, peer.session_id)]
    node.pool.add(transaction)
    node.pool.tell(TransactionAccepted(transaction.hash, peer.session_id))
    assert node.verdicts == [True]
    node.pool.tell(TransactionAccepted(transaction.hash, peer.session_id))
    assert node.verdicts == [True]


def test_a_transaction_that_is_refused_is_not_passed_on() -> None:
    node, transaction = Node(), story().transfers[0]
    node.hear_transaction(node.peer(), transaction)
    node.pool.tell(RemoteRefused(transaction.hash, 1, PoolFull("full")))
    assert node.verdicts == [False]


def test_a_transaction_without_its_parents_is_not_passed_on_before_this_node_has_it() -> None:
    """It is published when they have come."""
    node, transaction = Node(), story().transfers[0]
    peer = node.peer()
    node.hear_transaction(peer, transaction)
    node.pool.tell(ParentsMissing(transaction.hash, peer.session_id, [bytes(32)]))
    assert node.verdicts == [False]
    node.pool.add(transaction)
    node.pool.tell(TransactionAccepted(transaction.hash, peer.session_id))
    assert node.verdicts == [False]
    assert node.published == [(TRANSACTIONS, RelayTransaction(cycles=1000, transaction=transaction).raw)]


def test_a_transaction_of_the_pool_is_passed_on_at_once_and_not_verified_again() -> None:
    node, transaction = Node(), story().transfers[0]
    node.pool.add(transaction, cycles=1000)
    assert node.hear_transaction(node.peer(), transaction, 1000) == [True]
    assert node.pool.submitted == []


@pytest.mark.parametrize("other", ["cycles", "witnesses"])
def test_another_content_of_a_pooled_transaction_is_not_passed_on(other: str) -> None:
    node, transaction = Node(), story().transfers[0]
    node.pool.add(transaction, cycles=1000)
    told = transaction.replace(witnesses=[b"other"]) if other == "witnesses" else transaction
    assert told.hash == transaction.hash
    assert node.hear_transaction(node.peer(), told, 1001 if other == "cycles" else 1000) == [False]
    assert node.pool.submitted == []


def test_a_transaction_that_is_verified_now_has_its_verdict_at_once() -> None:
    """Of who told of it first the pool will say more; this node publishes it then."""
    node, transaction = Node(), story().transfers[0]
    node.pool.coming[transaction.short_id] = transaction
    assert node.hear_transaction(node.peer(), transaction) == [False]
    assert node.pool.submitted == []


@pytest.mark.parametrize("reason", ["ibd", "no room"])
def test_no_transactions_while_they_are_of_no_use(reason: str) -> None:
    node = Node(is_in_ibd=reason == "ibd")
    node.pool.room = 0 if reason == "no room" else 1
    peer = node.peer()
    assert node.hear_transaction(peer, story().transfers[0]) == [False]
    assert (node.pool.submitted, peer.banned) == ([], None)


@pytest.mark.parametrize("data", [b"", b"\1" * 100])
def test_who_passes_on_what_is_no_transaction_is_banned(data: bytes) -> None:
    node = Node()
    peer = node.peer()
    assert node.hear(peer, data, TRANSACTIONS) == [False]
    assert peer.banned is not None


def test_who_passes_on_more_cycles_than_a_block_may_have_is_banned() -> None:
    node = Node()
    peer = node.peer()
    assert node.hear_transaction(peer, story().transfers[0], node.chain.consensus.max_block_cycles + 1) == [False]
    assert peer.banned is not None
    assert node.pool.submitted == []


def test_what_comes_into_the_pool_is_published() -> None:
    node, transaction = Node(), story().transfers[0]
    node.pool.add(transaction, cycles=7)
    node.pool.tell(TransactionAccepted(transaction.hash, None))
    node.pool.tell(TransactionAccepted(story().transfers[1].hash, None))  # it has left the pool again
    assert node.published == [(TRANSACTIONS, RelayTransaction(cycles=7, transaction=transaction).raw)]
    node.gossip.stop()
    node.pool.tell(TransactionAccepted(transaction.hash, None))
    assert len(node.published) == 1


def test_a_block_of_this_node_is_published() -> None:
    node, block = Node(), empty_block()
    node.chain.process(block)
    assert node.published == [(BLOCKS, compact_message(block))]
    assert node.peer().take(RELAY) == []
