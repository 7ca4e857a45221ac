"""What one peer is asked for the genesis block, and what becomes of its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from ckb_node.genesis import peer_request
from ckb_node.genesis.peer_request import ANSWER_SECONDS, GenesisRequest, WantedGenesis
from ckb_node.specs import load_bundled
from consensus.chainspec.spec import GenesisFile
from consensus.types.blockchain import Block
from network.limits import LIGHT_CLIENT, RELAY, ProtocolSpec
from network.messages.protocols import (
    LIGHT_CLIENT_MESSAGE,
    RELAY_MESSAGE,
    BlockTransactions,
    GetBlocksProof,
    GetBlockTransactions,
    GetLastState,
    GetTransactionsProof,
    SendLastState,
)
from tests.support.network.clock import WALL_MS, FakeScheduler
from tests.support.network.genesis_giver import GENESIS, Giver, header_on, verifiable
from tests.support.network.peers import FakePeer

HASHES = tuple(tx.hash for tx in GENESIS.transactions)
DAY_MS = 86_400_000
SPEC = load_bundled("dev")
NO_RECIPE = replace(SPEC, genesis=GenesisFile("absent"))
UNPUBLISHED = WantedGenesis(NO_RECIPE, GENESIS.hash)
PUBLISHED = WantedGenesis(NO_RECIPE, GENESIS.hash, HASHES)


@dataclass
class Asking:
    """A request at a peer that answers from `giver`."""

    wanted: WantedGenesis = PUBLISHED
    giver: Giver = field(default_factory=Giver)
    protocols: tuple[ProtocolSpec, ...] = (LIGHT_CLIENT, RELAY)
    results: list[Block | str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = FakeScheduler()
        self.peer = FakePeer(1, protocols=self.protocols)
        self.request = GenesisRequest(self.peer, self.wanted, self.scheduler, self.results.append)
        self.request.start()

    def run(self) -> Block | str:
        """Until all questions are answered, or time has run out for an answer."""
        while self.peer.sent:
            protocol, question = self.peer.sent.pop(0)
            for answer in self.giver.answer(protocol, question):
                self.request.received(protocol, answer)
        self.scheduler.advance(ANSWER_SECONDS)
        assert self.scheduler.waiting == 0
        (result,) = self.results
        return result

    def kinds(self) -> list[type]:
        return [type(question) for question in self.giver.asked]

    def reason(self) -> str:
        result = self.run()
        assert isinstance(result, str)
        return result


def test_published_transactions_are_asked_for_by_their_hashes() -> None:
    asking = Asking()
    assert asking.run() == GENESIS
    assert asking.kinds() == [GetLastState, GetBlocksProof, GetTransactionsProof]


def test_a_node_that_is_behind_gives_published_transactions() -> None:
    assert Asking(giver=Giver(is_behind=True)).run() == GENESIS


def test_others_are_asked_for_by_their_places() -> None:
    asking = Asking(UNPUBLISHED)
    assert asking.run() == GENESIS
    assert asking.kinds() == [GetLastState, GetBlocksProof, GetBlockTransactions, GetBlockTransactions]
    places = [list(each.indexes) for each in asking.giver.asked if isinstance(each, GetBlockTransactions)]
    assert places == [[0], [1]]


def test_as_many_as_there_are_already_in_one_question() -> None:
    many = [GENESIS.transactions[0]] + [GENESIS.transactions[1].replace(witnesses=[bytes([n])]) for n in range(12)]
    block = Block(header=GENESIS.header, uncles=[], transactions=many, proposals=[]).with_roots()
    giver = Giver(block, header_on(block.hash, 1))
    asking = Asking(WantedGenesis(NO_RECIPE, block.hash), giver)
    assert asking.run() == block
    places = [list(each.indexes) for each in giver.asked if isinstance(each, GetBlockTransactions)]
    assert places == [[0], [1], [2, 3], [4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15]]


def test_with_the_specs_header_relay_alone_is_enough() -> None:
    asking = Asking(WantedGenesis(SPEC, GENESIS.hash), protocols=(RELAY,))
    assert asking.run() == GENESIS
    assert asking.kinds() == [GetBlockTransactions, GetBlockTransactions]


@pytest.mark.parametrize("wanted", [PUBLISHED, UNPUBLISHED])
def test_a_tip_that_changes_between_two_answers(wanted: WantedGenesis) -> None:
    asking = Asking(wanted)
    (question,) = asking.peer.take(LIGHT_CLIENT)
    (answer,) = asking.giver.answer(LIGHT_CLIENT, question)
    asking.giver.tip = header_on(GENESIS.hash, 1, WALL_MS + 1)
    asking.request.received(LIGHT_CLIENT, answer)
    assert asking.run() == GENESIS


def test_a_tip_that_changes_before_the_transactions() -> None:
    asking = Asking()
    for _ in range(2):
        (question,) = asking.peer.take(LIGHT_CLIENT)
        for answer in asking.giver.answer(LIGHT_CLIENT, question):
            asking.request.received(LIGHT_CLIENT, answer)
    asking.giver.tip = header_on(GENESIS.hash, 1, WALL_MS + 1)
    assert asking.run() == GENESIS


def test_a_tip_that_always_changes() -> None:
    class Restless(Giver):
        @property
        def tip_header(self) -> object:  # type: ignore[override]
            self.tip = header_on(GENESIS.hash, 1, WALL_MS + len(self.asked))
            return self.tip

    asking = Asking(giver=Restless())
    assert "another genesis block" in asking.reason()
    assert len(asking.giver.asked) < 10


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Asking(protocols=()), "serves no light clients"),
        (lambda: Asking(UNPUBLISHED, protocols=(RELAY,)), "serves no light clients"),
        (lambda: Asking(UNPUBLISHED, protocols=(LIGHT_CLIENT,)), "does not relay blocks"),
        (lambda: Asking(giver=Giver(tip=None)), "no block but the genesis block itself"),
        (lambda: Asking(giver=Giver(GENESIS.replace(header=header_on(b"\1" * 32, 0)))), "another genesis block"),
        (lambda: Asking(giver=Giver(transactions=GENESIS.transactions[:1])), "does not have the transactions"),
        (lambda: Asking(UNPUBLISHED, Giver(transactions=GENESIS.transactions[:1])), "1 transactions do not make"),
        (lambda: Asking(UNPUBLISHED, Giver(is_behind=True)), "did not send transaction 0 and on within 20 s"),
    ],
)
def test_why_there_is_no_block(make: Callable[[], Asking], reason: str) -> None:
    assert reason in make().reason()


def test_a_silent_peer_with_an_old_tip_is_known_to_be_behind() -> None:
    giver = Giver(tip=header_on(GENESIS.hash, 1, WALL_MS - 3 * DAY_MS), is_behind=True)
    assert "last block is 3 days old" in Asking(UNPUBLISHED, giver).reason()


def test_witnesses_are_of_the_block_too() -> None:
    cellbase, second = GENESIS.transactions
    forged = Giver(transactions=[cellbase, second.replace(witnesses=[b"x"])])
    assert "do not make the block" in Asking(giver=forged).reason()


def test_more_transactions_than_asked_for() -> None:
    asking = Asking(WantedGenesis(SPEC, GENESIS.hash), protocols=(RELAY,))
    many = BlockTransactions(block_hash=GENESIS.hash, transactions=GENESIS.transactions, uncles=[])
    asking.request.received(RELAY, RELAY_MESSAGE.pack(many))
    assert "not asked for" in asking.reason()


def test_transactions_without_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_request, "MAX_TRANSACTIONS", 8)
    endless = Giver(transactions=[GENESIS.transactions[1].replace(witnesses=[bytes([n])]) for n in range(100)])
    assert "8 transactions do not make" in Asking(UNPUBLISHED, endless).reason()


def test_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_request, "MAX_BYTES", 1000)
    assert "more than 1,000 bytes" in Asking().reason()


@pytest.mark.parametrize("protocol", [LIGHT_CLIENT, RELAY])
def test_what_cannot_be_read(protocol: ProtocolSpec) -> None:
    asking = Asking()
    asking.request.received(protocol, b"\xff\0\0\0")
    assert "cannot be read" in asking.reason()


def test_what_was_not_asked_for_changes_nothing() -> None:
    asking = Asking()
    other = SendLastState(last_header=verifiable(header_on(b"\2" * 32, 9)))
    asking.request.received(
        RELAY, RELAY_MESSAGE.pack(BlockTransactions(block_hash=GENESIS.hash, transactions=[], uncles=[]))
    )
    (question,) = asking.peer.take(LIGHT_CLIENT)
    for answer in asking.giver.answer(LIGHT_CLIENT, question):
        asking.request.received(LIGHT_CLIENT, answer)
    asking.request.received(LIGHT_CLIENT, LIGHT_CLIENT_MESSAGE.pack(other))
    assert asking.run() == GENESIS


def test_a_peer_that_leaves() -> None:
    asking = Asking()
    asking.request.closed()
    asking.request.closed()
    assert asking.results == ["it left while asked for its tip"]


def test_a_cancelled_request_tells_nobody() -> None:
    asking = Asking()
    asking.request.cancel()
    asking.request.received(LIGHT_CLIENT, b"")
    asking.scheduler.advance(ANSWER_SECONDS)
    assert asking.results == []
