"""Frames: any split of a stream gives the same bodies, and a length above the limit ends it at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.framing import LENGTH_SIZE, Frames, FrameTooLarge, frame

BODIES = st.lists(st.binary(max_size=300), max_size=8)


def test_the_length_is_big_endian_and_does_not_count_itself() -> None:
    assert frame(b"ab") == b"\x00\x00\x00\x02ab"


@given(BODIES, st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_however_a_stream_is_cut_the_bodies_are_the_same(bodies: list[bytes], steps: list[int]) -> None:
    stream = b"".join(map(frame, bodies))
    frames, found, at, turn = Frames(300), list[bytes](), 0, 0
    while at < len(stream):
        size = steps[turn % len(steps)]
        found += frames.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert found == bodies
    assert not frames.is_inside


def test_a_stream_may_end_inside_a_frame() -> None:
    frames = Frames(10)
    assert list(frames.feed(frame(b"whole") + frame(b"cut")[:-1])) == [b"whole"]
    assert frames.is_inside


def test_a_length_above_the_limit_is_refused_before_its_body_comes() -> None:
    frames = Frames(10)
    assert list(frames.feed(frame(bytes(10)))) == [bytes(10)]
    with pytest.raises(FrameTooLarge) as caught:
        list(frames.feed((11).to_bytes(LENGTH_SIZE, "big")))
    assert (caught.value.size, caught.value.limit) == (11, 10)
