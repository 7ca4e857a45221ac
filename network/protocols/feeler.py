"""Feeler (protocol 3): a connection that only finds out whether an address leads to a node.

The dialler opens it after Identify. When it is open, both ends leave; nothing is ever sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from network.limits import FEELER, Flags, ProtocolSpec
from network.multiaddr import Multiaddr
from network.peer import Direction, Peer

__all__ = ["REASON", "FeelerProtocol", "FeelerStore"]

REASON: Final = "feeler connection"


class FeelerStore(Protocol):
    """The store of addresses, as far as a feeler knows it."""

    def add_connected(self, address: Multiaddr, flags: int, now_ms: int) -> bool:
        """An address that was dialled leads to a node that serves `flags`."""


class FeelerProtocol:
    """Satisfies network.peer.Handler."""

    def __init__(self, store: FeelerStore, now_ms: Callable[[], int]) -> None:
        self._store, self._now_ms = store, now_ms

    @property
    def protocol(self) -> ProtocolSpec:
        return FEELER

    def opened(self, peer: Peer) -> None:
        if peer.direction is Direction.OUTBOUND:
            flags = Flags.COMPATIBILITY if peer.identity is None else peer.identity.flags
            self._store.add_connected(peer.address, flags, self._now_ms())
        peer.disconnect(REASON)

    def received(self, peer: Peer, payload: bytes) -> None:
        """No message exists; the session ends anyway."""

    def closed(self, peer: Peer) -> None:
        """Nothing is kept."""
