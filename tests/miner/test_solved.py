"""Parents on which a block was found are few, and not left for ever."""

from __future__ import annotations

from ckb_node.miner.solved import MAX_PARENTS, STAYS_S, SolvedParents


def test_a_parent_is_left_for_a_while() -> None:
    now = 0.0
    solved = SolvedParents(lambda: now)
    solved.add(b"a")
    assert solved.has(b"a")
    assert not solved.has(b"b")
    now = STAYS_S - 1
    assert solved.has(b"a")
    now = STAYS_S
    assert not solved.has(b"a")
    solved.add(b"a")
    assert solved.has(b"a")
    solved.discard(b"a")
    assert not solved.has(b"a")


def test_only_the_latest_are_kept() -> None:
    solved = SolvedParents(lambda: 0.0)
    for index in range(MAX_PARENTS + 1):
        solved.add(bytes([index]))
    assert not solved.has(b"\0")
    assert solved.has(b"\1")
