"""Who is asked for headers, and what is waited for."""

from __future__ import annotations

from ckb_node.sync.headers.asked import AskedPeer
from ckb_node.sync.headers.choice import choose, waits_for
from ckb_node.sync.headers.limits import PATIENCE_SECONDS
from ckb_node.sync.headers.waiting import Answer, Judging, NoPeer, NothingMore, PeersNotReady
from ckb_node.sync.peers import ChainSync, SyncPeer
from network.peer import Direction
from tests.support.network.peers import FakePeer

NOW = 1000.0


def peers(count: int, *, trusted: int = 0, direction: Direction = Direction.OUTBOUND) -> list[AskedPeer]:
    made = [SyncPeer(FakePeer(at, direction=direction), is_protected=at < trusted) for at in range(count)]
    return [AskedPeer.of(each, NOW) for each in made]


def started(asked: AskedPeer, at: float) -> None:
    asked.start(at)
    asked.note_question(bytes(32), at)


def test_in_the_initial_download_one_trusted_peer() -> None:
    made = peers(6, trusted=2)
    assert choose(made[::-1], NOW, is_in_ibd=True, is_old=True) == [made[1]]
    started(made[0], NOW)
    assert choose(made, NOW, is_in_ibd=True, is_old=True) == ()


def test_who_is_silent_does_not_hold_up_the_download() -> None:
    made = peers(3, trusted=2)
    started(made[0], NOW)
    assert choose(made, NOW + PATIENCE_SECONDS - 1, is_in_ibd=True, is_old=True) == ()
    assert choose(made, NOW + PATIENCE_SECONDS, is_in_ibd=True, is_old=True) == [made[1]]


def test_trusted_peers_without_more_leave_it_to_the_others() -> None:
    made = peers(3, trusted=2)
    for each in made[:2]:
        each.rest(ChainSync.TIP_SYNCED, NOW + 28)
    assert choose(made, NOW, is_in_ibd=True, is_old=True) == [made[2]]
    started(made[2], NOW)
    assert choose(made, NOW + 1, is_in_ibd=True, is_old=True) == ()
    assert choose(made, NOW + 28, is_in_ibd=True, is_old=True) == [made[0]]  # though the other is asked


def test_without_trusted_peers_others_are_asked() -> None:
    made = peers(2, direction=Direction.INBOUND)
    assert choose(made, NOW, is_in_ibd=True, is_old=True) == [made[0]]


def test_all_are_asked_when_there_is_little_to_get() -> None:
    made = peers(6, trusted=2)
    for is_in_ibd in (True, False):
        assert choose(made, NOW, is_in_ibd=is_in_ibd, is_old=False) == made


def test_after_the_initial_download_few_are_asked_while_much_is_missing() -> None:
    made = peers(6, trusted=2)
    assert choose(made, NOW, is_in_ibd=False, is_old=True) == made[:2]
    started(made[0], NOW)
    assert choose(made, NOW, is_in_ibd=False, is_old=True) == [made[1]]
    started(made[1], NOW)
    assert choose(made, NOW, is_in_ibd=False, is_old=True) == []


def test_who_was_asked_the_longest_ago_comes_first() -> None:
    made = peers(3, trusted=3)
    for at, each in enumerate(made):
        each.start(NOW - at)
        each.rest(ChainSync.TIP_SYNCED, NOW)
    assert choose(made, NOW, is_in_ibd=True, is_old=True) == [made[2]]


def test_who_is_ready() -> None:
    (asked,) = peers(1)
    assert asked.is_ready(NOW)
    asked.rest(ChainSync.SUSPENDED, NOW + 300)
    assert not asked.is_ready(NOW + 299)
    assert asked.is_ready(NOW + 300)
    asked.unjudged = 1
    assert not asked.is_ready(NOW + 300)
    asked.unjudged = 0
    started(asked, NOW + 300)
    assert not asked.is_ready(NOW + 10_000)


def test_what_is_waited_for() -> None:
    assert waits_for([], 0, NOW) == NoPeer()
    made = peers(3, trusted=1)
    assert waits_for(made, 0, NOW) == PeersNotReady(3, 0, None)
    started(made[0], NOW - 5)
    started(made[1], NOW - 2)
    assert waits_for(made, 1, NOW) == Answer(made[0].peer.session_id, 5.0, 2)
    made[0].asked_at = made[1].asked_at = None
    assert waits_for(made, 1, NOW) == Judging(1)
    made[0].rest(ChainSync.TIP_SYNCED, NOW + 28)
    made[1].rest(ChainSync.TIP_SYNCED, NOW + 10)
    assert waits_for(made, 0, NOW) == NothingMore(2, 10.0)
    for each in made:
        each.rest(ChainSync.SUSPENDED, NOW + 300)
    assert waits_for(made, 0, NOW) == PeersNotReady(3, 3, 300.0)
