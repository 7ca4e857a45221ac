"""Which hashes a locator has."""

from __future__ import annotations

import pytest

from ckb_node.sync.headers.locator import Locators, Trail, locator, locator_heights
from tests.support.network.clock import FakeScheduler
from tests.sync.headers.kit_headers import GENESIS, FakeChain, branch


@pytest.mark.parametrize(
    ("number", "heights"),
    [
        (0, [0]),
        (1, [1, 0]),
        (2, [2, 1, 0]),
        (9, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (12, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 0]),
        (40, [40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 29, 25, 17, 0]),
    ],
)
def test_heights_of_low_headers(number: int, heights: list[int]) -> None:
    assert locator_heights(number) == heights


def test_heights_of_high_headers_are_halved_near_genesis() -> None:
    heights = locator_heights(15_000_000)
    assert heights[:12] == [15_000_000 - at for at in (*range(10), 11, 15)]
    assert heights[-1] == 0
    assert len(heights) <= 101
    assert heights == sorted(set(heights), reverse=True)
    low = [height for height in heights if 0 < height < 1_000_000]
    assert len(low) >= 5  # so that a peer early in its download finds one that it knows


@pytest.mark.parametrize("number", [8191, 8192, 8193, 100_000, (1 << 64) - 1])
def test_a_locator_has_a_bound_and_ends_in_genesis(number: int) -> None:
    heights = locator_heights(number)
    assert len(heights) <= 101
    assert heights[0] == number
    assert heights[-1] == 0
    assert heights == sorted(set(heights), reverse=True)


def test_hashes_of_blocks_and_of_headers_without_blocks() -> None:
    chain = FakeChain(FakeScheduler())
    main = branch(GENESIS, 60)
    chain.grow(main[:30])
    chain.writer.store_headers(main[30:])
    by_height = [GENESIS, *main]
    with chain.view() as view:
        for number in (0, 1, 29, 30, 31, 60):
            assert locator(view, by_height[number].hash) == [by_height[at].hash for at in locator_heights(number)]


def test_a_locator_of_a_fork_follows_its_branch() -> None:
    chain = FakeChain(FakeScheduler())
    main = branch(GENESIS, 40)
    side = branch(main[19], 10, salt=1)
    chain.grow([*main, *side])
    expected = [GENESIS, *main[:20], *side]
    with chain.view() as view:
        assert locator(view, side[-1].hash) == [expected[at].hash for at in locator_heights(30)]
        assert locator(view, bytes(32)) == []


def test_a_trail_gives_the_locator_of_what_a_peer_sent() -> None:
    main = branch(GENESIS, 6000)
    by_height = [GENESIS, *main]
    trail = Trail(1000, [by_height[at].hash for at in locator_heights(1000)])
    for first in (1000, 3000):
        trail.move_on(main[first : first + 2000])
        last = first + 2000
        hashes = trail.hashes
        heights = [next(at for at, each in enumerate(by_height) if each.hash == block_hash) for block_hash in hashes]
        assert heights[0] == last
        assert heights[-1] == 0
        assert heights == sorted(set(heights), reverse=True)
        assert heights[:15] == locator_heights(last)[:15]  # as dense as any near the end
        assert len(heights) <= 101


def test_a_trail_takes_whatever_numbers_headers_claim() -> None:
    trail = Trail(0, [GENESIS.hash])
    for number in ((1 << 64) - 1, 0, 5):
        trail.move_on([each.with_fields(number=number) for each in branch(GENESIS, 3)])
        assert len(trail.hashes) <= 101


def test_one_locator_is_read_once_for_all_who_want_it() -> None:
    scheduler = FakeScheduler()
    chain = FakeChain(scheduler)
    chain.grow(branch(GENESIS, 3))
    chain.is_paused = True
    locators, found = Locators(chain), list[list[bytes]]()
    tip = chain.tip().hash
    locators.find(tip, found.append)
    locators.find(tip, found.append)
    chain.work(1)
    assert len(found) == 2
    locators.find(tip, found.append)  # kept
    assert found[0] == found[1] == found[2]
    assert found[0][-1] == GENESIS.hash


def test_what_cannot_be_read_is_read_again() -> None:
    chain = FakeChain(FakeScheduler())
    chain.is_paused = True
    locators, found = Locators(chain), list[list[bytes]]()
    chain.fault = OSError("the disk")
    for _ in range(2):
        locators.find(GENESIS.hash, found.append)
        chain.work(1)
    assert found == [[], [GENESIS.hash]]
