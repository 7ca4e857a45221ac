"""Vectors of transactions in messages: where items lie is checked at first, what they are when their turn comes."""

from __future__ import annotations

import pytest

from ckb_node.sync.relay.rounds import Rounds
from ckb_node.sync.relay.unread import BYTES_AT_ONCE, ITEMS_AT_ONCE, Reading, Unread, field_bounds
from consensus.codec.layout import U32
from consensus.codec.molecule import kind, pack_parts
from consensus.errors import MoleculeError
from consensus.types.blockchain import Transaction
from network.limits import RELAY
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer
from tests.sync.relay.kit_transactions import a_transaction


def unread(*raws: bytes) -> Unread[Transaction]:
    return Unread(kind(Transaction), U32.pack(7) + pack_parts([pack_parts(raws)]))


class Case:
    def __init__(self, *raws: bytes) -> None:
        self.clock, self.peer, self.is_there = FakeScheduler(), FakePeer(1, protocols=[RELAY]), True
        self.taken: list[bytes] = []
        self.most = len(raws)
        Reading(Rounds(self.clock), lambda _: self.is_there).read(self.peer, unread(*raws), self.take)

    def take(self, transaction: Transaction) -> bool:
        self.taken.append(transaction.raw)
        return len(self.taken) < self.most


SMALL = [a_transaction(serial).raw for serial in range(3 * ITEMS_AT_ONCE)]
LARGE = [a_transaction(serial, size=BYTES_AT_ONCE).raw for serial in range(3)]


def test_items_are_read_when_they_are_asked_for() -> None:
    items = unread(SMALL[0], b"nonsense")
    assert len(items) == 2
    assert items.read(0).raw == SMALL[0]
    with pytest.raises(MoleculeError):
        items.read(1)


@pytest.mark.parametrize("payload", [b"", U32.pack(7), U32.pack(7) + pack_parts([]), U32.pack(7) + pack_parts([b"x"])])
def test_what_has_no_vector_is_undecodable(payload: bytes) -> None:
    with pytest.raises(MoleculeError):
        Unread(kind(Transaction), payload)


def test_there_is_one_field() -> None:
    with pytest.raises(MoleculeError):
        Unread(kind(Transaction), U32.pack(7) + pack_parts([pack_parts([]), b"more"]))
    with pytest.raises(MoleculeError):
        field_bounds("Any", U32.pack(7) + pack_parts([b"", b""]), 3, 3)
    with pytest.raises(MoleculeError):
        field_bounds("Any", U32.pack(7) + pack_parts([b""] * 4), 3, 3)
    assert len(unread()) == 0


def test_a_head_of_offsets_alone_is_not_read() -> None:
    with pytest.raises(MoleculeError, match="10000 parts"):
        unread(*[b""] * 10_000)


def test_few_small_items_are_taken_at_once() -> None:
    case = Case(*SMALL[:ITEMS_AT_ONCE])
    assert case.taken == SMALL[:ITEMS_AT_ONCE]
    assert case.peer.held == set()
    assert Case().taken == []


@pytest.mark.parametrize("raws", [SMALL, LARGE])
def test_many_are_taken_in_slices_while_their_sender_waits(raws: list[bytes]) -> None:
    case = Case(*raws)
    assert case.taken == raws[: len(raws) // 3]
    assert case.peer.held == {RELAY}
    case.clock.advance(0.01)
    assert case.taken == raws
    assert case.peer.held == set()


def test_nothing_more_is_read_of_who_has_gone_or_of_what_nobody_wants() -> None:
    gone, refused = Case(*SMALL), Case(*SMALL)
    gone.is_there = False
    refused.most = 0
    for case in (gone, refused):
        case.clock.advance(0.01)
        assert len(case.taken) <= ITEMS_AT_ONCE + 1
        assert case.peer.held == set()


def test_who_sends_nonsense_is_punished_and_not_held() -> None:
    case = Case(*SMALL, b"nonsense")
    case.clock.advance(0.01)
    assert case.taken == SMALL
    assert case.peer.banned is not None
    assert case.peer.held == set()
