"""Several peers are asked for the genesis block; whoever has it ends the search."""

from __future__ import annotations

from ckb_node.genesis.peer_request import ANSWER_SECONDS, WantedGenesis
from ckb_node.genesis.peer_search import MAX_ASKED, OPENING_SECONDS, PAUSE_SECONDS, GenesisSearch
from ckb_node.specs import load_bundled
from consensus.types.blockchain import Block
from network.limits import LIGHT_CLIENT, RELAY, SYNC
from network.messages.protocols import SYNC_MESSAGE, GetHeaders, InIBD
from tests.support.network.clock import FakeScheduler
from tests.support.network.genesis_giver import GENESIS, Giver, header_on
from tests.support.network.peers import FULL_NODE, FakePeer

PROTOCOLS = (SYNC, LIGHT_CLIENT, RELAY)


class Searching:
    """A search whose peers answer when `answer` says so."""

    def __init__(self) -> None:
        self.scheduler = FakeScheduler()
        self.found: list[Block] = []
        self.said: list[str] = []
        wanted = WantedGenesis(load_bundled("dev"), GENESIS.hash)
        self.search = GenesisSearch(wanted, self.scheduler, self.said.append, self.found.append)
        self.handlers = {handler.protocol: handler for handler in self.search.handlers}

    def connect(self, seed: int, *protocols: object) -> FakePeer:
        peer = FakePeer(seed, identity=FULL_NODE)
        for protocol, handler in self.handlers.items():
            if not protocols or protocol in protocols:
                peer.connect(handler)
        return peer

    def answer(self, peer: FakePeer, giver: Giver) -> None:
        while peer.sent:
            protocol, question = peer.sent.pop(0)
            for answer in giver.answer(protocol, question):
                self.handlers[protocol].received(peer, answer)

    def leave(self, peer: FakePeer) -> None:
        for handler in self.handlers.values():
            handler.closed(peer)


def test_a_peer_that_has_it() -> None:
    searching = Searching()
    peer = searching.connect(1)
    searching.answer(peer, Giver())
    assert searching.found == [GENESIS]
    assert searching.said[0] == f"Asking {peer.address} (version 0.206.0) for the genesis block"
    assert str(peer.address) in searching.said[-1]
    assert searching.scheduler.waiting == 0


def test_so_many_at_a_time_and_the_next_when_one_fails() -> None:
    searching = Searching()
    peers = [searching.connect(seed) for seed in range(MAX_ASKED + 2)]
    assert [bool(peer.sent) for peer in peers] == [True] * MAX_ASKED + [False] * 2
    assert searching.search.state.count("its tip") == MAX_ASKED
    assert "2 more connected" in searching.search.state
    searching.answer(peers[0], Giver(tip=None))
    searching.scheduler.advance(0.0)
    assert peers[MAX_ASKED].sent
    searching.leave(peers[1])
    assert peers[MAX_ASKED + 1].sent
    searching.answer(peers[MAX_ASKED + 1], Giver())
    assert searching.found == [GENESIS]
    assert any("no block but the genesis block" in line for line in searching.search.failures)


def test_silent_peers_do_not_hold_it_up() -> None:
    searching = Searching()
    silent = [searching.connect(seed) for seed in range(MAX_ASKED)]
    honest = searching.connect(MAX_ASKED)
    searching.scheduler.advance(ANSWER_SECONDS)
    searching.answer(honest, Giver())
    assert searching.found == [GENESIS]
    for peer in silent:  # whatever comes now
        searching.answer(peer, Giver())
    assert searching.found == [GENESIS]


def test_a_peer_is_asked_again_after_a_pause_on_the_same_session_or_another() -> None:
    searching = Searching()
    peer = searching.connect(1)
    searching.answer(peer, Giver(tip=None))
    searching.scheduler.advance(PAUSE_SECONDS - 1)
    assert not peer.sent
    searching.scheduler.advance(1)
    assert peer.take(LIGHT_CLIENT)
    searching.leave(peer)
    again = searching.connect(1)
    assert not again.sent
    searching.scheduler.advance(PAUSE_SECONDS)
    searching.answer(again, Giver(tip=header_on(GENESIS.hash, 1)))
    assert searching.found == [GENESIS]


def test_what_does_not_open_is_not_waited_for() -> None:
    searching = Searching()
    peer = searching.connect(1, SYNC, RELAY)
    assert not peer.sent
    searching.scheduler.advance(OPENING_SECONDS)
    searching.answer(peer, Giver())  # the dev chain's spec has the header
    assert searching.found == [GENESIS]


def test_questions_about_headers_are_answered_truly() -> None:
    searching = Searching()
    peer = searching.connect(1)
    asked = SYNC_MESSAGE.pack(GetHeaders(hash_stop=bytes(32), block_locator_hashes=[GENESIS.hash]))
    searching.handlers[SYNC].received(peer, asked)
    assert peer.take(SYNC) == [SYNC_MESSAGE.pack(InIBD())]
    searching.handlers[SYNC].received(peer, b"\xff")
    assert peer.disconnected == "an undecodable message"


def test_failures_are_bounded() -> None:
    searching = Searching()
    for number in range(1000):
        searching.search.note_failure(f"/ip4/1.2.3.4/tcp/{number}", "refused")
    assert len(searching.search.failures) == 8
    assert searching.search.failures[-1] == "/ip4/1.2.3.4/tcp/999: refused"
    assert searching.search.state == "no peer of this chain is connected yet"
