"""The queue of peers' transactions and the orphans: bounded, in order, and fair by peer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ckb_node.txpool.limits import ORPHAN_LIFE_S
from ckb_node.txpool.orphans import OrphanTransactions
from ckb_node.txpool.remote_queue import DEPARTED, RemoteQueue, RemoteTransaction
from tests.support.builders.pool_entries import an_entry

MAX_CYCLES = 1_000_000
PARENT, OTHER = b"p" * 32, b"o" * 32


def items(count: int, giver: int, *, declared: int | None = 1000, padding: int = 0) -> list[RemoteTransaction]:
    made = (an_entry(padding=padding).tx for _ in range(count))
    return [RemoteTransaction.of(each, giver, declared) for each in made]


def fill(queue: RemoteQueue, some: list[RemoteTransaction]) -> list[RemoteTransaction]:
    """What left meanwhile."""
    return [left for each in some for left in queue.add(each, each.giver)]


def test_in_order_of_arrival_for_each_and_proposed_ones_first() -> None:
    queue = RemoteQueue(MAX_CYCLES)
    first, second, proposed = items(3, 1)
    fill(queue, [first, second])
    queue.add(proposed, 1, is_first=True)
    assert [queue.take(1) for _ in range(4)] == [proposed, first, second, None]
    assert queue.owners() == []


def test_who_has_most_gives_way() -> None:
    queue = RemoteQueue(MAX_CYCLES, max_count=10)
    greedy, modest = items(12, 1), items(3, 2)
    assert fill(queue, greedy) == greedy[10:]
    assert fill(queue, modest) == [greedy[9], greedy[8], greedy[7]]
    assert (queue.count(1), queue.count(2), len(queue)) == (7, 3, 10)


@pytest.mark.parametrize(
    "build",
    [
        lambda giver, count: items(count, giver, padding=1000),
        lambda giver, count: items(count, giver, declared=10 * MAX_CYCLES),
    ],
    ids=["bytes", "cycles"],
)
def test_bytes_and_cycles_are_bounded_too(build: Callable[[int, int], list[RemoteTransaction]]) -> None:
    queue = RemoteQueue(MAX_CYCLES, max_bytes=20_000)
    assert fill(queue, build(1, 40))
    before = queue.count(1)
    assert 9 <= before < 20
    small = items(1, 2)
    left = fill(queue, small)
    assert {each.giver for each in left} <= {1}
    assert queue.count(2) == 1


def test_room_is_a_fair_part() -> None:
    queue = RemoteQueue(MAX_CYCLES, max_count=12)
    assert queue.room_for(1) == 12
    fill(queue, items(5, 1))
    assert (queue.room_for(1), queue.room_for(2)) == (7, 6)
    fill(queue, items(1, 2))
    assert (queue.room_for(1), queue.room_for(2), queue.room_for(3)) == (1, 5, 4)
    fill(queue, items(5, 1))
    assert queue.room_for(1) == 0


def test_who_has_gone_has_one_share_for_all_that_it_left() -> None:
    queue = RemoteQueue(MAX_CYCLES, max_count=10)
    for giver in (1, 2, 3):
        fill(queue, items(3, giver))
        queue.disown(giver)
    assert (queue.owners(), queue.count(DEPARTED)) == ([DEPARTED], 9)
    fill(queue, items(4, 4))
    assert (queue.count(DEPARTED), queue.count(4)) == (6, 4)


def test_taking_out_what_a_peer_gave() -> None:
    queue = RemoteQueue(MAX_CYCLES)
    bad, good = items(3, 1), items(2, 2)
    fill(queue, [*bad, *good])
    queue.disown(1)
    assert queue.remove_from(1) == bad
    assert queue.get(bad[0].short_id) is None
    assert queue.remove([good[0].short_id, bad[0].short_id]) == [good[0]]
    assert queue.clear() == [good[1]]
    assert (len(queue), queue.owners()) == (0, [])


def test_each_once() -> None:
    queue = RemoteQueue(MAX_CYCLES)
    (item,) = items(1, 1)
    queue.add(item, 1)
    assert list(queue.add(item, 1)) == [item]
    assert len(queue) == 1


# --------------------------------------------------------------------- orphans


def keep(orphans: OrphanTransactions, some: list[RemoteTransaction], now: float = 0.0) -> list[RemoteTransaction]:
    return [left for each in some for left in orphans.add(each, each.giver, [PARENT], now)]


def test_a_parent_brings_its_children() -> None:
    orphans = OrphanTransactions()
    one, both = items(2, 1)
    orphans.add(one, 1, [PARENT], 0.0)
    orphans.add(both, 1, [OTHER, PARENT], 0.0)
    assert [each.item for each in orphans.take_children(PARENT)] == [one, both]
    assert orphans.take_children(OTHER) == []
    assert len(orphans) == 0


def test_one_peer_cannot_fill_them() -> None:
    orphans = OrphanTransactions()
    greedy, modest = items(150, 1), items(10, 2)
    assert keep(orphans, greedy) == greedy[:50], "the oldest leave"
    assert {each.giver for each in keep(orphans, modest)} == {1}
    assert {each.giver for each in keep(orphans, items(100, 1))} == {1}
    assert len(orphans) == 100
    assert len(orphans.remove_from(2)) == 10


def test_orphans_are_bounded_in_bytes() -> None:
    orphans = OrphanTransactions(max_bytes=100_000)
    large = items(10, 1, padding=20_000)
    assert len(keep(orphans, large)) == 6
    assert len(keep(orphans, items(1, 2, padding=30_000))) == 1
    assert len(orphans.remove_from(2)) == 1


def test_orphans_expire() -> None:
    orphans = OrphanTransactions()
    old, young = items(2, 1)
    keep(orphans, [old])
    keep(orphans, [young], 10.0)
    assert orphans.expire(ORPHAN_LIFE_S - 1.0) == []
    assert orphans.expire(ORPHAN_LIFE_S + 1.0) == [old]
    assert keep(orphans, items(1, 1), ORPHAN_LIFE_S + 11.0) == [young]


def test_orphans_of_those_who_have_gone_leave_first() -> None:
    orphans = OrphanTransactions(max_count=10)
    left_behind = [each for giver in (1, 2, 3) for each in items(2, giver)]
    keep(orphans, left_behind)
    for giver in (1, 2, 3):
        orphans.disown(giver)
    assert keep(orphans, items(4, 4)) == []
    assert keep(orphans, items(1, 5)) == left_behind[:1]
    assert orphans.clear()
    assert len(orphans) == 0
