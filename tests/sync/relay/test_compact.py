"""Compact blocks by themselves: how ours are made, and the rules of those of peers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckb_node.sync.relay.compact import compact_message, is_stale, read_compact, tx_hashes, verify_counts
from ckb_node.sync.relay.status import RelayFault
from consensus.types.blockchain import Block
from consensus.types.core import EpochFraction
from network.messages.protocols import RELAY_MESSAGE, CompactBlock
from network.peers.penalties import Misbehaviour
from tests.support.builders.blocks import a_header
from tests.support.chains.devchain import dev_consensus
from tests.sync.relay.kit import compact, story


def fault_of(message: CompactBlock) -> Misbehaviour:
    """Why it is refused."""
    try:
        verify_counts(dev_consensus(), message)
        read_compact(message, message.header)
    except RelayFault as fault:
        return fault.misbehaviour
    raise AssertionError("it is not refused")


@pytest.mark.parametrize("which", ["block", "nephew", "sibling"])
def test_ours_are_those_of_the_schema(which: str) -> None:
    block: Block = getattr(story(), which)
    assert compact_message(block) == RELAY_MESSAGE.pack(compact(block))


def test_a_block_without_extension_has_a_compact_block_without_one() -> None:
    bare = story().block.replace(extension=None)
    assert compact_message(bare) == RELAY_MESSAGE.pack(compact(bare))


def test_one_is_taken_apart() -> None:
    block = story().nephew
    sketch = read_compact(compact(block), block.header)
    assert sketch.hash == block.hash
    cellbase = block.transactions[0]
    assert sketch.prefilled == [(0, cellbase.raw, cellbase.hash, cellbase.witness_hash)]
    assert sketch.ids == [None]
    assert sketch.uncles == [block.uncles[0].hash]
    assert sketch.proposal_ids() == list(block.proposals)


def test_prefilled_ones_stand_between_short_ids() -> None:
    block = story().block
    ids = [tx.short_id for tx in block.transactions]
    sketch = read_compact(compact(block, (0, 2, 6)), block.header)
    assert sketch.ids == [None, ids[1], None, ids[3], ids[4], ids[5], None]
    assert sketch.id_places() == [1, 3, 4, 5]
    assert [raw for _, raw, _, _ in sketch.prefilled] == [block.transactions[index].raw for index in (0, 2, 6)]


def test_hashes_of_a_serialised_transaction() -> None:
    transaction = story().transfers[0]
    assert tx_hashes(transaction.raw) == (transaction.hash, transaction.witness_hash)


def test_400_too_many_uncles() -> None:
    message = compact(story().block, uncles=[bytes(32)] * 3)
    assert fault_of(message) is Misbehaviour.SYNC_400_MALFORMED


def test_400_too_many_proposals() -> None:
    most = dev_consensus().max_block_proposals
    verify_counts(dev_consensus(), compact(story().block, proposals=[bytes(10)] * most))
    message = compact(story().block, proposals=[bytes(10)] * (most + 1))
    assert fault_of(message) is Misbehaviour.SYNC_400_MALFORMED


def test_400_larger_than_any_block() -> None:
    ids = [number.to_bytes(10, "big") for number in range(dev_consensus().max_block_bytes // 10)]
    assert fault_of(compact(story().block, short_ids=ids)) is Misbehaviour.SYNC_400_MALFORMED


@pytest.mark.parametrize("prefilled", [(0,), tuple(range(7))])
def test_a_compact_block_is_hardly_larger_than_its_block(prefilled: tuple[int, ...]) -> None:
    block = story().block
    consensus = replace(dev_consensus(), max_block_bytes=block.raw_size)
    verify_counts(consensus, compact(block, prefilled))


def test_403_a_short_id_twice() -> None:
    whole = compact(story().block)
    message = whole.replace(short_ids=[*whole.short_ids, whole.short_ids[0]])
    assert fault_of(message) is Misbehaviour.RELAY_403_DUPLICATE_SHORT_IDS


def test_404_nothing_prefilled() -> None:
    assert fault_of(compact(story().block, ())) is Misbehaviour.RELAY_404_NO_PREFILLED_CELLBASE


def test_404_the_first_is_not_the_cellbase() -> None:
    assert fault_of(compact(story().block, (1,))) is Misbehaviour.RELAY_404_NO_PREFILLED_CELLBASE


def test_405_a_prefilled_one_by_short_id_too() -> None:
    whole = compact(story().block, (0, 1))
    message = whole.replace(short_ids=[*whole.short_ids, story().block.transactions[1].short_id])
    assert fault_of(message) is Misbehaviour.RELAY_405_DUPLICATE_PREFILLED


def test_the_cellbase_may_have_the_short_id_of_another() -> None:
    block = story().block
    message = compact(block, short_ids=[block.transactions[0].short_id])
    assert read_compact(message, block.header).id_places() == [1]


def test_406_places_do_not_rise() -> None:
    first, second, third = compact(story().block, (0, 1, 2)).prefilled_transactions
    for wrong in ([first, third, second], [first, second, second]):
        message = compact(story().block, (0, 1, 2), prefilled_transactions=wrong)
        assert fault_of(message) is Misbehaviour.RELAY_406_PREFILLED_OUT_OF_ORDER


def test_407_a_place_beyond_the_block() -> None:
    whole = compact(story().block, (0, 6))
    message = whole.replace(short_ids=whole.short_ids[1:])
    assert fault_of(message) is Misbehaviour.RELAY_407_PREFILLED_OUT_OF_RANGE


def test_407_is_asked_before_406() -> None:
    first, second, last = compact(story().block, (0, 2, 6)).prefilled_transactions
    message = compact(story().block, (), prefilled_transactions=[first, last, second, last], short_ids=[])
    assert fault_of(message) is Misbehaviour.RELAY_407_PREFILLED_OUT_OF_RANGE


@pytest.mark.parametrize(("number", "is_too_old"), [(900, False), (899, True), (0, True), (2000, False)])
def test_105_an_epoch_behind_the_tip(number: int, is_too_old: bool) -> None:
    tip = a_header(number=1000, epoch=EpochFraction(3, 40, 100).pack())
    assert is_stale(tip, a_header(number=number)) is is_too_old
