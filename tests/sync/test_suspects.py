"""Who told of an invalid block: an honest peer that had not verified it stays, a liar is banned."""

from __future__ import annotations

from collections.abc import Sequence

from ckb_node.sync.chain import KnownTip
from ckb_node.sync.peers import SyncPeer
from ckb_node.sync.relay.status import RelayStatus
from ckb_node.sync.suspects import LOOKS
from consensus.types.blockchain import Block
from network.limits import SYNC
from tests.support.network.peers import FakePeer
from tests.sync.relay.kit import Case, ban_of, compact, grown, spoilt, story


def bad_sibling() -> Block:
    """On the same parent as the story's block, of the same work."""
    return spoilt(story().sibling)


def case_that_knows(bad: Block) -> Case:
    """Its tip is the parent of the bad block, which it has found invalid."""
    case = Case(story().transfers)
    teller = case.peer(9)
    case.say(teller, compact(bad))
    case.let_suspects_show_their_chain()
    assert ban_of(teller) == "401"
    case.asked_headers.clear()
    return case


def show(case: Case, peer: FakePeer, blocks: Sequence[Block]) -> None:
    """The peer answers a question for headers with those of its main chain."""
    assert sync_peer_of(case, peer) in case.asked_headers, "nobody asked"
    case.chain.take_headers(
        [block.header for block in blocks],
        lambda taken: None if taken.last is None else sync_peer_of(case, peer).note_shown(taken.last),
    )
    case.run()


def sync_peer_of(case: Case, peer: FakePeer) -> SyncPeer:
    found = case.peers.get(peer.session_id)
    assert found is not None
    return found


def child_of(block: Block) -> Block:
    """As well as it can be made; it stands on what nobody can take."""
    header = block.header.with_fields(
        number=block.number + 1, parent_hash=block.hash, timestamp=block.header.timestamp + 1
    )
    return block.replace(header=header)


# ---------------------------------------------------------------- honest ones stay


def test_a_side_block_that_is_known_to_be_invalid() -> None:
    """The teller has as good a tip, so it did not verify the other one (simulation seed 1796054737072)."""
    bad = bad_sibling()
    case = case_that_knows(bad)
    case.chain.process(story().block)
    peer = case.peer(1)
    assert case.say(peer, compact(bad)) is RelayStatus.IGNORED
    case.let_suspects_show_their_chain()
    assert not peer.has_ended
    assert len(case.suspects) == 0


def test_an_invalid_side_block_of_one_who_is_ahead() -> None:
    """Its tip comes later than the block, which would have been the tip here."""
    case, bad = Case(story().transfers), bad_sibling()
    peer = case.peer(1)
    case.say(peer, compact(bad))
    case.run()
    assert not peer.has_ended
    show(case, peer, [story().block])
    case.let_suspects_show_their_chain()
    assert not peer.has_ended


def test_its_header_was_known_before() -> None:
    case, bad = Case(story().transfers), bad_sibling()
    case.chain.take_headers([story().block.header], lambda _: None)
    case.run()
    peer = case.peer(1)
    case.say(peer, compact(bad))
    case.let_suspects_show_their_chain()
    assert not peer.has_ended
    assert case.asked_headers == []


def test_what_stands_on_an_invalid_block_beside_a_longer_chain() -> None:
    bad = bad_sibling()
    case = case_that_knows(bad)
    for block in grown(3).blocks[len(story().base) :]:
        case.chain.process(block)
    peer = case.peer(1)
    assert case.say(peer, compact(child_of(bad))) is RelayStatus.IGNORED
    case.let_suspects_show_their_chain()
    assert not peer.has_ended


def test_seconds_in_which_this_process_stood_still_do_not_count() -> None:
    case, bad = Case(story().transfers), bad_sibling()
    peer = case.peer(1)
    case.say(peer, compact(bad))
    case.run()
    case.scheduler.work(60.0)
    case.scheduler.advance(1.0)
    assert not peer.has_ended


def test_one_whose_chain_was_cut_off_here_by_hand() -> None:
    """What it showed is gone, which says nothing about it: it shows it once more."""
    case, bad = Case(story().transfers), bad_sibling()
    case.chain.process(story().block)
    peer = case.peer(1)
    case.asked_headers.append(sync_peer_of(case, peer))
    longer = [story().block, story().nephew]
    show(case, peer, longer)
    case.chain.truncate(story().base[-1].hash)
    case.asked_headers.clear()
    case.say(peer, compact(bad))
    case.run()
    assert not peer.has_ended
    show(case, peer, longer)
    case.let_suspects_show_their_chain()
    assert not peer.has_ended


# ---------------------------------------------------------------- liars are banned


def test_one_who_shows_nothing() -> None:
    case, bad = Case(story().transfers), bad_sibling()
    peer = case.peer(1)
    case.say(peer, compact(bad))
    case.run()
    case.scheduler.advance(LOOKS - 0.5)
    assert not peer.has_ended
    assert {each.session_id for each in case.asked_headers} == {peer.session_id}
    case.scheduler.advance(1.0)
    assert ban_of(peer) == "401"
    assert len(case.suspects) == 0
    assert case.scheduler.waiting == 0


def test_one_who_shows_less() -> None:
    """Two blocks of the invalid branch have more work than the one that it shows."""
    bad = bad_sibling()
    case = case_that_knows(bad)
    peer = case.peer(1)
    case.say(peer, compact(child_of(bad)))
    show(case, peer, [story().block])
    case.let_suspects_show_their_chain()
    assert ban_of(peer) == "401"


def test_many_blocks_on_one_invalid_one_are_one_accusation() -> None:
    """Their proof of work is for targets that nobody has checked, so they cost nothing: others stay suspects."""
    bad = bad_sibling()
    case = case_that_knows(bad)
    peer = case.peer(1)
    case.say(peer, compact(bad))
    child = child_of(bad)
    for nonce in range(3):
        case.say(peer, compact(child.replace(header=child.header.with_fields(nonce=nonce))))
    assert len(case.suspects) == 1
    case.let_suspects_show_their_chain()
    assert ban_of(peer) == "401"


def test_of_an_invalid_branch_the_block_with_the_most_work_counts() -> None:
    bad = bad_sibling()
    case = case_that_knows(bad)
    peer = case.peer(1)
    case.say(peer, compact(bad))
    case.say(peer, compact(child_of(bad)))
    show(case, peer, [story().block])  # as much as the first has
    case.let_suspects_show_their_chain()
    assert ban_of(peer) == "401"


def test_a_later_block_of_others_excuses_nobody() -> None:
    case, bad = Case(story().transfers), bad_sibling()
    peer = case.peer(1)
    case.say(peer, compact(bad))
    case.run()
    case.chain.process(story().block)
    case.let_suspects_show_their_chain()
    assert ban_of(peer) == "401"


def test_one_that_gave_the_header_as_one_of_its_main_chain() -> None:
    """At once."""
    case, bad = Case(story().transfers), bad_sibling()
    peer = case.peer(1)
    case.asked_headers.append(sync_peer_of(case, peer))
    show(case, peer, [bad])
    case.say(peer, compact(bad))
    case.run()
    assert ban_of(peer) == "401"


def test_one_that_gave_what_stands_on_it_and_something_better() -> None:
    bad = bad_sibling()
    case = case_that_knows(bad)
    parent = case.chain.tip()
    above = KnownTip(child_of(bad).header, parent.total_difficulty + 2)
    for block in grown(2).blocks[len(story().base) :]:
        case.chain.process(block)
    peer = case.peer(1)
    sync_peer_of(case, peer).note_shown(above)
    sync_peer_of(case, peer).note_shown(case.chain.tip())
    case.say(peer, compact(bad))
    case.run()
    assert ban_of(peer) == "401"


def test_one_that_shows_nothing_more_after_a_cut_by_hand() -> None:
    case, bad = Case(story().transfers), bad_sibling()
    case.chain.process(story().block)
    peer = case.peer(1)
    case.asked_headers.append(sync_peer_of(case, peer))
    show(case, peer, [story().block])
    case.chain.truncate(story().base[-1].hash)
    case.say(peer, compact(bad))
    case.run()
    assert not peer.has_ended
    case.let_suspects_show_their_chain()
    assert ban_of(peer) == "401"


def test_a_cut_above_leaves_what_was_shown_of_an_invalid_branch() -> None:
    case, bad = Case(story().transfers), bad_sibling()
    peer = case.peer(1)
    case.asked_headers.append(sync_peer_of(case, peer))
    show(case, peer, [bad])
    case.say(case.peer(9), compact(bad))
    case.run()
    case.chain.process(story().block)
    case.chain.truncate(story().block.hash)
    case.say(peer, compact(bad))
    case.run()
    assert ban_of(peer) == "401"


def test_a_body_that_is_wrong_for_itself() -> None:
    """No node takes such a block, not even as a side block."""
    case = Case(story().transfers)
    case.chain.process(story().block)
    false = compact(story().sibling).replace(proposals=[bytes(10)])
    peer = case.peer(1)
    case.say(peer, false)
    case.run()
    assert ban_of(peer) == "401"
    assert case.asked_headers == []


def test_one_whose_sync_opens_late_is_asked_then() -> None:
    case, bad = Case(story().transfers), bad_sibling()
    peer = case.peer(1, with_sync=False)
    case.say(peer, compact(bad))
    case.run()
    peer.open(SYNC)
    case.peers.add(peer)
    case.scheduler.advance(1.0)
    show(case, peer, [story().block])
    case.let_suspects_show_their_chain()
    assert not peer.has_ended


def test_nothing_is_done_after_the_end() -> None:
    case, bad = Case(story().transfers), bad_sibling()
    peer = case.peer(1)
    case.say(peer, compact(bad))
    case.run()
    case.suspects.stop()
    case.scheduler.advance(60.0)
    assert not peer.has_ended
