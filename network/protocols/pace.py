"""How fast a peer may send on one protocol: who is faster is read more slowly, and nothing is lost or punished.

The reference reads as fast as peers send. Here an inbound protocol is held (`Peer.hold`) while its allowance is used
up, so that a flood fills the flooder's own window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from network.budget import Allowance
from network.limits import ProtocolSpec
from network.peer import Peer, Scheduler, Timer

__all__ = ["MessagePace"]


@dataclass(slots=True)
class _Pace:
    allowance: Allowance
    release: Timer | None = None


class MessagePace:
    """Allowances of all peers that have one protocol open."""

    def __init__(self, scheduler: Scheduler, protocol: ProtocolSpec, *, rate: float, burst: float) -> None:
        """`rate` messages a second, `burst` at once."""
        self._scheduler: Final = scheduler
        self._protocol: Final = protocol
        self._rate, self._burst = rate, burst
        self._paces: Final[dict[int, _Pace]] = {}

    def __len__(self) -> int:
        """Peers that are remembered."""
        return len(self._paces)

    def spend(self, peer: Peer, units: float = 1.0) -> None:
        """A message came. Holds the protocol until the allowance allows another."""
        now = self._scheduler.now()
        pace = self._paces.get(peer.session_id)
        if pace is None:
            pace = self._paces[peer.session_id] = _Pace(Allowance(self._rate, self._burst, now))
        pace.allowance.spend(units, now)
        wait = pace.allowance.wait(now)
        if wait > 0 and pace.release is None:
            peer.hold(self._protocol)
            pace.release = self._scheduler.call_later(wait, lambda: self._release(peer))

    def forget(self, peer: Peer) -> None:
        """The protocol is closed."""
        pace = self._paces.pop(peer.session_id, None)
        if pace is not None and pace.release is not None:
            pace.release.cancel()

    def _release(self, peer: Peer) -> None:
        self._paces[peer.session_id].release = None
        peer.release(self._protocol)
