"""Real headers: hash, proof of work on the right chain only, and how they follow each other."""

from __future__ import annotations

from itertools import pairwise

import pytest

from consensus.crypto.difficulty import compact_to_target
from consensus.params import PowFunc
from consensus.rules.epoch import EpochContinuityError
from consensus.rules.header import verify_epoch_continuity, verify_number
from consensus.rules.pow import PowError, first_without_work, verify_pow
from consensus.types.core import EpochFraction
from tests.realchain.kinds import MAINNET, TESTNET, RealHeader
from tests.realchain.vectors import all_headers
from tests.support.chains.unchecked import make_consensus

HEADERS = all_headers()
CHAINS = {
    MAINNET: make_consensus(pow_func=PowFunc.EAGLESONG),
    TESTNET: make_consensus(pow_func=PowFunc.EAGLESONG_BLAKE2B),
}
OTHER = {MAINNET: TESTNET, TESTNET: MAINNET}


def named(real: RealHeader) -> str:
    return f"{real.network}-{real.header.number}-{real.hash[:8]}"


@pytest.mark.parametrize("real", HEADERS, ids=named)
def test_hash_and_work(real: RealHeader) -> None:
    header = real.header
    assert header.raw.hex() == real.raw
    assert header.hash.hex() == real.hash
    verify_pow(CHAINS[real.network], header)
    with pytest.raises(PowError):
        verify_pow(CHAINS[OTHER[real.network]], header)


@pytest.mark.parametrize("real", HEADERS, ids=named)
def test_one_bit_changed_has_no_work(real: RealHeader) -> None:
    """Of the nonce, of the time, of the root. At testnet's first difficulty one in 50,000 would still do; none does."""
    header = real.header
    for bit in (0, 63, 127):
        with pytest.raises(PowError):
            verify_pow(CHAINS[real.network], header.with_fields(nonce=header.nonce ^ 1 << bit))
    root = bytes([header.transactions_root[0] ^ 1]) + header.transactions_root[1:]
    for changed in (header.with_fields(timestamp=header.timestamp ^ 1), header.with_fields(transactions_root=root)):
        assert changed.hash != header.hash
        with pytest.raises(PowError):
            verify_pow(CHAINS[real.network], changed)


@pytest.mark.parametrize("network", [MAINNET, TESTNET])
def test_work_in_a_batch(network: str) -> None:
    headers = [real.header.raw for real in HEADERS if real.network == network]
    assert first_without_work(CHAINS[network], headers) is None
    for position in (0, len(headers) // 2, len(headers) - 1):
        damaged = bytearray(headers[position])
        damaged[-1] ^= 0x80
        batch = [*headers[:position], bytes(damaged), *headers[position + 1 :]]
        assert first_without_work(CHAINS[network], batch) == position


@pytest.mark.parametrize("real", HEADERS, ids=named)
def test_epoch_field(real: RealHeader) -> None:
    epoch = EpochFraction.unpack(real.header.epoch)
    assert epoch.pack() == real.header.epoch
    assert epoch.is_well_formed
    assert epoch.length <= 1800
    assert compact_to_target(real.header.compact_target) > 0
    if epoch.number == 0:
        assert epoch.index == real.header.number


def adjacent() -> list[tuple[RealHeader, RealHeader]]:
    by_hash = {real.header.hash: real for real in HEADERS}
    pairs = [(by_hash[real.header.parent_hash], real) for real in HEADERS if real.header.parent_hash in by_hash]
    assert len(pairs) >= 120
    return pairs


def test_children_follow_their_parents() -> None:
    for parent, child in adjacent():
        verify_number(child.header, parent.header)
        verify_epoch_continuity(child.header, parent.header)
        assert parent.network == child.network


def test_grandchildren_do_not() -> None:
    by_hash = {real.header.hash: real for real in HEADERS}
    for parent, child in adjacent():
        before = by_hash.get(parent.header.parent_hash)
        if before is not None:
            with pytest.raises(EpochContinuityError):
                verify_epoch_continuity(child.header, before.header)


def test_between_epochs_only_the_target_changes_with_the_epoch() -> None:
    """Within an epoch all blocks and uncles have one length and one target; mainnet's epoch 2 begins with 3543."""
    of_epoch: dict[tuple[str, int], set[tuple[int, int]]] = {}
    for real in HEADERS:
        epoch = EpochFraction.unpack(real.header.epoch)
        of_epoch.setdefault((real.network, epoch.number), set()).add((epoch.length, real.header.compact_target))
    assert all(len(facts) == 1 for facts in of_epoch.values())
    boundary = sorted((r.header for r in HEADERS if 3540 <= r.header.number <= 3545), key=lambda h: h.number)
    epochs = [EpochFraction.unpack(header.epoch) for header in boundary]
    assert [epoch.number for epoch in epochs] == [1, 1, 1, 2, 2, 2]
    assert (epochs[2].index, epochs[3].index) == (1799, 0)
    assert all(child.is_successor_of(parent) for parent, child in pairwise(epochs))
