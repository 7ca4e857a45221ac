"""Blocks put together of what is at hand."""

from __future__ import annotations

import pytest

from ckb_node.sync.relay.compact import read_compact
from ckb_node.sync.relay.reconstruct import FoundUncles, Places, build_block, find_uncles
from tests.sync.relay.kit import Case, FakePool, compact, story, with_other_witness

MOST = 597_000


def test_the_block_of_prefilled_and_known_transactions() -> None:
    block = story().block
    sketch = read_compact(compact(block, (0, 3)), block.header)
    places = Places(sketch)
    assert places.missing() == [1, 2, 4, 5, 6]
    places.fill(sketch.ids, FakePool(story().transfers), MOST)
    assert places.missing() == []
    assert places.transactions_root() == block.header.transactions_root
    assert build_block(sketch, places, FoundUncles([])).raw == block.raw


def test_what_is_not_known_is_missing() -> None:
    block, transfers = story().block, story().transfers
    sketch = read_compact(compact(block), block.header)
    places = Places(sketch)
    places.fill(sketch.ids, FakePool([transfers[0], transfers[4]]), MOST)
    assert places.missing() == [2, 3, 4, 6]


def test_what_is_too_large_for_the_block_is_something_else() -> None:
    block, transfers = story().block, story().transfers
    sketch = read_compact(compact(block), block.header)
    places = Places(sketch)
    places.fill(sketch.ids, FakePool(transfers), places.size + transfers[0].raw_size)
    assert places.missing() == [2, 3, 4, 5, 6]


def test_only_what_is_missing_is_looked_for() -> None:
    block = story().block
    sketch, pool = read_compact(compact(block), block.header), FakePool(story().transfers)
    places = Places(sketch)
    places.fill(sketch.ids, pool, MOST)
    places.fill(sketch.ids, pool, MOST)
    assert pool.asked == 1


def test_the_root_covers_witnesses() -> None:
    block, transfers = story().block, story().transfers
    sketch = read_compact(compact(block), block.header)
    places = Places(sketch)
    places.fill(sketch.ids, FakePool([with_other_witness(transfers[0]), *transfers[1:]]), MOST)
    assert places.missing() == []
    assert places.transactions_root() != block.header.transactions_root


def test_a_copy_is_filled_alone() -> None:
    block = story().block
    sketch = read_compact(compact(block), block.header)
    places = Places(sketch)
    copy = places.copy()
    copy.fill(sketch.ids, FakePool(story().transfers), MOST)
    assert places.missing() == [1, 2, 3, 4, 5, 6]
    assert copy.size == sum(tx.raw_size for tx in block.transactions)


def test_uncles_are_stored_or_at_hand() -> None:
    block, sibling = story().nephew, story().sibling
    hashes = [uncle.hash for uncle in block.uncles]
    case = Case(blocks=[*story().base, story().block])
    with case.chain.view() as view:
        assert find_uncles(hashes, view, lambda _: None).missing() == [0]
        found = find_uncles(hashes, view, {sibling.hash: sibling}.get)
    assert found.found() == [block.uncles[0].raw]
    case.chain.process(sibling)
    with case.chain.view() as view:
        assert find_uncles(hashes, view, lambda _: None).found() == [block.uncles[0].raw]


def test_an_uncle_at_hand_with_a_false_body_is_missing() -> None:
    """It has come from another peer, and nobody has verified it."""
    block, sibling = story().nephew, story().sibling
    false = sibling.replace(proposals=[*sibling.proposals, bytes(10)])
    assert false.hash == sibling.hash
    with Case(blocks=[*story().base, story().block]).chain.view() as view:
        assert find_uncles([block.uncles[0].hash], view, {sibling.hash: false}.get).missing() == [0]


@pytest.mark.parametrize("which", ["block", "nephew"])
def test_what_is_built_is_the_block(which: str) -> None:
    block = getattr(story(), which)
    sketch = read_compact(compact(block), block.header)
    places = Places(sketch)
    places.fill(sketch.ids, FakePool(story().transfers), MOST)
    assert build_block(sketch, places, FoundUncles([uncle.raw for uncle in block.uncles])).raw == block.raw
