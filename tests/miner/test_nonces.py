"""Threads share the nonces behind a prefix, and none is tried twice."""

from __future__ import annotations

from itertools import islice

import pytest

from ckb_node.miner.nonces import SLICE, behind, slices, tried


def no_random(size: int) -> bytes:
    return bytes(size)


@pytest.mark.parametrize("prefix_size", [0, 4, 8, 11, 12, 15])
@pytest.mark.parametrize("count", [1, 3])
def test_the_prefix_stays_and_threads_are_apart(prefix_size: int, count: int) -> None:
    prefix = bytes(range(1, prefix_size + 1))
    seen: set[bytes] = set()
    for index in range(count):
        for first, wanted in islice(slices(prefix, index, count), 4):
            last = first
            for _ in range(min(wanted, 30) - 1):
                last = behind(last)
            for nonce in (first, last):
                assert len(nonce) == 16
                assert nonce.startswith(prefix)
                assert nonce not in seen or nonce == first == last
                seen.add(nonce)
            assert tried(first, last) == min(wanted, 30)


@pytest.mark.parametrize(("size", "count"), [(1, 1), (1, 3), (2, 2)])
def test_a_short_counter_is_tried_to_its_end(size: int, count: int) -> None:
    prefix = bytes(16 - size)
    covered = [
        int.from_bytes(first[-size:], "big") + i
        for index in range(count)
        for first, wanted in slices(prefix, index, count)
        for i in range(wanted)
    ]
    assert covered == list(range(256**size // count * count))


def test_slices_follow_each_other() -> None:
    (first, count), (second, _) = islice(slices(bytes(4), 0, 1), 2)
    assert count == SLICE
    assert tried(first, second) == SLICE + 1


def test_a_long_counter_begins_anywhere_and_what_is_before_it_is_random() -> None:
    """Miners with equal work do not repeat each other."""
    starts = {next(slices(b"", 0, 2))[0] for _ in range(20)}
    assert len({start[:8] for start in starts}) == 20
    assert len({start[8:] for start in starts}) == 20
    assert next(slices(b"", 1, 2, no_random))[0] == bytes(8) + b"\x80" + bytes(7)
