"""Which blocks were asked of whom, and who still owes them."""

from __future__ import annotations

from ckb_node.sync.blocks.in_flight import InFlight

A, B = b"a" * 32, b"b" * 32


def test_a_block_is_in_flight_once_whoever_was_asked() -> None:
    table = InFlight()
    table.add(1, 10, A, 1.0)
    table.add(2, 10, A, 2.0)
    table.add(1, 11, B, 3.0)
    assert (len(table), table.count_of(1), table.count_of(2), table.count_of(3)) == (2, 2, 1, 0)
    assert list(table.of_peer(1)) == [A, B]
    request = table.get(A)
    assert request is not None
    assert (request.number, request.asked, request.since) == (10, {1: 1.0, 2: 2.0}, 2.0)
    assert table.answered(2, A) == 2.0
    assert table.answered(2, A) is None
    assert table.done(A) is request
    assert A not in table
    assert table.oldest_of(1) == 1.0  # it is on its way
    assert table.answered(1, A) == 1.0


def test_what_others_are_asked_instead_is_still_owed() -> None:
    table = InFlight()
    table.add(1, 10, A, 1.0)
    table.add(1, 11, B, 1.0)
    table.add(2, 11, B, 2.0)
    assert [request.block_hash for request in table.release(1, [A, B])] == [A]
    assert A not in table
    assert B in table
    assert table.count_of(1) == 2
    table.forget_debts(1)
    assert table.count_of(1) == 0


def test_a_peer_that_leaves_owes_nothing() -> None:
    table = InFlight()
    table.add(1, 10, A, 1.0)
    table.add(2, 11, B, 2.0)
    assert [request.number for request in table.drop_peer(1)] == [10]
    assert (len(table), table.count_of(1), table.oldest_of(1)) == (1, 0, None)
    assert table.drop_peer(1) == []
