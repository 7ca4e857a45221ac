"""Compact blocks of peers: what is asked of them in what order, how they become blocks, and what that costs whom."""

from __future__ import annotations

import pytest

from ckb_node.sync.relay.blocks import MAX_AHEAD, PATIENCE
from ckb_node.sync.relay.status import RelayStatus
from consensus.types.blockchain import Block, Script
from network.peer import Direction
from tests.sync.relay.kit import Case, Maker, answer, asked, ban_of, compact, grown, messages, spoilt, story

S = RelayStatus


# ---------------------------------------------------------------- what is known already


def test_104_stored() -> None:
    case, block = Case(), story().base[-1]
    peer = case.peer()
    assert case.say(peer, compact(block)) is S.ALREADY_STORED
    sync_peer = case.peers.get(peer.session_id)
    assert sync_peer is not None
    assert sync_peer.best_known == case.chain.tip()
    assert messages(peer) == []


def test_101_in_verification_or_waiting_for_its_parent() -> None:
    case, block = Case(story().transfers), story().block
    first, second = case.peer(1), case.peer(2)
    assert case.say(first, compact(block)) is S.OK
    assert case.say(second, compact(block)) is S.IGNORED
    assert len(case.chain.taken) == 1


def test_101_received_by_sync() -> None:
    case, block = Case(story().transfers), story().block
    case.received[block.hash] = block
    assert case.say(case.peer(), compact(block)) is S.IGNORED
    assert case.chain.taken == []


def test_401_known_to_be_invalid() -> None:
    case, block = Case(story().transfers), spoilt(story().block)
    first, second = case.peer(1), case.peer(2)
    case.say(first, compact(block))
    case.let_suspects_show_their_chain()
    assert ban_of(first) == "401"
    assert case.say(second, compact(block)) is S.IGNORED
    case.let_suspects_show_their_chain()
    assert ban_of(second) == "401"


def test_401_on_an_invalid_block() -> None:
    case, bad = Case(story().transfers), spoilt(story().block)
    case.say(case.peer(1), compact(bad))
    case.run()
    child = bad.replace(header=bad.header.with_fields(number=bad.number + 1, parent_hash=bad.hash))
    peer = case.peer(2)
    assert case.say(peer, compact(child)) is S.IGNORED
    case.let_suspects_show_their_chain()
    assert ban_of(peer) == "401"


def test_106_the_parent_is_unknown() -> None:
    case = Case(blocks=story().base[:-1])
    peer = case.peer()
    assert case.say(peer, compact(story().block)) is S.REQUIRES_PARENT
    assert [each.session_id for each in case.asked_headers] == [peer.session_id]
    assert messages(peer) == []


def test_106_without_sync_nobody_is_asked_for_headers() -> None:
    case = Case(blocks=story().base[:-1])
    assert case.say(case.peer(with_sync=False), compact(story().block)) is S.REQUIRES_PARENT
    assert case.asked_headers == []


def test_102_pending_from_the_same_peer() -> None:
    case, block = Case(), story().block
    peer = case.peer()
    assert case.say(peer, compact(block)) is S.REQUIRES_TRANSACTIONS
    messages(peer)
    assert case.say(peer, compact(block)) is S.ALREADY_PENDING
    assert messages(peer) == []


# ---------------------------------------------------------------- its header


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 9},
        {"epoch": 0},
        {"timestamp": 0},
        {"compact_target": 0x2002_0000},
        {"epoch": 5 | 1 << 24 | 1000 << 40},
    ],
)
def test_402_an_invalid_header(changes: dict[str, int]) -> None:
    case, block = Case(story().transfers), story().block
    peer = case.peer()
    wrong = compact(block).replace(header=block.header.with_fields(**changes))
    assert case.say(peer, wrong) is None
    assert ban_of(peer) == "402"
    assert case.chain.taken == []


def test_101_a_header_from_the_future() -> None:
    case, block = Case(story().transfers), story().block
    peer = case.peer()
    late = block.header.with_fields(timestamp=case.scheduler.wall_ms() + 20_000)
    assert case.say(peer, compact(block).replace(header=late)) is S.IGNORED
    assert not peer.has_ended


def test_the_header_is_judged_before_the_transactions() -> None:
    case, block = Case(), story().block
    peer = case.peer()
    wrong = compact(block, ()).replace(header=block.header.with_fields(timestamp=0))
    case.say(peer, wrong)
    assert ban_of(peer) == "402"


def test_404_is_punished() -> None:
    case = Case()
    peer = case.peer()
    case.say(peer, compact(story().block, ()))
    assert ban_of(peer) == "404"


# ---------------------------------------------------------------- put together


def test_a_block_whose_transactions_are_all_known() -> None:
    case, block = Case(story().transfers), story().block
    peer = case.peer()
    assert case.say(peer, compact(block)) is S.OK
    assert messages(peer) == []
    case.run()
    assert case.tip() == block.hash
    assert case.relay.figures.rebuilt == 1


def test_the_peer_is_known_to_have_the_block() -> None:
    case, block = Case(story().transfers), story().block
    peer = case.peer()
    case.say(peer, compact(block))
    case.run()
    sync_peer = case.peers.get(peer.session_id)
    assert sync_peer is not None
    assert sync_peer.best_known == case.chain.tip()


def test_an_empty_block_needs_nobody() -> None:
    case, block = Case(), story().sibling
    assert case.say(case.peer(), compact(block)) is S.OK
    assert case.pool.asked == 0
    case.run()
    assert case.tip() == block.hash


def test_proposals_are_asked_of_the_peer() -> None:
    maker = Maker(story().base)
    block = maker.make(proposals=story().transfers[:2])
    case = Case()
    peer = case.peer()
    case.say(peer, compact(block))
    assert case.asked_proposals == [(peer.session_id, block.hash, [tx.short_id for tx in story().transfers[:2]])]


def test_107_what_is_missing_is_asked_of_the_peer() -> None:
    case, block = Case(story().transfers[2:4]), story().block
    peer = case.peer()
    assert case.say(peer, compact(block)) is S.REQUIRES_TRANSACTIONS
    assert asked(peer) == ([1, 2, 5, 6], [])
    assert case.say(peer, answer(block, [1, 2, 5, 6])) is S.OK
    case.run()
    assert case.tip() == block.hash
    assert case.relay.figures.completed == 1
    assert case.relay.pending_count == 0


def test_a_pending_header_is_kept_so_that_sync_can_fetch_its_block() -> None:
    case, block = Case(), story().block
    case.say(case.peer(), compact(block))
    case.run()
    assert case.chain.best_header().hash == block.hash
    assert case.headers_known == 1


def test_how_long_a_block_is_pending() -> None:
    case, block = Case(), story().block
    peer = case.peer()
    assert case.relay.pending_since(block.hash) is None
    case.say(peer, compact(block))
    case.scheduler.advance(1.5)
    assert case.relay.pending_since(block.hash) == 1.5
    case.say(peer, answer(block, [1, 2, 3, 4, 5, 6]))
    assert case.relay.pending_since(block.hash) == 0.0
    case.run()
    assert case.relay.pending_since(block.hash) is None


def test_a_block_that_came_by_another_way_is_pending_no_more() -> None:
    case, block = Case(), story().block
    peer = case.peer()
    case.say(peer, compact(block))
    case.chain.process(block)
    assert case.relay.pending_count == 0
    assert case.say(peer, answer(block, [1, 2, 3, 4, 5, 6])) is S.IGNORED


def test_what_is_far_above_the_tip_is_left_to_sync() -> None:
    maker = grown(MAX_AHEAD + 2)
    case = Case()
    headers = [block.header for block in maker.blocks[len(story().base) : -1]]
    case.chain.take_headers(headers, lambda _: None)
    case.run()
    peer = case.peer()
    assert case.say(peer, compact(maker.blocks[-1])) is S.IGNORED
    case.run()
    assert case.chain.taken == []
    assert case.chain.best_header().hash == maker.blocks[-1].hash
    sync_peer = case.peers.get(peer.session_id)
    assert sync_peer is not None
    assert sync_peer.best_known is not None
    assert sync_peer.best_known.hash == maker.blocks[-1].hash


def test_the_child_of_a_pending_block_is_judged_by_its_header() -> None:
    case, block = Case(), story().block
    first, second = case.peer(1), case.peer(2)
    case.say(first, compact(block))
    child = Maker([*story().base, block]).make()
    assert case.say(second, compact(child)) is S.OK
    assert case.relay.pending_since(child.hash) == 0.0
    case.run()
    assert case.relay.pending_since(child.hash) == 0.0, "the chain keeps it until its parent comes"
    case.say(first, answer(block, [1, 2, 3, 4, 5, 6]))
    case.run()
    assert case.tip() == child.hash
    assert case.relay.pending_since(child.hash) is None


def test_an_orphan_that_was_not_decided_with_its_parent_is_pending_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the process of scripts dies: nobody would ask for the block as long as it counts as here."""
    case, block = Case(), story().block
    child = Maker([*story().base, block]).make()
    case.say(case.peer(1), compact(block))
    case.say(case.peer(2), compact(child))
    case.run()
    assert case.relay.pending_since(child.hash) == 0.0
    monkeypatch.setattr(case.chain.writer, "process_orphans_after", lambda _: None)
    case.chain.process(block)
    assert case.tip() == block.hash
    assert case.relay.pending_since(child.hash) is None


# ---------------------------------------------------------------- several peers


def test_several_peers_are_asked_at_the_same_time() -> None:
    case, block = Case(), story().block
    peers = [case.peer(seed) for seed in range(5)]
    for peer in peers:
        case.say(peer, compact(block))
    assert [len(messages(peer)) for peer in peers] == [1, 1, 1, 0, 0]


def test_who_does_not_answer_is_not_waited_for() -> None:
    case, block = Case(), story().block
    peers = [case.peer(seed, Direction.INBOUND) for seed in range(4)]
    for peer in peers:
        case.say(peer, compact(block))
    assert [len(messages(peer)) for peer in peers] == [1, 1, 0, 0]
    case.scheduler.advance(PATIENCE)
    assert [len(messages(peer)) for peer in peers] == [0, 0, 1, 0]
    case.scheduler.advance(PATIENCE)
    assert [len(messages(peer)) for peer in peers] == [0, 0, 0, 1]
    assert case.scheduler.waiting == 0


def test_another_is_asked_when_one_leaves() -> None:
    case, block = Case(), story().block
    peers = [case.peer(seed, Direction.INBOUND) for seed in range(3)]
    for peer in peers:
        case.say(peer, compact(block))
    messages(peers[2])
    case.protocol.closed(peers[0])
    assert asked(peers[2]) == ([1, 2, 3, 4, 5, 6], [])


def test_a_block_leaves_with_the_last_who_offers_it() -> None:
    case, block = Case(), story().block
    peer = case.peer()
    case.say(peer, compact(block))
    case.protocol.closed(peer)
    assert case.relay.pending_since(block.hash) is None


def test_no_timer_is_left_when_the_block_is_there() -> None:
    case, block = Case(), story().block
    peers = [case.peer(seed) for seed in range(4)]
    for peer in peers:
        case.say(peer, compact(block))
    case.say(peers[1], answer(block, [1, 2, 3, 4, 5, 6]))
    case.run()
    assert case.scheduler.waiting == 0


def test_a_second_compact_block_is_completed_by_what_the_pool_got_meanwhile() -> None:
    case, block = Case(story().transfers[:5]), story().block
    first, second = case.peer(1), case.peer(2)
    case.say(first, compact(block))
    case.pool.transactions[story().transfers[5].short_id] = story().transfers[5]
    assert case.say(second, compact(block)) is S.OK
    assert messages(second) == []


# ---------------------------------------------------------------- verdicts


def test_401_a_block_that_breaks_a_rule() -> None:
    case, block = Case(story().transfers), spoilt(story().block)
    peer, other = case.peer(1), case.peer(2)
    assert case.say(peer, compact(block)) is S.OK
    case.let_suspects_show_their_chain()
    assert ban_of(peer) == "401"
    assert messages(other) == [], "it is not told to anybody"


def test_a_fault_of_the_disk_costs_the_peer_nothing() -> None:
    """Honest peers were banned for faults of the node (ckb 1796)."""
    case, block = Case(story().transfers), story().block
    peer = case.peer()
    case.chain.fault = OSError("the disk is full")
    case.say(peer, compact(block))
    case.run()
    assert not peer.has_ended
    case.chain.fault = None
    assert case.say(peer, compact(block)) is S.OK
    case.run()
    assert case.tip() == block.hash


def test_401_an_orphan_that_is_refused_later() -> None:
    case, block = Case(), story().block
    first, second = case.peer(1), case.peer(2)
    case.say(first, compact(block))
    child = spoilt(Maker([*story().base, block]).make())
    case.say(second, compact(child))
    case.run()
    assert not second.has_ended
    case.say(first, answer(block, [1, 2, 3, 4, 5, 6]))
    case.let_suspects_show_their_chain()
    assert ban_of(second) == "401"
    assert ban_of(first) is None


def test_compact_blocks_that_never_complete_are_bounded() -> None:
    case, block = Case(), story().block
    peer = case.peer()
    for number in range(200):
        header = block.header.with_fields(timestamp=block.header.timestamp + number)
        case.say(peer, compact(block).replace(header=header))
    case.run()
    assert case.relay.pending_count <= 32
    assert not peer.has_ended


def test_who_we_have_dialled_is_asked_however_many_have_dialled_us_and_do_not_answer() -> None:
    """Sixteen of them took all places, and the block waited for Sync."""
    case, block = Case(), story().block
    for seed in range(20):
        case.say(case.peer(seed, Direction.INBOUND), compact(block, extension=bytes([seed])))
    honest = case.peer(30)
    assert case.say(honest, compact(block)) is RelayStatus.REQUIRES_TRANSACTIONS
    places, _ = asked(honest)
    case.say(honest, answer(block, places))
    case.run()
    assert case.tip() == block.hash


def siblings(count: int) -> list[Block]:
    """Valid blocks on the tip, by dummy proof of work."""
    maker = Maker(story().base)
    return [maker.make(miner=Script(code_hash=bytes(32), hash_type=0, args=bytes([at]))) for at in range(count)]


@pytest.mark.parametrize("proposals", [0, 1500])
def test_compact_blocks_of_thousands_count_for_more(proposals: int) -> None:
    case, block = Case(), story().block
    peer = case.peer()
    ids = [bytes([at >> 8, at & 255]) * 5 for at in range(2500 - proposals)]
    proposed = [bytes([at >> 8, at & 255]) * 5 for at in range(proposals)]

    def said(number: int) -> RelayStatus | None:
        header = block.header.with_fields(timestamp=block.header.timestamp + number)
        return case.say(peer, compact(block).replace(header=header, short_ids=ids, proposals=proposed))

    statuses = [said(number) for number in range(12)]
    assert statuses.count(RelayStatus.TOO_MANY_REQUESTS) == 3, "each counts for six, and fifty are let through at once"
    case.scheduler.advance(1.0)
    assert said(12) is RelayStatus.REQUIRES_TRANSACTIONS


def test_of_one_peer_few_blocks_wait_for_their_verdict() -> None:
    """Thousands of valid blocks on one parent held the honest tip up."""
    case = Case()
    peer, other = case.peer(), case.peer(2)
    blocks = siblings(6)
    statuses = [case.say(peer, compact(each)) for each in blocks[:5]]
    assert statuses == [RelayStatus.OK] * 4 + [RelayStatus.TOO_MANY_REQUESTS]
    assert case.say(other, compact(blocks[5])) is RelayStatus.OK
    case.run()
    assert case.say(peer, compact(blocks[4])) is RelayStatus.OK, "the others have their verdicts"


def test_compact_blocks_of_one_peer_have_their_pace() -> None:
    case, block = Case(), story().block
    peer = case.peer()

    def said(number: int) -> RelayStatus | None:
        header = block.header.with_fields(timestamp=block.header.timestamp + number)
        return case.say(peer, compact(block).replace(header=header))

    assert [said(number) for number in range(51)].count(RelayStatus.TOO_MANY_REQUESTS) == 1
    case.run()
    assert case.headers_known == 51, "its header is kept: Sync may fetch it"
    case.scheduler.advance(0.11)
    assert said(51) is RelayStatus.REQUIRES_TRANSACTIONS
    assert not peer.has_ended


def test_400_for_more_short_ids_than_a_block_has_room_for_transactions() -> None:
    case, block = Case(), story().block
    peer = case.peer()
    ids = [number.to_bytes(10, "big") for number in range(2986)]
    assert case.say(peer, compact(block).replace(short_ids=ids[:-1])) is RelayStatus.REQUIRES_TRANSACTIONS
    case = Case()
    peer = case.peer()
    case.say(peer, compact(block).replace(short_ids=ids))
    assert ban_of(peer) == "400"


def test_the_bytes_of_the_message_are_not_kept_alive() -> None:
    """A header is a view of the bytes that came; what waits is a copy of it."""
    case, block = Case(), story().block
    case.say(case.peer(), compact(block))
    (pending,) = case.relay._pending
    assert pending.known.header._buf == block.header.raw
