"""Work from a pool by stratum: one connection, made anew when it ends."""

from __future__ import annotations

import asyncio
import ssl
import time
from random import Random
from typing import Final

import structlog

from ckb_node.miner.back_off import BackOff
from ckb_node.miner.endpoint import Endpoint
from ckb_node.miner.pool_login import PoolError
from ckb_node.miner.pool_session import Login, PoolSession
from ckb_node.miner.work import Desk, Work
from ckb_node.runtime.log_text import shown

log = structlog.get_logger("miner")

MAX_LINE_BYTES: Final = 64 << 10
MAX_UNSENT_BYTES: Final = 256 << 10
"""A pool that takes so little is left."""
CONNECT_S: Final = 20.0
CLOSE_S: Final = 0.5
FIRST_WORK_S: Final = 60.0
SILENCE_S: Final = 600.0
"""A pool with nothing to say for so long is gone; a chain of few blocks has no new jobs meanwhile."""
ANSWER_S: Final = 60.0
"""For a share."""
REFUSED_S: Final = 30.0
"""At least, after the pool did not let us in."""


class PoolSource:
    """See `Source`."""

    def __init__(self, endpoint: Endpoint, login: Login, tls: ssl.SSLContext | None) -> None:
        self._endpoint: Final = endpoint
        self._login: Final = login
        self._tls: Final = tls
        self._session: PoolSession | None = None
        self._is_get_work = False
        self._shared_at: float | None = None
        """When the oldest share was sent that has no answer, or later."""

    async def run(self, desk: Desk) -> None:
        """Give work until cancelled."""
        back_off = BackOff(Random())  # noqa: S311 - a pause is no secret
        while True:
            desk.tell(f"connecting to {self._endpoint}")
            session, reason = await self._connection(desk)
            desk.assign(None)
            if session is not None and session.has_work:
                back_off.reset()
            pause = back_off.next()
            if session is not None and session.is_refused:
                pause = max(pause, REFUSED_S)
            if session is not None and session.knows_other_methods:
                self._is_get_work = not self._is_get_work
            desk.tell(f"no connection to {self._endpoint}")
            log.warning("the pool gives no work", pool=str(self._endpoint), reason=reason, again_in_s=round(pause, 1))
            await asyncio.sleep(pause)

    def found(self, work: Work, nonce: bytes) -> None:
        """A share. Of more than the pool answers some are lost."""
        session = self._session
        if session is None:
            return
        if session.unanswered == 0:
            self._shared_at = time.monotonic()
        if not session.share(work, nonce):
            log.debug("a share is not sent: the pool does not answer those before")

    async def _connection(self, desk: Desk) -> tuple[PoolSession | None, str]:
        """One connection to its end: what was said on it, and why it ended."""
        session: PoolSession | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(
                    self._endpoint.host, self._endpoint.port, ssl=self._tls, limit=MAX_LINE_BYTES
                )
        except (OSError, TimeoutError, UnicodeError) as error:
            return None, _reason(error)
        try:
            session = PoolSession(self._login, desk, lambda line: _send(writer, line))
            desk.tell(f"mining for {self._endpoint}")
            session.begin(is_get_work=self._is_get_work)
            self._session = session
            await self._read(reader, session)
        except (OSError, PoolError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            return session, _reason(error)
        finally:
            self._session = None
            await _close(writer)
        return session, "it closed the connection"

    async def _read(self, reader: asyncio.StreamReader, session: PoolSession) -> None:
        begun = heard = time.monotonic()
        while True:
            limits = [heard + SILENCE_S]
            if not session.has_work:
                limits.append(begun + FIRST_WORK_S)
            if session.unanswered and self._shared_at is not None:
                limits.append(self._shared_at + ANSWER_S)
            try:
                async with asyncio.timeout(max(0.0, min(min(limits) - time.monotonic(), ANSWER_S))):
                    line = await reader.readuntil(b"\n")
            except TimeoutError:
                if min(limits) <= time.monotonic():
                    raise
                continue
            heard = time.monotonic()
            before = session.unanswered
            if line.strip():
                session.on_line(line)
            if session.unanswered < before:
                self._shared_at = heard


async def _close(writer: asyncio.StreamWriter) -> None:
    """With what was written, if the pool takes it."""
    writer.close()
    try:
        async with asyncio.timeout(CLOSE_S):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()


def _send(writer: asyncio.StreamWriter, line: bytes) -> None:
    if writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
        writer.transport.abort()
        return
    writer.write(line + b"\n")


def _reason(error: BaseException) -> str:
    match error:
        case asyncio.IncompleteReadError():
            return "it closed the connection"
        case asyncio.LimitOverrunError():
            return f"a line is longer than {MAX_LINE_BYTES} bytes"
        case TimeoutError():
            return "it does not answer"
        case ssl.SSLError():
            return shown(f"TLS: {error.reason or error}", 300)
        case OSError():
            return shown(error.strerror or str(error), 300)
    return shown(str(error), 300)
