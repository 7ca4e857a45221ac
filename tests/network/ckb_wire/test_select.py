"""Which protocol a stream is for: bytes as the reference writes them, any split, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.ckb_wire.select import (
    MAX_SELECT,
    SelectError,
    Selection,
    SelectReader,
    common_version,
    parse_selection,
    select_frame,
)
from network.framing import frame

IDENTIFY = "0000002a2a0000000c0000001d0000000d0000002f636b622f6964656e746966790d000000080000000100000033"
UNSUPPORTED = "00000021210000000c0000001d0000000d0000002f636b622f6964656e7469667904000000"


def test_bytes_as_the_reference_writes_them() -> None:
    assert select_frame("/ckb/identify", ["3"]).hex() == IDENTIFY
    assert select_frame("/ckb/identify", []).hex() == UNSUPPORTED


@given(st.text(max_size=60), st.lists(st.text(max_size=8), max_size=5), st.integers(1, 50), st.binary(max_size=9))
def test_any_split_gives_the_same_and_leaves_what_follows(
    name: str, versions: list[str], step: int, rest: bytes
) -> None:
    message = select_frame(name, versions)
    stream, reader, at = message + rest, SelectReader(), 0
    while True:
        found = reader.feed(stream, at, min(at + step, len(stream)))
        if found is not None:
            break
        at += step
    assert found == (Selection(name, tuple(versions)), len(message))


def test_what_is_too_large_is_refused_before_it_comes() -> None:
    with pytest.raises(SelectError):
        SelectReader().feed((MAX_SELECT + 1).to_bytes(4, "big"), 0, 4)


@pytest.mark.parametrize("body", [b"", b"\0", bytes(20), b"\xff" * 40, bytes.fromhex(IDENTIFY)[4:-1] + b"33"])
def test_garbage_is_refused(body: bytes) -> None:
    reader = SelectReader()
    message = frame(body)
    with pytest.raises(SelectError):
        reader.feed(message, 0, len(message))


def test_names_are_text() -> None:
    good = select_frame("name", ["3"])[4:]
    with pytest.raises(SelectError):
        parse_selection(good.replace(b"name", b"n\xffme"))
    with pytest.raises(SelectError):
        parse_selection(good[:-1] + b"\xff")


def test_the_highest_common_version_by_order_of_text() -> None:
    assert common_version(["3"], ["1", "3", "4"]) == "3"
    assert common_version(["2", "10", "3"], ["10", "2"]) == "2"
    assert common_version(["3"], []) is None
    assert common_version(["3"], ["2"]) is None
