"""What this node gives to peers that ask: counted by kind, and bounded all together (`max_upload_rate`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from network.budget import Allowance

__all__ = ["Served", "Upload", "UploadKind"]


class UploadKind(Enum):
    """Which answers; the value begins with the protocol."""

    HEADERS = "sync_headers"
    BLOCKS = "sync_blocks"
    BLOCK_TRANSACTIONS = "relay_block_transactions"
    TRANSACTIONS = "relay_transactions"
    PROPOSALS = "relay_proposals"
    LIGHT_CLIENT = "light_client"
    FILTER = "filter"


@dataclass(slots=True)
class Served:
    """Of one kind, in this run of the network."""

    asked: int = 0
    """Questions."""
    messages: int = 0
    """That were sent."""
    bytes: int = 0
    """Of these, before compression."""
    refused: int = 0
    """Questions without an answer: malformed, too many, or of what is not here."""
    waiting: Callable[[], int] = lambda: 0
    """Questions, or items of them, that wait for their answer now."""


class Upload:
    """Of one node, shared by all that answer."""

    def __init__(self, allowance: Allowance | None = None) -> None:
        """`allowance`: bytes; None: without a limit."""
        self._allowance: Final = allowance
        self.served: Final = {kind: Served() for kind in UploadKind}

    def wait(self, now: float) -> float:
        """Seconds until anything may be sent to those who can wait; 0.0 when it may."""
        return 0.0 if self._allowance is None else self._allowance.wait(now)

    def is_urgent_allowed(self, now: float) -> bool:
        """What others need at once, to have a new block, may run up a debt, but not any debt."""
        return self._allowance is None or self._allowance.left(now) > -self._allowance.burst

    def sent(self, kind: UploadKind, size: int, now: float) -> None:
        """A message has left."""
        served = self.served[kind]
        served.messages += 1
        served.bytes += size
        self.spend(size, now)

    def spend(self, units: float, now: float) -> None:
        """What an answer costs beside its bytes."""
        if self._allowance is not None:
            self._allowance.spend(units, now)
