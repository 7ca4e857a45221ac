"""The light client protocol: what each message gets, and who hears of new tips."""

from __future__ import annotations

import pytest

from ckb_node.chain.events import ChainChanged
from ckb_node.sync.serving.answers import Answers
from ckb_node.sync.serving.light_client import HEADER_PRICE, PUSH_SECONDS, LightClientServer
from ckb_node.sync.serving.pace import LIGHT_CLIENTS
from ckb_node.sync.serving.proofs import MAX_HEADERS
from consensus.codec.molecule import Table
from network.limits import LIGHT_CLIENT
from network.messages.protocols import (
    LIGHT_CLIENT_MESSAGE,
    GetBlocksProof,
    GetLastState,
    GetLastStateProof,
    GetTransactionsProof,
    SendBlocksProof,
    SendLastState,
    SendLastStateProof,
    SendTransactionsProof,
)
from storage.chain_store import ChainView
from storage.errors import StorageClosed
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer
from tests.sync.serving.kit_chain import FakeChain, StoredChain, stored_chain

BAN = 300


@pytest.fixture(scope="module")
def stored() -> StoredChain:
    return stored_chain(110)


class Kit:
    """A server with a peer."""

    def __init__(self, stored: StoredChain) -> None:
        self.stored = stored
        self.scheduler = FakeScheduler()
        self.chain = FakeChain(stored, self.scheduler)
        self.answers = Answers(self.chain, self.scheduler, LIGHT_CLIENTS)
        self.server = LightClientServer(self.chain, self.scheduler, self.answers)
        self.peer = self.newcomer(1)

    def newcomer(self, seed: int) -> FakePeer:
        return FakePeer(seed).connect(self.server)

    def ask(self, message: Table, peer: FakePeer | None = None) -> list[object]:
        """What the peer gets at once."""
        self.server.received(peer or self.peer, LIGHT_CLIENT_MESSAGE.pack(message))
        self.chain.settle(0.5)
        return self.got(peer)

    def got(self, peer: FakePeer | None = None) -> list[object]:
        return [LIGHT_CLIENT_MESSAGE.parse(each) for each in (peer or self.peer).take(LIGHT_CLIENT)]

    def subscribe(self, peer: FakePeer | None = None) -> None:
        (state,) = self.ask(GetLastState(subscribe=b"\1"), peer)
        assert isinstance(state, SendLastState)

    def change(self) -> None:
        """The chain has a new tip."""
        below, tip = self.stored.blocks[-2:]
        change = ChainChanged(below.header, tip.header, [], [tip])
        for listener in self.chain.listeners:
            listener(change)


@pytest.fixture
def kit(stored: StoredChain) -> Kit:
    return Kit(stored)


def header_of(message: object) -> bytes:
    assert isinstance(message, SendLastState)
    return message.last_header.header.hash


def test_the_last_state(kit: Kit) -> None:
    (state,) = kit.ask(GetLastState(subscribe=b"\0"))
    assert header_of(state) == kit.stored.tip.hash
    assert kit.server.subscribers == 0


def test_each_proof(kit: Kit) -> None:
    last, first = kit.stored.tip.hash, kit.stored.blocks[1]
    state = GetLastStateProof(
        last_hash=last, start_hash=first.hash, start_number=1, last_n_blocks=200, difficulty_boundary=9, difficulties=[]
    )
    (answer,) = kit.ask(state)
    assert isinstance(answer, SendLastStateProof)
    assert len(answer.headers) == len(kit.stored.blocks) - 2
    (answer,) = kit.ask(GetBlocksProof(last_hash=last, block_hashes=[first.hash]))
    assert isinstance(answer, SendBlocksProof)
    (answer,) = kit.ask(GetTransactionsProof(last_hash=last, tx_hashes=[first.transactions[0].hash]))
    assert isinstance(answer, SendTransactionsProof)
    assert answer.filtered_blocks[0].header == first.header


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (GetBlocksProof(last_hash=bytes(32), block_hashes=[]), 400),
        (GetTransactionsProof(last_hash=bytes(32), tx_hashes=[]), 400),
        (GetLastState(subscribe=b"\2"), 400),
    ],
    ids=["no blocks", "no transactions", "subscribe 2"],
)
def test_messages_that_cost(kit: Kit, message: Table, code: int) -> None:
    assert kit.ask(message) == []
    assert kit.peer.banned is not None
    assert kit.peer.banned[0] == BAN
    assert f" {code}: " in kit.peer.banned[1]


def test_a_proof_of_the_last_state_is_dear(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it says to want, its boundary may ask for thousands of headers: only a few are in work at a time."""
    prices: list[float] = []
    monkeypatch.setattr(kit.answers, "ask", lambda *args: prices.append(args[3]))
    last = kit.stored.tip.hash
    question = GetLastStateProof(
        last_hash=last, start_hash=last, start_number=0, last_n_blocks=0, difficulty_boundary=0, difficulties=[]
    )
    kit.ask(question)
    assert prices == [pytest.approx(MAX_HEADERS * HEADER_PRICE)]
    assert prices[0] >= LIGHT_CLIENTS.dear


def test_answers_that_nobody_asked_for(kit: Kit) -> None:
    (state,) = kit.ask(GetLastState(subscribe=b"\0"))
    assert isinstance(state, SendLastState)
    assert kit.ask(state) == []
    assert kit.peer.banned == (BAN, "light client 401: unexpected message: SendLastState")


def test_a_refusal_that_needs_the_chain(kit: Kit) -> None:
    twice = [kit.stored.blocks[1].hash] * 2
    assert kit.ask(GetBlocksProof(last_hash=kit.stored.tip.hash, block_hashes=twice)) == []
    assert kit.peer.banned is not None
    assert kit.peer.banned[0] == BAN


@pytest.mark.parametrize("payload", [b"", b"\0" * 4, b"\0" * 20, b"\x09\0\0\0" + b"\0" * 9])
def test_an_undecodable_message(kit: Kit, payload: bytes) -> None:
    kit.server.received(kit.peer, payload)
    assert kit.peer.banned == (BAN, "light client: undecodable message")


def test_unknown_fields_are_not_taken(kit: Kit) -> None:
    """Strictly decoded: one field more than there should be."""
    raw = b"\0\0\0\0" + bytes.fromhex("0e0000000c0000000d000000" + "01" + "00")
    kit.server.received(kit.peer, raw)
    assert kit.peer.banned is not None


def test_questions_that_stop_the_reference(kit: Kit) -> None:
    genesis, tip = kit.stored.blocks[0].hash, kit.stored.tip.hash
    state = GetLastStateProof(
        last_hash=genesis, start_hash=genesis, start_number=0, last_n_blocks=5, difficulty_boundary=9, difficulties=[]
    )
    (answer,) = kit.ask(state)
    assert isinstance(answer, SendLastStateProof)
    assert answer.last_header.header.hash == tip
    last = kit.stored.blocks[5].hash
    assert kit.ask(state.replace(last_hash=last, start_number=6)) == []
    assert kit.ask(state.replace(last_hash=last, start_number=(1 << 64) - 1)) == []
    assert not kit.peer.has_ended


# Subscriptions


def test_subscribers_are_told_new_tips(kit: Kit) -> None:
    other = kit.newcomer(2)
    kit.subscribe()
    kit.change()
    kit.scheduler.advance(0.001)
    assert [header_of(each) for each in kit.got()] == [kit.stored.tip.hash]
    assert other.sent == []
    kit.change()
    kit.scheduler.advance(10 * PUSH_SECONDS)
    assert kit.got() == [], "each tip once"


def test_of_many_tips_at_once_the_last_is_told(kit: Kit) -> None:
    kit.subscribe()
    kit.server._told, kit.server._told_at = bytes(32), kit.scheduler.now()
    for _ in range(10):
        kit.change()
        kit.scheduler.advance(PUSH_SECONDS / 20)
    assert kit.got() == []
    kit.scheduler.advance(PUSH_SECONDS)
    assert [header_of(each) for each in kit.got()] == [kit.stored.tip.hash]
    assert kit.scheduler.waiting == 0


def test_nobody_is_told_what_cannot_be_read(kit: Kit) -> None:
    kit.subscribe()

    def view() -> ChainView:
        raise StorageClosed("db", "closed")

    kit.chain.view = view  # type: ignore[method-assign]
    kit.change()
    kit.scheduler.advance(1)
    assert kit.got() == []
    assert not kit.peer.has_ended


def test_a_subscription_ends_with_its_session(kit: Kit) -> None:
    kit.subscribe()
    kit.ask(GetLastState(subscribe=b"\0"))
    assert kit.server.subscribers == 1, "nothing ends it but the end"
    kit.server.closed(kit.peer)
    assert kit.server.subscribers == 0
    kit.change()
    kit.scheduler.advance(1)
    assert kit.got() == []


def test_stop(kit: Kit) -> None:
    kit.subscribe()
    kit.change()
    kit.server.stop()
    kit.scheduler.advance(10 * PUSH_SECONDS)
    assert kit.got() == []
