"""Bans: which addresses a network covers, until when, and how many there may be."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.peers import bans as bans_module
from network.peers.bans import MAX_BANS, MAX_REASON, Ban, BanList, IpNetwork, network_of
from tests.network.peers.kit import DAY, HOUR, NOW
from tests.support.fuzz import examples


def ban(network: str, until: int = NOW + DAY, *, is_manual: bool = False, reason: str = "why") -> Ban:
    return Ban(ip_network(network), until, reason, NOW, is_manual)


def banned(bans: BanList, ip: str, now_ms: int = NOW) -> bool:
    return bans.is_banned(ip_address(ip), now_ms)


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("1.2.3.4/32", "1.2.3.4", "1.2.3.5"),
        ("1.2.3.0/24", "1.2.3.255", "1.2.4.0"),
        ("0.0.0.0/0", "203.0.113.9", "::1"),
        ("2001:db8::/64", "2001:db8::ffff:1:2:3", "2001:db8:0:1::"),
        ("2001:db8::7/128", "2001:db8::7", "2001:db8::8"),
        ("::/0", "2001:db8::7", "1.2.3.4"),
        ("1.2.3.4/32", "::ffff:1.2.3.4", "::1.2.3.4"),
        ("::ffff:1.2.3.0/120", "1.2.3.9", "1.2.4.9"),
    ],
)
def test_a_ban_covers_its_network(network: str, inside: str, outside: str) -> None:
    bans = BanList()
    bans.add(ban(network), NOW)
    assert banned(bans, inside)
    assert not banned(bans, outside)


def test_a_ban_ends_at_its_time_and_leaves_the_list() -> None:
    bans = BanList()
    bans.add(ban("1.2.3.4/32", NOW + HOUR), NOW)
    bans.add(ban("1.2.3.0/24", NOW + DAY), NOW)
    assert [str(one.network) for one in bans.current(NOW)] == ["1.2.3.4/32", "1.2.3.0/24"]
    assert bans.find(ip_address("1.2.3.4"), NOW + HOUR - 1) is not None
    assert [str(one.network) for one in bans.current(NOW + HOUR)] == ["1.2.3.0/24"]
    assert banned(bans, "1.2.3.4", NOW + DAY - 1)
    assert not banned(bans, "1.2.3.4", NOW + DAY)
    assert len(bans) == 1
    assert bans.current(NOW + DAY) == []
    assert len(bans) == 0


def test_an_ended_ban_hides_no_other() -> None:
    bans = BanList()
    bans.add(ban("1.2.0.0/16", NOW + DAY), NOW)
    bans.add(ban("1.2.3.4/32", NOW + 1), NOW)
    assert banned(bans, "1.2.3.4", NOW + HOUR)


def test_bans_are_lifted() -> None:
    bans = BanList()
    bans.add(ban("1.2.3.0/24"), NOW)
    assert not bans.remove(ip_network("1.2.3.4/32"))
    assert bans.remove(ip_network("1.2.3.0/24"))
    assert not banned(bans, "1.2.3.4")
    bans.add(ban("5.0.0.0/8"), NOW)
    bans.clear()
    assert not banned(bans, "5.1.1.1")
    assert len(bans) == 0


def test_what_peers_bring_on_themselves_is_lifted_apart_from_the_operators() -> None:
    bans = BanList()
    bans.add(ban("1.2.3.4/32"), NOW)
    bans.add(ban("5.6.7.8/32", is_manual=True), NOW)
    assert bans.lift_automatic() == 1
    assert not banned(bans, "1.2.3.4")
    assert banned(bans, "5.6.7.8")


def test_misbehaviour_neither_shortens_a_ban_nor_takes_the_place_of_the_operators() -> None:
    bans = BanList()
    bans.add(ban("1.2.3.4/32", NOW + DAY), NOW)
    bans.add(ban("1.2.3.4/32", NOW + HOUR), NOW)
    assert banned(bans, "1.2.3.4", NOW + HOUR)
    bans.add(ban("1.2.3.4/32", NOW + HOUR, is_manual=True), NOW)
    assert not banned(bans, "1.2.3.4", NOW + HOUR)
    bans.add(ban("1.2.3.4/32", NOW + DAY), NOW)
    assert [one.is_manual for one in bans.current(NOW)] == [True]


def test_a_peer_cannot_evade_its_ban_inside_what_one_host_of_ipv6_has() -> None:
    bans = BanList()
    bans.add(Ban(network_of(ip_address("2001:db8:1:2::3")), NOW + DAY, "", NOW), NOW)
    assert banned(bans, "2001:db8:1:2:aaaa:bbbb:cccc:dddd")
    assert not banned(bans, "2001:db8:1:3::3")
    assert str(network_of(ip_address("1.2.3.4"))) == "1.2.3.4/32"
    assert str(network_of(ip_address("::ffff:1.2.3.4"))) == "1.2.3.4/32"


def test_the_list_is_bounded_and_those_that_end_first_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bans_module, "MAX_BANS", 100)
    monkeypatch.setattr(bans_module, "_SHRINK_TO", 90)
    bans = BanList()
    bans.add(ban("9.9.9.9/32", NOW + 1, is_manual=True), NOW)
    for number in range(150):
        bans.add(ban(f"1.2.3.{number}/32", NOW + HOUR + number), NOW)
        assert len(bans) <= 101
    assert banned(bans, "9.9.9.9")
    assert banned(bans, "1.2.3.149")
    assert not banned(bans, "1.2.3.0")


def test_room_is_made_of_ended_bans_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bans_module, "MAX_BANS", 3)
    monkeypatch.setattr(bans_module, "_SHRINK_TO", 2)
    bans = BanList()
    for number, end in enumerate((HOUR, DAY, DAY)):
        bans.add(ban(f"1.2.3.{number}/32", NOW + end), NOW)
    bans.add(ban("1.2.3.9/32", NOW + 2 * DAY), NOW + HOUR)
    assert [str(one.network.network_address) for one in bans.current(NOW + HOUR)] == ["1.2.3.1", "1.2.3.2", "1.2.3.9"]


def test_a_reason_is_cut() -> None:
    bans = BanList()
    bans.add(ban("1.2.3.4/32", reason="x" * 5000), NOW)
    assert bans.current(NOW)[0].reason == "x" * MAX_REASON


class CountedDict(dict[int, Ban]):
    """Counts look-ups."""

    asked = 0

    def get(self, key: int, default: Any = None) -> Any:
        CountedDict.asked += 1
        return super().get(key, default)


def test_a_look_up_asks_once_for_each_length_of_prefix_however_many_networks_there_are() -> None:
    bans, rng = BanList(), Random(7)
    while len(bans) < MAX_BANS:
        bans.add(
            Ban(ip_network((rng.getrandbits(32), rng.choice((24, 28, 32))), strict=False), NOW + DAY, "", NOW), NOW
        )
    lengths = bans._lengths[4]
    for length in lengths:
        lengths[length] = CountedDict(lengths[length])
    CountedDict.asked = 0
    assert not banned(bans, "0.0.0.1")
    assert CountedDict.asked == len(lengths) == 3


NETWORKS = st.one_of(
    st.tuples(st.integers(0, 255), st.integers(24, 32)).map(lambda at: ip_network((at[0], at[1]), strict=False)),
    st.tuples(st.integers(0, 255), st.integers(120, 128)).map(
        lambda at: ip_network((at[0] | 0x2001 << 112, at[1]), strict=False)
    ),
)


@settings(max_examples=examples(150))
@given(
    st.lists(st.tuples(NETWORKS, st.integers(1, 5), st.booleans()), max_size=25), st.integers(0, 255), st.integers(0, 5)
)
def test_look_ups_say_what_a_plain_search_says(
    added: list[tuple[IpNetwork, int, bool]], host: int, now_ms: int
) -> None:
    bans, plain = BanList(), dict[IpNetwork, int]()
    for network, until, is_removal in added:
        if is_removal:
            assert bans.remove(network) is (network in plain)
            plain.pop(network, None)
        else:
            bans.add(Ban(network, until, "", 0), 0)
            plain[network] = max(until, plain.get(network, 0))
    for ip in (ip_address(host), ip_address(host | 0x2001 << 112)):
        expected = any(ip in network and until > now_ms for network, until in plain.items())
        assert bans.is_banned(ip, now_ms) is expected
