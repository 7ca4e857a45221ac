"""What the peer layer needs from below it: connections that carry bytes, and somebody who dials. No I/O here.

asyncio's sockets satisfy this (network.io), and so do the simulated ones of the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from network.multiaddr import Multiaddr


class Link(Protocol):
    """One connection's lower end: a stream of bytes in both directions. No call raises; after the end none does
    anything."""

    @property
    def buffered_bytes(self) -> int:
        """Bytes that were written and have not left this process."""

    def write(self, data: Sequence[bytes | bytearray]) -> None:
        """Send in order. The pieces are never changed afterwards, so they need not be copied."""

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`; the peer is slowed down by its own full buffers."""

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        """Send what was written, then end; `Receiver.lost` follows."""

    def abort(self) -> None:
        """End now, and drop what was written; `Receiver.lost` follows."""


class Receiver(Protocol):
    """One connection's upper end, as its transport sees it. No call raises."""

    def receive(self, data: memoryview) -> None:
        """Bytes came; the view is valid during the call only. None come after `end_of_stream` or `lost`."""

    def end_of_stream(self) -> None:
        """The peer sends no more."""

    def lost(self, reason: str) -> None:
        """The connection is gone, in both directions; once, also after `Link.close` and `Link.abort`, and never from
        within a call to the link."""


class Dialling(Protocol):
    """Who waits for a connection. One of both is called, once, and never from within `Transport.dial`."""

    def connected(self, link: Link) -> Receiver:
        """The connection stands; nothing was sent or received on it yet."""

    def failed(self, reason: str) -> None:
        """There is none: refused, timed out, no such name, no way to such an address."""


class Dial(Protocol):
    """A connection in the making."""

    def cancel(self) -> None:
        """Give up; nothing is called any more."""


class Transport(Protocol):
    """Makes connections. Listening is not asked for here: whoever listens calls `Switch.accepted`."""

    def dial(self, address: Multiaddr, dialling: Dialling) -> Dial:
        """Begin to connect, within the transport's own time limits; any failure is told by `Dialling.failed`."""
