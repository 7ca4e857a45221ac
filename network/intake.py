"""How much work peers may cause, each alone and all together. Who sends more is read more slowly, and so has to wait
with its own full buffers; nobody is punished for it, and nobody else waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from network.budget import Allowance
from network.limits import MIB

__all__ = ["Intake", "IntakeLimits", "Work"]

MESSAGE_PRICE: Final = 4 * 1024
"""Units of a message, beside its bytes: its handling costs about as much time as the decryption of so many. Protocols
with dear messages have a pace of their own."""

FRAME_PRICE: Final = 1024
"""Units of a frame of yamux, whether anything is in it or not."""

SLICE: Final = 256 * 1024
SLICE_IN_NEED: Final = 4 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeLimits:
    """Units a second, and at once. A unit is the work that one received byte causes."""

    rate_peer: float = 512.0 * MIB
    burst_peer: float = 128.0 * MIB
    rate: float = 768.0 * MIB
    burst: float = 128.0 * MIB


@dataclass(frozen=True, slots=True)
class Work:
    """What came of some bytes. `size`: the bytes, or those of the messages that came of them by decompression."""

    size: int
    messages: int
    frames: int

    @property
    def units(self) -> int:
        return self.size + MESSAGE_PRICE * self.messages + FRAME_PRICE * self.frames


class Intake:
    """The work that all peers cause, and who has to wait."""

    def __init__(self, limits: IntakeLimits, now: float) -> None:
        self._limits: Final = limits
        self._all: Final = Allowance(limits.rate, limits.burst, now)
        self._peers = 0

    def enter(self, now: float) -> Allowance:
        """A peer more, and what it may use."""
        self._peers += 1
        return Allowance(self._limits.rate_peer, self._limits.burst_peer, now)

    def leave(self) -> None:
        self._peers -= 1

    def spend(self, peer: Allowance, units: float, now: float) -> None:
        peer.spend(units, now)
        self._all.spend(units, now)

    def wait(self, peer: Allowance, now: float) -> float:
        """Seconds that a peer must wait until more of it is read. When all together have used up everything, only those
        wait who had more than an equal part."""
        wait = peer.wait(now)
        if wait == 0.0 and self._all.left(now) <= 0.0:
            used = peer.burst - peer.left(now)
            if used > self._limits.burst / max(1, self._peers):
                return self._all.wait(now)
        return wait

    def slice_size(self, now: float) -> int:
        """Bytes to be read of a peer before it is asked again whether it must wait."""
        return SLICE if self._all.left(now) > 0.0 else SLICE_IN_NEED
