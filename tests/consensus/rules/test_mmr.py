"""Chain-root MMR (RFC 44). Positions are those of the RFC's figure; peaks are bagged from the right, as all nodes do
(the RFC's text says left)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.crypto.difficulty import compact_to_difficulty
from consensus.crypto.hashing import ckb_hash
from consensus.lookup import ChainDataError
from consensus.rules.mmr import (
    MmrDifficultyError,
    MmrEpochError,
    MmrNumberError,
    append,
    chain_root,
    chain_root_hash,
    digest_hash,
    leaf_digest,
    leaf_position,
    merge,
    mmr_size,
    nodes_of_block,
    peak_positions,
    root,
    verify_digest,
)
from consensus.types.blockchain import Header
from consensus.types.core import EpochFraction, HeaderDigest
from tests.support.chains.unchecked import UncheckedChain, header, make_consensus

TARGET = 0x1E01_5555
DIFFICULTY = compact_to_difficulty(TARGET)
LENGTH = 1000


def header_at(number: int) -> Header:
    epoch = EpochFraction(0, 0, 0) if number == 0 else EpochFraction(0, number, LENGTH)
    return header(number=number, timestamp=1_000 + number, epoch=epoch, compact_target=TARGET)


LEAVES = [leaf_digest(header_at(number)) for number in range(40)]


def grown(count: int) -> list[bytes]:
    nodes: list[bytes] = []
    for number in range(count):
        nodes += append(number, LEAVES[number], nodes.__getitem__)
    return nodes


def test_leaf() -> None:
    first = header_at(7)
    packed = EpochFraction(0, 7, LENGTH).pack()
    expected = HeaderDigest(
        children_hash=first.hash,
        total_difficulty=DIFFICULTY,
        start_number=7,
        end_number=7,
        start_epoch=packed,
        end_epoch=packed,
        start_timestamp=1_007,
        end_timestamp=1_007,
        start_compact_target=TARGET,
        end_compact_target=TARGET,
    )
    assert leaf_digest(first) == expected.raw
    assert digest_hash(leaf_digest(first)) == ckb_hash(expected.raw)
    assert len(expected.raw) == 120


def test_merge() -> None:
    left, right = merge(LEAVES[4], LEAVES[5]), LEAVES[6]
    expected = HeaderDigest(
        children_hash=ckb_hash(ckb_hash(left) + ckb_hash(right)),
        total_difficulty=3 * DIFFICULTY,
        start_number=4,
        end_number=6,
        start_epoch=EpochFraction(0, 4, LENGTH).pack(),
        end_epoch=EpochFraction(0, 6, LENGTH).pack(),
        start_timestamp=1_004,
        end_timestamp=1_006,
        start_compact_target=TARGET,
        end_compact_target=TARGET,
    )
    assert merge(left, right) == expected.raw


def test_merge_wants_adjacent_blocks() -> None:
    for left, right in [(4, 6), (4, 4), (5, 4)]:
        with pytest.raises(MmrNumberError) as caught:
            merge(LEAVES[left], LEAVES[right])
        assert (caught.value.end, caught.value.start) == (left, right)


def with_epoch(number: int, epoch: EpochFraction) -> bytes:
    return leaf_digest(header(number=number, epoch=epoch, compact_target=TARGET))


@pytest.mark.parametrize(
    ("left", "right"), [((1, 3, 10), (1, 5, 10)), ((1, 3, 10), (2, 0, 10)), ((1, 9, 10), (2, 1, 10))]
)
def test_merge_wants_adjacent_epochs(left: tuple[int, int, int], right: tuple[int, int, int]) -> None:
    with pytest.raises(MmrEpochError) as caught:
        merge(with_epoch(8, EpochFraction(*left)), with_epoch(9, EpochFraction(*right)))
    assert (caught.value.end, caught.value.start) == (EpochFraction(*left), EpochFraction(*right))


def test_merge_crosses_epochs_and_starts_at_genesis() -> None:
    merge(with_epoch(8, EpochFraction(1, 9, 10)), with_epoch(9, EpochFraction(2, 0, 15)))
    merge(with_epoch(0, EpochFraction(0, 0, 0)), with_epoch(1, EpochFraction(0, 1, 10)))
    merge(with_epoch(0, EpochFraction(0, 0, 0)), with_epoch(1, EpochFraction(5, 3, 10)))


def test_total_difficulty_must_fit() -> None:
    hardest = 0x0101_0000
    pair = [leaf_digest(header(number=n, epoch=EpochFraction(1, n, 10), compact_target=hardest)) for n in (1, 2)]
    with pytest.raises(MmrDifficultyError, match="256"):
        merge(*pair)


def test_positions_of_the_rfc() -> None:
    """Figure of RFC 44: eleven leaves at these positions, peaks 14, 17 and 18; one more leaf joins 17 to 21."""
    assert [leaf_position(index) for index in range(12)] == [0, 1, 3, 4, 7, 8, 10, 11, 15, 16, 18, 19]
    assert peak_positions(11) == [14, 17, 18]
    assert peak_positions(12) == [14, 21]
    assert peak_positions(1) == [0]
    assert peak_positions(8) == [14]
    assert [mmr_size(count) for count in (0, 1, 2, 3, 4, 11, 12)] == [0, 1, 3, 4, 7, 19, 22]


def test_append_makes_the_parents_that_a_leaf_completes() -> None:
    nodes = grown(11)
    new = append(11, LEAVES[11], nodes.__getitem__)
    first = merge(LEAVES[10], LEAVES[11])
    assert new == [LEAVES[11], first, merge(nodes[17], first)]
    assert append(10, LEAVES[10], grown(10).__getitem__) == [LEAVES[10]]


def test_root_bags_from_the_right() -> None:
    nodes = grown(11)
    pairs = [merge(LEAVES[n], LEAVES[n + 1]) for n in range(0, 10, 2)]
    eight = merge(merge(pairs[0], pairs[1]), merge(pairs[2], pairs[3]))
    assert root(11, nodes.__getitem__) == merge(eight, merge(pairs[4], LEAVES[10]))
    assert root(8, nodes.__getitem__) == eight
    assert root(1, nodes.__getitem__) == LEAVES[0]


@given(st.integers(1, 40))
def test_every_size(count: int) -> None:
    nodes = grown(count)
    assert len(nodes) == mmr_size(count)
    assert peak_positions(count)[-1] == len(nodes) - 1
    assert [nodes[leaf_position(index)] for index in range(count)] == LEAVES[:count]
    whole = HeaderDigest.trusted(root(count, nodes.__getitem__))
    assert (whole.start_number, whole.end_number) == (0, count - 1)
    assert whole.total_difficulty == count * DIFFICULTY
    verify_digest(whole.raw)


def test_chain_root_of_a_reader() -> None:
    chain = UncheckedChain.with_genesis(make_consensus())
    for _ in range(6):
        chain.extend()
    leaves = [leaf_digest(chain.headers[block_hash]) for block_hash in chain.main]
    four = merge(merge(leaves[0], leaves[1]), merge(leaves[2], leaves[3]))
    expected = merge(four, merge(merge(leaves[4], leaves[5]), leaves[6]))
    assert chain_root(chain, 6) == expected
    assert chain_root_hash(chain, 6) == ckb_hash(expected)
    assert chain_root(chain, 3) == four
    with pytest.raises(ChainDataError, match="MMR node"):
        chain_root(chain, 7)


def test_nodes_of_a_block() -> None:
    chain = UncheckedChain.with_genesis(make_consensus())
    chain.extend()
    third = chain.extend()
    assert nodes_of_block(chain, third.header) == (3, [leaf_digest(third.header)])
    fourth = chain.extend().header
    position, nodes = nodes_of_block(chain, fourth)
    assert (position, len(nodes)) == (4, 3)
    assert chain.mmr_nodes[4:] == nodes


def digest(**changes: int | bytes) -> bytes:
    return HeaderDigest.trusted(merge(LEAVES[4], LEAVES[5])).replace(**changes).raw


def test_consistent_digests() -> None:
    verify_digest(digest())
    verify_digest(LEAVES[0])
    two_epochs = EpochFraction(1, 0, 500).pack()
    verify_digest(digest(end_epoch=two_epochs, end_compact_target=TARGET + 1, total_difficulty=1))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"start_number": 6}, MmrNumberError),
        ({"start_epoch": EpochFraction(1, 0, 10).pack()}, MmrEpochError),
        ({"start_epoch": EpochFraction(0, 6, 1000).pack()}, MmrEpochError),
        ({"end_compact_target": TARGET + 1}, MmrDifficultyError),
        ({"total_difficulty": 2 * DIFFICULTY + 1}, MmrDifficultyError),
        ({"total_difficulty": 2 * DIFFICULTY - 1}, MmrDifficultyError),
        ({"end_number": 6}, MmrDifficultyError),
    ],
)
def test_inconsistent_digests(changes: dict[str, int | bytes], error: type[Exception]) -> None:
    with pytest.raises(error):
        verify_digest(digest(**changes))
