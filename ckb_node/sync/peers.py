"""The peers that speak Sync: what header sync, block download and relay know together of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ckb_node.sync.chain import KnownTip
from network.limits import SYNC
from network.peer import Direction, Peer, SessionKind

__all__ = ["MAX_PROTECTED", "ChainSync", "SyncPeer", "SyncPeers"]

MAX_PROTECTED: Final = 4
"""The first outbound peers are protected: their slowness alone does not drop them."""
MAX_SHOWN: Final = 16
"""Ends of a peer's main chain, the newest; each other one costs it proof of work."""


class ChainSync(Enum):
    """How far header sync is with a peer."""

    CONNECTED = "connected"
    STARTED = "started"
    """It is asked for headers."""
    TIP_SYNCED = "tip synced"
    """It has no more of them, for now."""
    SUSPENDED = "suspended"
    """It is in its initial download itself, or too slow."""


@dataclass(slots=True, eq=False)
class SyncPeer:
    """A peer with Sync open. `best_known` is the known header with the most work that it has told of; `hints` are
    hashes that it says to have and that are not known here. `shown` are the last headers of what it gave as headers of
    its main chain, which it has verified."""

    peer: Peer
    is_protected: bool
    chain_sync: ChainSync = ChainSync.CONNECTED
    best_known: KnownTip | None = None
    hints: Sequence[bytes] = field(default=())
    shown: deque[KnownTip] = field(default_factory=lambda: deque(maxlen=MAX_SHOWN))
    _held_by: set[str] = field(default_factory=set)

    @property
    def session_id(self) -> int:
        return self.peer.session_id

    @property
    def is_outbound(self) -> bool:
        return self.peer.direction is Direction.OUTBOUND

    @property
    def is_trusted(self) -> bool:
        """Protected or on the whitelist."""
        return self.is_protected or self.peer.is_whitelisted

    @property
    def relays_transactions(self) -> bool:
        return self.peer.kind is SessionKind.FULL

    def note_known(self, tip: KnownTip) -> None:
        """The peer has this header."""
        if self.best_known is None or tip.total_difficulty > self.best_known.total_difficulty:
            self.best_known = tip

    def note_shown(self, tip: KnownTip) -> None:
        """The peer gave this header as one of its main chain."""
        self.note_known(tip)
        if not self.shown or self.shown[-1].hash != tip.hash:
            self.shown.append(tip)

    def forget_shown(self, is_gone: Callable[[KnownTip], bool]) -> None:
        """Some of them say nothing any more."""
        left = [tip for tip in self.shown if not is_gone(tip)]
        self.shown.clear()
        self.shown.extend(left)

    @property
    def is_held(self) -> bool:
        """What it sends is not read now, so that it cannot be late."""
        return bool(self._held_by)

    def hold(self, who: str) -> None:
        """Receive nothing more on Sync until each who holds it has called `release`."""
        if not self._held_by:
            self.peer.hold(SYNC)
        self._held_by.add(who)

    def release(self, who: str) -> None:
        """`who` has room again; nothing happens when it does not hold."""
        if who in self._held_by:
            self._held_by.remove(who)
            if not self._held_by:
                self.peer.release(SYNC)


class SyncPeers:
    """By session id."""

    def __init__(self) -> None:
        self._peers: Final[dict[int, SyncPeer]] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[SyncPeer]:
        return iter(list(self._peers.values()))

    def get(self, session_id: int) -> SyncPeer | None:
        return self._peers.get(session_id)

    def add(self, peer: Peer) -> SyncPeer:
        """Sync is open."""
        is_outbound = peer.direction is Direction.OUTBOUND and not peer.is_whitelisted
        protected = sum(each.is_protected for each in self._peers.values())
        added = SyncPeer(peer, is_protected=is_outbound and protected < MAX_PROTECTED)
        self._peers[peer.session_id] = added
        return added

    def remove(self, session_id: int) -> None:
        """Sync is closed, or the connection has ended."""
        self._peers.pop(session_id, None)
