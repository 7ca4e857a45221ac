"""Who listens to a chain of tests: the part of ckb_node.sync.chain.SyncChain that all of them have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ckb_node.chain.events import BlockDecided, BlockVerified, ChainChanged, ChainEvent, SideBlockStored
from consensus.types.blockchain import Block


class Listeners:
    """A base of such chains."""

    def __init__(self) -> None:
        self._listeners: Final[list[Callable[[ChainChanged], object]]] = []
        self._verified_listeners: Final[list[Callable[[Block], None]]] = []
        self._side_listeners: Final[list[Callable[[Block], None]]] = []
        self._decided_listeners: Final[list[Callable[[BlockDecided], None]]] = []

    def listen(self, listener: Callable[[ChainChanged], object]) -> None:
        self._listeners.append(listener)

    def listen_verified(self, listener: Callable[[Block], None]) -> None:
        self._verified_listeners.append(listener)

    def listen_side(self, listener: Callable[[Block], None]) -> None:
        self._side_listeners.append(listener)

    def listen_decided(self, listener: Callable[[BlockDecided], None]) -> None:
        self._decided_listeners.append(listener)

    def forget_listeners(self) -> None:
        """Nobody hears of anything any more."""
        for listeners in (self._listeners, self._verified_listeners, self._side_listeners, self._decided_listeners):
            listeners.clear()

    def tell(self, event: ChainEvent) -> None:
        """Call those who listen for such an event, in order."""
        match event:
            case ChainChanged():
                for listener in self._listeners:
                    listener(event)
            case BlockVerified(block):
                for verified_listener in self._verified_listeners:
                    verified_listener(block)
            case SideBlockStored(block):
                for side_listener in self._side_listeners:
                    side_listener(block)
            case BlockDecided():
                for decided_listener in self._decided_listeners:
                    decided_listener(event)
