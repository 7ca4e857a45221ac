"""Heads of requests whose calls were answered at once before: equal bytes say the same, and are not parsed again.

Clients that keep a connection send one head with each call, but for the length of the body. To take it apart takes
longer than most answers.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_HEADS: Final = 512
MAX_HEAD_BYTES: Final = 1 << 10


class KnownHead(NamedTuple):
    """What a head says."""

    body_bytes: int
    is_foreign: bool
    """A web page of another machine calls."""


class KnownHeads:
    """By their bytes, the empty line included; of all clients. All go when there are too many."""

    def __init__(self) -> None:
        self._heads: Final[dict[bytes, KnownHead]] = {}
        self.get: Final = self._heads.get
        """What a head says; None when it has to be parsed."""

    def note(self, head: bytes, known: KnownHead) -> None:
        """Keep what a head was found to say."""
        if len(head) > MAX_HEAD_BYTES:
            return
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()
        self._heads[head] = known
