"""The block filter protocol."""

from __future__ import annotations

from collections.abc import Callable, Generator

import pytest

from ckb_node.filters.builder import FilterBuilder
from ckb_node.sync.serving import filters as served
from ckb_node.sync.serving.answers import Answers
from ckb_node.sync.serving.filters import FilterServer
from ckb_node.sync.serving.pace import LIGHT_CLIENTS, Work
from consensus.codec.molecule import Struct, Table
from consensus.crypto.hashing import ZERO_HASH
from network.limits import FILTER, ProtocolSpec
from network.messages.protocols import (
    BLOCK_FILTER_MESSAGE,
    BlockFilterCheckPoints,
    BlockFilterHashes,
    BlockFilters,
    GetBlockFilterCheckPoints,
    GetBlockFilterHashes,
    GetBlockFilters,
)
from network.peer import Peer
from storage.chain_state import ChainState
from storage.filters import FilterStore
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer
from tests.sync.serving.kit_chain import HEIGHT, FakeChain, StoredChain, stored_chain


@pytest.fixture(scope="module")
def stored() -> StoredChain:
    return stored_chain()


@pytest.fixture(scope="module")
def built(stored: StoredChain) -> FilterStore:
    """Filters of all blocks."""
    store = FilterStore.in_memory()
    with stored.store.view() as view:
        while not FilterBuilder(store).step(view):
            pass
    return store


class Kit:
    """A server with a peer."""

    def __init__(self, stored: StoredChain, filters: FilterStore) -> None:
        self.chain = FakeChain(stored, FakeScheduler())
        answers = Answers(self.chain, self.chain.scheduler, LIGHT_CLIENTS)
        self.server = FilterServer(filters, answers)
        self.peer = FakePeer(1).connect(self.server)

    def ask(self, message: Struct | Table) -> list[object]:
        self.server.received(self.peer, BLOCK_FILTER_MESSAGE.pack(message))
        self.chain.settle(0.5)
        return [BLOCK_FILTER_MESSAGE.parse(each) for each in self.peer.take(FILTER)]

    def filters(self, start: int) -> BlockFilters:
        (answer,) = self.ask(GetBlockFilters(start_number=start))
        assert isinstance(answer, BlockFilters)
        assert answer.start_number == start
        return answer

    def hashes(self, start: int) -> BlockFilterHashes:
        (answer,) = self.ask(GetBlockFilterHashes(start_number=start))
        assert isinstance(answer, BlockFilterHashes)
        assert answer.start_number == start
        return answer

    def points(self, start: int) -> BlockFilterCheckPoints:
        (answer,) = self.ask(GetBlockFilterCheckPoints(start_number=start))
        assert isinstance(answer, BlockFilterCheckPoints)
        assert answer.start_number == start
        return answer


@pytest.fixture
def kit(stored: StoredChain, built: FilterStore) -> Kit:
    return Kit(stored, built)


@pytest.mark.parametrize("start", [0, 1, 50, HEIGHT])
def test_up_to_the_tip(kit: Kit, stored: StoredChain, built: FilterStore, start: int) -> None:
    with stored.store.view() as view:
        data, hashes = list(built.filters(view, 0)), list(built.filter_hashes(view, 0))
    filters = kit.filters(start)
    assert list(filters.block_hashes) == [block.hash for block in stored.blocks[start:]]
    assert list(filters.filters) == [each[1] for each in data[start:]]
    answer = kit.hashes(start)
    assert list(answer.block_filter_hashes) == [each[1] for each in hashes[start:]]
    assert answer.parent_block_filter_hash == (hashes[start - 1][1] if start else ZERO_HASH)
    assert list(kit.points(start).block_filter_hashes) == [hashes[start][1]]


@pytest.mark.parametrize("question", [GetBlockFilters, GetBlockFilterHashes, GetBlockFilterCheckPoints])
@pytest.mark.parametrize("start", [HEIGHT + 1, (1 << 64) - 1])
def test_beyond_the_tip_nothing_is_said(kit: Kit, question: type[GetBlockFilters], start: int) -> None:
    assert kit.ask(question(start_number=start)) == []
    assert not kit.peer.has_ended


def test_before_the_first_filter(stored: StoredChain) -> None:
    kit = Kit(stored, FilterStore.in_memory())
    assert len(kit.filters(0).filters) == 0
    assert len(kit.hashes(0).block_filter_hashes) == 0
    assert len(kit.points(0).block_filter_hashes) == 0
    assert kit.ask(GetBlockFilters(start_number=1)) == []


def test_most_of_an_answer(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "MAX_FILTERS", 10)
    monkeypatch.setattr(served, "MAX_HASHES", 11)
    monkeypatch.setattr(served, "MAX_CHECK_POINTS", 3)
    monkeypatch.setattr(served, "INTERVAL", 4)
    assert len(kit.filters(5).filters) == 10
    assert len(kit.hashes(5).block_filter_hashes) == 11
    assert list(kit.points(5).block_filter_hashes) == [kit.hashes(at).block_filter_hashes[0] for at in (5, 9, 13)]


def test_the_price_is_that_of_what_is_asked_for(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    prices: list[float] = []
    ask = Answers.ask

    def note(answers: Answers, peer: Peer, protocol: ProtocolSpec, work: Work, price: float) -> None:
        prices.append(price)
        ask(answers, peer, protocol, work, price)

    def price(question: Struct) -> float:
        kit.ask(question)
        return prices.pop()

    monkeypatch.setattr(Answers, "ask", note)
    assert price(GetBlockFilters(start_number=0)) >= LIGHT_CLIENTS.dear, "as long as nothing is known"
    few, many = price(GetBlockFilters(start_number=HEIGHT)), price(GetBlockFilters(start_number=0))
    assert many == pytest.approx((HEIGHT + 1) * few)
    assert price(GetBlockFilters(start_number=1 << 60)) == few
    few, many = price(GetBlockFilterHashes(start_number=HEIGHT)), price(GetBlockFilterHashes(start_number=0))
    assert many == pytest.approx((HEIGHT + 1) * few)
    monkeypatch.setattr(served, "INTERVAL", 10)
    few, many = price(GetBlockFilterCheckPoints(start_number=HEIGHT)), price(GetBlockFilterCheckPoints(start_number=0))
    assert many == pytest.approx(13 * few)


def test_whole_messages_of_filters_are_dear_and_hashes_are_not() -> None:
    """Of dear answers few are in work at a time: each keeps what it has read."""
    filters, hashes = served.FILTER_PRICE * served.MAX_FILTERS, served.HASH_PRICE * served.MAX_HASHES
    assert hashes < LIGHT_CLIENTS.dear <= filters


@pytest.mark.parametrize("answer", [served.answer_filters, served.answer_filter_hashes, served.answer_check_points])
def test_long_answers_breathe(
    stored: StoredChain,
    built: FilterStore,
    answer: Callable[[FilterStore, int, ChainState], Generator[None, None, bytes | None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(served, "INTERVAL", 1)
    with stored.store.view() as view:
        assert len(list(answer(built, 0, view))) >= 3, "of 121"


def test_most_bytes(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The filter that reaches the limit is left out; the content is counted as in the reference."""
    data = [bytes(each) for each in kit.filters(0).filters]
    size = 16 + sum(40 + len(each) for each in data[:7])
    for limit, count in ((size + 4, 6), (size + 5, 7)):
        monkeypatch.setattr(served, "MAX_FILTERS_BYTES", limit)
        assert len(kit.filters(0).filters) == count
    monkeypatch.setattr(served, "MAX_FILTERS_BYTES", 20)
    assert len(kit.filters(0).filters) == 0


def test_answers_are_left(kit: Kit) -> None:
    assert kit.ask(kit.filters(0)) == []
    assert kit.ask(kit.hashes(0)) == []
    assert kit.ask(kit.points(0)) == []
    assert not kit.peer.has_ended


@pytest.mark.parametrize("payload", [b"", b"\0" * 4, b"\0" * 11, b"\0" * 13, b"\x06\0\0\0" + bytes(8)])
def test_an_undecodable_message(kit: Kit, payload: bytes) -> None:
    kit.server.received(kit.peer, payload)
    assert kit.peer.banned == (300, "filter: undecodable message")


def test_who_has_left_gets_nothing(kit: Kit) -> None:
    kit.server.received(kit.peer, BLOCK_FILTER_MESSAGE.pack(GetBlockFilters(start_number=0)))
    kit.server.closed(kit.peer)
    kit.chain.settle()
    assert kit.peer.take(FILTER) == []
