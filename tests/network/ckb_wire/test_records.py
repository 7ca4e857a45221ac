"""Sealed frames: any split of a stream gives the same, and nothing is copied that came whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.ckb_wire.records import RecordReader
from network.framing import LENGTH_SIZE, FrameTooLarge, frame


def read(reader: RecordReader, data: bytes) -> list[bytes]:
    return [bytes(record) for record in reader.feed(memoryview(data))]


def read_in_steps(reader: RecordReader, stream: bytes, step: int) -> list[bytes]:
    return [record for at in range(0, len(stream), step) for record in read(reader, stream[at : at + step])]


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_however_a_stream_is_cut_the_frames_are_the_same(bodies: list[bytes], steps: list[int]) -> None:
    stream = b"".join(map(frame, bodies))
    reader, found, at, turn = RecordReader(300), list[bytes](), 0, 0
    while at < len(stream):
        size = steps[turn % len(steps)]
        found += read(reader, stream[at : at + size])
        at, turn = at + size, turn + 1
    assert found == bodies
    assert reader.held_bytes == 0


def test_whole_frames_are_views_of_what_came() -> None:
    data = bytearray(frame(b"one") + frame(b"two") + b"\0\0")
    records = []
    for record in RecordReader(10).feed(memoryview(data)):
        records.append(bytes(record))
        assert record.obj is data
    assert records == [b"one", b"two"]


def test_what_came_of_a_frame_is_kept_and_no_more() -> None:
    reader = RecordReader(1 << 20)
    assert read(reader, frame(bytes(1 << 20))[:1000]) == []
    assert reader.held_bytes == 1000


@pytest.mark.parametrize("step", [1, 3, 4, 20])
def test_a_length_above_the_limit_is_refused_before_its_body(step: int) -> None:
    stream = frame(b"0123456789") + (11).to_bytes(LENGTH_SIZE, "big")
    reader = RecordReader(10)
    with pytest.raises(FrameTooLarge):
        read_in_steps(reader, stream, step)


def test_empty_frames_are_frames() -> None:
    assert read(RecordReader(10), frame(b"") * 3) == [b""] * 3
