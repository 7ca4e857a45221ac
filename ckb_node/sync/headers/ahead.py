"""Headers that a peer will ask for next, read while it judges those that it has: so a peer that syncs does not wait for
our disk. A question that can be answered comes first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.sync.headers.limits import MAX_AHEAD, MAX_HEADERS
from consensus.codec.layout import HEADER_SIZE
from consensus.crypto.hashing import ZERO_HASH, ckb_hash
from network.messages.protocols import GetHeaders

__all__ = ["HeadersAhead", "end_of"]

_CONTENT_AT: Final = 16
"""Of a SendHeaders message: its first header."""
_PARENT: Final = slice(_CONTENT_AT + 32, _CONTENT_AT + 64)
"""Hash of the block below."""
FULL: Final = _CONTENT_AT + MAX_HEADERS * HEADER_SIZE
"""Bytes of a message with as many headers as may be."""


class HeadersAhead:
    """Of one node."""

    def __init__(self) -> None:
        self._ready: Final[BoundedMap[bytes, bytes]] = BoundedMap(max_count=MAX_AHEAD)
        """Full messages, by hash of the block below their first header."""
        self._ends: Final[dict[int, bytes]] = {}
        """Hash of the last header that a peer got, by session."""

    def closed(self, session_id: int) -> None:
        """It asks for nothing more."""
        self._ends.pop(session_id, None)

    def find(self, question: GetHeaders) -> bytes | None:
        """The answer to a question with a locator, if the last of these headers is still on the main chain."""
        return self._ready.use(question.block_locator_hashes[0]) if question.hash_stop == ZERO_HASH else None

    def answered(self, session_id: int, locator: Sequence[bytes], message: bytes) -> bytes | None:
        """A peer got an answer: hash of the header that its next question begins with, when it goes on where the answer
        before has ended, and that is not read yet."""
        goes_on = self._ends.pop(session_id, None) == locator[0]
        end = end_of(message)
        if end is None:
            return None
        self._ends[session_id] = end
        return end if goes_on and end not in self._ready else None

    def keep(self, start: bytes, message: bytes) -> None:
        """Headers were read that stand on this block, if it is still on the main chain. Of less than a full message
        there will soon be more: it is not kept."""
        if len(message) == FULL and message[_PARENT] == start:
            self._ready.put(start, message)


def end_of(message: bytes) -> bytes | None:
    """Hash of the last header in a full SendHeaders message; None of one that is not full."""
    return ckb_hash(message[-HEADER_SIZE:]) if len(message) == FULL else None
