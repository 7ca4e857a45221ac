"""The table of peers: limits, whitelist, bans, block-relay-only sessions, feelers, and who goes for another."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.peer import Direction, SessionKind, Wire
from network.peers.bans import Ban, BanList
from network.peers.registry import Admitted, Refusal, Refused, Registry, RegistrySettings
from tests.network.peers.kit import DAY, NOW, address, in_group, peer
from tests.support.fuzz import examples

IN, OUT = Direction.INBOUND, Direction.OUTBOUND


class Table:
    """A registry, with sessions counted for the caller."""

    def __init__(self, **settings: object) -> None:
        self.bans = BanList()
        self.registry = Registry(RegistrySettings(**settings), self.bans, Random(3))  # type: ignore[arg-type]
        self.last = 0

    def admit(
        self,
        direction: Direction,
        name: object = None,
        ip: str | None = None,
        kind: SessionKind = SessionKind.FULL,
        wire: Wire = Wire.CKB,
    ) -> Admitted | Refused:
        self.last += 1
        where = in_group(self.last, 1) if ip is None else address(ip)
        who = peer(self.last if name is None else name)
        times = {"now_ms": 1000 * self.last, "wall_ms": NOW}
        return self.registry.admit(self.last, who, where, direction, kind, wire=wire, **times)


def kind_of(outcome: Admitted | Refused) -> SessionKind | Refusal:
    return outcome.kind if isinstance(outcome, Admitted) else outcome.reason


def test_a_peer_has_one_session() -> None:
    table = Table()
    assert kind_of(table.admit(OUT, "a")) is SessionKind.FULL
    assert kind_of(table.admit(IN, "a")) is Refusal.PEER_EXISTS
    table.last = 0
    assert kind_of(table.admit(IN, "b")) is Refusal.SESSION_EXISTS
    assert table.registry.session_of(peer("a")) == 1
    entry = table.registry.remove(1)
    assert entry is not None
    assert entry.peer_id == peer("a")
    assert table.registry.remove(1) is None
    assert table.registry.session_of(peer("a")) is None


def test_outbound_sessions_beyond_the_limit_relay_blocks_only_and_two_at_most() -> None:
    table = Table(max_outbound=2)
    kinds = [kind_of(table.admit(OUT)) for _ in range(5)]
    assert kinds == [
        SessionKind.FULL,
        SessionKind.FULL,
        SessionKind.BLOCK_RELAY_ONLY,
        SessionKind.BLOCK_RELAY_ONLY,
        Refusal.TOO_MANY_OUTBOUND,
    ]
    counts = table.registry.counts()
    assert (counts.total, counts.outbound, counts.block_relay_only, counts.inbound) == (4, 2, 2, 0)
    assert table.registry.missing_outbound == 0
    table.registry.remove(1)
    assert table.registry.missing_outbound == 1
    assert kind_of(table.admit(OUT)) is SessionKind.FULL


def test_block_relay_only_sessions_can_be_switched_off() -> None:
    table = Table(max_outbound=1, block_relay_only=False)
    assert [kind_of(table.admit(OUT)) for _ in range(2)] == [SessionKind.FULL, Refusal.TOO_MANY_OUTBOUND]
    assert kind_of(Table(block_relay_only=False).admit(OUT, kind=SessionKind.BLOCK_RELAY_ONLY)) is SessionKind.FULL


def test_a_session_may_be_dialled_to_relay_blocks_only() -> None:
    table = Table(max_outbound=1)
    wanted = SessionKind.BLOCK_RELAY_ONLY
    kinds = [kind_of(table.admit(OUT, kind=wanted)) for _ in range(4)]
    assert kinds == [wanted, wanted, SessionKind.FULL, Refusal.TOO_MANY_OUTBOUND]


def test_each_wire_has_outbound_places_of_its_own() -> None:
    table = Table(max_outbound=1, max_libp2p_outbound=2, block_relay_only=False)
    outcomes = [table.admit(OUT, wire=wire) for wire in (Wire.LIBP2P, Wire.CKB) for _ in range(3)]
    full, none = SessionKind.FULL, Refusal.TOO_MANY_OUTBOUND
    assert [kind_of(outcome) for outcome in outcomes] == [full, full, none, full, none, none]
    assert (table.registry.missing_libp2p, table.registry.missing_outbound) == (0, 0)
    table.registry.remove(1)
    assert (table.registry.missing_libp2p, table.registry.missing_outbound) == (1, 0)


def test_a_full_table_lets_a_newcomer_in_for_another_one() -> None:
    table = Table(max_inbound=4)
    for _ in range(4):
        outcome = table.admit(IN)
        assert isinstance(outcome, Admitted)
        assert outcome.evictions == ()
    outcome = table.admit(IN)
    assert isinstance(outcome, Admitted)
    [eviction] = outcome.evictions
    assert eviction.reason == "evict because accepted better peer"
    assert eviction.session_id in {3, 4}
    assert table.registry.get(eviction.session_id) is None
    assert table.registry.counts().inbound == 4
    assert table.registry.get(5) is not None


def test_no_inbound_session_without_a_limit_for_them() -> None:
    table = Table(max_inbound=0, whitelist=frozenset({peer("friend")}))
    assert kind_of(table.admit(IN)) is Refusal.TOO_MANY_INBOUND
    assert kind_of(table.admit(IN, "friend")) is SessionKind.FULL


def test_the_whitelist_is_counted_nowhere_never_evicted_and_never_banned() -> None:
    friends = [f"friend {number}" for number in range(20)]
    table = Table(max_inbound=2, max_outbound=1, whitelist=frozenset(map(peer, friends)))
    table.bans.add(Ban(ip_network("99.0.0.0/8"), NOW + DAY, "", NOW), NOW)
    for number, friend in enumerate(friends):
        outcome = table.admit(OUT if number % 2 else IN, friend, "99.1.1.1")
        assert isinstance(outcome, Admitted)
        assert outcome.is_whitelisted
    counts = table.registry.counts()
    assert (counts.total, counts.inbound, counts.outbound) == (20, 0, 0)
    evicted = [eviction.session_id for _ in range(50) for eviction in admitted(table.admit(IN)).evictions]
    assert len(evicted) == 48
    assert not any(session <= 20 for session in evicted)


def admitted(outcome: Admitted | Refused) -> Admitted:
    assert isinstance(outcome, Admitted)
    return outcome


def test_whitelist_only_lets_nobody_else_in() -> None:
    table = Table(whitelist_only=True, whitelist=frozenset({peer("friend")}))
    assert kind_of(table.admit(IN)) is Refusal.NOT_WHITELISTED
    assert kind_of(table.admit(OUT)) is Refusal.NOT_WHITELISTED
    assert kind_of(table.admit(IN, "friend")) is SessionKind.FULL


@pytest.mark.parametrize("ip", ["11.9.9.9", "::ffff:11.9.9.9"])
@pytest.mark.parametrize("kind", [SessionKind.FULL, SessionKind.FEELER])
def test_a_banned_ip_address_is_refused_on_any_port_and_in_any_writing(ip: str, kind: SessionKind) -> None:
    table = Table()
    table.bans.add(Ban(ip_network("11.9.9.9"), NOW + DAY, "", NOW), NOW)
    assert kind_of(table.admit(OUT, ip=ip, kind=kind)) is Refusal.BANNED
    assert not table.registry.may_handshake(address(ip, 5555), NOW)
    assert table.registry.may_handshake(address(ip, 5555), NOW + DAY)
    whitelisting = Registry(RegistrySettings(whitelist=frozenset({peer(1)})), table.bans, Random(1))
    assert whitelisting.may_handshake(address(ip), NOW), "the key is not known yet"


def test_feelers_are_in_no_count_but_keep_others_from_dialling_the_peer() -> None:
    table = Table(max_outbound=1)
    assert kind_of(table.admit(OUT)) is SessionKind.FULL
    assert kind_of(table.admit(OUT, "felt", kind=SessionKind.FEELER)) is SessionKind.FEELER
    assert len(table.registry) == 1
    assert peer("felt") in table.registry.peer_ids
    assert kind_of(table.admit(OUT, "felt")) is Refusal.PEER_EXISTS
    assert table.registry.remove(2) is not None
    assert peer("felt") not in table.registry.peer_ids


def test_one_global_ip_address_has_a_part_of_the_inbound_sessions() -> None:
    table = Table(max_inbound=80)
    kinds = [kind_of(table.admit(IN, ip="11.0.0.1")) for _ in range(12)]
    assert kinds == [SessionKind.FULL] * 10 + [Refusal.TOO_MANY_OF_IP] * 2
    assert kind_of(table.admit(IN, ip="11.0.0.2")) is SessionKind.FULL
    assert kind_of(table.admit(OUT, ip="11.0.0.1")) is SessionKind.FULL
    local = [kind_of(table.admit(IN, ip=ip)) for ip in ("127.0.0.1", "10.0.0.1") for _ in range(20)]
    assert local == [SessionKind.FULL] * 40, "a proxy, or nodes of one machine"


def test_connections_from_one_network_do_not_drive_out_the_others() -> None:
    table = Table(max_inbound=100)
    for _ in range(80):
        table.admit(IN)
    for number in range(2000):
        table.admit(IN, ip=f"200.1.{number // 200}.{number % 200 + 1}")
    assert sum(entry.group != "200.1" for entry in table.registry) >= 70
    assert table.registry.counts().inbound == 100


def test_a_bootnode_drops_half_of_its_guests_before_it_is_full() -> None:
    table = Table(max_inbound=20, bootnode_mode=True)
    for _ in range(10):
        assert admitted(table.admit(IN)).evictions == ()
    evictions = admitted(table.admit(IN)).evictions
    assert [eviction.reason for eviction in evictions] == ["bootnode random eviction"] * 5
    assert table.registry.counts().inbound == 6
    assert table.registry.get(11) is not None


def test_what_is_known_of_a_session_decides_who_goes() -> None:
    table = Table(max_inbound=40)
    for _ in range(40):
        table.admit(IN)
    for session in range(33, 41):
        table.registry.ping_answered(session, 5, NOW)
    for session in range(25, 33):
        table.registry.ping_received(session, NOW)
    for session in range(17, 25):
        table.registry.was_useful(session, NOW)
    for session in (99, 100):
        table.registry.ping_answered(session, 5, NOW)
        table.registry.ping_received(session, NOW)
        table.registry.was_useful(session, NOW)
    [eviction] = admitted(table.admit(IN)).evictions
    assert 9 <= eviction.session_id <= 16


def test_groups_of_what_we_dialled_are_told() -> None:
    table = Table()
    table.admit(OUT, ip="11.1.0.1")
    table.admit(OUT, ip="11.2.0.1", kind=SessionKind.BLOCK_RELAY_ONLY)
    table.admit(IN, ip="11.3.0.1")
    assert set(table.registry.outbound_groups) == {"11.1", "11.2"}
    assert table.registry.get(1) is next(iter(table.registry))


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["in", "out", "relay", "feel", "remove", "ban"]), st.integers(0, 15), st.integers(0, 6)),
    max_size=100,
)


@settings(max_examples=examples(80), deadline=None)
@given(OPERATIONS, st.integers(0, 6), st.integers(0, 3), st.booleans())
def test_limits_hold_whatever_happens(
    operations: list[tuple[str, int, int]], max_inbound: int, max_outbound: int, bootnode_mode: bool
) -> None:
    whitelist = frozenset({peer(0), peer(1)})
    table = Table(max_inbound=max_inbound, max_outbound=max_outbound, whitelist=whitelist, bootnode_mode=bootnode_mode)
    live = set[int]()
    for name, who, host in operations:
        if name == "remove":
            assert (table.registry.remove(who) is not None) is (who in live)
            live.discard(who)
        elif name == "ban":
            table.bans.add(Ban(ip_network(f"11.0.0.{host}"), NOW + DAY, "", NOW), NOW)
        else:
            kind = {"relay": SessionKind.BLOCK_RELAY_ONLY, "feel": SessionKind.FEELER}.get(name, SessionKind.FULL)
            outcome = table.admit(IN if name == "in" else OUT, who, f"11.0.0.{host}", kind)
            live -= {eviction.session_id for eviction in outcome.evictions}
            if isinstance(outcome, Admitted):
                live.add(table.last)
                assert outcome.is_whitelisted or not table.bans.is_banned(ip_address(f"11.0.0.{host}"), NOW)
        counts = table.registry.counts()
        assert counts.inbound <= max_inbound
        assert counts.outbound <= max_outbound
        assert counts.block_relay_only <= 2
        assert {entry.session_id for entry in table.registry} <= live
        assert len(table.registry.peer_ids) == len(live)
