"""Headers in a row are the same as one by one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.types.blockchain import Header
from consensus.types.header_run import HeaderRun

FIELDS = ("version", "compact_target", "timestamp", "number", "epoch", "parent_hash", "dao", "nonce")
RAWS = st.lists(st.binary(min_size=208, max_size=208), max_size=5)


@given(RAWS)
def test_the_same_as_one_by_one(raws: list[bytes]) -> None:
    plain = [Header.parse(raw) for raw in raws]
    for run in (HeaderRun.parse(b"".join(raws)), HeaderRun.of(plain)):
        assert list(run) == plain
        assert len(run) == len(plain)
        for one, other in zip(run, plain, strict=True):
            assert one.hash == other.hash
            assert one.pow_hash == other.pow_hash
            assert one.raw == other.raw
            assert [getattr(one, name) for name in FIELDS] == [getattr(other, name) for name in FIELDS]
            assert one.with_fields(number=7) == other.with_fields(number=7)
        assert list(run.raws) == raws
        assert list(run.hashes) == [each.hash for each in plain]
        assert run.versions == tuple(each.version for each in plain)
        assert run.compact_targets == tuple(each.compact_target for each in plain)
        assert run.timestamps == tuple(each.timestamp for each in plain)
        assert run.numbers == tuple(each.number for each in plain)
        assert run.epochs == tuple(each.epoch for each in plain)
        assert run.parent_hashes == tuple(each.parent_hash for each in plain)


@given(RAWS, st.slices(5))
def test_a_part_of_a_run_is_a_run(raws: list[bytes], part: slice) -> None:
    plain, run = [Header.parse(raw) for raw in raws], HeaderRun.parse(b"".join(raws))
    taken = run[part]
    assert list(taken) == plain[part]
    assert list(taken.hashes) == [each.hash for each in plain[part]]
    assert taken.numbers == tuple(each.number for each in plain[part])


def test_where_a_header_does_not_stand_on_the_one_before() -> None:
    headers = [Header.parse(bytes(208))]
    for _ in range(4):
        headers.append(headers[0].with_fields(parent_hash=headers[-1].hash))
    assert HeaderRun.of(headers).first_gap() is None
    assert HeaderRun.of(headers[:1]).first_gap() is None
    assert HeaderRun.of([]).first_gap() is None
    for at in range(1, 5):
        changed = [*headers[:at], headers[at].with_fields(parent_hash=bytes(32)), *headers[at + 1 :]]
        assert HeaderRun.of(changed).first_gap() == at


def test_a_header_has_bytes_of_its_own() -> None:
    run = HeaderRun.parse(bytes(416))
    assert run[1].apart() is run[1] or len(run[1].apart().raw) == 208
    assert run[-1] == run[1]
    with pytest.raises(IndexError):
        run[2]


def test_half_a_header_is_none() -> None:
    with pytest.raises(struct.error):
        HeaderRun.parse(bytes(209))
