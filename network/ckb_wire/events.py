"""What a connection tells its owner."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from network.ckb_wire.secio.errors import HandshakeFault
from network.limits import ProtocolSpec
from network.peer import PeerIdentity

__all__ = [
    "EndReason",
    "Ended",
    "Established",
    "Event",
    "Introduced",
    "Opened",
    "ProtocolClosed",
    "ProtocolFault",
    "Received",
    "Refusal",
    "Refused",
]


class Refusal(Enum):
    """Why a protocol that we asked for did not open."""

    UNSUPPORTED = "unsupported"
    """The peer does not know it, or not our version."""
    MALFORMED = "malformed"
    """The peer's answer cannot be read."""
    CLOSED = "closed"
    """The peer closed the stream instead of an answer."""
    TIMEOUT = "timeout"
    """No answer came."""


class ProtocolFault(Enum):
    """Why a protocol closed that was not just closed. As in the reference, nobody is banned for it."""

    TOO_LARGE = "too-large"
    """A message longer than the protocol's limit."""
    TOO_SHORT = "too-short"
    """A message without payload where a flag byte should precede one."""
    BAD_COMPRESSION = "bad-compression"
    """A message that is no snappy block, or would be larger than allowed."""
    CUT = "cut"
    """The stream ended inside a message."""
    RESET = "reset"
    """The peer reset the stream."""


class EndReason(Enum):
    """Why a connection is over; the value is a label of metrics."""

    HANDSHAKE_FAILED = "handshake-failed"
    HANDSHAKE_TIMEOUT = "handshake-timeout"
    CLOSED = "closed"
    """We closed it."""
    PEER_CLOSED = "peer-closed"
    """The peer said that it closes."""
    END_OF_STREAM = "end-of-stream"
    """The peer, or something on the way, just closed."""
    VIOLATION = "violation"
    """The peer broke the rules of secio or yamux, or flooded us with what carries nothing."""
    SELECT_VIOLATION = "select-violation"
    """The peer answered with a protocol that we had not asked for."""
    IDLE = "idle"
    """No protocol is open."""
    PING_TIMEOUT = "ping-timeout"
    """The peer does not answer yamux's pings."""
    SEND_QUEUE_FULL = "send-queue-full"
    """More waits for the peer than it may."""
    SEND_STALLED = "send-stalled"
    """The peer does not read what we have for it."""


@dataclass(frozen=True, slots=True)
class Established:
    """The peer has proven its key, 33 bytes compressed; protocols may be opened."""

    public_key: bytes


@dataclass(frozen=True, slots=True)
class Introduced:
    """Below the protocols the peer has told who it is, and which protocols it speaks. Only libp2p does."""

    identity: PeerIdentity
    protocols: tuple[ProtocolSpec, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A protocol is open in both directions, by whichever side asked."""

    protocol: ProtocolSpec
    version: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A protocol that we asked for will not open; the others are as before."""

    protocol: ProtocolSpec
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Received:
    """A message, decompressed."""

    protocol: ProtocolSpec
    payload: bytes


@dataclass(frozen=True, slots=True)
class ProtocolClosed:
    """A protocol that was open is closed by the peer, or by us because of a fault; the others are as before."""

    protocol: ProtocolSpec
    fault: ProtocolFault | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event. What `data_to_send` still has should be written, then the link be closed. Protocols that were
    open have no event of their own."""

    reason: EndReason
    detail: str = ""
    fault: HandshakeFault | None = None
    """Of HANDSHAKE_FAILED."""


Event = Established | Introduced | Opened | Refused | Received | ProtocolClosed | Ended
