"""Versions of the software, ordered as Semantic Versioning 2.0.0 says (section 11)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["SoftwareVersion"]

MAX_TEXT: Final = 128

_NUMBER: Final = r"(0|[1-9]\d*)"
_WORDS: Final = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_PATTERN: Final = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_WORDS}))?(?:\+{_WORDS})?", re.ASCII)


@dataclass(frozen=True, order=True, slots=True)
class SoftwareVersion:
    """A release, or one before a release. What stands behind `+` does not count."""

    numbers: tuple[int, ...]
    is_release: bool
    """A version before a release comes before it."""
    words: tuple[tuple[int, int, str], ...]
    """Of what stands behind `-`: numbers come before words."""

    @classmethod
    def parse(cls, text: str) -> SoftwareVersion | None:
        """None when the text is no version."""
        match = _PATTERN.fullmatch(text) if len(text) <= MAX_TEXT else None
        if match is None:
            return None
        *numbers, before = match.groups()
        words = before.split(".") if before else []
        if any(word.isdecimal() and len(word) > 1 and word.startswith("0") for word in words):
            return None
        return cls(tuple(map(int, numbers)), not words, tuple(map(_word, words)))


def _word(word: str) -> tuple[int, int, str]:
    return (0, int(word), "") if word.isdecimal() else (1, 0, word)
