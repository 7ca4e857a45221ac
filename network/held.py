"""How many bytes of messages that are unfinished or put off all peers together make the node hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["HeldBytes"]


class HeldBytes:
    """At most `limit`, else somebody must go."""

    def __init__(self, limit: int) -> None:
        self._limit: Final = limit
        self._of: Final[dict[int, int]] = {}
        self._total = 0

    @property
    def total(self) -> int:
        return self._total

    @property
    def sizes(self) -> Mapping[int, int]:
        """By session."""
        return self._of

    def note(self, session_id: int, size: int) -> int | None:
        """A session holds so many now. The session that holds most, when all together hold too many."""
        self._total += size - self._of.get(session_id, 0)
        self._of[session_id] = size
        return max(self._of, key=self._of.__getitem__) if self._total > self._limit else None

    def forget(self, session_id: int) -> None:
        self._total -= self._of.pop(session_id, 0)
