"""What the protocols see of a connected peer, and what the network asks of them. No I/O.

Everything here is called on one thread and returns at once. Protocols that have much to do take a note and work in
tasks of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from network.limits import Flags, ProtocolSpec
from network.multiaddr import Multiaddr


class Direction(Enum):
    """Who dialled. The dialler alone opens protocols."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Wire(Enum):
    """What carries a connection; the value is a label of metrics."""

    CKB = "ckb"
    """Secio and yamux, as all nodes of CKB speak them."""
    LIBP2P = "libp2p"
    """Noise and yamux of libp2p, in a process of its own."""


class SessionKind(Enum):
    """What an outbound connection is for. An inbound one is FULL; the other end may have dialled it for anything."""

    FULL = "full"
    BLOCK_RELAY_ONLY = "block-relay-only"
    FEELER = "feeler"


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """What a peer says of itself in Identify."""

    flags: Flags
    client_version: str
    listening: tuple[Multiaddr, ...] = ()
    """Where it says that it listens; reachable ones only, with its peer id."""


class MessageTooLarge(ValueError):  # noqa: N818 - the condition is its name, as in network.framing
    """A message of our own exceeds what its protocol can carry; bytes. The connection is as before."""

    def __init__(self, protocol: ProtocolSpec, size: int, most: int) -> None:
        super().__init__(f"a message of {size} bytes on {protocol.name}, of at most {most}")
        self.protocol, self.size = protocol, size


class Peer(Protocol):
    """A connected peer whose key is proven. After the connection has ended all calls do nothing."""

    @property
    def session_id(self) -> int:
        """Counts from 1; never used twice in a run."""

    @property
    def peer_id(self) -> str:
        """`Qm…`, of the key that the peer has proven."""

    @property
    def address(self) -> Multiaddr:
        """Where the peer is, with `/p2p/<peer id>`: the dialled address, or the socket's of an inbound connection."""

    @property
    def direction(self) -> Direction: ...

    @property
    def kind(self) -> SessionKind: ...

    @property
    def is_whitelisted(self) -> bool:
        """Never banned, never evicted, counted nowhere."""

    @property
    def connected_at(self) -> float:
        """Seconds of `Scheduler.now`."""

    @property
    def identity(self) -> PeerIdentity | None:
        """None before Identify."""

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be sent, of all protocols. A session with more than MAX_SEND_BUFFER ends."""

    def version_of(self, protocol: ProtocolSpec) -> str | None:
        """The version in which a protocol is open, None when it is not."""

    def open(self, protocol: ProtocolSpec) -> None:
        """As the dialler, open a protocol; `Handler.opened` tells when it is. Nothing happens when it is open."""

    def close(self, protocol: ProtocolSpec) -> None:
        """Close one protocol; the others stay."""

    def send(self, protocol: ProtocolSpec, payload: bytes) -> bool:
        """Queue a message, to be framed and compressed; False when the protocol is not open. Raises MessageTooLarge."""

    def hold(self, protocol: ProtocolSpec) -> None:
        """Stop to receive on one protocol until `release`: the peer may go on to send what its window allows."""

    def release(self, protocol: ProtocolSpec) -> None: ...

    def disconnect(self, reason: str) -> None:
        """End the connection; the reason is told to the peer (at most 200 characters of it) and logged."""

    def ban(self, seconds: int, reason: str) -> None:
        """Ban the peer's IP address and end the connection, unless it is whitelisted: then only this is logged."""


class Handler(Protocol):
    """One protocol. A fault that escapes from a call is logged, and ends the session that it was called for."""

    @property
    def protocol(self) -> ProtocolSpec: ...

    def opened(self, peer: Peer) -> None:
        """The protocol is open in both directions."""

    def received(self, peer: Peer, payload: bytes) -> None:
        """A whole message, decompressed, within the protocol's sizes, else of any content."""

    def closed(self, peer: Peer) -> None:
        """The protocol is closed, or the connection has ended; after `opened`, once."""


class Timer(Protocol):
    """A call that will be made."""

    def cancel(self) -> None: ...


class Scheduler(Protocol):
    """Time, as the network sees it: the event loop's or a simulation's."""

    def now(self) -> float:
        """Seconds since some moment; goes on evenly."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970; the user may set this clock."""

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        """Call once, after `delay` seconds."""
