"""What became of a message of the relay protocol, by the status codes that developers of CKB know."""

from __future__ import annotations

from enum import IntEnum

from network.peers.penalties import Misbehaviour

__all__ = ["RelayFault", "RelayStatus"]


class RelayStatus(IntEnum):
    """Outcomes that cost the peer nothing. Those that do are a RelayFault."""

    OK = 100
    IGNORED = 101
    ALREADY_PENDING = 102
    """The peer was asked for what this compact block lacks, and has not answered yet."""
    ALREADY_STORED = 104
    STALE = 105
    REQUIRES_PARENT = 106
    REQUIRES_TRANSACTIONS = 107
    MEETS_COLLISION = 108
    """A short id means another transaction here than in the block."""
    TOO_MANY_REQUESTS = 110


class RelayFault(Exception):  # noqa: N818 - it carries the verdict to the protocol, which punishes
    """The message breaks a rule of the protocol, and costs its sender what the table of penalties says."""

    def __init__(self, misbehaviour: Misbehaviour, detail: str = "") -> None:
        super().__init__(f"{misbehaviour.name}: {detail}" if detail else misbehaviour.name)
        self.misbehaviour = misbehaviour
        self.detail = detail
