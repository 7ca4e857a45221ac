"""What a session needs of the machine that makes messages of bytes: the CKB wire, or streams of libp2p. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from network.ckb_wire.events import Event
from network.limits import ProtocolSpec
from network.peer import Wire

__all__ = ["Connection"]


class Connection(Protocol):
    """Bytes and times come in, events and bytes go out; see `network.ckb_wire.connection.WireConnection`. After the
    event Ended nothing more happens; all calls are allowed."""

    @property
    def wire(self) -> Wire: ...

    @property
    def is_behind(self) -> bool:
        """Something waits until `proceed`: nothing more should be received before."""

    @property
    def work_done(self) -> tuple[int, int]:
        """Frames that were read, and bytes of messages that came of it, since the beginning."""

    @property
    def queued_bytes(self) -> int:
        """Bytes of messages that wait in here to be sent."""

    @property
    def held_bytes(self) -> int:
        """Bytes that came and are not complete messages yet, or are on hold."""

    def receive(self, data: memoryview, now: float) -> list[Event]:
        """Bytes came; `data` is not kept."""

    def proceed(self, now: float) -> list[Event]:
        """The next events of what was received."""

    def limit_events(self, most: int) -> None:
        """So many events at once from now on."""

    def end_of_stream(self, now: float) -> list[Event]:
        """The peer sends nothing more."""

    def open(self, protocol: ProtocolSpec, now: float) -> None:
        """Ask the peer for a protocol, unless it is open or asked for; Opened or Refused follows."""

    def close_protocol(self, protocol: ProtocolSpec, now: float) -> None:
        """Send what may be sent, and close one protocol. There is no event of it."""

    def send(self, protocol: ProtocolSpec, payload: bytes, now: float) -> bool:
        """Queue a message; False when the protocol is not open. Raises MessageTooLarge."""

    def hold(self, protocol: ProtocolSpec) -> None:
        """No messages of one protocol until `release`."""

    def release(self, protocol: ProtocolSpec, now: float) -> list[Event]:
        """Messages come again; first those that came meanwhile."""

    def close(self, now: float) -> None:
        """Send what may be sent, and that we close."""

    def data_to_send(self) -> Sequence[bytes | bytearray]:
        """What is to be written now, in order; never changed afterwards."""

    def next_deadline(self) -> float | None:
        """When `advance` has something to do; it may be past. None: never again."""

    def advance(self, now: float) -> list[Event]:
        """Do what time demands."""
