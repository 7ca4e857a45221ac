"""Eclipse attempts on the peer store: what an attacker gets of our dials is bounded by the networks it has, not by how
many addresses it tells. Seeds make each run the same."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from network.multiaddr import Multiaddr
from network.peers.groups import group_of
from network.peers.store import MAX_ADDRESSES, PeerStore
from tests.network.peers.kit import ALL_FLAGS, DAY, HOUR, MINUTE, NOW, SECOND, in_group, new_store

HONEST_GROUPS = 150
FIRST_EVIL = 5000
"""Number of the attacker's first network group."""
OUTBOUND = 8
ROUNDS = 60


def honest(number: int) -> Multiaddr:
    """Some two nodes in each of the honest groups."""
    return in_group(number % HONEST_GROUPS, number // HONEST_GROUPS + 1)


def evil(number: int, groups: int = 1) -> Multiaddr:
    return in_group(FIRST_EVIL + number % groups, number // groups % 60_000)


def is_evil(address: Multiaddr) -> bool:
    return int(group_of(address).split(".")[0]) >= 11 + FIRST_EVIL // 256


def share(addresses: Sequence[Multiaddr]) -> float:
    return sum(map(is_evil, addresses)) / max(1, len(addresses))


def grown_store(honest_count: int = 300) -> PeerStore:
    """Of a node that has met honest peers, and heard of more from twenty of them."""
    store = new_store(seed=11)
    for number in range(honest_count):
        store.add_connected(honest(number), ALL_FLAGS, NOW - HOUR)
    for number in range(2000):
        store.add_told(in_group(number % HONEST_GROUPS, 1000 + number), ALL_FLAGS, NOW, honest(number % 20))
    return store


def attempts(store: PeerStore, now_ms: int = NOW + HOUR) -> list[Multiaddr]:
    return [one for _ in range(ROUNDS) for one in store.to_attempt(OUTBOUND, now_ms)]


@pytest.mark.parametrize("groups", [1, 3, 15])
def test_hosts_that_answer_get_the_share_of_their_groups(groups: int) -> None:
    store = grown_store()
    for number in range(5000):
        store.add_connected(evil(number, groups), ALL_FLAGS, NOW)
    assert share([known.address for known in store if known.was_connected]) > 0.9, "the flood is there"
    fair = groups / (groups + HONEST_GROUPS)
    assert share(attempts(store)) < 1.5 * fair
    shared = [known.address for known in store.to_share(1000, NOW + HOUR, 0)]
    assert sum(map(is_evil, shared)) <= 32 * groups
    assert len(shared) >= 300


def test_one_group_has_one_of_eight_sessions_also_when_there_are_few_other_groups() -> None:
    store = new_store()
    for number in range(7):
        store.add_connected(honest(number), ALL_FLAGS, NOW)
    for number in range(5000):
        store.add_connected(evil(number), ALL_FLAGS, NOW)
    for _ in range(ROUNDS):
        assert sum(map(is_evil, store.to_attempt(OUTBOUND, NOW + HOUR))) == 1


def test_a_group_that_we_have_a_session_with_gets_no_second_one() -> None:
    store = grown_store()
    for number in range(5000):
        store.add_connected(evil(number), ALL_FLAGS, NOW)
    for _ in range(ROUNDS):
        chosen = store.to_attempt(OUTBOUND - 1, NOW + HOUR, avoided_groups=[group_of(evil(0))])
        assert not any(map(is_evil, chosen))


def test_invented_addresses_drive_out_nothing_that_was_connected_and_their_own_kind_first() -> None:
    store = grown_store()
    heard = [known.address for known in store if not known.was_connected]
    tellers = [in_group(FIRST_EVIL + number, 1) for number in range(3)]
    for number in range(20_000):  # in any network
        invented = in_group(number % 10_000, 5000 + number // 10_000)
        store.add_told(invented, ALL_FLAGS, NOW, tellers[number % 3])
    assert len(store) == MAX_ADDRESSES
    assert store.tried_count == 300
    assert share(attempts(store)) == 0
    for one in heard:
        store.add_told(one, ALL_FLAGS, NOW, tellers[0])
    assert all(store.get(one) is not None for one in heard)
    looks = [store.get(one) for _ in range(ROUNDS) for one in store.to_feel(10, NOW + HOUR)]
    bad = sum(known is not None and int(known.source.split(".")[0]) >= 30 for known in looks)
    assert bad / len(looks) < 1.5 * 3 / 23, "three of 23 sources told them"


def test_addresses_told_again_and_again_are_not_dialled_again_and_again() -> None:
    store = new_store()
    dials, victim, now = 0, evil(1), NOW
    for _ in range(6 * 60):
        now += 10 * SECOND
        store.add_told(victim, ALL_FLAGS, now, evil(2))
        for one in store.to_feel(10, now):
            store.mark_tried(one, now)
            dials += one == victim
    assert dials <= 20, "in an hour, for an address that never answers"


class Node:
    """Dials as the outbound service does (`network.outbound`), with sessions that end now and then."""

    def __init__(self, store: PeerStore, seed: int) -> None:
        self.store, self.rng = store, Random(seed)
        self.has_network = True
        self.outbound = list[Multiaddr]()

    def tick(self, now_ms: int) -> None:
        for one in [one for one in self.outbound if self.rng.random() < 0.01]:
            self.outbound.remove(one)
        connected = [one.peer_id or "" for one in self.outbound]
        for one in self.store.to_feel(10, now_ms, connected=connected):
            self._dial(one, now_ms, chance=0.5)
        groups = [group_of(one) for one in self.outbound]
        missing = OUTBOUND - len(self.outbound)
        for one in self.store.to_attempt(missing, now_ms, connected=connected, avoided_groups=groups):
            if self._dial(one, now_ms, chance=0.8):
                self.outbound.append(one)

    def _dial(self, one: Multiaddr, now_ms: int, chance: float) -> bool:
        """Honest hosts answer sometimes, those of the attacker always; what was invented, never."""
        self.store.mark_tried(one, now_ms)
        is_there = self.has_network and number_in_group(one) < (60_000 if is_evil(one) else 1000)
        if not is_there or not (is_evil(one) or self.rng.random() < chance):
            return False
        return self.store.add_connected(one, ALL_FLAGS, now_ms)


def number_in_group(address: Multiaddr) -> int:
    ip = address.ip
    return int.from_bytes(ip.packed[2:], "big") if ip is not None else 0


def test_a_node_under_hours_of_flood_keeps_honest_peers() -> None:
    """An attacker with thousands of hosts in two networks, whose sessions tell them and invented ones all the time."""
    node = Node(new_store(seed=21), seed=22)
    for number in range(300):
        node.store.add_told(honest(number), ALL_FLAGS, NOW, honest(number % 10))
    tellers = [evil(0, groups=2), evil(1, groups=2)]
    now, bad, all_of_them = NOW, 0, 0
    for tick in range(6 * 60):
        now += MINUTE
        for number in range(10):
            node.store.add_told(evil(tick * 10 + number, groups=2), ALL_FLAGS, now, tellers[number % 2])
            node.store.add_told(in_group(number * 13 + tick, 2000 + tick), ALL_FLAGS, now, tellers[number % 2])
        if tick % 60 == 0:
            node.store.add_told(honest(tick // 60), ALL_FLAGS, now, honest(tick % 17))
        node.tick(now)
        bad += sum(map(is_evil, node.outbound))
        all_of_them += len(node.outbound)
    assert share([known.address for known in node.store if known.was_connected]) > 0.5, "the flood is there"
    assert len(node.outbound) >= OUTBOUND - 1
    assert max(sum(group_of(one) == group for one in node.outbound) for group in map(group_of, node.outbound)) == 1
    assert bad / all_of_them < 0.1


def test_a_node_that_was_off_for_a_month_finds_its_peers_again() -> None:
    """Nothing is fresh then: looks go to what was connected once as much as to what peers only told."""
    store = grown_store(honest_count=100)
    for number in range(5000):
        store.add_told(in_group(number % 5000, 50_000 + number // 5000), ALL_FLAGS, NOW, evil(number, groups=5))
    node, now = Node(store, seed=5), NOW + 30 * DAY
    for _ in range(40):
        now += 15 * SECOND
        node.tick(now)
    assert len(node.outbound) == OUTBOUND
    assert share(node.outbound) == 0


def test_a_node_without_network_for_weeks_goes_on_by_itself_when_it_is_back() -> None:
    """All addresses fail alike then, which says nothing about them."""
    store, now = new_store(seed=3), NOW
    for number in range(30):
        store.add_connected(honest(number), ALL_FLAGS, NOW)
    node = Node(store, seed=4)
    node.has_network = False
    for _ in range(21 * 24 * 4):
        now += 15 * MINUTE
        node.tick(now)
    node.has_network = True
    for _ in range(24 * 4):
        now += 15 * MINUTE
        node.tick(now)
    assert len(node.outbound) == OUTBOUND
