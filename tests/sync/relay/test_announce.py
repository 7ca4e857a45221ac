"""New blocks are told at once, once, and to those who may not have them."""

from __future__ import annotations

from ckb_node.chain.initial_download import InitialDownload
from consensus.types.blockchain import Block
from network.messages.protocols import CompactBlock
from tests.support.network.peers import FakePeer
from tests.sync.relay.kit import Case, Maker, compact, messages, story


def told(peer: FakePeer) -> list[bytes]:
    """Hashes of the blocks that a peer was told of."""
    return [message.header.hash for message in messages(peer) if isinstance(message, CompactBlock)]


def test_a_block_that_came_by_relay_is_told_to_all_but_its_giver() -> None:
    case, block = Case(story().transfers), story().block
    giver, others = case.peer(1), [case.peer(seed) for seed in (2, 3)]
    case.say(giver, compact(block))
    assert [told(peer) for peer in (giver, *others)] == [[], [], []], "not before its verdict"
    case.run()
    assert [told(peer) for peer in (giver, *others)] == [[], [block.hash], [block.hash]]


def test_what_is_told_is_the_compact_block() -> None:
    case, block = Case(story().transfers), story().block
    giver, other = case.peer(1), case.peer(2)
    case.say(giver, compact(block))
    case.run()
    assert messages(other) == [compact(block)]


def test_who_has_told_us_is_not_told() -> None:
    case, block = Case(story().transfers), story().block
    first, second, third = (case.peer(seed) for seed in range(3))
    case.say(first, compact(block))
    case.say(second, compact(block))
    case.run()
    assert [told(peer) for peer in (first, second, third)] == [[], [], [block.hash]]


def test_a_miners_block_is_told_to_all() -> None:
    case, block = Case(), story().block
    peers = [case.peer(seed) for seed in range(3)]
    case.chain.process(block)
    assert [told(peer) for peer in peers] == [[block.hash]] * 3


def test_a_new_tip_is_told_whatever_way_it_came() -> None:
    """What came by Sync at the tip the reference does not tell: who is behind this node waits."""
    case, maker = Case(), Maker(story().base)
    peer = case.peer()
    for _ in range(3):
        case.chain.process(maker.add())
    assert told(peer) == [block.hash for block in maker.blocks[-3:]]


def test_a_node_that_catches_up_tells_of_the_last_block_only() -> None:
    """Its peers told it of the headers, and have the blocks."""
    case, maker = Case(), Maker(story().base)
    peer = case.peer()
    blocks = [maker.add() for _ in range(5)]
    case.chain.take_headers([block.header for block in blocks], lambda _: None)
    case.run()
    for block in blocks:
        case.chain.process(block)
    assert told(peer) == [blocks[-1].hash]


def test_what_came_by_relay_is_told_though_better_headers_are_known() -> None:
    case, maker = Case(), Maker(story().base)
    giver, other = case.peer(1), case.peer(2)
    blocks = [maker.add() for _ in range(3)]
    case.chain.take_headers([block.header for block in blocks], lambda _: None)
    case.run()
    case.say(giver, compact(blocks[0]))
    case.run()
    assert told(other) == [blocks[0].hash]


def test_each_block_is_told_once() -> None:
    case, block = Case(story().transfers), story().block
    giver, other = case.peer(1), case.peer(2)
    case.say(giver, compact(block))
    case.run()
    case.relay.announce(block, None)
    case.chain.truncate(story().base[-1].hash)
    case.chain.process(block)
    assert told(other) == [block.hash]


def test_a_side_block_that_came_by_relay_is_told() -> None:
    """It may become an uncle."""
    case, sibling = Case(blocks=[*story().base, story().block]), story().sibling
    giver, other = case.peer(1), case.peer(2)
    case.say(giver, compact(sibling))
    case.run()
    assert told(other) == [sibling.hash]


def test_a_side_block_of_sync_is_not_told() -> None:
    case = Case(blocks=[*story().base, story().block])
    peer = case.peer()
    case.chain.process(story().sibling)
    assert told(peer) == []


def test_a_side_block_of_a_miner_is_told_when_it_says_so() -> None:
    case, sibling = Case(blocks=[*story().base, story().block]), story().sibling
    peer = case.peer()
    case.chain.process(sibling)
    case.relay.announce(sibling, None)
    assert told(peer) == [sibling.hash]


def test_of_a_reorganisation_the_new_tip_is_told() -> None:
    maker = Maker([*story().base, story().sibling])
    side = [story().sibling, maker.add()]
    case = Case(blocks=[*story().base, story().block])
    peer = case.peer()
    for block in side:
        case.chain.process(block)
    assert told(peer) == [side[-1].hash]


def test_orphans_are_told_when_their_parent_has_come() -> None:
    case, block = Case(), story().block
    child = Maker([*story().base, block]).make()
    first, second, third = (case.peer(seed) for seed in range(3))
    case.say(first, compact(block))
    case.say(second, compact(child))
    case.run()
    assert told(third) == []
    case.chain.process(block)
    assert told(third) == [block.hash, child.hash]


def test_nothing_is_told_of_blocks_during_the_initial_download() -> None:
    case, block = Case(), story().block
    case.announcer._ibd = InitialDownload()  # type: ignore[misc]
    peer = case.peer()
    case.chain.process(block)
    assert told(peer) == []
    case.relay.announce(block, None)
    assert told(peer) == [block.hash], "what a miner gave is told all the same"


def test_a_cut_is_not_told() -> None:
    case, base = Case(), story().base
    peer = case.peer()
    case.chain.truncate(base[-2].hash)
    assert told(peer) == []


def test_who_has_closed_relay_is_not_told() -> None:
    case, block = Case(), story().block
    peer = case.peer()
    case.protocol.closed(peer)
    case.chain.process(block)
    assert told(peer) == []


def test_listeners_hear_of_each_announced_block() -> None:
    """Light clients that subscribed are told by one."""
    case, heard = Case(), list[Block]()
    case.announcer.listen(heard.append)
    case.chain.process(story().block)
    case.chain.process(story().sibling)
    assert [block.hash for block in heard] == [story().block.hash]


def test_what_is_remembered_is_bounded() -> None:
    case, block = Case(), story().block
    for number in range(2000):
        case.announcer.note_known(number.to_bytes(32, "big"), 1)
        header = block.header.with_fields(nonce=number)
        case.relay.announce(block.replace(header=header), None)
    assert len(case.announcer._announced) <= 1024
    assert len(case.announcer._known_by) <= 256
    assert len(case.announcer._recent) <= 4
