"""Feeler (protocol 3)."""

from __future__ import annotations

import pytest

from network.limits import FEELER, Flags
from network.peer import Direction, SessionKind
from network.protocols.feeler import FeelerProtocol
from tests.support.network.peers import FULL_NODE, FakePeer
from tests.support.network.stores import FakeStore


def test_the_dialler_notes_a_good_address_and_leaves() -> None:
    store = FakeStore()
    peer = FakePeer(1, direction=Direction.OUTBOUND, kind=SessionKind.FEELER, identity=FULL_NODE)
    peer.connect(FeelerProtocol(store, lambda: 5))
    assert store.connected == [(peer.address, FULL_NODE.flags)]
    assert peer.disconnected == "feeler connection"


def test_the_accepter_leaves_and_notes_nothing() -> None:
    store = FakeStore()
    peer = FakePeer(1, identity=FULL_NODE)
    peer.connect(FeelerProtocol(store, lambda: 5))
    assert store.connected == []
    assert peer.disconnected == "feeler connection"


def test_without_identify_nothing_is_known_of_the_flags() -> None:
    store = FakeStore()
    peer = FakePeer(1, direction=Direction.OUTBOUND, kind=SessionKind.FEELER)
    peer.connect(FeelerProtocol(store, lambda: 5))
    assert store.connected == [(peer.address, Flags.COMPATIBILITY)]


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(1024)])
def test_messages_are_not_looked_at(payload: bytes) -> None:
    handler = FeelerProtocol(FakeStore(), lambda: 5)
    peer = FakePeer(1).connect(handler)
    handler.received(peer, payload)
    handler.closed(peer)
    assert peer.sent == []
    assert peer.banned is None
    assert peer.version_of(FEELER)
