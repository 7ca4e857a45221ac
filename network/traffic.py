"""What went over the wire and how connections ended, counted since the start; metrics and the line of `run` read it."""

from __future__ import annotations

from collections import Counter
from enum import Enum

from network.limits import ProtocolSpec


class Cause(Enum):
    """Why a peer left, or why a connection never became one."""

    CLOSED_BY_PEER = "closed by peer"
    WIRE = "wire"
    """The peer broke the rules of secio or yamux, or a time limit of them passed."""
    DISCONNECTED = "disconnected"
    BANNED = "banned"
    EVICTED = "evicted"
    REJECTED = "rejected"
    OVERLOAD = "overload"
    """The peer, or all together, made us hold too many bytes."""
    FAULT = "fault"
    """An error of this node's own, while it served this peer."""
    SHUTDOWN = "shutdown"


class ProtocolTraffic:
    """One protocol's messages, and their bytes as handlers see them: without lengths, uncompressed."""

    __slots__ = ("bytes_in", "bytes_out", "messages_in", "messages_out")

    def __init__(self) -> None:
        self.messages_in = self.messages_out = 0
        self.bytes_in = self.bytes_out = 0


class Traffic:
    """The counters of one node."""

    def __init__(self) -> None:
        self.by_protocol: dict[ProtocolSpec, ProtocolTraffic] = {}
        self.bytes_in = self.bytes_out = 0
        """As they are on the wire, of all connections."""
        self.turned_away: Counter[str] = Counter()
        """Inbound connections that got no handshake, by reason."""
        self.refused: Counter[str] = Counter()
        """Peers that proved their key and for whom there was no place, by reason."""
        self.failed_handshakes: Counter[str] = Counter()
        """By reason, of both directions."""
        self.left: Counter[Cause] = Counter()
        """Sessions that were established and ended, by cause."""
        self.sessions = 0
        """Established, ever."""
        self.bans = 0
        self.faults = 0

    def add(self, protocol: ProtocolSpec) -> None:
        """A protocol is served."""
        self.by_protocol.setdefault(protocol, ProtocolTraffic())

    def received(self, protocol: ProtocolSpec, size: int) -> None:
        counters = self.by_protocol[protocol]
        counters.messages_in += 1
        counters.bytes_in += size

    def sent(self, protocol: ProtocolSpec, size: int) -> None:
        counters = self.by_protocol[protocol]
        counters.messages_out += 1
        counters.bytes_out += size
