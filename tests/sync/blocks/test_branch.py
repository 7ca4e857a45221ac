"""What is downloaded of a branch, in which order, and what of it a peer has."""

from __future__ import annotations

import pytest

from ckb_node.sync.blocks import limits
from ckb_node.sync.blocks.branch import Ask, Branch
from storage.chain_store import ChainView
from tests.support.chains.branches import branch as branch_of
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.step_chain import StepChain
from tests.sync.blocks.kit import empty_chain


def yes(_: bytes) -> Ask:
    return Ask.YES


def chain_with(count: int, stored: int = 0) -> StepChain:
    chain, blocks = StepChain(dev_consensus()), empty_chain(40)[:count]
    chain.know([block.header for block in blocks])
    for block in blocks[:stored]:
        chain.writer.process(block)
    return chain


def opened(chain: StepChain, count: int) -> Branch:
    target = chain.known(empty_chain(40)[count - 1].header)
    with chain.view() as view:
        first = view.known_headers().first_missing(target.hash)
        assert first is not None
        branch = Branch(target, first, 0.0)
        assert branch.load_first(view)
    return branch


def read_more(branch: Branch, view: ChainView) -> None:
    """What is to be read now."""
    if branch.wants_more:
        load = branch.next_load
        assert branch.note_loaded(load, load.read(view), view)


@pytest.mark.parametrize("stored", [0, 1, 7, 40])
def test_it_begins_above_what_is_stored(stored: int) -> None:
    branch = opened(chain_with(40, stored), 40)
    assert branch.first == stored + 1
    assert branch.loaded == 40
    assert branch.is_done == (stored == 40)
    assert [branch.hash_at(number) for number in range(stored + 1, 41)] == [
        block.hash for block in empty_chain(40)[stored:]
    ]
    assert branch.hash_at(stored) is branch.hash_at(41) is None


def test_each_height_is_handed_out_once_until_it_is_wanted_again() -> None:
    branch = opened(chain_with(40), 40)
    assert [number for number, _ in branch.take_wanted(3, 40, yes)] == [1, 2, 3]
    assert [number for number, _ in branch.take_wanted(3, 5, yes)] == [4, 5]
    branch.want_again(4)
    branch.want_again(2)
    branch.want_again(2)
    branch.want_again(30)  # was never handed out
    assert [number for number, _ in branch.take_wanted(3, 3, yes)] == [2]
    assert [number for number, _ in branch.take_wanted(3, 40, yes)] == [4, 6, 7]
    branch.advance_to(6)
    branch.want_again(5)  # is taken
    assert [number for number, _ in branch.take_wanted(2, 40, yes)] == [8, 9]


def test_what_is_here_is_not_handed_out_and_what_may_not_be_asked_stays() -> None:
    branch, hashes = opened(chain_with(10), 10), [block.hash for block in empty_chain(40)]

    def ask(block_hash: bytes) -> Ask:
        at = hashes.index(block_hash)
        return Ask.NO_NEED if at % 3 == 0 else Ask.NOT_NOW if at % 3 == 1 else Ask.YES

    assert [number for number, _ in branch.take_wanted(99, 10, ask)] == [3, 6, 9]
    assert branch.has_wanted
    assert [number for number, _ in branch.take_wanted(99, 10, yes)] == [2, 5, 8]
    assert not branch.has_wanted


def test_hashes_are_read_piece_by_piece_and_not_beyond_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOAD", 8)
    monkeypatch.setattr(limits, "FIRST_LOAD", 8)
    monkeypatch.setattr(limits, "WINDOW", 20)
    chain = chain_with(40)
    branch = opened(chain, 40)
    assert branch.loaded == 8
    with chain.view() as view:
        read_more(branch, view)
        assert branch.loaded == 8  # enough is left
        for loaded in (16, 20, 20):
            branch.take_wanted(8, 40, yes)
            read_more(branch, view)
            assert branch.loaded == loaded
        branch.advance_to(11)
        read_more(branch, view)
        assert branch.loaded == 28
        assert branch.hash_at(28) == empty_chain(40)[27].hash


async def test_what_was_read_meanwhile_is_taken_only_if_it_leads_to_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FIRST_LOAD", 4)
    base = empty_chain(40)[:6]
    other = await branch_of(b"other", 9, base)
    chain = chain_with(40)
    chain.know([block.header for block in other])
    branch = opened(chain, 20)
    to_other = Branch(chain.known(other[-1].header), 5, 0.0)
    with chain.view() as view:
        load = branch.next_load
        assert (load.first, load.last) == (5, 20)
        found = load.read(view)
        assert not branch.note_loaded(load, None, view), "the target was not known"
        assert not to_other.note_loaded(load, found, view), "of another branch"
        assert branch.follow(chain.known(empty_chain(40)[29].header), view)
        assert branch.note_loaded(load, found, view), "on the way to the new target, too"
        assert branch.loaded == 20
        assert not branch.note_loaded(load, found, view), "once"


async def test_what_a_peer_has_ends_where_its_chain_leaves_the_branch() -> None:
    base = empty_chain(40)[:6]
    other = await branch_of(b"other", 9, base)
    chain = chain_with(40)
    chain.know([block.header for block in other])
    branch = opened(chain, 40)
    with chain.view() as view:
        for blocks, lead in [(empty_chain(40), 40), (empty_chain(40)[:30], 30), (base, 6), (other, 6), (other[:1], 6)]:
            assert branch.lead_of(chain.known(blocks[-1].header), view) == lead
        branch.advance_to(10)
        assert branch.lead_of(chain.known(other[-1].header), view) < 10
        assert branch.lead_of(chain.known(base[-1].header), view) < 10


async def test_it_follows_the_header_that_it_leads_to_and_no_other() -> None:
    base = empty_chain(40)[:6]
    other = await branch_of(b"other", 9, base)
    chain = chain_with(40)
    chain.know([block.header for block in other])
    branch = opened(chain, 20)
    with chain.view() as view:
        assert branch.follow(chain.known(empty_chain(40)[29].header), view)
        assert branch.target.number == 30
        assert not branch.follow(chain.known(other[-1].header), view)
        assert branch.target.number == 30
        read_more(branch, view)
