"""Compact blocks that wait: their bounds, and who is asked."""

from __future__ import annotations

from ckb_node.sync.chain import KnownTip
from ckb_node.sync.relay.answered import Asked
from ckb_node.sync.relay.compact import read_compact
from ckb_node.sync.relay.pending import MAX_OFFERS, Offer, PendingBlocks
from ckb_node.sync.relay.reconstruct import Places
from consensus.types.blockchain import Block
from consensus.types.core import EpochFraction
from network.peer import Direction
from tests.support.network.peers import FakePeer
from tests.sync.relay.kit import compact, story


def block_at(number: int, epoch: int = 0) -> Block:
    """Another one for each number."""
    fraction = EpochFraction(epoch, 1, 1000)
    return story().block.replace(header=story().block.header.with_fields(number=number, epoch=fraction.pack()))


def offer_of(block: Block, seed: int = 1, direction: Direction = Direction.OUTBOUND, *, prefilled: int = 0) -> Offer:
    sketch = read_compact(compact(block, tuple(range(prefilled + 1))), block.header)
    places = Places(sketch)
    return Offer(FakePeer(seed, direction=direction), sketch, places, Asked(places.missing(), ()))


def known(block: Block) -> KnownTip:
    return KnownTip(block.header, block.number)


def test_they_are_bounded_in_number_and_the_oldest_leave() -> None:
    pending = PendingBlocks(max_blocks=3)
    blocks = [block_at(number) for number in range(5)]
    for now, block in enumerate(blocks):
        assert pending.add(known(block), offer_of(block), float(now)) is not None
    assert [each.known.number for each in pending] == [2, 3, 4]


def test_they_are_bounded_in_bytes() -> None:
    size = offer_of(block_at(1)).size
    pending = PendingBlocks(max_bytes=2 * size + size // 2)
    for number in range(4):
        pending.add(known(block_at(number)), offer_of(block_at(number)), 0.0)
    assert len(pending) == 2
    assert pending.size_bytes == 2 * size


def test_one_that_is_larger_than_all_may_be_is_not_kept() -> None:
    pending = PendingBlocks(max_bytes=100)
    assert pending.add(known(block_at(1)), offer_of(block_at(1)), 0.0) is None
    assert (len(pending), pending.size_bytes) == (0, 0)


def test_they_leave_by_age() -> None:
    pending = PendingBlocks(max_age=60.0)
    pending.add(known(block_at(1)), offer_of(block_at(1)), 0.0)
    pending.add(known(block_at(2)), offer_of(block_at(2)), 61.0)
    assert [each.known.number for each in pending] == [2]


def test_they_leave_by_epoch_and_not_by_height() -> None:
    """What is below the tip in its epoch may become an uncle: dropping it raised the rate of uncles (ckb 3116)."""
    pending = PendingBlocks()
    for number, epoch in ((5, 1), (2, 2), (9, 2)):
        pending.add(known(block_at(number, epoch)), offer_of(block_at(number, epoch)), 0.0)
    pending.drop_before_epoch(2)
    assert [each.known.number for each in pending] == [2, 9]


def test_equal_compact_blocks_are_kept_once() -> None:
    pending, block = PendingBlocks(), block_at(1)
    first = offer_of(block)
    pending.add(known(block), first, 0.0)
    entry = pending.add(known(block), offer_of(block, seed=2), 0.0)
    assert entry is not None
    assert pending.size_bytes == first.size
    other = offer_of(block, seed=3, prefilled=2)
    assert entry.like(other.sketch) is None
    pending.add(known(block), other, 0.0)
    assert pending.size_bytes == first.size + other.size


def test_offers_of_one_block_are_bounded() -> None:
    pending, block = PendingBlocks(), block_at(1)
    for seed in range(MAX_OFFERS):
        assert pending.add(known(block), offer_of(block, seed), 0.0) is not None
    assert pending.add(known(block), offer_of(block, MAX_OFFERS), 0.0) is None
    entry = pending.get(block.hash)
    assert entry is not None
    assert len(entry.offers) == MAX_OFFERS


def test_three_are_asked_of_which_two_may_have_dialled_us() -> None:
    pending, block = PendingBlocks(), block_at(1)
    asked = []
    directions = [Direction.INBOUND] * 3 + [Direction.OUTBOUND] * 2
    for seed, direction in enumerate(directions):
        offer = offer_of(block, seed, direction)
        entry = pending.add(known(block), offer, 0.0)
        assert entry is not None
        offer.is_asked = entry.may_ask(offer)
        asked.append(offer.is_asked)
    assert asked == [True, True, False, True, False]


def test_a_block_that_nobody_offers_leaves() -> None:
    pending, block = PendingBlocks(), block_at(1)
    first, second = offer_of(block, 1), offer_of(block, 2, prefilled=1)
    pending.add(known(block), first, 0.0)
    entry = pending.add(known(block), second, 0.0)
    assert entry is not None
    pending.remove_offer(entry, first.peer.session_id)
    assert pending.size_bytes == second.size
    pending.remove_offer(entry, second.peer.session_id)
    assert (len(pending), pending.size_bytes) == (0, 0)


def test_other_places_are_counted() -> None:
    pending, block = PendingBlocks(), block_at(1)
    offer = offer_of(block)
    entry = pending.add(known(block), offer, 0.0)
    assert entry is not None
    places = offer.places.copy()
    places.put(1, b"transaction", bytes(32), bytes(32))
    pending.replace_places(entry, offer, places)
    assert pending.size_bytes == offer.size
    pending.remove(block.hash)
    assert pending.size_bytes == 0
