"""The peer store: classes, what is learnt, distinct IP addresses, bounds, and its invariants under random use."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.limits import Flags
from network.multiaddr import Multiaddr
from network.peers.bans import Ban, BanList
from network.peers.known import KnownAddress
from network.peers.store import MAX_PER_IP, PeerStore
from tests.network.peers.kit import ALL_FLAGS, DAY, HOUR, MINUTE, NOW, SECOND, address, in_group, new_store, peer
from tests.support.fuzz import examples

A = address("11.0.0.1")


def classes(store: PeerStore, now_ms: int, connected: Sequence[str] = ()) -> str:
    """The classes that have an address, by their initials: attempt, feeler, punch, share."""
    return "".join(
        name
        for name, found in (
            ("a", store.to_attempt(9, now_ms, connected=connected)),
            ("f", store.to_feel(9, now_ms, connected=connected)),
            ("p", store.to_punch(9, now_ms, connected=connected)),
            ("s", store.to_share(9, now_ms, 0)),
        )
        if found
    )


def test_what_was_only_told_is_looked_at_first() -> None:
    store = new_store()
    assert classes(store, NOW) == ""
    assert store.add_told(A, ALL_FLAGS, NOW)
    assert classes(store, NOW) == "fp"
    assert (len(store), store.tried_count) == (1, 0)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0, "s"),
        (15 * SECOND - 1, "s"),
        (15 * SECOND, "as"),
        (3 * DAY - 1, "as"),
        (3 * DAY, "fs"),
        (7 * DAY - 1, "fs"),
        (7 * DAY, "f"),
        (400 * DAY, "f"),
    ],
)
def test_what_was_connected_is_dialled_looked_at_and_shared_by_its_age(age: int, expected: str) -> None:
    store = new_store()
    assert store.add_connected(A, ALL_FLAGS, NOW - age)
    assert classes(store, NOW) == expected


def test_connected_peers_are_not_dialled() -> None:
    store = new_store()
    store.add_told(A, ALL_FLAGS, NOW)
    assert classes(store, NOW, connected=[peer("11.0.0.1:8115")]) == ""
    store.add_connected(A, ALL_FLAGS, NOW)
    assert classes(store, NOW + HOUR, connected=[peer("11.0.0.1:8115")]) == "s"


def test_a_look_is_not_repeated_within_a_minute() -> None:
    store = new_store()
    store.add_told(A, ALL_FLAGS, NOW)
    store.mark_tried(A, NOW)
    assert classes(store, NOW + MINUTE) == "p"
    assert classes(store, NOW + MINUTE + 1) == "fp"


def test_what_never_answered_is_given_up_until_it_is_told_again() -> None:
    store = new_store()
    store.add_told(A, ALL_FLAGS, NOW)
    for at in range(3):
        store.mark_tried(A, NOW + at * 2 * MINUTE)
    assert classes(store, NOW + HOUR) == "p", "it may be behind a router that lets only answers in"
    store.add_told(A, ALL_FLAGS, NOW + HOUR)
    assert classes(store, NOW + HOUR) == "fp"


def test_an_address_that_does_not_answer_lets_others_go_first_but_is_dialled_when_it_is_the_only_one() -> None:
    store = new_store()
    for one in (A, in_group(1, 1)):
        store.add_connected(one, ALL_FLAGS, NOW - HOUR)
    store.mark_tried(A, NOW)
    assert all(store.to_attempt(1, NOW + MINUTE) == [in_group(1, 1)] for _ in range(20))
    assert store.to_attempt(1, NOW + MINUTE, connected=[in_group(1, 1).peer_id or ""]) == [A]


def test_flags_decide_what_is_dialled_and_shared() -> None:
    store = new_store()
    store.add_connected(A, Flags.SYNC | Flags.DISCOVERY, NOW - HOUR)
    assert store.to_attempt(1, NOW) == []
    assert store.to_attempt(1, NOW, required=Flags.SYNC) == [A]
    assert store.to_share(1, NOW, Flags.RELAY) == []
    store.add_connected(A, Flags.COMPATIBILITY, NOW - HOUR)
    assert store.to_attempt(1, NOW) == [A]


def test_an_address_is_one_whatever_carries_its_bytes() -> None:
    store = new_store()
    store.add_told(Multiaddr.parse(f"/ip4/11.0.0.1/tcp/8115/ws/p2p/{A.peer_id}"), 1, NOW)
    store.add_told(A, ALL_FLAGS, NOW)
    assert [(known.address, known.flags) for known in store] == [(A, ALL_FLAGS)]


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/11.0.0.1/tcp/8115",
        f"/ip4/11.0.0.1/tcp/0/p2p/{A.peer_id}",
        f"/p2p/{A.peer_id}",
        f"/memory/5/p2p/{A.peer_id}",
    ],
)
def test_what_cannot_be_dialled_is_not_taken(text: str) -> None:
    store = new_store()
    assert not store.add_told(Multiaddr.parse(text), 1, NOW)
    assert not store.add_connected(Multiaddr.parse(text), 1, NOW)
    assert len(store) == 0


def test_what_was_connected_once_is_not_changed_by_what_peers_tell() -> None:
    store = new_store()
    store.add_connected(A, Flags.COMPATIBILITY, NOW)
    store.mark_tried(A, NOW + HOUR)
    store.add_told(A, ALL_FLAGS, NOW + DAY)
    known = store.get(A)
    assert known is not None
    assert (known.flags, known.last_connected_ms, known.attempts) == (Flags.COMPATIBILITY, NOW, 1)


def test_a_session_that_lives_keeps_its_address_fresh() -> None:
    store = new_store()
    store.add_connected(A, ALL_FLAGS, NOW)
    store.still_connected(A, NOW + 6 * DAY)
    assert classes(store, NOW + 8 * DAY) == "as"
    store.still_connected(in_group(3, 3), NOW)
    assert len(store) == 1


def test_a_banned_address_is_neither_taken_nor_chosen_on_any_port() -> None:
    bans = BanList()
    store = new_store(bans=bans)
    other_port = address("11.0.0.1", 9999)
    for one in (A, other_port):
        store.add_connected(one, ALL_FLAGS, NOW - HOUR)
    bans.add(Ban(ip_network("11.0.0.0/8"), NOW + HOUR, "", NOW), NOW)
    assert classes(store, NOW) == ""
    assert not store.add_told(address("11.0.0.1", 7777), ALL_FLAGS, NOW)
    assert not store.add_connected(address("11.0.0.1", 7777), ALL_FLAGS, NOW)
    assert classes(store, NOW + HOUR) == "as"
    store.remove_ip(ip_address("11.0.0.1"))
    assert len(store) == 0


def test_each_pick_has_distinct_ip_addresses_and_peers() -> None:
    store = new_store()
    for port in range(1, 6):
        store.add_connected(address("11.0.0.1", port), ALL_FLAGS, NOW - HOUR)
        store.add_connected(address("127.0.0.1", port), ALL_FLAGS, NOW - HOUR)
        store.add_connected(address(f"12.0.0.{port}", 1, "one"), ALL_FLAGS, NOW - HOUR)
    for chosen in (store.to_attempt(99, NOW), [known.address for known in store.to_share(99, NOW, 0)]):
        assert sorted(str(one.ip)[:3] for one in chosen) == ["11.", "12.", *["127"] * 5]


def test_groups_that_we_are_connected_with_come_last() -> None:
    store = new_store()
    for group in range(3):
        for number in range(20):
            store.add_connected(in_group(group, number), ALL_FLAGS, NOW - HOUR)
    for _ in range(20):
        assert store.to_attempt(1, NOW, avoided_groups=["11.0", "11.2"])[0].ip in ip_network("11.1.0.0/16")
    assert len(store.to_attempt(30, NOW, avoided_groups=["11.0", "11.1", "11.2"])) == 30


def test_addresses_that_cannot_be_dialled_from_here_are_left_out() -> None:
    store = new_store()
    onion = Multiaddr.parse(f"/onion3/pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd:1/p2p/{peer(1)}")
    store.add_told(onion, ALL_FLAGS, NOW)
    assert store.to_feel(1, NOW) == [onion]
    assert store.to_feel(1, NOW, can_dial=lambda one: one.onion is None) == []
    assert store.to_punch(1, NOW) == []


def test_half_of_the_looks_are_at_what_was_connected_once() -> None:
    store = new_store()
    for number in range(100):
        store.add_told(in_group(number, 1), ALL_FLAGS, NOW, A)
        store.add_connected(in_group(1000 + number, 1), ALL_FLAGS, NOW - 30 * DAY)
    assert sum(int(str(one.ip).split(".")[0]) >= 14 for one in store.to_feel(10, NOW)) == 5


def test_looks_are_shared_by_who_told_the_addresses() -> None:
    store = new_store()
    for number in range(2000):
        store.add_told(in_group(number, 1), ALL_FLAGS, NOW, address("50.1.0.1"))
    for number in range(20):
        store.add_told(in_group(5000 + number, 1), ALL_FLAGS, NOW, address("60.1.0.1"))
    chosen = [one for _ in range(10) for one in store.to_feel(10, NOW)]
    assert sum((store.get(one) or KnownAddress(A, 0)).source == "60.1" for one in chosen) == 50


def test_the_source_of_an_address_is_who_told_it_first() -> None:
    """Else an attacker could tell all that others told, and then drive it out with more of its own."""
    store = new_store()
    store.add_told(A, ALL_FLAGS, NOW, address("60.1.0.1"))
    store.add_told(A, ALL_FLAGS, NOW, address("50.1.0.1"))
    assert [known.source for known in store] == ["60.1"]


def test_one_ip_address_has_few_places() -> None:
    store = new_store()
    for port in range(1, 50):
        store.add_told(address("11.0.0.1", port), ALL_FLAGS, NOW, address("50.1.0.1"))
        store.add_told(address("127.0.0.1", port), ALL_FLAGS, NOW)
        store.add_connected(address("12.0.0.1", port), ALL_FLAGS, NOW + port)
    assert sum(known.ip == ip_address("11.0.0.1") for known in store) == MAX_PER_IP
    assert sum(known.ip == ip_address("127.0.0.1") for known in store) == 49
    kept = [known.address.port for known in store if known.ip == ip_address("12.0.0.1")]
    assert kept == [42, 43, 44, 45, 46, 47, 48, 49]
    store.add_told(address("11.0.0.1", 8115), ALL_FLAGS, NOW, address("60.1.0.1"))
    for port in range(100, 200):
        store.add_told(address("11.0.0.1", port), ALL_FLAGS, NOW, address("50.1.0.1"))
    assert store.get(A) is not None, "the address that another source told is not driven out"


def test_a_full_store_gives_up_what_does_not_answer_first() -> None:
    store = new_store(limit=8)
    for number in range(8):
        store.add_told(in_group(number, 1), ALL_FLAGS, NOW)
    for _ in range(3):
        store.mark_tried(in_group(3, 1), NOW)
    assert store.add_told(in_group(100, 1), ALL_FLAGS, NOW + HOUR)
    assert len(store) == 8
    assert store.get(in_group(3, 1)) is None


def test_told_addresses_never_take_the_room_of_tried_ones() -> None:
    store = new_store(limit=40)
    for number in range(30):
        store.add_connected(in_group(number, 1), ALL_FLAGS, NOW)
    for number in range(1000, 2000):
        assert store.add_told(in_group(number, 1), ALL_FLAGS, NOW + HOUR, in_group(number, 9))
    assert (len(store), store.tried_count) == (40, 30)


def test_the_largest_group_of_tried_addresses_gives_way_oldest_first() -> None:
    store = new_store(limit=40)
    for number in range(20):
        store.add_connected(in_group(number, 1), ALL_FLAGS, NOW - DAY)
    for number in range(500):
        store.add_connected(in_group(99, number), ALL_FLAGS, NOW + number)
    assert (len(store), store.tried_count) == (30, 30)
    assert all(store.get(in_group(number, 1)) for number in range(20))


def test_a_saved_address_from_the_future_is_one_of_now() -> None:
    store = new_store()
    store.restore(KnownAddress(A, ALL_FLAGS, "", NOW + 900 * DAY, NOW + 900 * DAY, 2), NOW)
    known = store.get(A)
    assert known is not None
    assert (known.last_connected_ms, known.last_tried_ms) == (NOW, NOW)


def test_a_large_store_tells_the_same_addresses_for_a_minute() -> None:
    store = new_store()
    for number in range(1200):
        store.add_connected(in_group(number, 1), ALL_FLAGS if number % 2 else Flags.COMPATIBILITY, NOW - HOUR)
    first = store.to_share(100, NOW, 0)
    assert store.to_share(100, NOW + MINUTE - 1, 0) == first
    store.remove(first[0].address)
    assert store.to_share(99, NOW + 1, 0) == first[1:]
    assert all(known.flags == ALL_FLAGS for known in store.to_share(5000, NOW + 2, Flags.SYNC))
    assert store.to_share(100, NOW + MINUTE, 0) != first


def test_a_seed_repeats_a_run() -> None:
    def run() -> list[Multiaddr]:
        store = new_store(seed=5, limit=100)
        for number in range(300):
            store.add_told(in_group(number % 70, number), ALL_FLAGS, NOW, in_group(number % 7, 0))
            store.add_connected(in_group(number % 50, 1000 + number), ALL_FLAGS, NOW - number * HOUR)
        return [*store.to_attempt(20, NOW), *store.to_feel(20, NOW), *(known.address for known in store)]

    assert run() == run()


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["told", "connected", "tried", "remove", "remove_ip", "ban", "unban", "still"]),
        st.integers(0, 5),
        st.integers(0, 3),
        st.integers(1, 3),
        st.integers(0, 9),
    ),
    max_size=120,
)


@settings(max_examples=examples(60), deadline=None)
@given(OPERATIONS, st.integers(4, 24), st.integers(0, 2**32))
def test_bounds_and_indexes_hold_whatever_happens(
    operations: list[tuple[str, int, int, int, int]], limit: int, seed: int
) -> None:
    bans, now = BanList(), NOW
    store = PeerStore(Random(seed), bans, limit)
    for name, group, number, port, hours in operations:
        now += hours * HOUR
        one = address(f"11.{group}.0.{number}", port)
        ip = ip_address(f"11.{group}.0.{number}")
        if name == "told":
            store.add_told(one, ALL_FLAGS, now, in_group(hours, 7))
        elif name == "connected":
            assert store.add_connected(one, ALL_FLAGS, now) is not bans.is_banned(ip, now) or store.get(one) is not None
        elif name == "tried":
            store.mark_tried(one, now)
        elif name == "still":
            store.still_connected(one, now)
        elif name == "remove":
            store.remove(one)
            assert store.get(one) is None
        elif name == "remove_ip":
            store.remove_ip(ip)
        elif name == "ban":
            bans.add(Ban(ip_network(ip), now + hours * HOUR, "", now), now)
        else:
            bans.remove(ip_network(ip))
        check(store, limit, bans, now)


def check(store: PeerStore, limit: int, bans: BanList, now_ms: int) -> None:
    everything = list(store)
    assert len(everything) == len(store) <= limit
    assert store.tried_count == sum(known.was_connected for known in everything) <= limit * 3 // 4
    assert {id(known) for pool in store._tried.values() for known in pool} == {
        id(known) for known in everything if known.was_connected
    }
    assert {id(known) for pool in store._told.values() for known in pool} == {
        id(known) for known in everything if not known.was_connected
    }
    assert sorted(known.address.raw for beside in store._by_ip.values() for known in beside) == sorted(
        known.address.raw for known in everything
    )
    assert all(len(pool) for pools in (store._tried, store._told) for pool in pools.values())
    picks = [
        store.to_attempt(5, now_ms),
        store.to_feel(5, now_ms),
        [known.address for known in store.to_share(5, now_ms, 0)],
    ]
    for chosen in picks:
        assert len(chosen) <= 5
        assert len({one.ip for one in chosen}) == len(chosen)
        assert not any(bans.is_banned(one.ip, now_ms) for one in chosen if one.ip is not None)
