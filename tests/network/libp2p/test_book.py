"""Addresses that peers have told: bounds, who is dialled, who is forgotten, who is told on."""

from __future__ import annotations

from random import Random

from network.identity import Identity
from network.libp2p.book import FRESH, MAX_FAILURES, MAX_KNOWN, MAX_OF_TELLER, PAUSE, Book
from network.libp2p.names import Libp2pAddress, libp2p_id_text, parse_address

NAME = libp2p_id_text(Identity(bytes(31) + b"\1").public_key)


def address(number: int, network: int = 10) -> Libp2pAddress:
    return parse_address(f"/ip4/{network}.{number // 65536}.{number // 256 % 256}.{number % 256}/tcp/1/p2p/{NAME}")


def book(*numbers: int) -> Book:
    found = Book(Random(1))
    for number in numbers:
        assert found.add(address(number), "teller")
    return found


def anybody(_: Libp2pAddress) -> bool:
    return True


def test_nobody_fills_it_alone() -> None:
    found = book(*range(MAX_OF_TELLER))
    assert not found.add(address(MAX_OF_TELLER), "teller")
    assert found.add(address(MAX_OF_TELLER), "another")
    assert found.add(address(0), "another")  # known, and nobody's place is taken for it
    assert len(found) == MAX_OF_TELLER + 1


def test_in_a_full_one_the_newcomer_takes_the_place_of_one_that_never_answered() -> None:
    found = Book(Random(1))
    for number in range(MAX_KNOWN):
        assert found.add(address(number), f"teller {number}")
    for number in range(MAX_KNOWN - 1):
        found.ended(address(number), 0.0, is_connected=True)
    assert found.add(address(MAX_KNOWN), "new")
    assert len(found) == MAX_KNOWN
    assert len(found.to_share(MAX_KNOWN, 0.0)) == MAX_KNOWN - 1
    found.ended(address(MAX_KNOWN), 0.0, is_connected=True)
    assert not found.add(address(MAX_KNOWN + 1), "newer")


def test_each_is_dialled_once_as_places_are_there() -> None:
    found = book(*range(5))
    first = found.due(0.0, 2, (), anybody)
    assert (len(first), found.dialled) == (2, 2)
    assert found.due(0.0, 0, (), anybody) == []
    assert set(found.due(0.0, 9, (), anybody)).isdisjoint(first)
    assert found.due(0.0, 9, (), anybody) == []
    found.restart()
    assert len(found.due(0.0, 9, (), anybody)) == 5


def test_those_of_other_networks_come_first() -> None:
    found = book(*range(50))
    other = address(1, 11)
    found.add(other, "another")
    assert found.due(0.0, 1, ["10.0"], anybody) == [other]


def test_only_those_that_may_be_dialled() -> None:
    assert book(1, 2, 3).due(0.0, 9, (), lambda it: it == address(2)) == [address(2)]


def test_who_does_not_answer_is_forgotten_after_some_dials_with_growing_pauses() -> None:
    found, now, pauses = book(1), 0.0, []
    for _ in range(MAX_FAILURES):
        begun = now
        while not found.due(now, 1, (), anybody):
            now += 1.0
        pauses.append(now - begun)
        found.ended(address(1), now, is_connected=False)
    assert pauses == [0.0, PAUSE, 2 * PAUSE]
    assert len(found) == 0
    found.ended(address(1), now, is_connected=True)  # a dial that was under way
    assert found.to_share(1, now) == []


def test_what_has_answered_lately_is_told_on() -> None:
    found = book(1, 2)
    found.ended(address(1), 5.0, is_connected=True)
    assert found.to_share(9, 5.0) == [address(1)]
    assert found.to_share(0, 5.0) == []
    assert found.to_share(9, 5.0 + FRESH) == []
