"""One connection of the libp2p process as a link of the node's peer layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from network.libp2p.messages import Disconnect, encode
from network.transport import Receiver

__all__ = ["Channel", "Process"]


class Process(Protocol):
    """Where a channel's frames go."""

    def send(self, conn: int, body: bytes | bytearray) -> None:
        """Queue a body. No call raises."""

    def soon(self, call: Callable[[], None]) -> None:
        """Call it in a turn of its own."""

    def forget(self, conn: int) -> None:
        """The channel is gone."""


class Channel:
    """Satisfies network.transport.Link. What the process sends while nothing is read waits here, no more than it has
    credit for."""

    def __init__(self, conn: int, process: Process) -> None:
        self._conn, self._process = conn, process
        self._receiver: Receiver | None = None
        self._waiting = bytearray()
        self._is_paused = self._is_closed = self._is_ended = False
        self._reason = ""

    def attach(self, receiver: Receiver) -> None:
        """Who gets what comes; once, before anything comes."""
        self._receiver = receiver

    # --- Link ---

    @property
    def buffered_bytes(self) -> int:
        """The process gives credit only for what has left it, so nothing else waits below."""
        return 0

    def write(self, data: Sequence[bytes | bytearray]) -> None:
        for body in data:
            self._process.send(self._conn, body)

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._process.soon(self._deliver)

    def close(self) -> None:
        """The connection has told the process by itself, behind its last bytes."""
        self._is_closed = True
        self._waiting.clear()
        if self._is_ended:
            self._process.soon(self._lost)

    def abort(self) -> None:
        if not self._is_ended:
            self._process.send(self._conn, encode(Disconnect()))
        self.ended("cut")

    # --- what the process tells ---

    def receive(self, record: memoryview) -> None:
        """A size and a body."""
        if self._is_closed or self._receiver is None:
            return
        if self._is_paused or self._waiting:
            self._waiting += record
        else:
            self._receiver.receive(record)

    def ended(self, reason: str) -> None:
        """Nothing more comes."""
        if self._is_ended:
            return
        self._is_ended, self._reason = True, reason
        self._process.forget(self._conn)
        self._process.soon(self._lost)

    def _deliver(self) -> None:
        if self._waiting and not self._is_paused and self._receiver is not None and not self._is_closed:
            data, self._waiting = self._waiting, bytearray()
            self._receiver.receive(memoryview(data))

    def _lost(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(self._reason)
