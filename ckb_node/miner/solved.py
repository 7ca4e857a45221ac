"""Parents on which a block was found: nothing is mined on them a second time, unless the node stays there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ckb_node.runtime.bounded import BoundedMap

MAX_PARENTS: Final = 32
STAYS_S: Final = 30.0
"""A node that still has this parent's work to give then has another tip than the block that it took."""


class SolvedParents:
    """The latest of them."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` in seconds."""
        self._now: Final = now
        self._since: Final[BoundedMap[bytes, float]] = BoundedMap(max_count=MAX_PARENTS)

    def add(self, parent: bytes) -> None:
        """A block was found."""
        self._since.put(parent, self._now())

    def discard(self, parent: bytes) -> None:
        """It came to nothing."""
        self._since.pop(parent)

    def has(self, parent: bytes) -> bool:
        """A block was found lately."""
        since = self._since.get(parent)
        return since is not None and self._now() - since < STAYS_S
