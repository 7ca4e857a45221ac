"""JSON that cannot change any more, kept as text: blocks, headers, live cells, and transactions of the main chain."""

from __future__ import annotations

from threading import Lock
from typing import Final

from ckb_node.runtime.bounded import BoundedMap

MAX_BYTES: Final = 32 << 20
"""Of all texts."""
MAX_TEXT_BYTES: Final = 1 << 20
"""Of one; few larger ones would push all others out."""
_ENTRY_BYTES: Final = 300
"""What an entry takes besides its text."""


def _size_of(text: bytes) -> int:
    return len(text) + _ENTRY_BYTES


class KeptTexts:
    """By what names them; the least recently used leave. Any thread."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._texts: Final[BoundedMap[bytes, bytes]] = BoundedMap(max_bytes=max_bytes, size_of=_size_of)
        self._lock: Final = Lock()

    def get(self, name: bytes) -> bytes | None:
        """The text, if it is here."""
        with self._lock:
            return self._texts.use(name)

    def put(self, name: bytes, text: bytes) -> bytes:
        """Keep a text; the text itself."""
        if len(text) <= MAX_TEXT_BYTES:
            with self._lock:
                self._texts.put(name, text)
        return text

    @property
    def size_bytes(self) -> int:
        """Of all that is kept."""
        return self._texts.size_bytes
