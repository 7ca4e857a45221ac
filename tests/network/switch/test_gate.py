"""The gate before handshakes."""

from __future__ import annotations

from itertools import count

import pytest

from network.gate import GateLimits, HandshakeGate, Ticket, TurnedAway
from network.multiaddr import Multiaddr

WIDE = GateLimits(rate=1e6, rate_group=1e6, rate_address=1e6, burst=1e6, burst_group=1e6, burst_address=1e6)


def at(ip: str) -> Multiaddr:
    return Multiaddr.parse(f"/ip{6 if ':' in ip else 4}/{ip}/tcp/4000")


class Door:
    """A gate, and sessions numbered by it."""

    def __init__(self, limits: GateLimits) -> None:
        self.gate = HandshakeGate(limits, 0.0)
        self._numbers = count(1)

    def enter(self, ip: str, now: float = 0.0) -> Ticket | TurnedAway:
        return self.gate.enter(at(ip), next(self._numbers), now)

    def fill(self, ip: str, times: int, now: float = 0.0) -> list[Ticket]:
        answers = [self.enter(ip, now) for _ in range(times)]
        assert not [answer for answer in answers if isinstance(answer, TurnedAway)]
        return [answer for answer in answers if isinstance(answer, Ticket)]


def test_an_address_has_so_many_at_once() -> None:
    door = Door(WIDE)
    tickets = door.fill("99.1.1.1", 48)
    assert door.enter("99.1.1.1") is TurnedAway.HANDSHAKES_ADDRESS
    assert isinstance(door.enter("99.1.1.2"), Ticket)
    door.gate.leave(tickets[0])
    assert isinstance(door.enter("99.1.1.1"), Ticket)


def test_a_host_of_ipv6_is_one_address_however_many_it_uses() -> None:
    door = Door(WIDE)
    for number in range(48):
        assert isinstance(door.enter(f"2a00:1:2:3::{number:x}"), Ticket)
    assert door.enter("2a00:1:2:3:ffff::1") is TurnedAway.HANDSHAKES_ADDRESS


def test_a_network_has_so_many_at_once() -> None:
    door = Door(WIDE)
    for number in range(96):
        assert isinstance(door.enter(f"99.1.1.{number}"), Ticket)
    assert door.enter("99.1.200.1") is TurnedAway.HANDSHAKES_GROUP
    assert isinstance(door.enter("99.2.1.1"), Ticket)


def test_the_largest_network_makes_room_for_others() -> None:
    door = Door(WIDE)
    large = door.fill("99.1.1.1", 48) + door.fill("99.1.1.2", 48)
    door.fill("98.1.1.1", 48)
    door.fill("97.1.1.1", 48)
    door.fill("96.1.1.1", 48)
    door.fill("95.1.1.1", 16)
    assert door.gate.at_once == 256
    newcomer = door.enter("94.1.1.1")
    assert isinstance(newcomer, Ticket)
    assert newcomer.displaced == large[0].number
    assert door.gate.at_once == 256
    door.gate.leave(large[0])
    assert door.gate.at_once == 256, "who was displaced has left already"


def test_nobody_makes_room_for_those_who_have_most() -> None:
    door = Door(GateLimits(at_once=4, rate=1e6))
    door.fill("99.1.1.1", 2)
    door.fill("98.1.1.1", 2)
    assert door.enter("98.1.1.1") is TurnedAway.HANDSHAKES
    assert isinstance(door.enter("97.1.1.1"), Ticket)


def test_places_are_free_again() -> None:
    door = Door(WIDE)
    for ticket in door.fill("99.1.1.1", 48):
        door.gate.leave(ticket)
    assert door.gate.at_once == 0
    door.fill("99.1.1.1", 48)


@pytest.mark.parametrize(
    ("limits", "other", "fault"),
    [
        (GateLimits(burst_address=3.0), "99.1.1.2", TurnedAway.RATE_ADDRESS),
        (GateLimits(burst_group=3.0), "99.2.1.1", TurnedAway.RATE_GROUP),
        (GateLimits(burst=3.0), "", TurnedAway.RATE),
    ],
    ids=["address", "group", "all"],
)
def test_so_many_a_second(limits: GateLimits, other: str, fault: TurnedAway) -> None:
    door = Door(limits)
    for ticket in door.fill("99.1.1.1", 3):
        door.gate.leave(ticket)
    assert door.enter("99.1.1.1") is fault
    if other:
        assert isinstance(door.enter(other), Ticket)
    assert isinstance(door.enter("99.1.1.1", now=1.0), Ticket)


def test_onion_services_and_names_are_a_network_too() -> None:
    door = Door(GateLimits(at_once_address=2))
    local = Multiaddr.parse("/dns4/example.com/tcp/80")
    assert isinstance(door.gate.enter(local, 1, 0.0), Ticket)
    assert isinstance(door.gate.enter(local, 2, 0.0), Ticket)
    assert door.gate.enter(local, 3, 0.0) is TurnedAway.HANDSHAKES_ADDRESS


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    door = Door(GateLimits(rate=1e9, burst=1e9, rate_group=1e9, burst_group=1e9))
    for number in range(20_000):
        ticket = door.enter(f"{1 + number // 65536}.{number // 256 % 256}.{number % 256}.1")
        assert isinstance(ticket, Ticket)
        door.gate.leave(ticket)
    assert len(door.gate._rate_host) == 16_384
    assert not door.gate._by_host
    assert not door.gate._by_group
