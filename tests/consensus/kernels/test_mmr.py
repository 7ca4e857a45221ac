"""Generated bagging of MMR peaks against the plain merge."""

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.kernels.mmr import bag, grow, root_hash_of
from consensus.kernels.mmr_code import MAX_PEAKS
from consensus.kernels.runtime import KernelLengthError
from consensus.rules import mmr
from consensus.types.core import EpochFraction, HeaderDigest

u8s = st.integers(0, 2**64 - 1)


def node(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "children_hash": b"\x11" * 32,
        "total_difficulty": 5,
        "start_number": 1,
        "end_number": 1,
        "start_epoch": EpochFraction(1, 0, 10).pack(),
        "end_epoch": EpochFraction(1, 0, 10).pack(),
        "start_timestamp": 1000,
        "end_timestamp": 2000,
        "start_compact_target": 0x1A000000,
        "end_compact_target": 0x1B000000,
    }
    return HeaderDigest(**(fields | changes)).raw


def plain_bag(peaks: list[bytes]) -> tuple[bytes, bytes] | None:
    """As consensus.rules.mmr.root does; None where merging is refused."""
    *rest, bagged = peaks
    try:
        for peak in reversed(rest):
            bagged = mmr.merge(peak, bagged)
    except mmr.MmrError:
        return None
    return bagged, mmr.digest_hash(bagged)


@st.composite
def peak_lists(draw: st.DrawFn) -> list[bytes]:
    """Peaks whose blocks follow each other, and mostly their epochs, with whatever else."""
    number, epoch = draw(st.integers(0, 2**40)), EpochFraction(*draw(epoch_parts))
    peaks = []
    for _ in range(draw(st.integers(1, 16))):
        end, end_epoch = number + draw(st.integers(0, 1000)), EpochFraction(*draw(epoch_parts))
        values = {name: draw(u8s) for name in ("start_timestamp", "end_timestamp")}
        targets = {name: draw(st.integers(0, 2**32 - 1)) for name in ("start_compact_target", "end_compact_target")}
        ends = {"start_number": number, "end_number": end, "start_epoch": epoch.pack(), "end_epoch": end_epoch.pack()}
        hashes = {"children_hash": draw(st.binary(min_size=32, max_size=32)), "total_difficulty": draw(difficulties)}
        peaks.append(node(**values, **targets, **ends, **hashes))
        number = end + 1
        epoch = draw(st.sampled_from(successors(end_epoch)))
    return peaks


epoch_parts = st.tuples(
    st.one_of(st.integers(0, 3), st.integers(0, 2**24 - 2)),
    st.one_of(st.integers(0, 3), st.integers(0, 2**16 - 1)),
    st.one_of(st.integers(0, 4), st.integers(0, 2**16 - 1)),
)
difficulties = st.one_of(st.integers(0, 2**64), st.integers(0, 2**252), st.integers(2**64 - 2, 2**64))


def successors(end: EpochFraction) -> list[EpochFraction]:
    """What may follow an epoch field."""
    if end == EpochFraction(0, 0, 0):
        return [EpochFraction(0, 1, 7), EpochFraction(9, 8, 7)]
    if end.index + 1 < end.length:
        return [EpochFraction(end.number, end.index + 1, end.length)]
    return [EpochFraction(end.number + 1, 0, length) for length in (0, 1, 1800)]


@given(peak_lists())
def test_peaks_that_follow_each_other(peaks: list[bytes]) -> None:
    expected = plain_bag(peaks)
    assert expected is not None
    assert bag(peaks) == expected


@given(peak_lists(), st.data())
def test_one_changed_byte_is_judged_as_in_plain_python(peaks: list[bytes], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(peaks) - 1))
    at = data.draw(st.one_of(st.integers(32, 95), st.integers(0, 119)))
    changed = bytearray(peaks[place])
    changed[at] ^= data.draw(st.integers(1, 255))
    peaks[place] = bytes(changed)
    assert bag(peaks) == plain_bag(peaks)


@given(st.tuples(u8s, u8s), st.tuples(epoch_parts, epoch_parts), st.integers(0, 255))
def test_pairs_of_any_numbers_and_epochs(
    numbers: tuple[int, int], epochs: tuple[tuple[int, int, int], tuple[int, int, int]], top_bits: int
) -> None:
    left_epoch, right_epoch = (EpochFraction(*parts).pack() | top_bits << 56 for parts in epochs)
    left = node(end_number=numbers[0], end_epoch=left_epoch)
    for start in (numbers[0] + 1, numbers[1]):
        right = node(start_number=start % 2**64, start_epoch=right_epoch)
        assert bag([left, right]) == plain_bag([left, right])


@pytest.mark.parametrize(
    ("end", "start", "follows"),
    [
        ((5, 8, 10), (5, 9, 10), True),
        ((5, 9, 10), (6, 0, 7), True),
        ((5, 8, 10), (6, 0, 7), False),
        ((5, 9, 10), (5, 10, 10), False),
        ((5, 9, 10), (6, 1, 7), False),
        ((5, 9, 10), (7, 0, 7), False),
        ((5, 8, 10), (5, 9, 11), False),
        ((0, 0, 0), (77, 66, 55), True),
        ((2**24 - 1, 9, 10), (0, 0, 7), False),
        ((5, 2**16 - 1, 2**16 - 1), (6, 0, 7), True),
        ((5, 0, 0), (6, 0, 7), True),
    ],
)
def test_epochs_at_the_edges(end: tuple[int, int, int], start: tuple[int, int, int], follows: bool) -> None:
    peaks = [node(end_epoch=EpochFraction(*end).pack()), node(start_number=2, start_epoch=EpochFraction(*start).pack())]
    assert bag(peaks) == plain_bag(peaks)
    assert (bag(peaks) is not None) == follows


@pytest.mark.parametrize("low", [0, 1, 2**64 - 1, 2**128 - 1, 2**192 + 3])
@pytest.mark.parametrize("excess", [-1, 0, 1])
def test_sums_of_difficulty_at_256_bits(low: int, excess: int) -> None:
    left = node(total_difficulty=low)
    right = node(start_number=2, start_epoch=EpochFraction(1, 1, 10).pack(), total_difficulty=2**256 - 1 - low)
    if excess > 0:
        left = node(total_difficulty=low + 1)
    elif excess < 0 and low:
        left = node(total_difficulty=low - 1)
    assert bag([left, right]) == plain_bag([left, right])
    assert (bag([left, right]) is None) == (excess > 0)


def test_the_last_number_has_no_successor() -> None:
    peaks = [node(end_number=2**64 - 1), node(start_number=0, start_epoch=EpochFraction(1, 1, 10).pack())]
    assert bag(peaks) is None
    assert plain_bag(peaks) is None


def test_a_growing_chain() -> None:
    """Peaks stay, go and come back: hashes that the kernel remembers are those of its input."""
    nodes: list[bytes] = []
    get: Callable[[int], bytes] = nodes.__getitem__
    for number in range(300):
        epoch = EpochFraction(number // 70, number % 70, 70).pack()
        ends = {"start_number": number, "end_number": number, "start_epoch": epoch, "end_epoch": epoch}
        nodes += mmr.append(number, node(children_hash=number.to_bytes(32, "big"), **ends), get)
        root = mmr.root(number + 1, get)
        assert bag([get(p) for p in mmr.peak_positions(number + 1)]) == (root, mmr.digest_hash(root))
    shuffled = random.Random(44).sample(range(1, 301), 300)
    for count in shuffled:
        root = mmr.root(count, get)
        assert bag([get(p) for p in mmr.peak_positions(count)]) == (root, mmr.digest_hash(root))


class Forest:
    """A plain MMR of made-up leaves; blocks of one epoch, or of several."""

    def __init__(self, epoch_length: int = 70) -> None:
        self.nodes: list[bytes] = []
        self.epoch_length = epoch_length

    def leaf(self, number: int, salt: int = 0) -> bytes:
        epoch = EpochFraction(number // self.epoch_length, number % self.epoch_length, self.epoch_length).pack()
        ends = {"start_number": number, "end_number": number, "start_epoch": epoch, "end_epoch": epoch}
        return node(children_hash=(number << 64 | salt).to_bytes(32, "big"), **ends)

    def peaks(self, leaves: int) -> list[bytes]:
        return [self.nodes[position] for position in mmr.peak_positions(leaves)]

    def add(self, number: int, leaf: bytes) -> list[bytes]:
        del self.nodes[mmr.mmr_size(number) :]
        added = mmr.append(number, leaf, self.nodes.__getitem__)
        self.nodes += added
        return added


def merges_of(number: int) -> int:
    """How many nodes leaf `number` completes: as many as there are ones at the low end of the number."""
    return (~number & number + 1).bit_length() - 1


def state(number: int, salt: int = 0) -> bytes:
    return number.to_bytes(8, "big") + salt.to_bytes(8, "big")


def nobody() -> list[bytes]:
    raise AssertionError("the peaks are at hand")


def test_growth_leaf_by_leaf() -> None:
    """Peaks are asked for once; each new node and each root is the plain one."""
    forest = Forest()
    for number in range(300):
        leaf = forest.leaf(number)
        before, peaks = (state(number - 1), nobody) if number else (b"none", list)
        grown = grow(before, peaks, leaf, merges_of(number), state(number))
        assert grown is not None
        assert [leaf, *grown] == forest.add(number, leaf)
        assert root_hash_of(state(number), nobody) == mmr.digest_hash(mmr.root(number + 1, forest.nodes.__getitem__))


steps_between = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["grow", "root", "bag"])), max_size=60)
numbers_of_leaves = itertools.count(1)


@given(steps_between, st.integers(1, 9))
def test_growth_of_branches(steps: list[tuple[int, str]], epoch_length: int) -> None:
    """Back to any height and on from there: memory that belongs to another branch is not used."""
    forest, salts = Forest(epoch_length), [next(numbers_of_leaves)]
    forest.add(0, forest.leaf(0))
    for back, what in steps:
        salt = next(numbers_of_leaves)  # names of states are for ever, those of earlier examples too
        height = max(len(salts) - 1 - back, 0)
        tip, peaks = state(height, salts[height]), partial(forest.peaks, height + 1)
        match what:
            case "grow":
                number, leaf = height + 1, forest.leaf(height + 1, salt)
                grown = grow(tip, peaks, leaf, merges_of(number), state(number, salt))
                assert grown is not None
                assert [leaf, *grown] == forest.add(number, leaf)
                salts[number:] = [salt]
            case "root":
                assert root_hash_of(tip, peaks) == mmr.digest_hash(mmr.root(height + 1, forest.nodes.__getitem__))
            case _:
                assert bag(peaks()) == plain_bag(peaks())


def test_a_leaf_that_does_not_follow() -> None:
    """Nothing of a refused growth is taken for the peaks of anything."""
    forest = Forest()
    for number in range(7):
        forest.add(number, forest.leaf(number))
    peaks = partial(forest.peaks, 7)
    before = root_hash_of(state(6), peaks)
    for stranger in (8, 6, 77):
        assert grow(state(6), peaks, forest.leaf(stranger), 3, state(7)) is None
        assert root_hash_of(state(6), peaks) == before
        assert root_hash_of(state(7), peaks) == before, "the peaks were asked for"
    leaf = forest.leaf(7)
    assert grow(state(6), peaks, leaf, 3, state(7)) == forest.add(7, leaf)[1:]


@pytest.mark.parametrize(("size", "merges"), [(119, 0), (121, 0), (120, -1), (120, 4)])
def test_growth_beyond_its_bounds_is_refused(size: int, merges: int) -> None:
    forest = Forest()
    for number in range(7):
        forest.add(number, forest.leaf(number))
    with pytest.raises(KernelLengthError):
        grow(b"bounds", partial(forest.peaks, 7), bytes(size), merges, b"beyond")
    with pytest.raises(KernelLengthError):
        root_hash_of(b"nothing", list)


def test_threads_have_memories_of_their_own() -> None:
    forest = Forest()
    for number in range(5):
        forest.add(number, forest.leaf(number))
    here = root_hash_of(b"both", partial(forest.peaks, 5))
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(root_hash_of, b"both", partial(forest.peaks, 3)).result()
    assert there == mmr.digest_hash(mmr.root(3, forest.nodes.__getitem__))
    assert root_hash_of(b"both", nobody) == here


def test_as_many_peaks_as_there_can_be() -> None:
    epochs = [EpochFraction(1, i, MAX_PEAKS + 1).pack() for i in range(MAX_PEAKS + 1)]
    peaks = [
        node(start_number=i, end_number=i, start_epoch=epoch, end_epoch=epoch, children_hash=bytes(32))
        for i, epoch in enumerate(epochs)
    ]
    assert bag(peaks[:-1]) == plain_bag(peaks[:-1]) != None  # noqa: E711 (all three)
    with pytest.raises(KernelLengthError):
        bag(peaks)


@pytest.mark.parametrize("peaks", [[], [b""], [bytes(119)], [bytes(121)], [bytes(120), bytes(1)]])
def test_other_lengths_are_refused(peaks: list[bytes]) -> None:
    with pytest.raises(KernelLengthError):
        bag(peaks)


def test_a_peak_of_zeros_is_hashed_too() -> None:
    """The memory's first content is no known peak with a wrong hash."""
    peaks = [bytes(120), node(start_number=1)]
    assert bag(peaks) == plain_bag(peaks) != None  # noqa: E711 (all three)
