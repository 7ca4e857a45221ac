"""Contents of cells that were read lately, by their hash: the transactions of a chain read the same few programs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

__all__ = ["RecentContents"]

_ENTRY_BYTES: Final = 256
"""What an entry takes besides its bytes."""


class RecentContents:
    """At most `max_bytes`; the least recently used go. Any thread."""

    def __init__(self, max_bytes: int = 16 << 20) -> None:
        self._max_bytes: Final = max_bytes
        self._contents: Final[OrderedDict[bytes, bytes]] = OrderedDict()
        self._lock: Final = threading.Lock()
        self.size_bytes = 0

    def get(self, content_hash: bytes) -> bytes | None:
        """The content, if it is here."""
        with self._lock:
            content = self._contents.get(content_hash)
            if content is not None:
                self._contents.move_to_end(content_hash)
            return content

    def put(self, content_hash: bytes, content: bytes) -> None:
        """Keep a content of which the caller has verified the hash."""
        with self._lock:
            if content_hash in self._contents:
                return
            self._contents[content_hash] = content
            self.size_bytes += len(content) + _ENTRY_BYTES
            while self.size_bytes > self._max_bytes:
                _, oldest = self._contents.popitem(last=False)
                self.size_bytes -= len(oldest) + _ENTRY_BYTES
