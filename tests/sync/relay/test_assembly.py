"""Relay put together: its parts get their messages and know each other."""

from __future__ import annotations

from ckb_node.chain.initial_download import InitialDownload
from ckb_node.sync.peers import SyncPeers
from ckb_node.sync.relay.assembly import Relay
from ckb_node.sync.relay.blocks import RelayFigures
from ckb_node.sync.suspects import Suspects
from consensus.codec.molecule import Composite
from network.limits import SYNC
from network.messages.protocols import (
    RELAY_MESSAGE,
    BlockTransactions,
    CompactBlock,
    GetBlockProposal,
    GetBlockTransactions,
    GetRelayTransactions,
    RelayTransactionHashes,
)
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer
from tests.support.relay_pool import FakePool
from tests.sync.relay.kit import Maker, RelayChain, compact, messages, story


class Node:
    """With the story's base."""

    def __init__(self) -> None:
        self.scheduler = FakeScheduler()
        self.chain, self.peers, ibd = RelayChain(self.scheduler, story().base), SyncPeers(), InitialDownload()
        ibd.is_on(self.scheduler.wall_ms(), self.scheduler.wall_ms())
        self.figures = RelayFigures()
        self.relay = Relay(
            self.chain,
            FakePool(),
            self.peers,
            Suspects(self.chain, self.peers, self.scheduler, lambda _: None),
            self.scheduler,
            ibd,
            ask_headers=lambda _: None,
            headers_known=lambda: None,
            find_received=lambda _: None,
            figures=self.figures,
        )
        self.relay.start()

    def peer(self, seed: int) -> FakePeer:
        peer = FakePeer(seed, protocols=[SYNC])
        self.peers.add(peer)
        return peer.connect(self.relay.protocol)

    def say(self, peer: FakePeer, message: Composite) -> None:
        self.relay.protocol.received(peer, RELAY_MESSAGE.pack(message))


def test_a_block_and_what_it_proposes_are_asked_of_who_announced_it() -> None:
    node = Node()
    peer, other = node.peer(1), node.peer(2)
    block = Maker(story().base).make(story().transfers[:2], proposals=story().transfers[2:4])
    node.say(peer, compact(block))
    for_block, for_proposals = messages(peer)
    assert isinstance(for_block, GetBlockTransactions), "it comes first: others wait for the block"
    assert isinstance(for_proposals, GetBlockProposal)
    assert list(for_proposals.proposals) == [tx.short_id for tx in story().transfers[2:4]]
    answer = BlockTransactions(block_hash=block.hash, transactions=block.transactions[1:], uncles=[])
    node.say(peer, answer)
    node.scheduler.advance(0.0)
    (told,) = messages(other)
    assert isinstance(told, CompactBlock)
    assert node.figures == RelayFigures(incomplete=1, completed=1)


def test_transactions_are_asked_for() -> None:
    node = Node()
    peer = node.peer(1)
    node.say(peer, RelayTransactionHashes(tx_hashes=[b"\1" * 32]))
    node.scheduler.advance(0.1)
    assert messages(peer) == [GetRelayTransactions(tx_hashes=[b"\1" * 32])]


def test_a_miners_block_is_told_once() -> None:
    node, block = Node(), story().block
    peer = node.peer(1)
    node.chain.process(block)
    node.relay.announce(block)
    assert len(messages(peer)) == 1


def test_nothing_is_asked_after_the_end() -> None:
    node = Node()
    peer = node.peer(1)
    node.say(peer, RelayTransactionHashes(tx_hashes=[b"\1" * 32]))
    node.relay.stop()
    node.scheduler.advance(10.0)
    assert messages(peer) == []
    assert node.scheduler.waiting == 0
