"""Identify (protocol 2), row by row of its rules."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.codec.molecule import pack_parts
from network.limits import (
    ALERT,
    DISCOVERY,
    FEELER,
    IDENTIFY,
    PING,
    SYNC,
    Flags,
    ProtocolSpec,
)
from network.messages.peers import Address, Identify, IdentifyMessage
from network.multiaddr import Multiaddr
from network.peer import Direction, Peer, PeerIdentity, SessionKind
from network.protocols.identify import MAX_ADDRESSES, TIMEOUT, IdentifyProtocol, LocalIdentity
from network.protocols.own_addresses import OwnAddresses
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer, address, peer_id
from tests.support.network.stores import FakeStore

OWN_ID = peer_id("self")
MAINNET = LocalIdentity(network_name="/ckb/92b197aa", client_version="x", flags=Flags(0x3F))
INNER = bytes.fromhex("2e0000001000000018000000290000003f000000000000000d0000002f636b622f39326231393761610100000078")
MESSAGE = (
    bytes.fromhex("5a00000010000000140000002800000004000000140000000800000008000000047f000001061fb32e000000") + INNER
)
LOOPBACK = Multiaddr.parse("/ip4/127.0.0.1/tcp/8115")

OPENED = (SYNC, IDENTIFY, FEELER, DISCOVERY, PING, ALERT)


class Case:
    """A handler with all that it uses."""

    def __init__(self, *public: Multiaddr) -> None:
        self.scheduler, self.store = FakeScheduler(), FakeStore()
        self.own = OwnAddresses(OWN_ID, Random(1))
        for public_address in public:
            self.own.add_public(public_address)
        self.identified: list[tuple[Peer, PeerIdentity]] = []
        self.handler = IdentifyProtocol(
            MAINNET,
            own=self.own,
            store=self.store,
            scheduler=self.scheduler,
            opens=lambda: OPENED,
            on_identified=self._on_identified,
        )

    def _on_identified(self, peer: Peer, identity: PeerIdentity) -> None:
        assert isinstance(peer, FakePeer)
        assert not peer.asked_to_open  # it is known before anything is opened
        peer.identity = identity
        self.identified.append((peer, identity))

    def peer(
        self,
        seed: int = 1,
        direction: Direction = Direction.OUTBOUND,
        kind: SessionKind = SessionKind.FULL,
        at: Multiaddr | None = None,
    ) -> FakePeer:
        return FakePeer(seed, direction=direction, kind=kind, at=at).connect(self.handler)

    def receive(self, peer: FakePeer, payload: bytes) -> FakePeer:
        self.handler.received(peer, payload)
        return peer

    def sent(self, peer: FakePeer) -> IdentifyMessage:
        (payload,) = peer.take(IDENTIFY)
        return IdentifyMessage.parse(payload)


def inner(flags: int = 0x3F, name: bytes = b"/ckb/92b197aa", version: bytes = b"0.206.0") -> bytes:
    return Identify(flag=flags, name=name, client_version=version).raw


def message(
    *listening: Multiaddr | bytes, content: bytes | None = None, observed: Multiaddr | bytes = LOOPBACK
) -> bytes:
    return IdentifyMessage(
        listen_addrs=[Address(data=_bytes(item)) for item in listening],
        observed_addr=Address(data=_bytes(observed)),
        identify=inner() if content is None else content,
    ).raw


def _bytes(item: Multiaddr | bytes) -> bytes:
    return item if isinstance(item, bytes) else item.to_bytes()


def listened(found: IdentifyMessage) -> Sequence[Multiaddr]:
    return [Multiaddr.from_bytes(item.data) for item in found.listen_addrs]


# --- what we say ---


def test_the_message_is_these_bytes() -> None:
    case = Case()
    peer = FakePeer(1, at=LOOPBACK).connect(case.handler)
    assert peer.take(IDENTIFY) == [MESSAGE]


@pytest.mark.parametrize("direction", list(Direction))
def test_both_ends_say_it_once_with_the_address_as_they_see_it(direction: Direction) -> None:
    case = Case()
    peer = case.peer(direction=direction)
    assert Multiaddr.from_bytes(case.sent(peer).observed_addr.data) == peer.address


def test_ten_addresses_at_most_public_ones_first_and_only_reachable_ones() -> None:
    local = Multiaddr.parse("/ip4/192.168.1.1/tcp/8115")
    onion = Multiaddr.parse(f"/onion3/{'a' * 56}:8115")
    case = Case(local, onion, *(address(seed, with_id=False) for seed in range(3)))
    for seed in range(100, 120):
        case.own.observe(seed, address(seed, with_id=False), seed)
    found = listened(case.sent(case.peer()))
    assert len(found) == MAX_ADDRESSES
    assert set(found[:4]) == {
        onion.with_peer_id(OWN_ID),
        *(address(seed, with_id=False).with_peer_id(OWN_ID) for seed in range(3)),
    }
    assert all(found_address.peer_id == OWN_ID for found_address in found)


def test_no_addresses_to_a_peer_of_blocks_only() -> None:
    case = Case(address(5, with_id=False))
    assert listened(case.sent(case.peer(kind=SessionKind.BLOCK_RELAY_ONLY))) == []


def test_a_node_without_flags_or_with_a_long_version_cannot_be() -> None:
    with pytest.raises(ValueError, match="without any flag"):
        LocalIdentity(network_name="/ckb/92b197aa", client_version="x", flags=Flags(0))
    with pytest.raises(ValueError, match="256 bytes"):
        LocalIdentity(network_name="/ckb/92b197aa", client_version="x" * 257, flags=Flags(1))


# --- who the peer is ---


@pytest.mark.parametrize("direction", list(Direction))
def test_the_peer_is_known_from_then_on(direction: Direction) -> None:
    case = Case()
    peer = case.receive(case.peer(direction=direction), message(content=inner(0xFFFF_FFFF_FFFF_FFFF)))
    assert case.identified == [(peer, PeerIdentity(Flags(0x3F), "0.206.0"))]
    assert not peer.has_ended


def test_our_own_bytes_are_good() -> None:
    case = Case()
    peer = case.receive(case.peer(), MESSAGE)
    assert not peer.has_ended


def test_the_dialler_opens_all_others() -> None:
    case = Case()
    peer = case.receive(case.peer(), message())
    assert peer.asked_to_open == [SYNC, DISCOVERY, PING, ALERT]
    assert case.store.connected == [(peer.address, Flags(0x3F))]


def test_the_accepter_opens_nothing_and_does_not_vouch_for_the_address() -> None:
    case = Case()
    peer = case.receive(case.peer(direction=Direction.INBOUND), message())
    assert peer.asked_to_open == []
    assert case.store.connected == []


def test_a_feeler_opens_only_feeler_whatever_the_flags_are() -> None:
    case = Case()
    peer = case.receive(case.peer(kind=SessionKind.FEELER), message(content=inner(16)))
    assert peer.asked_to_open == [FEELER]
    assert case.store.connected == [(peer.address, Flags.LIGHT_CLIENT)]


@pytest.mark.parametrize(
    ("flags", "suffices"), [(0x0E, True), (0x01, True), (0x0C, False), (0x10, False), (0x40, False)]
)
def test_who_is_dialled_must_serve_blocks_transactions_and_addresses(flags: int, suffices: bool) -> None:
    case = Case()
    peer = case.receive(case.peer(), message(address(1), content=inner(flags)))
    assert bool(peer.asked_to_open) is suffices
    assert peer.banned is None
    assert (peer.disconnected is None) is suffices
    assert bool(case.store.told) is suffices


def test_who_dials_may_have_any_flags() -> None:
    case = Case()
    peer = case.receive(case.peer(direction=Direction.INBOUND), message(content=inner(16)))
    assert not peer.has_ended


# --- misuse ---


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(46),
        INNER + b"\0",
        pack_parts([bytes(8), bytes(4), bytes(4), b"more"]),
        inner(name=b"/ckb_testnet/10639e08"),
        inner(name=b"/ckb/92b197a"),
        inner(name=b"/ckb/92b197aa\0"),
        inner(name=b"\xff"),
        inner(flags=0),
        inner(version=b"\xff"),
    ],
)
def test_another_chain_no_flags_or_no_sense_is_banned_for_5_minutes(content: bytes, direction: Direction) -> None:
    case = Case()
    peer = case.receive(case.peer(direction=direction), message(address(1), content=content))
    assert peer.banned is not None
    assert peer.banned[0] == 300
    assert case.identified == []
    assert case.store.told == []
    assert case.store.connected == []


def test_a_whitelisted_peer_of_another_chain_is_of_no_use_either() -> None:
    case = Case()

    class Whitelisted(FakePeer):
        def ban(self, seconds: int, reason: str) -> None:
            """Only logged."""

    peer = Whitelisted(1, is_whitelisted=True).connect(case.handler)
    case.handler.received(peer, message(content=inner(name=b"/other/00000000")))
    assert peer.disconnected


@pytest.mark.parametrize(
    "payload",
    [b"", bytes(100), MESSAGE[:-1], MESSAGE + b"\0", message(observed=b"\x04\x01"), message(observed=b"\x91\x02")],
)
def test_what_is_no_message_ends_the_session_without_a_ban(payload: bytes) -> None:
    case = Case()
    peer = case.receive(case.peer(), payload)
    assert peer.disconnected == "identify: undecodable message"
    assert peer.banned is None


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_end_the_session(payload: bytes) -> None:
    case = Case()
    peer = case.receive(case.peer(), payload)
    assert peer.has_ended or case.identified


def test_fields_of_the_future_are_read_outside() -> None:
    case = Case()
    parts = [pack_parts([]), pack_parts([(len(LOOPBACK.to_bytes())).to_bytes(4, "little") + LOOPBACK.to_bytes()])]
    parts += [len(INNER).to_bytes(4, "little") + INNER, b"more"]
    peer = case.receive(case.peer(), pack_parts(parts))
    assert not peer.has_ended
    assert case.identified


def test_a_second_message_ends_the_session() -> None:
    case = Case()
    peer = case.receive(case.receive(case.peer(), message()), message())
    assert peer.disconnected == "identify: second message"
    assert peer.banned is None


def test_eight_seconds_of_silence_end_the_session() -> None:
    case = Case()
    peer = case.peer()
    case.scheduler.advance(TIMEOUT - 0.1)
    assert not peer.has_ended
    case.scheduler.advance(0.1)
    assert peer.disconnected == "identify: timeout"


def test_who_has_spoken_has_time() -> None:
    case = Case()
    peer = case.receive(case.peer(), message())
    case.scheduler.advance(1000)
    assert not peer.has_ended


def test_more_than_ten_addresses_end_the_session_but_the_identity_counts() -> None:
    case = Case()
    peer = case.receive(case.peer(), message(*(address(1, port=port) for port in range(1, 12))))
    assert peer.disconnected == "identify: too many addresses"
    assert peer.banned is None
    assert case.identified
    assert case.store.told == []


# --- addresses ---


@pytest.mark.parametrize("direction", list(Direction))
def test_reachable_addresses_are_stored_with_who_told_them(direction: Direction) -> None:
    case = Case()
    peer = case.peer(direction=direction)
    onion = Multiaddr.parse(f"/onion3/{'a' * 56}:8115/p2p/{peer_id(1)}")
    bare = address(1, port=9000, with_id=False)
    case.receive(peer, message(address(1), bare, onion, content=inner(0x2F)))
    assert case.store.told == [
        (address(1), 0x2F, peer.address),
        (bare.with_peer_id(peer_id(1)), 0x2F, peer.address),
        (onion, 0x2F, peer.address),
    ]
    assert peer.identity is not None
    assert list(peer.identity.listening) == case.store.told_addresses


@pytest.mark.parametrize(
    "listening",
    [
        Multiaddr.parse("/ip4/127.0.0.1/tcp/8115"),
        Multiaddr.parse("/ip4/10.0.0.1/tcp/8115"),
        Multiaddr.parse("/ip6/fe80::1/tcp/8115"),
        Multiaddr.parse("/dns4/localhost/tcp/8114"),
        address(2),  # another peer's
        b"\x91\x02\x00\x01",  # udp
        b"",
    ],
)
def test_other_addresses_are_left_out_and_not_punished(listening: Multiaddr | bytes) -> None:
    case = Case()
    peer = case.receive(case.peer(), message(listening, address(1)))
    assert case.store.told_addresses == [address(1)]
    assert not peer.has_ended


def test_what_peers_observe_is_remembered_until_the_session_ends() -> None:
    case = Case()
    seen = address(7, with_id=False)
    peer = case.receive(case.peer(), message(observed=seen))
    assert case.own.observed() == [seen.with_peer_id(OWN_ID)]
    case.handler.closed(peer)
    assert case.own.observed() == []


def test_an_address_with_a_foreign_id_is_not_ours() -> None:
    case = Case()
    case.receive(case.peer(), message(observed=address(7)))
    assert case.own.observed() == []


# --- the end ---


def test_the_end_of_an_outbound_session_is_noted_when_the_peer_was_a_node() -> None:
    case = Case()
    known, unknown, inbound = case.peer(1), case.peer(2), case.peer(3, Direction.INBOUND)
    case.receive(known, message())
    case.receive(inbound, message())
    for peer in (known, unknown, inbound):
        case.handler.closed(peer)
    assert case.store.still == [known.address]


def test_nothing_is_left_of_closed_sessions() -> None:
    case = Case()
    peers = [case.peer(seed) for seed in range(4)]
    case.receive(peers[0], message(observed=address(7, with_id=False)))
    for peer in peers:
        case.handler.closed(peer)
    assert not case.handler._sessions
    assert case.scheduler.waiting == 0
    case.receive(peers[1], message())
    assert len(case.identified) == 1


def test_whatever_a_session_opens_comes_from_the_assembly() -> None:
    opens: Sequence[ProtocolSpec] = ()
    handler = IdentifyProtocol(
        MAINNET,
        own=OwnAddresses(OWN_ID, Random(1)),
        store=FakeStore(),
        scheduler=FakeScheduler(),
        opens=lambda: opens,
        on_identified=lambda _peer, _identity: None,
    )
    peer = FakePeer(1, direction=Direction.OUTBOUND).connect(handler)
    opens = (SYNC,)
    handler.received(peer, message())
    assert peer.asked_to_open == [SYNC]
