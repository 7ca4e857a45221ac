"""Anchors: the last block-relay-only peers, dialled first when the node starts again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from network.multiaddr import Multiaddr

__all__ = ["MAX_ANCHORS", "Anchors"]

MAX_ANCHORS: Final = 2


class Anchors:
    """The last MAX_ANCHORS of them."""

    def __init__(self) -> None:
        self._addresses: Final = list[Multiaddr]()

    def __len__(self) -> int:
        return len(self._addresses)

    def __iter__(self) -> Iterator[Multiaddr]:
        """The latest one last."""
        return iter(self._addresses)

    def add(self, address: Multiaddr) -> None:
        """A block-relay-only session has begun."""
        self.remove(address)
        self._addresses.append(address)
        del self._addresses[:-MAX_ANCHORS]

    def remove(self, address: Multiaddr) -> None:
        """It is no good any more."""
        if address in self._addresses:
            self._addresses.remove(address)

    def take(self) -> list[Multiaddr]:
        """All, to be dialled; none are left."""
        taken = list(self._addresses)
        self._addresses.clear()
        return taken
