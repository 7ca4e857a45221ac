"""Whom the node dials over libp2p: the configured peers, as long as places for outbound sessions are free. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from network.libp2p.names import Libp2pAddress

__all__ = ["Dialler"]

FIRST_PAUSE: Final = 1.0
"""Seconds until an address is dialled again; twice as long each time."""
LONGEST_PAUSE: Final = 15.0
"""When it did not answer: whoever joins two networks and comes back must not be waited for as long as it was away."""
LONGEST_REST: Final = 120.0
"""When it answered and was of no use."""
MAX_DOUBLINGS: Final = 16
MAX_ADDRESSES: Final = 256
OF_USE: Final = 60.0
"""Seconds that a session must last to be of use."""


@dataclass(slots=True)
class _Patience:
    failures: int = 0
    """Dials in a row without an answer."""
    moments: int = 0
    """Sessions in a row that were of no use."""
    next_at: float = 0.0
    dialled_at: float | None = None
    """None: not being dialled."""
    connected_at: float | None = None


class Dialler:
    """Of one node; outlives the libp2p process."""

    def __init__(self, addresses: Sequence[Libp2pAddress]) -> None:
        self._patience: Final = {address: _Patience() for address in addresses}

    def add(self, address: Libp2pAddress) -> None:
        """The operator's wish: dialled as configured peers are, until the node ends. Beyond a limit it is dropped."""
        if len(self._patience) < MAX_ADDRESSES:
            self._patience.setdefault(address, _Patience()).next_at = 0.0

    def knows(self, address: Libp2pAddress) -> bool:
        """It is a configured one."""
        return address in self._patience

    def failures(self, address: Libp2pAddress) -> int:
        """Dials of a configured one without an answer, in a row."""
        return self._patience[address].failures

    @property
    def dialled(self) -> int:
        """Dials under way."""
        return sum(patience.dialled_at is not None for patience in self._patience.values())

    def due(self, now: float, places: int, may_dial: Callable[[Libp2pAddress], bool]) -> list[Libp2pAddress]:
        """Those to be dialled now, at most so many; each is told by `ended`."""
        places -= self.dialled
        found = list[Libp2pAddress]()
        idle = [item for item in self._patience.items() if item[1].dialled_at is None and item[1].next_at <= now]
        for address, patience in sorted(idle, key=lambda item: item[1].next_at):  # none keeps the places of others
            if len(found) >= places:
                break
            if may_dial(address):
                self._left(patience, now)
                if patience.next_at <= now:
                    patience.dialled_at = now
                    found.append(address)
        return found

    def _left(self, patience: _Patience, now: float) -> None:
        """It was connected and is no more: who stayed for a moment only is not dialled again at once."""
        connected_at, patience.connected_at = patience.connected_at, None
        if connected_at is None:
            return
        if now - connected_at >= OF_USE:
            patience.moments = 0
        else:
            patience.next_at = now + _pause(patience.moments, LONGEST_REST)
            patience.moments += 1

    def ended(self, address: Libp2pAddress, now: float, *, is_connected: bool) -> None:
        """A dial is over."""
        patience = self._patience[address]
        patience.dialled_at = None
        if is_connected:
            patience.failures, patience.connected_at = 0, now
        else:
            patience.next_at = now + _pause(patience.failures, LONGEST_PAUSE)
            patience.failures += 1

    def restart(self) -> None:
        """What was being dialled is not any more, and nobody is to blame."""
        for patience in self._patience.values():
            patience.dialled_at = patience.connected_at = None


def _pause(before: int, longest: float) -> float:
    """Seconds, after so many in a row `before` this one."""
    return min(FIRST_PAUSE * 2.0 ** min(before, MAX_DOUBLINGS), longest)
