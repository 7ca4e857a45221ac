"""Headers read lately, shared by all views of a store: median times walk 37 of them for each block."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from itertools import islice
from typing import Final

from consensus.types.blockchain import Header
from storage.recent import Recent

__all__ = ["HeaderCache"]

MAX_PARENTS: Final = 16_384
"""And up to as many older ones, 8 MB: a walk over long forks of headers reads a hundred thousand rows a second."""


class HeaderCache:
    """Bounded; the oldest quarter goes when it is full.

    Each header is kept with the serial of the commit at which it was seen, and is shown only to views of that commit or
    later ones: a view must not know blocks that were stored after it. Nor may a view bring back what was deleted
    after it: those from before the last deletion put nothing here.
    """

    def __init__(self, size: int = 4096) -> None:
        self._size: Final = size
        self._headers: Final[dict[bytes, tuple[int, Header]]] = {}
        self._lock: Final = threading.Lock()
        self._last_deletion = 0
        self.parents: Final = Recent[bytes](MAX_PARENTS)
        """Of headers by hash, whether their blocks are stored or not. That never changes."""

    def get(self, block_hash: bytes, serial: int) -> Header | None:
        """The header, if a view of commit `serial` may see it and it is here."""
        found = self._headers.get(block_hash)
        return found[1] if found is not None and found[0] <= serial else None

    def put(self, block_hash: bytes, serial: int, header: Header) -> None:
        """Keep a header that a view of commit `serial` has seen."""
        self.put_all({block_hash: header}, serial)

    def put_all(self, headers: Mapping[bytes, Header], serial: int) -> None:
        """Keep headers, by their hashes, that a view of commit `serial` has seen."""
        known = self._headers
        with self._lock:
            if serial < self._last_deletion:
                return
            for block_hash, header in headers.items():
                found = known.get(block_hash)
                if found is not None and found[0] <= serial:
                    continue
                if len(known) >= self._size:
                    for old in list(islice(known, max(1, self._size // 4))):
                        del known[old]
                known[block_hash] = (serial, header)

    def forget(self, block_hash: bytes, serial: int) -> None:
        """Drop the header of a block that commit `serial` deleted."""
        with self._lock:
            self._last_deletion = max(self._last_deletion, serial)
            self._headers.pop(block_hash, None)
