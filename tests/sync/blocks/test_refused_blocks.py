"""Blocks that nobody asked for, that are not what they say, or that break a rule: who gave them pays, if it was the
peer's fault, and the others go on."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import pytest

from ckb_node.chain.errors import InvalidParentError, KnownInvalidBlockError
from ckb_node.chain.events import Verdict
from ckb_node.sync.blocks.waiting import AfterFault, ForPeers
from consensus.rules.block import ProposalsHashError
from tests.support.chains.branches import branch, branch_on_bad, with_wrong_dao
from tests.sync.blocks.kit import CHAIN, Node, empty_chain, false_body, peer_of


def test_blocks_that_nobody_asked_for_are_ignored() -> None:
    node, blocks = Node(), empty_chain(CHAIN)
    asked, stranger = node.giver(blocks, 1), node.giver(blocks[:1], 2)
    node.wake()
    stranger.asked()
    for block in blocks:
        stranger.send(block)
    assert node.download.buffered_bytes <= blocks[0].raw_size
    assert not stranger.has_ended
    node.run([asked])
    assert node.height == CHAIN


@pytest.mark.parametrize("is_ibd", [True, False])
def test_who_gives_a_false_body_is_banned_and_others_are_asked(is_ibd: bool) -> None:
    node, blocks = Node(is_ibd=is_ibd), empty_chain(40)
    liar = node.giver(blocks, 1)
    node.wake()
    assert blocks[4].hash in liar.asked()
    liar.blocks[blocks[4].hash] = false_body(blocks[4])
    liar.give()
    node.chain.work()
    assert node.height == 4
    assert liar.fake.banned is not None
    assert liar.fake.banned[1].startswith("401")
    assert blocks[4].hash.hex() in liar.fake.banned[1]
    liar.leave()
    assert isinstance(node.download.waits_for(), ForPeers)
    good = node.giver(blocks, 2)
    node.run([good])
    assert node.height == 40
    assert not good.has_ended


@pytest.mark.parametrize("is_ibd", [True, False])
def test_a_friend_that_gives_a_false_body_is_not_asked_for_it_again(
    is_ibd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody on the whitelist is banned."""
    node, blocks = Node(is_ibd=is_ibd), empty_chain(40)
    friend = node.giver(blocks, 1, is_whitelisted=True)
    monkeypatch.setattr(friend.fake, "ban", lambda *_: None)
    node.wake()
    friend.blocks[blocks[4].hash] = false_body(blocks[4])
    node.run([friend], seconds=5.0)
    assert node.height == 4
    assert blocks[4].hash not in friend.asked()
    assert isinstance(node.download.waits_for(), ForPeers)
    good = node.giver(blocks, 2)
    node.run([good, friend])
    assert node.height == 40


@pytest.mark.parametrize("is_ibd", [True, False])
def test_many_false_bodies_of_one_liar_stop_the_writer_once(is_ibd: bool) -> None:
    node, blocks = Node(is_ibd=is_ibd), empty_chain(CHAIN)
    liar = node.giver(blocks, 1)
    node.wake()
    liar.blocks.update({block.hash: false_body(block) for block in blocks})
    assert liar.give() > 10
    honest = node.giver(blocks, 2)
    node.wake()
    rounds = 0
    while node.height < CHAIN and rounds < 100:
        honest.give()
        node.chain.work()
        if liar.has_ended and peer_of(node, liar) is not None:
            liar.leave()
        node.clock.advance(0.1)
        rounds += 1
    assert liar.fake.banned is not None
    assert rounds < 12


@pytest.mark.parametrize("is_ibd", [True, False])
async def test_who_gives_a_bad_block_is_banned_and_others_go_on(is_ibd: bool) -> None:
    base, good = empty_chain(5), empty_chain(30)
    bad = with_wrong_dao(good[5])
    above = await branch_on_bad(b"above", 30, [*base, bad])
    node = Node(is_ibd=is_ibd)
    liar, honest = node.giver([*base, bad, *above], 1), node.giver(good, 2)
    node.wake()
    node.run([liar], seconds=1.0)
    assert liar.fake.banned is not None
    assert liar.fake.banned[0] == 300
    assert "401" in liar.fake.banned[1]
    liar.leave()
    node.run([honest])
    assert node.height == 30
    assert not honest.has_ended


DEEP: Final = 7
OWN: Final = 3


@pytest.mark.parametrize("is_ibd", [True, False])
@pytest.mark.parametrize("depth", range(DEEP))
async def test_a_branch_is_used_up_to_its_bad_block(depth: int, is_ibd: bool) -> None:
    """The node has some blocks of its own above the fork; the branch has more, and one of them is bad."""
    base, own = empty_chain(5), empty_chain(5 + OWN)
    good = await branch(b"another miner", depth + 1, base)
    bad = with_wrong_dao(good[-1])
    used = [*base, *good[:-1]]
    above = await branch_on_bad(b"above", DEEP - depth, [*used, bad])
    node = Node(is_ibd=is_ibd)
    for block in own:
        node.chain.writer.process(block)
    liar = node.giver([*used, bad, *above])
    node.wake()
    node.run([liar], seconds=2.0)
    assert liar.fake.banned is not None
    assert liar.fake.banned[0] == 300
    assert "401" in liar.fake.banned[1]
    assert bad.hash.hex() in liar.fake.banned[1]
    tip = used[-1] if depth > OWN else own[-1]
    assert node.chain.tip().hash == tip.hash
    for block in (bad, *above):  # from whomever they come again
        with suppress(KnownInvalidBlockError, InvalidParentError):
            assert node.chain.writer.process(block) is Verdict.ORPHAN
    assert node.chain.tip().hash == tip.hash


async def test_only_who_gave_the_bad_block_is_banned() -> None:
    base = empty_chain(5)
    bad = with_wrong_dao(empty_chain(6)[5])
    above = await branch_on_bad(b"above", 60, [*base, bad])
    node = Node()
    givers = [node.giver([*base, bad, *above], seed) for seed in range(3)]
    node.wake()
    owing = [bad.hash in giver.asked() for giver in givers]
    node.run(givers, seconds=2.0)
    assert [giver.fake.banned is not None for giver in givers] == owing
    assert node.height == 5
    assert all(giver.sync.best_known is None for giver in givers)


def test_a_fault_of_ours_punishes_nobody_and_nothing_is_asked_for_twice() -> None:  # 7
    node, blocks = Node(), empty_chain(CHAIN)
    giver = node.giver(blocks)
    node.wake()
    asked = list(giver.asked())
    giver.give()
    node.chain.fault = OSError("no space left on device")
    node.chain.work()
    waiting = node.download.waits_for()
    assert isinstance(waiting, AfterFault)
    assert isinstance(waiting.fault, OSError)
    for _ in range(100):
        node.clock.advance(0.1)
        asked += giver.asked()
        giver.give()
        node.chain.work()
    node.run([giver])
    assert node.height == CHAIN
    assert len(asked) == len(set(asked))
    assert not giver.has_ended


def test_after_faults_it_is_tried_again_ever_more_seldom() -> None:
    node, blocks = Node(), empty_chain(30)
    giver = node.giver(blocks)
    node.wake()
    giver.give()
    calls = []
    for _ in range(900):
        node.chain.fault = OSError()
        node.chain.work()
        calls.append(len(node.chain.given))
        node.clock.advance(0.1)
    assert 5 <= calls[-1] <= 12
    node.chain.fault = None
    node.clock.advance(31.0)
    node.chain.work()
    assert node.height == 30


def test_a_block_that_was_found_invalid_is_not_asked_for() -> None:
    node, blocks = Node(), empty_chain(10)
    bad = with_wrong_dao(blocks[5])
    for block in blocks[:5]:
        node.chain.writer.process(block)
    with pytest.raises(Exception, match="InvalidDAO"):
        node.chain.writer.process(bad)
    with pytest.raises(KnownInvalidBlockError):
        node.chain.writer.process(bad)
    giver = node.giver(blocks)
    node.wake()
    node.run([giver])
    assert node.height == 10


def test_the_false_body_of_this_kit_is_one() -> None:
    node, blocks = Node(), empty_chain(3)
    with pytest.raises(ProposalsHashError):
        node.chain.writer.process(false_body(blocks[0]))
