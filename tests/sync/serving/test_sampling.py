"""Which blocks a light client gets: against the plain reading of the rules, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random

import pytest

from ckb_node.sync.serving.sampling import (
    BadDifficulties,
    BoundaryNotFound,
    SampledBlocks,
    StartAboveLast,
    sample_blocks,
)

TOTALS = list(accumulate(Random(3).choices((1, 2, 3, 100), k=200)))
"""Total difficulty of each block."""
TIP = len(TOTALS) - 1


def asked(
    start: int,
    last: int,
    last_n: int,
    boundary: int,
    difficulties: Sequence[int] = (),
    *,
    is_on_branch: bool = False,
    tip: int = TIP,
) -> SampledBlocks:
    return SampledBlocks(tip, start, last, last_n, boundary, difficulties, is_on_branch)


def numbers(question: SampledBlocks) -> list[int]:
    return list(sample_blocks(question, TOTALS.__getitem__))


def plainly(question: SampledBlocks) -> Iterator[int]:
    """What the rules say, for questions that have an answer."""
    start, last, last_n = question.start, question.last, question.last_n
    if question.is_on_branch:
        yield from range(max(0, start - last_n), start)
    if last - start <= last_n:
        yield from range(start, last)
        return
    first = next(number for number in range(start, last) if TOTALS[number] >= question.boundary)
    first = min(first, last - last_n)
    found: list[int] = []
    for difficulty in question.difficulties:
        if first and difficulty <= TOTALS[first - 1]:
            number = next(number for number in range(start, first) if TOTALS[number] >= difficulty)
            if number not in found:
                found.append(number)
    yield from found
    yield from range(first, last)


def random_question(rng: Random) -> SampledBlocks:
    last = rng.randrange(1, TIP + 1)
    start = rng.randrange(last + 1)
    below = TOTALS[start - 1] if start else 0
    values = sorted(rng.sample(range(below + 1, TOTALS[last] + 50), k=min(rng.randrange(9), TOTALS[last] - below)))
    *difficulties, boundary = values or [TOTALS[last - 1]]
    return asked(start, last, rng.randrange(12), boundary, difficulties, is_on_branch=rng.random() < 0.3)


def test_random_questions() -> None:
    rng, answered = Random(5), 0
    for _ in range(3000):
        question = random_question(rng)
        try:
            found = numbers(question)
        except BoundaryNotFound:
            assert question.last - question.start > question.last_n
            assert not any(TOTALS[number] >= question.boundary for number in range(question.start, question.last))
        else:
            assert found == list(plainly(question))
            answered += 1
    assert answered > 2000


def test_few_blocks_come_without_samples() -> None:
    assert numbers(asked(10, 15, 5, 10**9)) == [10, 11, 12, 13, 14]
    assert numbers(asked(15, 15, 5, 10**9)) == []
    assert numbers(asked(0, 1, 1, 10**9)) == [0]


def test_blocks_of_an_abandoned_branch() -> None:
    assert numbers(asked(10, 12, 3, 10**9, is_on_branch=True)) == [7, 8, 9, 10, 11]
    assert numbers(asked(2, 4, 3, 10**9, is_on_branch=True)) == [0, 1, 2, 3]


def test_last_blocks_begin_at_the_boundary_or_before() -> None:
    assert numbers(asked(0, 100, 5, TOTALS[90])) == list(range(90, 100))
    assert numbers(asked(0, 100, 5, TOTALS[97])) == list(range(95, 100))
    assert numbers(asked(0, 100, 0, TOTALS[99])) == [99]


def test_a_difficulty_that_the_last_sample_covers_has_none() -> None:
    jump = next(number for number in range(1, 50) if TOTALS[number] - TOTALS[number - 1] == 100)
    inside = [TOTALS[jump] - 3, TOTALS[jump] - 1, TOTALS[jump]]
    assert numbers(asked(0, 100, 5, TOTALS[90], inside))[:2] == [jump, 90]


@pytest.mark.parametrize(
    ("start", "boundary", "difficulties"),
    [
        (0, 100, [5, 5]),
        (0, 100, [6, 5]),
        (0, 6, [5, 6]),
        (0, 6, [5, 7]),
        (20, 10**9, [TOTALS[19]]),
        (20, 10**9, [1, TOTALS[30]]),
    ],
)
def test_bad_difficulties(start: int, boundary: int, difficulties: Sequence[int]) -> None:
    with pytest.raises(BadDifficulties):
        numbers(asked(start, 100, 5, boundary, difficulties))
    with pytest.raises(BadDifficulties):  # in a range of few blocks too
        numbers(asked(start, start + 2, 5, boundary, difficulties))


def test_no_block_has_the_boundary() -> None:
    with pytest.raises(BoundaryNotFound) as caught:
        numbers(asked(3, 100, 5, TOTALS[99] + 1))
    assert (caught.value.start, caught.value.last) == (3, 100)


@pytest.mark.parametrize("start", [51, TIP, TIP + 1, TIP + 2, (1 << 64) - 1])
def test_a_range_that_begins_above_its_end(start: int) -> None:
    with pytest.raises(StartAboveLast):
        numbers(asked(start, 50, 5, 10**9, is_on_branch=True))


def test_difficulties_of_a_range_above_the_tip() -> None:
    with pytest.raises(StartAboveLast):
        numbers(asked(TIP + 2, 50, 5, 10**9, [1]))
    with pytest.raises(BadDifficulties):
        numbers(asked(TIP + 1, 50, 5, 10**9, [1]))
