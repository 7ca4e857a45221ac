"""A connection of a miner on asyncio: bytes to lines and back, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from ckb_node.stratum.desk import Desk
from ckb_node.stratum.limits import LINE_BYTES, LOGIN_SECONDS, UNSENT_BYTES
from ckb_node.stratum.session import Session

log = structlog.get_logger("stratum")


class MinerConnection(asyncio.Protocol):
    """Satisfies `session.Wire`. `ended` is called once, when the miner is gone."""

    def __init__(self, desk: Desk, address: str, ended: Callable[[MinerConnection], None]) -> None:
        self.address: Final = address
        self._desk: Final = desk
        self._ended: Final = ended
        self._transport: asyncio.Transport | None = None
        self._rest: Final = bytearray()
        self._rest_since = 0.0
        self.session: Final = Session(desk, self)
        self.has_ended = self.is_banned = False

    # ------------------------------------------------------------ from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a listening socket gives
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Lines are handled as they come; of one that has not ended its beginning is kept."""
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
        if not self._rest and rest:
            self._rest_since = self._desk.monotonic_s()
        for line in lines:
            if self.has_ended or len(line) > LINE_BYTES:
                break
            self.session.line(line)
        else:
            self._rest.extend(rest[: LINE_BYTES + 1])
            if len(self._rest) <= LINE_BYTES:
                return
        if not self.has_ended:
            self.session.junk("a line is too long")

    def connection_lost(self, exc: BaseException | None) -> None:
        self._end()

    # ------------------------------------------------------------ for the session

    def send(self, data: bytes) -> None:
        """A miner that does not read is disconnected: jobs must not wait in its place."""
        transport = self._transport
        if self.has_ended or transport is None or transport.is_closing():
            return
        transport.write(data)
        if transport.get_write_buffer_size() > UNSENT_BYTES:
            self.drop("does not read what it is sent")

    def drop(self, reason: str, *, is_ban: bool = False) -> None:
        """What was sent reaches a miner that reads."""
        if self.has_ended:
            return
        log.info("a miner is disconnected", address=self.address, agent=self.session.agent, reason=reason)
        self.is_banned = is_ban
        transport = self._transport
        self._end()
        if transport is not None and transport.get_write_buffer_size() > UNSENT_BYTES:
            transport.abort()
        elif transport is not None:
            transport.close()

    def look(self) -> None:
        """Every few seconds."""
        if self._transport is not None and self._transport.get_write_buffer_size():
            if self._is_deaf:
                self.drop("does not read what it is sent")
                return
            self._is_deaf = True
        else:
            self._is_deaf = False
        if self._rest and self._desk.monotonic_s() - self._rest_since > LOGIN_SECONDS:
            self.drop("a line does not end")
        else:
            self.session.look()

    _is_deaf = False
    """It has left bytes unread at two looks."""

    def abort(self) -> None:
        """At once."""
        self._end()
        if self._transport is not None:
            self._transport.abort()

    def _end(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            self._rest.clear()
            self.session.close()
            self._ended(self)
