"""A connection of a miner on asyncio: bytes to lines and back, bounded."""

from __future__ import annotations

import asyncio
import socket
from typing import Final, Protocol

import structlog

from ckb_node.runtime.brief_send import send_briefly
from ckb_node.stratum.desk import Desk
from ckb_node.stratum.limits import CLOSE_SECONDS, LINE_BYTES, LOGIN_SECONDS, UNREAD_BYTES, UNSENT_BYTES
from ckb_node.stratum.session import Session
from ckb_node.stratum.turns import Turns

log = structlog.get_logger("stratum")

_INCOMING: Final = memoryview(bytearray(UNREAD_BYTES))
"""One for all: bytes are taken out of it before the event loop does anything else."""


class Keeper(Protocol):
    """Who keeps the connections."""

    @property
    def turns(self) -> Turns:
        """Who is heard next."""
        ...

    def ban(self, connection: MinerConnection) -> None:
        """Its address is to stay away."""
        ...

    def gone(self, connection: MinerConnection) -> None:
        """Called once, when nothing is left of it."""
        ...


class MinerConnection(asyncio.BufferedProtocol):
    """Satisfies `session.Wire` and `turns.Speaker`."""

    def __init__(self, desk: Desk, address: str, keeper: Keeper, wire: socket.socket | None = None) -> None:
        """`wire`: where bytes may be sent as they are, without TLS."""
        self.address: Final = address
        self._desk: Final = desk
        self._keeper: Final = keeper
        self._wire: Final = wire
        self._transport: asyncio.Transport | None = None
        self._unread: Final = bytearray()
        self._begun_s = 0.0
        self._is_waiting = self._is_lost = self._is_gone = self._is_deaf = False
        self._last_moment: asyncio.TimerHandle | None = None
        self.session: Final = Session(desk, self)
        self.has_ended = False
        """Nothing is heard or told any more."""

    # ------------------------------------------------------------ from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a listening socket gives
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
        self._transport = transport
        if self.has_ended:  # while it waited for its handshake
            transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return _INCOMING

    def buffer_updated(self, nbytes: int) -> None:
        """Of a line that has not ended its beginning is kept; no more is read while lines wait for their turn."""
        if self.has_ended:
            return
        if not self._unread:
            self._begun_s = self._desk.monotonic_s()
        self._unread.extend(_INCOMING[:nbytes])
        if not self._is_waiting and self._has_line:
            self._is_waiting = True
            self._keeper.turns.add(self)
        if self._is_waiting and len(self._unread) >= UNREAD_BYTES and self._transport is not None:
            self._transport.pause_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Lines that came before are heard: one may be a block."""
        self._is_lost = True
        if not self._is_waiting or self.has_ended:
            self._end()

    # ------------------------------------------------------------ lines

    @property
    def _has_line(self) -> bool:
        """Or what is too long for one."""
        return len(self._unread) > LINE_BYTES or b"\n" in self._unread

    def hear(self) -> bool:
        """The next line."""
        try:
            self._hear_line()
        except BaseException:
            self.abort()
            raise
        if self.has_ended:
            return False
        self._begun_s = self._desk.monotonic_s()
        self._is_waiting = self._has_line
        if not self._is_waiting:
            self._heard_all()
        return self._is_waiting

    def _hear_line(self) -> None:
        if self.has_ended:
            return
        end = self._unread.find(b"\n", 0, LINE_BYTES + 1)
        if end < 0:
            self.session.junk("a line is too long")
            return
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        self.session.line(line)

    def _heard_all(self) -> None:
        if self._is_lost:
            self._end()
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # ------------------------------------------------------------ for the session

    def send(self, data: bytes) -> None:
        """A miner that does not read is disconnected: jobs must not wait in its place."""
        transport = self._transport
        if self.has_ended or transport is None or transport.is_closing():
            return
        if self._wire is not None and not transport.get_write_buffer_size():
            taken = send_briefly(self._wire.fileno(), data)
            if taken == len(data):
                return
            data = data[taken:]
        transport.write(data)
        if transport.get_write_buffer_size() > UNSENT_BYTES:
            self.drop("does not read what it is sent")

    def drop(self, reason: str, *, is_ban: bool = False) -> None:
        """What was sent reaches a miner that reads."""
        if self.has_ended:
            return
        log.info("a miner is disconnected", address=self.address, agent=self.session.agent, reason=reason)
        if is_ban:
            self._keeper.ban(self)
        self._end_session()
        transport = self._transport
        if transport is None or self._is_lost:
            self._end()
        elif transport.get_write_buffer_size() > UNSENT_BYTES:
            transport.abort()
        else:
            transport.close()
            self._last_moment = asyncio.get_running_loop().call_later(CLOSE_SECONDS, transport.abort)

    def look(self) -> None:
        """Every few seconds."""
        if self._transport is not None and self._transport.get_write_buffer_size():
            if self._is_deaf:  # at two looks
                self.drop("does not read what it is sent")
                return
            self._is_deaf = True
        else:
            self._is_deaf = False
        if self._unread and not self._is_waiting and self._desk.monotonic_s() - self._begun_s > LOGIN_SECONDS:
            self.drop("a line does not end")
        else:
            self.session.look()

    def abort(self) -> None:
        """At once."""
        self._end()
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------ the end

    def _end_session(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            self._unread.clear()
            self.session.close()

    def _end(self) -> None:
        self._end_session()
        if self._last_moment is not None:
            self._last_moment.cancel()
        if not self._is_gone:
            self._is_gone = True
            self._keeper.gone(self)
