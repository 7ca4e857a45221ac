"""Which addresses the outbound service dials, tick by tick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

from network.limits import Flags
from network.lookout import LOOKOUT
from network.multiaddr import Multiaddr
from network.outbound import OutboundService, OutboundSettings
from network.peer import Direction, SessionKind
from network.peers.bans import Ban, BanList, network_of
from network.peers.known import REQUIRED_FLAGS
from network.peers.registry import Admitted, Registry, RegistrySettings
from network.peers.store import PeerStore
from network.rests import Rests
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import peer_id

HOUR_MS = 3600 * 1000


def address(number: int) -> Multiaddr:
    """Each in a network group of its own."""
    place = Multiaddr.parse(f"/ip4/{64 + number // 250}.{number % 250}.7.9/tcp/8115")
    return place.with_peer_id(peer_id(number))


class NotingDialler:
    """Notes what is dialled; nothing is ever connected by itself."""

    def __init__(self) -> None:
        self.dialled: list[tuple[Multiaddr, SessionKind]] = []
        self.refused: set[Multiaddr] = set()
        self.under_way: dict[SessionKind, int] = {}
        self.on_end: dict[Multiaddr, Callable[[str | None], None]] = {}
        self.removed: list[tuple[str, str]] = []

    def dial(
        self,
        address: Multiaddr,
        kind: SessionKind = SessionKind.FULL,
        on_end: Callable[[str | None], None] | None = None,
    ) -> object | None:
        if address in self.refused:
            return "no"
        self.dialled.append((address, kind))
        if on_end is not None:
            self.on_end[address] = on_end
        return None

    def may_dial(self, address: Multiaddr) -> bool:
        return address not in self.refused

    def dialling(self, kind: SessionKind) -> int:
        return self.under_way.get(kind, 0)

    def remove_node(self, peer_id: str, reason: str = "") -> bool:
        self.removed.append((peer_id, reason))
        return True

    def take(self, kind: SessionKind = SessionKind.FULL) -> list[Multiaddr]:
        """What was dialled for a kind of session since the last time."""
        taken = [address for address, dialled_kind in self.dialled if dialled_kind is kind]
        self.dialled = [(address, dialled_kind) for address, dialled_kind in self.dialled if dialled_kind is not kind]
        return taken


class Kit:
    def __init__(
        self,
        bootnodes: Sequence[Multiaddr] = (),
        whitelist: Sequence[Multiaddr] = (),
        *,
        max_outbound: int = 8,
        interval: float = 15.0,
        with_feelers: bool = True,
        lookout: bool = True,
    ) -> None:
        self.clock, self.dialler, rng = FakeScheduler(), NotingDialler(), Random(1)
        self.bans, self.rests = BanList(), Rests()
        self.store = PeerStore(rng, self.bans)
        self.registry = Registry(RegistrySettings(max_outbound=max_outbound), self.bans, rng)
        settings = OutboundSettings(
            interval=interval,
            max_outbound=max_outbound,
            bootnodes=bootnodes,
            whitelist=whitelist,
            with_feelers=with_feelers,
            with_lookout=lookout,
        )
        self.service = OutboundService(
            self.dialler, self.registry, self.store, self.bans, self.rests, self.clock, rng, settings
        )

    def know(self, numbers: range, *, age_ms: int = HOUR_MS, flags: int = REQUIRED_FLAGS) -> list[Multiaddr]:
        """Addresses that were connected some time ago."""
        known = [address(number) for number in numbers]
        for one in known:
            assert self.store.add_connected(one, flags, self.clock.wall_ms() - age_ms)
        return known

    def hear(self, numbers: range) -> list[Multiaddr]:
        """Addresses that were told by peers."""
        told = [address(number) for number in numbers]
        for one in told:
            assert self.store.add_told(one, REQUIRED_FLAGS, self.clock.wall_ms(), address(9000))
        return told

    def connect(self, numbers: range) -> None:
        """Outbound sessions."""
        for number in numbers:
            self.registry.admit(number, peer_id(number), address(number), Direction.OUTBOUND, now_ms=0, wall_ms=0)

    def tick(self, count: int = 1) -> None:
        self.clock.advance(15.0 * count)


BOOTNODES = [address(number) for number in range(100, 110)]


def test_the_start_fills_half_with_known_addresses_first() -> None:
    kit = Kit(BOOTNODES)
    known = kit.know(range(3))
    kit.service.start()
    dialled = kit.dialler.take()
    assert set(known) < set(dialled)
    assert len(dialled) == 4
    assert len(set(dialled) & set(BOOTNODES)) == 1


def test_the_start_dials_all_anchors_and_the_whitelist() -> None:
    whitelist, anchors = [address(200)], [address(300), address(301)]
    kit = Kit(BOOTNODES, whitelist)
    kit.know(range(4))
    kit.service.start(anchors)
    dialled = kit.dialler.take()
    assert dialled[0] == whitelist[0]
    assert set(anchors) < set(dialled)
    assert len(dialled) == 1 + 4 + 2


def test_a_node_without_anything_dials_bootnodes() -> None:
    kit = Kit(BOOTNODES)
    kit.service.start()
    assert len(set(kit.dialler.take()) & set(BOOTNODES)) == 4
    kit.tick()
    assert len(set(kit.dialler.take()) & set(BOOTNODES)) == 8, "there is nothing else to be dialled"


def test_what_is_missing_is_dialled_each_tick() -> None:
    kit = Kit()
    kit.connect(range(5))
    kit.know(range(10, 30))
    kit.service.start()
    kit.dialler.take()
    kit.tick()
    assert len(kit.dialler.take()) == 3


def test_dials_that_go_on_count() -> None:
    kit = Kit()
    kit.connect(range(5))
    kit.know(range(10, 30))
    kit.service.start()
    kit.dialler.take()
    kit.dialler.under_way[SessionKind.FULL] = 2
    kit.tick()
    assert len(kit.dialler.take()) == 1
    kit.dialler.under_way[SessionKind.FULL] = 3
    kit.tick()
    assert kit.dialler.take() == []


def test_nothing_is_dialled_when_all_are_there() -> None:
    kit = Kit(BOOTNODES)
    kit.connect(range(8))
    kit.know(range(10, 30))
    kit.service.start()
    kit.dialler.take()
    kit.tick(10)
    assert kit.dialler.take() == []


def test_every_fourth_tick_in_need_is_the_bootnodes() -> None:
    kit = Kit(BOOTNODES)
    kit.know(range(400, 600))
    kit.service.start()
    kit.dialler.take()
    for turn in range(1, 9):
        kit.tick()
        dialled = kit.dialler.take()
        assert len(dialled) == 8
        assert len(set(dialled) & set(BOOTNODES)) == (8 if turn % 4 == 0 else 0)


def test_few_bootnodes_are_all_dialled_with_others() -> None:
    kit = Kit(BOOTNODES[:2])
    kit.know(range(400, 600))
    kit.service.start()
    kit.dialler.take()
    kit.tick(3)
    kit.dialler.take()
    kit.tick()
    dialled = kit.dialler.take()
    assert len(dialled) == 8
    assert set(BOOTNODES[:2]) < set(dialled)


def test_at_most_ten_feelers_a_tick_and_each_address_once_a_minute() -> None:
    kit = Kit()
    kit.connect(range(8))
    told = kit.hear(range(20, 45))
    kit.service.start()
    felt: list[Multiaddr] = []
    for expected in (10, 10, 5, 0):
        kit.tick()
        feelers = kit.dialler.take(SessionKind.FEELER)
        assert len(feelers) == expected
        felt += feelers
    assert set(felt) == set(told)
    assert kit.dialler.take() == []


def test_feelers_that_go_on_count() -> None:
    kit = Kit()
    kit.hear(range(20, 45))
    kit.service.start()
    kit.dialler.under_way[SessionKind.FEELER] = 7
    kit.tick()
    assert len(kit.dialler.take(SessionKind.FEELER)) == 3


def test_without_the_feeler_protocol_there_are_none() -> None:
    kit = Kit(with_feelers=False)
    kit.hear(range(20, 45))
    kit.service.start()
    kit.tick()
    assert kit.dialler.take(SessionKind.FEELER) == []


def test_addresses_that_may_not_be_dialled_cost_no_pick() -> None:
    kit = Kit()
    known = kit.know(range(10, 30))
    kit.dialler.refused = set(known[:15])
    kit.service.start()
    kit.dialler.take()
    kit.tick()
    assert set(kit.dialler.take()) <= set(known[15:])


def test_peers_that_do_not_serve_what_we_need_are_not_dialled() -> None:
    kit = Kit()
    kit.know(range(10, 30), flags=Flags.LIGHT_CLIENT)
    kit.service.start()
    kit.tick(5)
    assert kit.dialler.take() == []


def test_the_whitelist_is_dialled_each_tick() -> None:
    friend = address(200)
    kit = Kit(whitelist=[friend])
    kit.service.start()
    for failures in range(100):
        assert kit.dialler.take() == [friend], "the switch says whether it is connected"
        if failures:
            kit.dialler.on_end[friend]("refused")
        kit.tick()


def test_bootnodes_that_do_not_answer_are_dialled_ever_more_rarely() -> None:
    one = address(200)
    kit = Kit([one])
    kit.service.start()
    times = []
    for _ in range(100):
        if kit.dialler.take():
            times.append(kit.clock.now())
            kit.dialler.on_end[one]("refused")
        kit.tick()
    gaps = [round((later - earlier) / 15.0) for earlier, later in pairwise(times)]
    assert gaps[:2] == [1, 2]
    assert set(gaps[2:]) == {4}, "at least every minute"


def test_an_answer_ends_the_patience() -> None:
    one = address(200)
    kit = Kit(whitelist=[one])
    kit.service.start()
    for _ in range(5):
        kit.dialler.on_end[one]("refused")
    kit.dialler.on_end[one](None)
    kit.dialler.take()
    kit.tick()
    assert kit.dialler.take() == [one]


def test_interval_zero_only_dials_at_the_start() -> None:
    kit = Kit(BOOTNODES, interval=0.0)
    kit.service.start()
    assert kit.dialler.take()
    kit.tick(100)
    assert kit.dialler.take() == []
    assert kit.clock.waiting == 0


def test_stopped_it_dials_no_more() -> None:
    kit = Kit(BOOTNODES)
    kit.service.start()
    kit.dialler.take()
    kit.service.stop()
    kit.tick(10)
    assert kit.dialler.take() == []
    assert kit.clock.waiting == 0


def test_addresses_of_outbound_sessions_stay_fresh() -> None:
    kit = Kit(interval=900.0)
    kit.know(range(2))
    kit.connect(range(2))
    kit.service.start()
    kit.clock.advance(8 * 24 * 3600.0)  # more than addresses are told for
    shared = kit.store.to_share(10, kit.clock.wall_ms(), REQUIRED_FLAGS)
    assert {known.address for known in shared} == {address(0), address(1)}


def test_a_node_that_has_banned_everybody_doubts_itself() -> None:
    kit = Kit()
    now = kit.clock.wall_ms()
    ip = address(1).ip
    assert ip is not None
    kit.bans.add(Ban(network_of(ip), now + 10 * HOUR_MS, "a bad block", now), now)
    kit.service.start()
    kit.tick(39)
    assert len(kit.bans) == 1
    kit.tick(2)
    assert len(kit.bans) == 0


def test_the_operators_bans_stay() -> None:
    kit = Kit()
    now = kit.clock.wall_ms()
    ip = address(1).ip
    assert ip is not None
    kit.bans.add(Ban(network_of(ip), now + 10 * HOUR_MS, "manual", now, is_manual=True), now)
    kit.service.start()
    kit.tick(100)
    assert len(kit.bans) == 1


def test_who_was_of_no_use_a_moment_ago_is_left_alone() -> None:
    kit = Kit(BOOTNODES[:1])
    known = kit.know(range(10, 14))
    kit.service.start()
    kit.connect(range(1))  # somebody is there
    for one in [*known, *BOOTNODES[:1]]:
        kit.rests.note(one.peer_id or "", 1.0, kit.clock.now())
    kit.dialler.take()
    kit.tick(19)
    assert kit.dialler.take() == []
    kit.tick(2)
    assert set(known) <= set(kit.dialler.take())


def test_a_node_without_anybody_dials_one_of_them_after_growing_pauses() -> None:
    kit = Kit(max_outbound=4)
    known = kit.know(range(10, 14))
    kit.service.start()
    for one in known:
        for _ in range(3):
            kit.rests.note(one.peer_id or "", 1.0, kit.clock.now())
    kit.dialler.take()
    times = []
    for _ in range(40):
        kit.tick()
        dialled = kit.dialler.take()
        assert len(dialled) <= 1
        if dialled:
            times.append(kit.clock.now())
    assert [round((later - earlier) / 15.0) for earlier, later in pairwise(times)] == [1, 2, 4, 8, 8, 8, 8]


# --- somebody new ---


def meet(kit: Kit, one: Multiaddr, number: int) -> None:
    """The dial succeeds: the peer asks for its place."""
    kit.dialler.on_end[one](None)
    for gone, _ in kit.dialler.removed:
        session_id = kit.registry.session_of(gone)
        if session_id is not None:
            kit.registry.remove(session_id)
    assert one.peer_id is not None
    admitted = kit.registry.admit(
        number, one.peer_id, one, Direction.OUTBOUND, SessionKind.BLOCK_RELAY_ONLY, now_ms=0, wall_ms=0
    )
    assert isinstance(admitted, Admitted)
    assert admitted.kind is SessionKind.BLOCK_RELAY_ONLY
    kit.dialler.refused.add(one)


def test_with_all_sessions_somebody_new_is_met_every_ten_minutes_and_the_oldest_leaves() -> None:
    kit = Kit(max_outbound=2)
    kit.connect(range(500, 502))
    kit.know(range(20))
    kit.service.start()
    kit.dialler.take()
    met = []
    for number in range(4):
        before = kit.clock.now()
        while not (found := kit.dialler.take(SessionKind.BLOCK_RELAY_ONLY)):
            kit.tick()
            assert kit.clock.now() - before <= 1.5 * LOOKOUT + 15.0
        (one,) = found
        meet(kit, one, 600 + number)
        met.append(one.peer_id)
    assert len(set(met)) == 4
    assert [peer for peer, _ in kit.dialler.removed] == met[:2]
    assert not kit.dialler.take()


def test_sessions_of_blocks_only_that_began_otherwise_are_not_ended_for_it() -> None:
    kit = Kit(max_outbound=2)
    kit.connect(range(500, 504))  # two of them found no other place
    kit.know(range(20))
    kit.service.start()
    kit.tick(200)
    for one in kit.dialler.take(SessionKind.BLOCK_RELAY_ONLY):
        kit.dialler.on_end[one](None)
    assert len(kit.dialler.on_end) >= 2
    kit.dialler.on_end.popitem()[1]("refused")
    assert all(peer not in {peer_id(number) for number in range(500, 504)} for peer, _ in kit.dialler.removed)


def test_after_an_address_that_does_not_answer_a_bootnode_is_met() -> None:
    """All that is known may be dead, and each node of this side have enough peers."""
    kit = Kit(BOOTNODES, max_outbound=2)
    kit.connect(range(500, 502))
    (dead,) = kit.know(range(1))
    kit.service.start()
    kit.dialler.take()
    dialled = list[Multiaddr]()
    while len(dialled) < 3:
        kit.tick()
        found = kit.dialler.take(SessionKind.BLOCK_RELAY_ONLY)
        dialled += found
        for one in found:
            kit.dialler.on_end[one]("nobody answers")
        assert kit.clock.now() < 4 * LOOKOUT
    assert dialled[0] == dead
    assert dialled[1] in BOOTNODES
    assert kit.clock.now() > LOOKOUT, "one more in a turn, not many"


def test_without_any_address_a_bootnode_is_met() -> None:
    kit = Kit(BOOTNODES, max_outbound=2)
    kit.connect(range(500, 502))
    kit.service.start()
    kit.dialler.take()
    kit.tick(int(1.5 * LOOKOUT / 15) + 1)
    (one,) = kit.dialler.take(SessionKind.BLOCK_RELAY_ONLY)[:1]
    assert one in BOOTNODES


def test_while_sessions_are_missing_or_none_are_wanted_nobody_new_is_met() -> None:
    for kit, connected in ((Kit(max_outbound=2), 1), (Kit(max_outbound=0), 0), (Kit(max_outbound=1, lookout=False), 1)):
        kit.connect(range(500, 500 + connected))
        kit.know(range(20))
        kit.service.start()
        kit.tick(300)
        assert not kit.dialler.take(SessionKind.BLOCK_RELAY_ONLY)
