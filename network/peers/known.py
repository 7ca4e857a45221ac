"""What is known of an address of a peer. The times are the reference's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from network.ip import IpAddress
from network.limits import Flags
from network.multiaddr import Multiaddr
from network.peers.groups import group_of

__all__ = ["REQUIRED_FLAGS", "KnownAddress", "serves"]

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
DAY: Final = 24 * 60 * MINUTE

SHARE_MS: Final = 7 * DAY
"""An address is told to others so long after it was connected."""
ATTEMPT_MS: Final = 3 * DAY
"""So long after it was connected an address is dialled for a session; later, for a look first."""
DIAL_INTERVAL_MS: Final = 15 * SECOND
MAX_RETRIES: Final = 3
"""Dials of an address that never answered."""
MAX_FAILURES: Final = 10
"""Dials of one that answered once, and not for SHARE_MS."""
RETOLD_MS: Final = 10 * MINUTE
"""So long after the last dial the word of a peer gives an address its dials back."""
MAX_DOUBLINGS: Final = 6
"""An address that does not answer comes last for 2, 4 … 64 minutes."""

REQUIRED_FLAGS: Final = Flags.SYNC | Flags.DISCOVERY | Flags.RELAY
"""What peers that are dialled must serve."""


def serves(flags: int, required: int) -> bool:
    """Whether a peer with these flags serves what is required; COMPATIBILITY stands for REQUIRED_FLAGS."""
    if required == REQUIRED_FLAGS and flags & Flags.COMPATIBILITY:
        return True
    return flags & required == required


@dataclass(slots=True, eq=False)
class KnownAddress:
    """Times are milliseconds since 1970, 0 for never. `source`: the network group of who told it, "" when unknown.

    A time that is in the future, since the clock was set back, counts as one that has just passed for a connection,
    and as long ago for a dial: else the address would be useless until then.
    """

    address: Multiaddr
    """As stored, with the peer id."""
    flags: int
    source: str = ""
    last_connected_ms: int = 0
    last_tried_ms: int = 0
    attempts: int = 0
    """Dials since the last connection."""
    peer_id: str = field(init=False)
    ip: IpAddress | None = field(init=False)
    group: str = field(init=False)

    def __post_init__(self) -> None:
        self.peer_id = self.address.peer_id or ""
        self.ip = self.address.ip
        self.group = group_of(self.address)

    @property
    def was_connected(self) -> bool:
        return self.last_connected_ms > 0

    def connected_within(self, span_ms: int, now_ms: int) -> bool:
        return self.was_connected and now_ms - self.last_connected_ms < span_ms

    def has_rested_since_connected(self, now_ms: int) -> bool:
        """It was not connected in the last seconds."""
        age = now_ms - self.last_connected_ms
        return age >= DIAL_INTERVAL_MS or age < 0

    def was_tried_within(self, span_ms: int, now_ms: int) -> bool:
        return self.last_tried_ms > 0 and 0 <= now_ms - self.last_tried_ms <= span_ms

    def is_resting(self, now_ms: int) -> bool:
        """It did not answer when it was dialled, and others come first for a time that doubles with each dial."""
        rest = MINUTE << min(self.attempts, MAX_DOUBLINGS)
        return self.attempts > 0 and self.was_tried_within(rest, now_ms)

    def is_connectable(self, now_ms: int) -> bool:
        """Whether it is worth another dial. What was connected once always is after a day: perhaps it was our own
        network that did not work, and then all addresses fail alike."""
        if self.was_tried_within(MINUTE, now_ms):
            return True
        if not self.was_connected:
            return self.attempts < MAX_RETRIES
        has_failed = self.attempts >= MAX_FAILURES and now_ms - self.last_connected_ms > SHARE_MS
        return not has_failed or not self.was_tried_within(DAY, now_ms)

    def mark_tried(self, now_ms: int) -> None:
        self.last_tried_ms = now_ms
        self.attempts += 1

    def mark_told(self, flags: int, now_ms: int) -> None:
        """A peer tells it again; of an address that was connected that says nothing."""
        if not self.was_connected:
            self.flags = flags
            if not self.was_tried_within(RETOLD_MS, now_ms):
                self.attempts = 0
