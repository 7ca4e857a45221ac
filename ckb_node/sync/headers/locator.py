"""Locators: hashes from a header back to genesis, dense at first, by which a peer finds the latest common block."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.sync.chain import SyncChain
from consensus.types.blockchain import Header
from storage.chain_store import ChainView

__all__ = ["Locators", "Trail", "locator", "locator_heights"]

log = structlog.get_logger("sync")

DENSE: Final = 10
"""Hashes with steps of one."""
MANY: Final = 52
"""Hashes from which on low heights are no longer added."""
HIGH: Final = 8192
"""Heights above are halved where steps would pass genesis, so that a locator has some low heights, too."""
MAX_KEPT: Final = 4
"""Locators."""


def locator_heights(number: int) -> list[int]:
    """Heights of the hashes in a locator that begins at `number`, genesis included."""
    heights = [number]
    step = 1
    while True:
        if number >= 2 * step:
            number -= step
        elif len(heights) < MANY and number > HIGH:
            number >>= 1
        else:
            return heights if number == 0 else [*heights, 0]
        heights.append(number)
        if len(heights) >= DENSE:
            step *= 2


def locator(view: ChainView, start: bytes) -> list[bytes]:
    """Hashes of a known header and of ancestors of it, down to genesis; empty when it is not known any more.

    May take long where two branches of headers are long: for a thread.
    """
    known = view.known_headers()
    header = known.header(start)
    if header is None:
        return []
    found: list[bytes] = []
    base: bytes | None = start
    for height in locator_heights(header.number):
        if base is None:
            return []
        base = view.main_hash(height) if view.is_main(base) else known.ancestor_hash(base, height)
        if base is not None:
            found.append(base)
    return found


class Trail:
    """Where a peer's headers have led so far: enough hashes for the next locator, though nothing is stored yet."""

    def __init__(self, header_number: int, hashes: Sequence[bytes]) -> None:
        """`hashes`: the locator of the header at `header_number`, or all that is known of it; the last is genesis."""
        heights = locator_heights(header_number)[: len(hashes)]
        self._points: list[tuple[int, bytes]] = list(zip(heights, hashes, strict=False))

    @property
    def hashes(self) -> list[bytes]:
        """The locator."""
        return [block_hash for _, block_hash in self._points]

    def move_on(self, headers: Sequence[Header]) -> None:
        """The peer sent these, which stand on each other; that they stand on what it sent before is judged later."""
        first = headers[0].number
        below = sorted(point for point in self._points if point[0] < first)
        numbers = [number for number, _ in below]
        points: dict[int, bytes] = {}
        for height in locator_heights(first + len(headers) - 1):
            if height >= first:
                points[height] = headers[height - first].hash
            elif at := bisect_right(numbers, height):
                points.setdefault(*below[at - 1])
        self._points = list(points.items())


class Locators:
    """Locators of known headers, read in a thread; those read last are kept, since all peers are asked from there."""

    def __init__(self, chain: SyncChain) -> None:
        self._chain: Final = chain
        self._kept: Final[BoundedMap[bytes, list[bytes]]] = BoundedMap(max_count=MAX_KEPT)
        self._wanted: Final[dict[bytes, list[Callable[[list[bytes]], None]]]] = {}

    def find(self, start: bytes, done: Callable[[list[bytes]], None]) -> None:
        """Call `done` with the locator, at once or later; an empty one when the header is not known, or cannot be
        read."""
        kept = self._kept.use(start)
        if kept is not None:
            done(kept)
        elif start in self._wanted:
            self._wanted[start].append(done)
        else:
            self._wanted[start] = [done]
            self._chain.read(partial(locator, start=start), partial(self._read, start))

    def _read(self, start: bytes, found: list[bytes] | Exception) -> None:
        if isinstance(found, Exception):
            log.error("a locator cannot be read", reason=str(found) or type(found).__name__)
            found = []
        elif found:
            self._kept.put(start, found)
        for done in self._wanted.pop(start, ()):
            done(found)
