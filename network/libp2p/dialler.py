"""Whom the node dials over libp2p: the configured peers, as long as places for outbound sessions are free. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from network.libp2p.names import Libp2pAddress

__all__ = ["Dialler"]

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 120.0
"""Seconds until an address that did not answer, or was of no use, is dialled again."""
MAX_ADDRESSES: Final = 256
OF_USE: Final = 60.0
"""Seconds that a session must last to be of use."""


@dataclass(slots=True)
class _Patience:
    failures: int = 0
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

    @property
    def dialled(self) -> int:
        """Dials under way."""
        return sum(patience.dialled_at is not None for patience in self._patience.values())

    def due(self, now: float, places: int, may_dial: Callable[[Libp2pAddress], bool]) -> list[Libp2pAddress]:
        """Those to be dialled now, at most so many; each is told by `ended`."""
        places -= self.dialled
        found = list[Libp2pAddress]()
        for address, patience in self._patience.items():
            if len(found) >= places:
                break
            if patience.dialled_at is None and patience.next_at <= now and may_dial(address):
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
            patience.failures = 0
        else:
            self._fail(patience, now)

    def ended(self, address: Libp2pAddress, now: float, *, is_connected: bool) -> None:
        """A dial is over."""
        patience = self._patience[address]
        patience.dialled_at = None
        if is_connected:
            patience.connected_at = now
        else:
            self._fail(patience, now)

    def restart(self) -> None:
        """What was being dialled is not any more, and nobody is to blame."""
        for patience in self._patience.values():
            patience.dialled_at = patience.connected_at = None

    def _fail(self, patience: _Patience, now: float) -> None:
        patience.failures += 1
        patience.next_at = now + min(FIRST_PAUSE * 2 ** (patience.failures - 1), LONGEST_PAUSE)
