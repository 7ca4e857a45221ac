"""Header sync as a peer sees it: what it is asked, and what its answers cost it."""

from __future__ import annotations

import pytest

from ckb_node.sync.headers.limits import (
    MAX_HEADERS,
    MAX_UNJUDGED,
    MAX_UNJUDGED_PEER,
    PATIENCE_SECONDS,
    REPEAT_SECONDS,
    RUSH_SECONDS,
    SILENCE_SECONDS,
    SUSPEND_SECONDS,
    TICK_SECONDS,
    UNASKED_AT_ONCE,
)
from ckb_node.sync.headers.locator import locator_heights
from ckb_node.sync.headers.waiting import Answer, Judging, NoPeer, NothingMore
from ckb_node.sync.peers import MAX_PROTECTED, ChainSync
from consensus.types.blockchain import Header
from network.limits import SYNC
from network.peer import Direction
from tests.support.network.clock import WALL_MS
from tests.sync.headers.kit_headers import (
    DAY_MS,
    GENESIS,
    INTERVAL_MS,
    Case,
    branch,
    fake,
    questions,
)

LONG = branch(GENESIS, 3 * MAX_HEADERS + 100, first_ms=WALL_MS - 40 * DAY_MS)
"""Ends long ago."""
RECENT = branch(GENESIS, 50, first_ms=WALL_MS - 60 * INTERVAL_MS)
"""Ends ten blocks before now."""


def synced() -> Case:
    """A node near the tip, not in its initial download."""
    case = Case()
    case.chain.grow(RECENT)
    return case


def batch(number: int) -> list[Header]:
    return LONG[number * MAX_HEADERS : (number + 1) * MAX_HEADERS]


# --- asking ---


def test_a_peer_is_asked_from_the_parent_of_the_best_header_on() -> None:
    case = synced()
    peer = case.connect(1)
    by_height = [GENESIS, *RECENT]
    assert questions(peer) == [[by_height[at].hash for at in locator_heights(49)]]
    case.send(peer, RECENT[-1:])
    assert peer.chain_sync is ChainSync.TIP_SYNCED
    assert peer.best_known == case.chain.tip()  # which an empty answer would not have told


def test_a_fresh_node_asks_from_genesis_on() -> None:
    case = Case()
    assert questions(case.connect(1)) == [[GENESIS.hash]]


def test_batch_after_batch_without_waiting_for_judgement() -> None:
    case = Case()
    peer = case.connect(1)
    questions(peer)
    case.chain.is_paused = True
    case.send(peer, batch(0))
    (question,) = questions(peer)
    assert question[:10] == [each.hash for each in batch(0)[:-11:-1]]
    assert question[-1] == GENESIS.hash
    case.send(peer, batch(1))
    assert questions(peer) == []  # as much as may be is being judged
    assert fake(peer).held == {SYNC}
    case.chain.work(1)
    assert questions(peer)[0][0] == batch(1)[-1].hash
    assert fake(peer).held == set()
    case.chain.is_paused = False
    case.chain.work()
    case.send(peer, batch(2))
    rushed = case.sync.are_rushing_in
    case.send(peer, LONG[3 * MAX_HEADERS :])
    assert (rushed, case.sync.are_rushing_in) == (True, False), "these were the last"
    assert case.chain.best_header().header == LONG[-1]
    assert peer.best_known == case.chain.best_header()
    assert peer.chain_sync is ChainSync.TIP_SYNCED
    assert case.sync.taken == len(LONG)


def test_headers_that_come_slowly_do_not_rush_in() -> None:
    case = Case()
    rushed = [case.sync.are_rushing_in]
    peer = case.connect(1)
    rushed.append(case.sync.are_rushing_in)
    case.send(peer, batch(0))
    rushed.append(case.sync.are_rushing_in)  # the next are under way
    case.scheduler.advance(RUSH_SECONDS)
    rushed.append(case.sync.are_rushing_in)
    assert rushed == [False, False, True, False]


def test_nothing_is_downloaded_twice_after_a_restart() -> None:
    case = Case()
    peer = case.connect(1)
    case.send(peer, batch(0))
    case.leave(peer)
    other = case.connect(2)
    assert questions(other)[0][0] == batch(0)[-2].hash


def test_a_full_batch_of_an_unasked_peer_is_followed_up() -> None:
    case = Case()
    case.connect(1)
    inbound = case.connect(2, Direction.INBOUND)
    case.send(inbound, batch(0))
    assert questions(inbound)[0][0] == batch(0)[-1].hash


def test_bounded_batches_of_many_peers() -> None:
    case = synced()
    peers = [case.connect(seed, Direction.INBOUND) for seed in range(2 * MAX_UNJUDGED)]
    case.chain.is_paused = True
    for peer in peers:
        case.send(peer, batch(0))
    assert [bool(fake(peer).held) for peer in peers] == [False] * (MAX_UNJUDGED - 1) + [True] * (MAX_UNJUDGED + 1)
    assert case.sync.unjudged == len(peers)
    case.chain.is_paused = False
    case.chain.work()
    case.settle()
    assert not any(fake(peer).held for peer in peers)
    assert case.sync.unjudged == 0


def test_unasked_batches_are_looked_at_now_and_then_only() -> None:
    case = synced()
    peer = case.connect(1, Direction.INBOUND)
    case.send(peer, RECENT[-1:])
    for _ in range(100):
        case.send(peer, RECENT[-5:])
    assert len(case.chain.batches) <= UNASKED_AT_ONCE + 1
    assert not fake(peer).has_ended


def test_the_same_headers_again_and_again_are_not_asked_for_again() -> None:
    case = Case()
    peer = case.connect(1)
    for _ in range(3):
        case.send(peer, batch(0))
    assert len(questions(peer)) == 2
    assert peer.chain_sync is ChainSync.TIP_SYNCED


def test_a_peer_without_more_is_asked_again_after_a_while() -> None:
    case = synced()
    peer = case.connect(1)
    case.send(peer, RECENT[-1:])
    questions(peer)
    case.advance(REPEAT_SECONDS - 1)
    assert questions(peer) == []
    case.advance(2.0)
    assert len(questions(peer)) == 1


def test_relay_asks_out_of_turn() -> None:
    case = synced()
    peer = case.connect(1)
    case.send(peer, [])
    case.advance(16.0)
    questions(peer)
    case.sync.ask(peer)
    case.settle()
    assert len(questions(peer)) == 1
    assert peer.chain_sync is ChainSync.TIP_SYNCED
    case.sync.ask(peer)  # it has a question that it has not answered
    assert questions(peer) == []
    case.send(peer, RECENT[-1:])
    case.sync.ask(peer)  # the same as a moment ago
    case.settle()
    assert questions(peer) == []


def test_who_tells_of_more_while_it_is_asked_is_asked_once_more() -> None:
    case, later = synced(), branch(RECENT[-1], 2, first_ms=WALL_MS - 9 * INTERVAL_MS)
    peer = case.connect(1)
    assert len(questions(peer)) == 1
    case.sync.ask(peer)  # a block came whose parent is not known
    assert questions(peer) == []
    case.send(peer, later[:1])  # what it had when it was asked
    assert [question[0] for question in questions(peer)] == [RECENT[-1].hash]
    case.send(peer, later)
    assert questions(peer) == []
    assert case.chain.best_header().header == later[-1]


def test_who_tells_of_more_right_after_it_has_answered_is_asked_again_soon() -> None:
    """Half a minute would pass until its turn; and no flood of such news causes more than a question a second."""
    case, later = synced(), branch(RECENT[-1], 2, first_ms=WALL_MS - 9 * INTERVAL_MS)
    peer = case.connect(1)
    assert len(questions(peer)) == 1
    case.send(peer, [])
    for _ in range(100):
        case.sync.ask(peer)
    assert questions(peer) == []
    case.scheduler.advance(2 * TICK_SECONDS)
    assert len(questions(peer)) == 1
    case.send(peer, later)
    assert case.chain.best_header().header == later[-1]


@pytest.mark.parametrize("is_judging", [False, True])
def test_who_tells_of_more_on_a_lighter_branch_is_asked_again_soon(is_judging: bool) -> None:
    """Its answer leaves the best header as it is, so that the same is to be asked again."""
    case, side = synced(), branch(RECENT[-4], 6, salt=1)
    peer = case.connect(1)
    assert len(questions(peer)) == 1
    if not is_judging:
        case.sync.ask(peer)
    case.chain.is_paused = is_judging
    case.send(peer, side[:1])
    if is_judging:
        case.sync.ask(peer)
        case.chain.is_paused = False
        case.chain.work()
    assert case.chain.best_header().header == RECENT[-1]
    case.scheduler.advance(2 * TICK_SECONDS)
    assert len(questions(peer)) == 1
    case.send(peer, side)
    assert case.chain.best_header().header == side[-1]


# --- answers that cost something ---


def test_too_many_headers() -> None:
    case = Case()
    peer = case.connect(1)
    case.send(peer, LONG[: MAX_HEADERS + 1])
    assert fake(peer).banned == (300, "415: invalid headers: 2001 headers")


def test_headers_that_do_not_hang_together() -> None:
    case = Case()
    peer = case.connect(1)
    case.send(peer, [LONG[0], LONG[2]])
    assert fake(peer).banned is not None
    assert case.chain.batches == []


@pytest.mark.parametrize(
    "bad",
    [
        LONG[5:10],  # the parent is unknown
        [*LONG[:3], LONG[3].with_fields(version=1)],
        [*LONG[:3], LONG[3].with_fields(number=5)],
        [*LONG[:3], LONG[3].with_fields(epoch=LONG[9].epoch)],
        [*LONG[:3], LONG[3].with_fields(timestamp=1)],
    ],
)
def test_invalid_headers_are_banned_for_and_what_is_before_them_is_kept(bad: list[Header]) -> None:
    case = Case()
    peer = case.connect(1)
    case.send(peer, bad)
    banned = fake(peer).banned
    assert banned is not None
    assert banned[0] == 300
    assert banned[1].startswith("415")
    assert case.chain.best_header().number == (3 if bad[0] is LONG[0] else 0)


def test_a_header_from_the_future_is_nobodys_fault_and_the_peer_is_asked_again() -> None:
    case = synced()
    peer = case.connect(1)
    ahead = branch(RECENT[-1], 1, first_ms=WALL_MS + 20_000)
    case.send(peer, ahead)
    assert not fake(peer).has_ended
    assert case.chain.best_header().header == RECENT[-1]
    questions(peer)
    case.advance(30.0)
    assert len(questions(peer)) == 1
    case.send(peer, ahead)
    assert case.chain.best_header().header == ahead[0]


def test_a_fault_of_this_node_is_no_fault_of_the_peer() -> None:
    case = Case()
    peer = case.connect(1)
    case.chain.is_paused = True
    case.send(peer, batch(0))
    case.send(peer, batch(1))
    case.chain.is_paused = False
    case.chain.fault = OSError("no space left")
    case.chain.work()  # the second stands on the first, which was not kept
    assert not fake(peer).has_ended
    questions(peer)
    case.advance(30.0)
    assert questions(peer) == [[GENESIS.hash]]
    case.send(peer, batch(0))
    assert case.chain.best_header().header == batch(0)[-1]


def test_who_leaves_while_its_headers_are_judged() -> None:
    case = Case()
    peer = case.connect(1)
    case.chain.is_paused = True
    case.send(peer, LONG[5:10])
    case.leave(peer)
    case.chain.work()
    assert not fake(peer).has_ended
    assert case.sync.unjudged == 0


# --- silent and slow peers ---


def test_a_silent_peer_leaves_and_another_one_is_asked_before() -> None:
    case = Case()
    silent, other = case.connect(1), case.connect(2)
    assert (len(questions(silent)), questions(other)) == (1, [])
    case.advance(PATIENCE_SECONDS + 1)
    assert questions(other) == [[GENESIS.hash]]
    for number in range(20):
        case.send(other, LONG[number * 10 : number * 10 + 10])
        case.advance(SILENCE_SECONDS / 20)
    assert fake(silent).disconnected == "sync timeout eviction: no answer"
    assert not fake(other).has_ended


def test_a_silent_inbound_peer_is_left_alone() -> None:
    case = synced()
    peer = case.connect(1, Direction.INBOUND)  # a light client answers nothing
    case.advance(SILENCE_SECONDS + 2)
    assert not fake(peer).has_ended
    assert peer.chain_sync is ChainSync.SUSPENDED
    questions(peer)
    case.advance(SUSPEND_SECONDS + 2)
    assert len(questions(peer)) == 1


def test_a_peer_that_drips_is_too_slow() -> None:
    case = Case()
    peer = case.connect(1)
    for number in range(3):
        case.advance(50.0)
        case.send(peer, batch(number)[:MAX_HEADERS])
    assert fake(peer).disconnected == "sync timeout eviction: headers come too slowly"


def test_the_time_in_which_this_node_judges_is_not_the_peers() -> None:
    case = Case()
    peer = case.connect(1)
    case.chain.is_paused = True
    for number in range(MAX_UNJUDGED_PEER):
        case.send(peer, batch(number))
    case.advance(1000.0)
    assert not fake(peer).has_ended


def test_a_peer_that_is_not_read_is_not_silent() -> None:
    case = Case()
    peer = case.connect(1)
    peer.hold("blocks")
    case.advance(1000.0)
    peer.release("blocks")
    case.advance(SILENCE_SECONDS - 5)
    assert not fake(peer).has_ended


def test_a_node_that_stood_still_blames_nobody() -> None:
    case = Case()
    peer = case.connect(1)
    case.scheduler.work(1000.0)
    case.advance(2.0)
    assert not fake(peer).has_ended
    assert peer.chain_sync is ChainSync.STARTED


# --- the initial download ---


def test_one_header_peer_in_the_initial_download() -> None:
    case = Case()
    peers = [case.connect(seed) for seed in range(MAX_PROTECTED + 2)]
    assert [len(questions(peer)) for peer in peers] == [1] + [0] * (MAX_PROTECTED + 1)
    assert [peer.is_protected for peer in peers] == [True] * MAX_PROTECTED + [False] * 2


def test_a_stale_header_peer_does_not_keep_the_node_at_its_height() -> None:
    """ckb#4714: the node stands at the height of stale peers."""
    case = Case()
    stale = [case.connect(seed) for seed in range(MAX_PROTECTED)]
    fresh = case.connect(9, Direction.INBOUND)
    for peer in stale:
        assert questions(peer)
        case.send(peer, LONG[:100])
        case.advance(1.1)
    assert questions(fresh)
    case.send(fresh, RECENT)
    assert case.chain.best_header().header in (RECENT[-1], LONG[99])
    assert fresh.best_known is not None
    assert not any(fake(peer).has_ended for peer in (*stale, fresh))


def test_an_outbound_peer_whose_chain_ends_long_ago_is_useless_in_the_initial_download() -> None:
    case = Case()
    for seed in range(MAX_PROTECTED):
        case.connect(seed)
    useless, useful = case.connect(8), case.connect(9)
    case.send(useful, RECENT)
    assert not fake(useful).has_ended
    case.send(useless, LONG[:10])
    assert fake(useless).disconnected == "useless outbound peer in IBD"


@pytest.mark.parametrize(
    ("direction", "is_whitelisted", "reason"),
    [
        (Direction.OUTBOUND, False, "outbound in ibd"),
        (Direction.OUTBOUND, True, None),
        (Direction.INBOUND, False, None),
    ],
)
def test_a_peer_in_its_own_initial_download(direction: Direction, is_whitelisted: bool, reason: str | None) -> None:
    case = synced()
    peer = case.connect(1, direction, is_whitelisted=is_whitelisted)
    questions(peer)
    case.sync.received_in_ibd(peer)
    assert fake(peer).disconnected == reason
    if reason is None:
        assert peer.chain_sync is ChainSync.SUSPENDED
        case.advance(SUSPEND_SECONDS - 2)
        assert questions(peer) == []
        case.advance(4.0)
        assert len(questions(peer)) == 1


def test_the_initial_download_ends_when_a_whole_network_stood_still() -> None:
    """bitcoin#21106: all nodes have an old tip, and each says that it is still downloading."""
    case = Case()
    case.chain.grow(LONG[:50])
    peer = case.connect(1, Direction.INBOUND)
    case.send(peer, LONG[48:50])
    case.sync.received_in_ibd(peer)
    case.advance(599.0)
    assert case.ibd.is_on(case.chain.tip().header.timestamp, case.chain.now_ms())
    case.advance(5.0)
    assert not case.ibd.is_on(case.chain.tip().header.timestamp, case.chain.now_ms())


# --- peers that stay behind ---


def test_an_outbound_peer_that_stays_behind_leaves_unless_it_is_protected() -> None:
    case = synced()
    protected = [case.connect(seed) for seed in range(MAX_PROTECTED)]
    behind, inbound = case.connect(8), case.connect(9, Direction.INBOUND)
    everybody = [*protected, behind, inbound]
    for second in range(15 * 60):
        if second % 20 == 0:
            case.chain.grow(branch(case.chain.tip().header, 1, first_ms=case.scheduler.wall_ms()))
        for peer in everybody:
            if questions(peer):
                case.send(peer, RECENT[-2:-1])
        case.advance(1.0)
    assert fake(behind).disconnected == "sync timeout eviction: its chain stays behind"
    assert not any(fake(peer).has_ended for peer in (*protected, inbound))


# --- what it waits for ---


def test_what_it_waits_for() -> None:
    case = Case()
    assert case.sync.waits_for() == NoPeer()
    peer = case.connect(1)
    case.advance(3.0)
    assert case.sync.waits_for() == Answer(peer.session_id, 3.0, 1)
    case.chain.is_paused = True
    case.send(peer, LONG[:10])
    assert case.sync.waits_for() == Judging(1)
    case.chain.work()
    assert case.sync.waits_for() == NothingMore(1, REPEAT_SECONDS)
    assert case.progress > 0


def test_it_stops() -> None:
    case = synced()
    peer = case.connect(1)
    case.sync.stop()
    questions(peer)
    case.advance(1000.0)
    assert questions(peer) == []
    assert not fake(peer).has_ended
