"""What clients write into logs: one line, printable, bounded."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import pytest

from ckb_node.runtime.log_text import (
    MAX_CHARS,
    MAX_TRACEBACK_CHARS,
    MAX_VALUES,
    bounded,
    shown,
    shown_traceback,
    shown_value,
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain words, ünïcode and 漢字", "plain words, ünïcode and 漢字"),
        ("", ""),
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u2028b\u2029c\x85d\x0be\x0cf", "a\\u2028b\\u2029c\\x85d\\x0be\\x0cf"),
        ("\u202eright to left\u2066", "\\u202eright to left\\u2066"),
        ("\ud800 alone", "\\ud800 alone"),
        ("nul\0", "nul\\x00"),
        ("\U000e0001tag", "\\U000e0001tag"),
        ("a" * (MAX_CHARS + 5), "a" * MAX_CHARS + f"... ({MAX_CHARS + 5} characters)"),
    ],
)
def test_a_text_is_one_printable_line(text: str, line: str) -> None:
    assert shown(text) == line
    assert shown(text).isprintable()


class Hostile:
    """An object whose own text is a trap."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        (True, True),
        (None, None),
        (1.5, 1.5),
        (1 << 200_000, "a number of 200001 bits"),
        (b"\x00\xff", "0x00ff"),
        (["\x1b"], "['\\x1b']"),
        (Hostile(), "a Hostile that cannot be shown (RuntimeError)"),
        ([1 << 200_000], "a list that cannot be shown (ValueError)"),
    ],
    ids=[str(number) for number in range(9)],
)
def test_values(value: object, expected: object) -> None:
    assert shown_value(value) == expected


def test_long_values_are_cut() -> None:
    for value in ("x" * 9_000_000, b"x" * 9_000_000, ["x" * 9_000_000]):
        assert len(str(shown_value(value))) < MAX_CHARS + 100


def test_a_line_keeps_its_order_and_has_few_values() -> None:
    event: dict[str, Any] = {"event": "a\nb", "method": "m", "bad\nkey": 1, "_record": object(), "exc_info": object()}
    record, exc_info = event["_record"], event["exc_info"]
    line = bounded(None, "", event)
    assert line == {"event": "a\\nb", "method": "m", "bad\\nkey": 1, "_record": record, "exc_info": exc_info}
    many = bounded(None, "", {str(number): number for number in range(1000)})
    assert len(many) == MAX_VALUES


def test_a_traceback_cannot_pass_for_lines_of_the_log() -> None:
    try:
        raise ValueError("bad\n2026-11-29 00:00:00 [error] the node is lost\x1b[2J" + "x" * 100_000)  # noqa: TRY301
    except ValueError:
        text = shown_traceback("".join(traceback.format_exception(*sys.exc_info())))
    assert all(line.startswith("    ") for line in text.split("\n"))
    assert "\x1b" not in text
    assert len(text) < 2 * MAX_TRACEBACK_CHARS
