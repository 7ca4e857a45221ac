"""Pauses double up to a bound, and none is the other's."""

from __future__ import annotations

from random import Random

from ckb_node.miner.back_off import BackOff


def test_pauses_grow_and_begin_anew() -> None:
    back_off = BackOff(Random(1), first_s=1.0, longest_s=60.0)
    pauses = [back_off.next() for _ in range(10)]
    for pause, most in zip(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60], strict=True):
        assert most / 2 <= pause <= most
    assert len(set(pauses)) == 10
    back_off.reset()
    assert back_off.next() <= 1
