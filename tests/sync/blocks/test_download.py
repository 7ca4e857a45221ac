"""Blocks come from several peers at once and reach the writer in order; whoever is slow, silent or wrong costs only
his own part. Complaints of users of other nodes (PROTOCOL-NET 2.26) are named by their number."""

from __future__ import annotations

import pytest

from ckb_node.sync.blocks import limits
from ckb_node.sync.blocks.waiting import ForBlock, ForNothing, ForWriter
from tests.support.chains.branches import branch as branch_of
from tests.sync.blocks.kit import CHAIN, Node, empty_chain, given


def test_a_chain_comes_in_order_and_each_block_is_asked_for_once() -> None:
    node, blocks = Node(), empty_chain(CHAIN)
    giver = node.giver(blocks)
    node.wake()
    node.run([giver])
    assert node.height == CHAIN
    assert given(node) == [block.hash for block in blocks]
    assert giver.owed == []
    assert node.download.blocks_taken == CHAIN
    assert node.download.buffered_bytes == node.download.in_flight_count == 0
    assert isinstance(node.download.waits_for(), ForNothing)


def test_headers_that_rush_in_come_first() -> None:
    node, blocks = Node(), empty_chain(CHAIN)
    giver = node.giver(blocks)
    node.is_rush = True
    node.wake()
    assert not giver.asked()
    node.is_rush = False
    node.run([giver], 0.2)
    node.is_rush = True
    node.chain.work()
    height = node.height
    node.run([giver], 1.0)
    assert not giver.owed, "what was asked for is given"
    assert node.height <= height + limits.RUN_BLOCKS, "and kept"
    node.is_rush = False
    node.run([giver])
    assert node.height == CHAIN
    assert given(node) == [block.hash for block in blocks], "each once"


def test_near_the_tip_blocks_do_not_wait_for_headers() -> None:
    node, blocks = Node(is_ibd=False), empty_chain(limits.FAR_BEHIND)
    giver = node.giver(blocks)
    node.is_rush = True
    node.run([giver])
    assert node.height == len(blocks)


def test_all_peers_are_asked_each_for_another_part() -> None:  # 10, 20
    node, blocks = Node(), empty_chain(CHAIN)
    givers = [node.giver(blocks, seed) for seed in range(8)]
    node.wake()
    asked = [giver.asked() for giver in givers]
    assert all(asked)
    assert sum(map(len, asked)) == len({each for part in asked for each in part})
    node.run(givers)
    assert node.height == CHAIN
    assert given(node) == [block.hash for block in blocks]


def test_a_peer_with_less_is_asked_only_for_what_it_has() -> None:
    node, blocks = Node(), empty_chain(CHAIN)
    short, long = node.giver(blocks[:20], 1), node.giver(blocks, 2)
    node.wake()
    assert set(short.asked()) <= {block.hash for block in blocks[:20]}
    node.run([short, long])
    assert node.height == CHAIN


def test_a_peer_that_stops_holds_nobody_up() -> None:  # 9, 11
    node, blocks = Node(), empty_chain(CHAIN)
    stopped, good = node.giver(blocks, 1), node.giver(blocks, 2)
    node.wake()
    held = stopped.asked()
    assert blocks[0].hash in held
    node.run([good], seconds=8.0)
    assert node.height == CHAIN
    assert not stopped.has_ended
    assert not good.has_ended
    for block_hash in held:  # it goes on: what comes late is no fault, and is not written again
        stopped.send(stopped.blocks[block_hash])
    assert len(given(node)) == CHAIN


def test_a_peer_that_gives_nothing_leaves() -> None:
    node, blocks = Node(), empty_chain(CHAIN)
    silent, other = node.giver(blocks, 1), node.giver(blocks[:1], 2)
    trusted = node.giver(blocks, 3, is_whitelisted=True)
    node.wake()
    for _ in range(40):
        other.give()
        node.chain.work()
        node.clock.advance(1.0)
    assert silent.fake.disconnected == "sync disconnect"
    assert not trusted.has_ended


def test_a_slow_drip_costs_its_own_speed_only() -> None:
    node, blocks = Node(), empty_chain(CHAIN)
    drip, good = node.giver(blocks, 1), node.giver(blocks, 2)
    node.wake()
    seconds = 0
    while node.height < CHAIN and seconds < 30:
        drip.give(1)
        for _ in range(20):
            good.give()
            node.chain.work()
            node.clock.advance(0.05)
        seconds += 1
    assert node.height == CHAIN
    assert seconds < 10


def test_a_peer_that_leaves_blocks_out_is_made_up_for() -> None:
    node, blocks = Node(), empty_chain(CHAIN)
    partial, good = node.giver(blocks, 1), node.giver(blocks, 2)
    left_out = {block.hash for block in blocks[::7]}
    node.wake()
    for _ in range(400):
        partial.asked()
        for block_hash in [each for each in partial.owed if each not in left_out]:
            partial.owed.remove(block_hash)
            partial.send(partial.blocks[block_hash])
        good.give()
        node.chain.work()
        node.clock.advance(0.05)
    assert node.height == CHAIN


def test_the_only_peer_is_asked_again_for_what_it_left_out() -> None:
    node, blocks = Node(), empty_chain(60)
    only = node.giver(blocks)
    node.wake()
    only.asked()
    only.owed.remove(blocks[0].hash)
    while node.height == 0 and node.clock.now() < 1100.0:
        only.give()
        node.chain.work()
        node.clock.advance(0.5)
    node.run([only])
    assert node.height == 60
    assert not only.has_ended


def test_a_peer_that_leaves_is_made_up_for_at_once() -> None:
    node, blocks = Node(), empty_chain(CHAIN)
    first, second = node.giver(blocks, 1), node.giver(blocks, 2)
    node.wake()
    held = first.asked()
    second.asked()
    first.leave()
    node.clock.advance(0.0)
    second.give()
    assert set(held) <= set(second.asked())
    node.run([second])
    assert node.height == CHAIN


def test_what_has_come_is_written_though_all_peers_have_left() -> None:
    node, blocks = Node(), empty_chain(30)
    giver = node.giver(blocks)
    node.wake()
    giver.give()
    giver.leave()
    node.clock.advance(3.0)
    node.chain.work()
    assert node.height == 30


def test_memory_is_bounded_and_the_writer_holds_peers_back(monkeypatch: pytest.MonkeyPatch) -> None:  # 21, 22
    node, blocks = Node(), empty_chain(CHAIN)
    size = blocks[10].raw_size
    monkeypatch.setattr(limits, "MAX_BUFFER_BYTES", 100 * size)
    monkeypatch.setattr(limits, "HOLD_BYTES", 60 * size)
    monkeypatch.setattr(limits, "RELEASE_BYTES", 20 * size)
    monkeypatch.setattr(limits, "RUN_BLOCKS", 16)
    giver = node.giver(blocks)
    node.download._asking.block_size = float(size)
    node.wake()
    for _ in range(50):
        giver.give()
        node.clock.advance(0.1)
        assert node.download.buffered_bytes <= 110 * size
    assert giver.fake.held
    assert isinstance(node.download.waits_for(), ForWriter)
    node.clock.advance(100.0)  # it is not read: its silence is ours
    assert not giver.has_ended
    node.chain.work()
    assert not giver.fake.held
    node.run([giver])
    assert node.height == CHAIN


def test_the_highest_blocks_go_when_the_next_one_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    node, blocks = Node(), empty_chain(200)
    size = blocks[10].raw_size
    monkeypatch.setattr(limits, "MAX_BUFFER_BYTES", 40 * size)
    monkeypatch.setattr(limits, "HARD_BUFFER_BYTES", 60 * size)
    giver = node.giver(blocks)
    node.download._asking.block_size = 1.0  # blocks are much larger than was to be expected
    giver.sync.note_known(node.chain.known(blocks[-1].header))
    node.download._asking.block_size = 1.0
    node.wake()
    for _ in range(8):
        node.clock.advance(0.05)
        giver.give(first=1)
    assert node.download.buffered_bytes <= 60 * size + size
    node.run([giver])
    assert node.height == 200


async def test_a_branch_whose_blocks_are_withheld_does_not_hold_up_the_others() -> None:
    base = empty_chain(5)
    heavy, honest = await branch_of(b"heavy", 30, base), await branch_of(b"honest", 20, base)
    for is_ibd in (True, False):
        node = Node(is_ibd=is_ibd)
        withholding, good = node.giver([*base, *heavy], 1), node.giver([*base, *honest], 2)
        node.wake()
        node.run([good], seconds=5.0)
        assert node.height == 25
        withholding.give()
        node.run([withholding, good])
        assert node.height == 35


async def test_a_reorganisation_is_followed() -> None:
    base = empty_chain(5)
    ours, theirs = await branch_of(b"ours", 10, base), await branch_of(b"theirs", 14, base)
    for is_ibd in (True, False):
        node = Node(is_ibd=is_ibd)
        node.run([node.giver([*base, *ours], 1)])
        assert node.height == 15
        giver = node.giver([*base, *theirs], 2)
        node.wake()
        asked = giver.asked()
        assert set(asked) == {block.hash for block in theirs}
        node.run([giver])
        assert node.chain.tip().hash == theirs[-1].hash


def test_near_the_tip_blocks_are_written_one_by_one_and_far_from_it_in_bulk() -> None:
    node, blocks = Node(is_ibd=False), empty_chain(200)
    giver = node.giver(blocks[:190])
    node.wake()
    node.run([giver])
    assert max(map(len, node.chain.given)) > 1
    node.chain.given.clear()
    node.chain.know([block.header for block in blocks])
    giver.sync.note_known(node.chain.known(blocks[-1].header))
    giver.blocks.update({block.hash: block for block in blocks})
    node.wake()
    node.run([giver])
    assert node.height == 200
    assert [len(call) for call in node.chain.given] == [1] * 10


def test_what_relay_is_about_to_rebuild_is_not_asked_for_yet() -> None:
    node, blocks = Node(is_ibd=False), empty_chain(3)
    giver = node.giver(blocks)
    node.pending[blocks[2].hash] = 1.9
    node.wake()
    assert giver.asked() == [block.hash for block in blocks[:2]]
    node.pending[blocks[2].hash] = 2.0
    node.clock.advance(limits.TICK_SECONDS)
    giver.give(2)
    assert blocks[2].hash in giver.asked() or blocks[2].hash in giver.owed


def test_hints_of_a_peer_count_when_their_headers_are_known() -> None:
    node, blocks = Node(), empty_chain(30)
    giver = node.giver(())
    giver.blocks.update({block.hash: block for block in blocks})
    giver.sync.hints = (b"x" * 32, blocks[29].hash, blocks[9].hash)
    node.wake()
    assert giver.asked() == []
    node.chain.know([block.header for block in blocks[:10]])
    node.clock.advance(limits.LOOK_SECONDS + 0.1)
    assert len(giver.asked()) == 10
    assert tuple(giver.sync.hints) == (b"x" * 32, blocks[29].hash)


def test_in_the_initial_download_a_dialled_peer_that_has_less_makes_room() -> None:  # 1
    node, blocks = Node(), empty_chain(30)
    node.run([node.giver(blocks, 1)])
    behind, inbound = node.giver(blocks[:20], 2), node.giver(blocks[:20], 3, is_outbound=False)
    equal, trusted = node.giver(blocks, 4), node.giver(blocks[:20], 5, is_whitelisted=True)
    hinting = node.giver(blocks[:20], 6)
    hinting.sync.hints = (b"x" * 32,)
    node.clock.advance(limits.LOOK_SECONDS + 0.1)
    assert behind.has_ended
    assert not any(giver.has_ended for giver in (inbound, equal, trusted, hinting))


def test_a_process_that_stood_still_blames_nobody() -> None:  # 16
    node, blocks = Node(), empty_chain(CHAIN)
    givers = [node.giver(blocks, seed) for seed in range(2)]
    node.wake()
    for giver in givers:
        giver.asked()
    node.clock.work(3600.0)
    node.clock.advance(0.05)
    assert not any(giver.has_ended for giver in givers)
    node.run(givers)
    assert node.height == CHAIN


def test_it_says_which_block_it_waits_for_and_who_was_asked() -> None:  # 8, 14
    node, blocks = Node(), empty_chain(30)
    giver = node.giver(blocks)
    node.wake()
    waiting = node.download.waits_for()
    assert isinstance(waiting, ForBlock)
    assert (waiting.number, waiting.block_hash) == (1, blocks[0].hash)
    assert list(waiting.asked) == [giver.sync.session_id]


def test_what_people_are_told_of_blocks_on_their_way() -> None:
    node, blocks = Node(), empty_chain(CHAIN)
    giver = node.giver(blocks)
    session = giver.sync.session_id
    assert (node.download.in_flight_of(session), node.download.can_fetch_of(session)) == (0, limits.FIRST_BUDGET)
    node.wake()
    asked = len(giver.asked())
    assert (node.download.in_flight_of(session), node.download.in_flight_count) == (asked, asked)
    assert node.download.can_fetch_of(session) == limits.FIRST_BUDGET - asked
    assert node.download.unverified_tip is None
    giver.give(3, first=1)  # not the first one, so that the writer gets none
    assert (node.download.buffered_count, node.download.unverified_tip) == (3, None)
    giver.give(1)
    assert node.download.unverified_tip == (4, blocks[3].hash)


def test_on_a_slow_line_no_second_peer_is_asked_before_the_first_can_have_answered() -> None:
    node, blocks = Node(), empty_chain(CHAIN)
    slow, other = node.giver(blocks, 1), node.giver(blocks, 2)
    node.wake()
    slow.asked()
    waited_for = set(slow.owed)
    assert blocks[0].hash in waited_for
    times = []
    for turn in range(50):
        other.asked()
        times += [turn * 0.05] * bool(waited_for & set(other.owed))
        other.give()
        node.chain.work()
        node.clock.advance(0.05)
    assert times, "somebody must give it"
    assert 1.4 < times[0] < 2.0
