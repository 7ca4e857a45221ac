"""Where this node is: what it listens on, what is configured, what peers say."""

from __future__ import annotations

from random import Random

from network.multiaddr import Multiaddr
from network.protocols.own_addresses import OwnAddresses
from tests.support.network.peers import address, peer_id

OWN_ID = peer_id("self")
LOCAL = Multiaddr.parse("/ip4/127.0.0.1/tcp/8115")
ANY = Multiaddr.parse("/ip4/0.0.0.0/tcp/8116")


def own(seed: int) -> Multiaddr:
    return address(seed, with_id=False).with_peer_id(OWN_ID)


def bare(seed: int) -> Multiaddr:
    return address(seed, with_id=False)


def test_what_is_listened_on_is_public_when_it_is_reachable() -> None:
    addresses = OwnAddresses(OWN_ID, Random(1), listening=[LOCAL, bare(1)])
    addresses.add_listening(bare(2))
    assert addresses.public() == [own(1), own(2)]
    assert addresses.listening == [LOCAL.with_peer_id(OWN_ID), own(1), own(2)]


def test_public_ones_come_and_go() -> None:
    addresses = OwnAddresses(OWN_ID, Random(1))
    addresses.add_public(bare(1))
    addresses.add_public(own(1))
    assert addresses.public() == [own(1)]
    addresses.remove_public(bare(1))
    addresses.remove_public(bare(1))
    assert addresses.public() == []


def test_what_more_networks_see_comes_first() -> None:
    addresses = OwnAddresses(OWN_ID, Random(1))
    for session in range(50):
        addresses.observe(session, bare(1), "one liar's network")
    for session, group in enumerate(("a", "b", "c"), start=50):
        addresses.observe(session, bare(2), group)
    addresses.observe(60, bare(3), "d")
    addresses.observe(61, bare(3), "e")
    assert addresses.observed() == [own(2), own(3), own(1)]


def test_one_word_for_each_session() -> None:
    addresses = OwnAddresses(OWN_ID, Random(1))
    for seed in range(100):
        addresses.observe(1, bare(seed), "a")
    assert addresses.observed() == [own(99)]
    addresses.forget(1)
    addresses.forget(1)
    assert addresses.observed() == []


def test_told_are_reachable_ones_public_first() -> None:
    addresses = OwnAddresses(OWN_ID, Random(1), listening=[LOCAL])
    addresses.add_public(bare(1))
    addresses.observe(1, LOCAL, "a")
    addresses.observe(2, bare(2), "b")
    assert addresses.told(10) == [own(1), own(2)]
    assert addresses.told(1) == [own(1)]
    assert addresses.told(10, allow_local=True) == [own(1), LOCAL.with_peer_id(OWN_ID), own(2)] or addresses.told(
        10, allow_local=True
    ) == [own(1), own(2), LOCAL.with_peer_id(OWN_ID)]


def test_of_many_public_ones_a_choice() -> None:
    addresses = OwnAddresses(OWN_ID, Random(1))
    for seed in range(30):
        addresses.add_public(bare(seed))
    assert len(set(addresses.told(10))) == 10


def test_the_port_is_that_of_a_reachable_socket() -> None:
    addresses = OwnAddresses(OWN_ID, Random(1), listening=[ANY])
    assert addresses.listen_port() is None
    assert addresses.listen_port(allow_local=True) == 8116
    addresses.add_listening(address(1, port=9000, with_id=False))
    assert addresses.listen_port() == 9000
