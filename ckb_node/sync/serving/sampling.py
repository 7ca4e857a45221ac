"""Which blocks prove a chain's work to a light client: the last ones, and samples by difficulty (RFC 44)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["MAX_SAMPLES", "BadDifficulties", "BoundaryNotFound", "SampledBlocks", "StartAboveLast", "sample_blocks"]

MAX_SAMPLES: Final = 1000
"""Headers of one answer, about: samples, and the last blocks twice, for those of an abandoned branch count too."""

TotalDifficulty = Callable[[int], int]
"""Of the main chain's block at a height, which it and all below it have together."""


class BadDifficulties(ValueError):  # noqa: N818 - the condition is its name
    """The asked difficulties are not in order, or not within the asked range."""


class BoundaryNotFound(ValueError):  # noqa: N818
    """No block of the asked range has the boundary's difficulty."""

    def __init__(self, boundary: int, start: int, last: int) -> None:
        super().__init__(f"the difficulty boundary {boundary:#x} is not in the blocks from {start} to {last - 1}")
        self.boundary, self.start, self.last = boundary, start, last


class StartAboveLast(ValueError):  # noqa: N818
    """The range begins above the block that ends it."""

    def __init__(self, start: int, last: int) -> None:
        super().__init__(f"block {start}, the first, is above block {last}, the last")
        self.start, self.last = start, last


@dataclass(frozen=True, slots=True)
class SampledBlocks:
    """What a client asks for: the chain from block `start` to block `last`, the latter not included. `difficulties`
    are total difficulties below `boundary`; `last_n` blocks before `last`, or all from the boundary on if these are
    more, come without samples. `is_on_branch`: the client's block at `start` is not on the chain. `tip`: the highest
    block that there is."""

    tip: int
    start: int
    last: int
    last_n: int
    boundary: int
    difficulties: Sequence[int]
    is_on_branch: bool


def sample_blocks(asked: SampledBlocks, total: TotalDifficulty) -> Iterator[int]:
    """Heights of the blocks of the answer, in its order.

    Raises BadDifficulties, BoundaryNotFound, StartAboveLast before the first.
    """
    start, last, last_n = asked.start, asked.last, asked.last_n
    _check_difficulties(asked, total)
    if start > last:
        raise StartAboveLast(start, last)
    if asked.is_on_branch:
        yield from range(start - min(start, last_n), start)
    if last - start <= last_n:
        yield from range(start, last)
        return
    first_of_last = _first_with(start, last, asked.boundary, total)
    if first_of_last is None:
        raise BoundaryNotFound(asked.boundary, start, last)
    first_of_last = min(first_of_last, last - last_n)
    yield from _samples(start, first_of_last, asked.difficulties, total)
    yield from range(first_of_last, last)


def _check_difficulties(asked: SampledBlocks, total: TotalDifficulty) -> None:
    difficulties = asked.difficulties
    if any(one >= other for one, other in pairwise(difficulties)):
        raise BadDifficulties("the difficulties do not rise")
    if difficulties and difficulties[-1] >= asked.boundary:
        raise BadDifficulties("the boundary is not above all difficulties")
    if difficulties and 0 < asked.start <= asked.tip + 1 and total(asked.start - 1) >= difficulties[0]:
        raise BadDifficulties(f"the first difficulty is below that of block {asked.start}")


def _samples(start: int, end: int, difficulties: Sequence[int], total: TotalDifficulty) -> Iterator[int]:
    """For each difficulty the first block that reaches it; one that the block before reaches too has none."""
    if not end:
        return
    reached, most = 0, total(end - 1)
    for difficulty in difficulties:
        if difficulty > most:
            return
        if difficulty <= reached:
            continue
        found = _first_with(start, end, difficulty, total)
        if found is None:  # never: the block before `end` has it
            return
        yield found
        reached = total(found)


def _first_with(start: int, end: int, difficulty: int, total: TotalDifficulty) -> int | None:
    """The first block from `start` to `end`, the latter not included, with at least this total difficulty."""
    if start >= end or total(end - 1) < difficulty:
        return None
    low, high = start, end - 1
    while low < high:
        middle = (low + high) // 2
        if total(middle) < difficulty:
            low = middle + 1
        else:
            high = middle
    return low
