"""The genesis block from peers some of whom lie: it comes from an honest one, whatever the others say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import pytest

from ckb_node.genesis.peer_request import WantedGenesis
from ckb_node.genesis.peer_search import MAX_ASKED, GenesisSearch
from ckb_node.specs import load_bundled
from consensus.types.blockchain import Block, Header, Transaction
from network.limits import LIGHT_CLIENT, RELAY, SYNC, ProtocolSpec
from network.messages.protocols import (
    LIGHT_CLIENT_MESSAGE,
    RELAY_MESSAGE,
    BlockTransactions,
    GetBlocksProof,
    GetBlockTransactions,
    GetLastState,
    GetTransactionsProof,
    SendBlocksProof,
    SendLastState,
)
from network.peer import Handler, Peer, Scheduler
from tests.simulation.node import SimNode
from tests.simulation.sync.blocks import free_cell, sim_consensus, spending
from tests.simulation.sync.checks import bans_of, check_sound
from tests.simulation.sync.forge import Forge, history
from tests.simulation.sync.world import SyncWorld
from tests.simulation.wires import Cable
from tests.simulation.world import host_ip
from tests.support.network.genesis_giver import Giver, header_on, verifiable

LIMIT = 60.0
SEARCHER = 3000
"""Its host."""

Lie = Callable[[Giver, Peer, ProtocolSpec, bytes], None]


@cache
def known_chain() -> Forge:
    return history(sim_consensus(), 5, age=10.0)


GENESIS = sim_consensus().genesis_block


class Liar:
    """A peer that answers as it likes, and honestly where it says nothing else."""

    def __init__(self, lie: Lie) -> None:
        self.lie = lie
        self.giver = Giver(genesis=GENESIS, tip=header_on(GENESIS.hash, 1))

    def handlers(self) -> Iterable[Handler]:
        return [_Part(self, handler) for handler in self.giver.handlers()]


class _Part:
    def __init__(self, liar: Liar, honest: Handler) -> None:
        self._liar, self._honest = liar, honest

    @property
    def protocol(self) -> ProtocolSpec:
        return self._honest.protocol

    def opened(self, peer: Peer) -> None:
        self._honest.opened(peer)

    def received(self, peer: Peer, payload: bytes) -> None:
        if self.protocol is SYNC:
            self._honest.received(peer, payload)
        else:
            self._liar.lie(self._liar.giver, peer, self.protocol, payload)

    def closed(self, peer: Peer) -> None:
        self._honest.closed(peer)


class Search:
    """A node without a chain that dials liars, then an honest node. `published`: the hashes of the transactions are
    known, so that they are asked for by the light-client protocol; else by relay."""

    def __init__(self, *lies: Lie, published: bool, honest: bool = True) -> None:
        self.world = world = SyncWorld(1, Cable(latency=0.02, bandwidth=1e8), sim_consensus())
        self.found: list[Block] = []
        self.said: list[str] = []
        liars = [world.add_liar(Liar(lie)) for lie in lies]
        servers = [world.add(store=known_chain().store)] if honest else []
        world.start(within=0.1)
        world.run(1.0)
        hashes = [each.hash for each in GENESIS.transactions] if published else []
        wanted = WantedGenesis(load_bundled("mainnet"), GENESIS.hash, hashes)

        def search(scheduler: Scheduler) -> GenesisSearch:
            return GenesisSearch(wanted, scheduler, self.said.append, self.found.append)

        self.node = SimNode(
            world.wires,
            "searcher",
            host_ip(SEARCHER),
            seed=1,
            handlers=lambda layer: search(layer.scheduler).handlers,
        )
        self.node.start()
        for each in (*liars, *servers):
            assert self.node.switch.dial(each.address) is None

    def run(self) -> float | None:
        return self.world.run_until(lambda: bool(self.found), LIMIT)


# --- lies ---


def is_silent(_giver: Giver, _peer: Peer, _protocol: ProtocolSpec, _payload: bytes) -> None:
    """Nothing comes."""


def babbles(_giver: Giver, peer: Peer, protocol: ProtocolSpec, _payload: bytes) -> None:
    peer.send(protocol, b"\xff" * 100)


def leaves(_giver: Giver, peer: Peer, _protocol: ProtocolSpec, _payload: bytes) -> None:
    peer.disconnect("no time")


def bans(_giver: Giver, peer: Peer, _protocol: ProtocolSpec, _payload: bytes) -> None:
    peer.ban(300, "who asks")


def has_no_more(giver: Giver, peer: Peer, protocol: ProtocolSpec, payload: bytes) -> None:
    """Its chain is the genesis block alone."""
    giver.tip = None
    answer(giver, peer, protocol, payload)


def has_always_another_tip(giver: Giver, peer: Peer, protocol: ProtocolSpec, payload: bytes) -> None:
    giver.tip = header_on(GENESIS.hash, 1 + len(giver.asked))
    answer(giver, peer, protocol, payload)


def does_not_know_it(giver: Giver, peer: Peer, protocol: ProtocolSpec, payload: bytes) -> None:
    if protocol is LIGHT_CLIENT and isinstance(question := LIGHT_CLIENT_MESSAGE.parse(payload), GetBlocksProof):
        tip = verifiable(giver.tip_header)
        missing = SendBlocksProof(last_header=tip, proof=[], headers=[], missing_block_hashes=question.block_hashes)
        peer.send(protocol, LIGHT_CLIENT_MESSAGE.pack(missing))
    else:
        answer(giver, peer, protocol, payload)


def gives_another_header(giver: Giver, peer: Peer, protocol: ProtocolSpec, payload: bytes) -> None:
    other: Header = GENESIS.header.with_fields(timestamp=GENESIS.header.timestamp + 1)
    if protocol is LIGHT_CLIENT and isinstance(LIGHT_CLIENT_MESSAGE.parse(payload), GetBlocksProof):
        tip = verifiable(giver.tip_header)
        false = SendBlocksProof(last_header=tip, proof=[], headers=[other], missing_block_hashes=[])
        peer.send(protocol, LIGHT_CLIENT_MESSAGE.pack(false))
    else:
        answer(giver, peer, protocol, payload)


def other_transaction() -> Transaction:
    return spending(sim_consensus(), free_cell(sim_consensus(), 1))


def gives_other_transactions(giver: Giver, peer: Peer, protocol: ProtocolSpec, payload: bytes) -> None:
    giver.transactions = [other_transaction()]
    answer(giver, peer, protocol, payload)


def gives_no_transactions(giver: Giver, peer: Peer, protocol: ProtocolSpec, payload: bytes) -> None:
    giver.transactions = []
    answer(giver, peer, protocol, payload)


def gives_transactions_without_end(giver: Giver, peer: Peer, protocol: ProtocolSpec, payload: bytes) -> None:
    """As many as are asked for, and never the right ones."""
    if protocol is RELAY:
        question = RELAY_MESSAGE.parse(payload)
        assert isinstance(question, GetBlockTransactions)
        transactions = [other_transaction()] * len(question.indexes)
        message = BlockTransactions(block_hash=question.block_hash, transactions=transactions, uncles=[])
        peer.send(protocol, RELAY_MESSAGE.pack(message))
    else:
        answer(giver, peer, protocol, payload)


def floods(giver: Giver, peer: Peer, protocol: ProtocolSpec, payload: bytes) -> None:
    """Much that nobody has asked for, and then what was asked for."""
    large = GENESIS.transactions[0].replace(witnesses=[bytes(3 << 20)])
    message = BlockTransactions(block_hash=bytes(32), transactions=[large], uncles=[])
    for _ in range(12):
        peer.send(RELAY, RELAY_MESSAGE.pack(message))
    answer(giver, peer, protocol, payload)


def answers_the_first_question_always(giver: Giver, peer: Peer, protocol: ProtocolSpec, _payload: bytes) -> None:
    peer.send(protocol, LIGHT_CLIENT_MESSAGE.pack(SendLastState(last_header=verifiable(giver.tip_header))))


def answer(giver: Giver, peer: Peer, protocol: ProtocolSpec, payload: bytes) -> None:
    if protocol is LIGHT_CLIENT:
        question = LIGHT_CLIENT_MESSAGE.parse(payload)
        assert isinstance(question, (GetLastState, GetBlocksProof, GetTransactionsProof))
    for each in giver.answer(protocol, payload):
        peer.send(protocol, each)


LIES: tuple[Lie, ...] = (
    is_silent,
    babbles,
    leaves,
    bans,
    has_no_more,
    has_always_another_tip,
    does_not_know_it,
    gives_another_header,
    gives_other_transactions,
    gives_no_transactions,
    gives_transactions_without_end,
    floods,
    answers_the_first_question_always,
)


@pytest.mark.parametrize("published", [True, False], ids=["by hash", "by place"])
@pytest.mark.parametrize("lie", LIES)
def test_an_honest_peer_among_liars_gives_it(lie: Lie, published: bool) -> None:
    search = Search(*[lie] * MAX_ASKED, published=published)
    assert search.run() is not None, search.said
    assert search.found == [GENESIS]
    assert search.node.switch.traffic.faults == 0
    check_sound(search.world)
    assert not bans_of(search.world.nodes[0]), "what is asked is no misuse"


@pytest.mark.parametrize("published", [True, False], ids=["by hash", "by place"])
def test_liars_alone_give_nothing(published: bool) -> None:
    lies = [lie for lie in LIES if not (published and lie is gives_transactions_without_end)]  # that lies by relay only
    search = Search(*lies, published=published, honest=False)
    assert search.run() is None
    assert search.node.switch.traffic.faults == 0


@pytest.mark.parametrize("published", [True, False], ids=["by hash", "by place"])
def test_who_lies_now_and_then_gives_it_in_the_end(published: bool) -> None:
    """A peer that could not answer is asked again after a pause."""
    times = 0

    def at_first(giver: Giver, peer: Peer, protocol: ProtocolSpec, payload: bytes) -> None:
        nonlocal times
        times += 1
        (babbles if times == 1 else answer)(giver, peer, protocol, payload)

    search = Search(at_first, published=published, honest=False)
    assert search.run() is not None
    assert search.found == [GENESIS]
