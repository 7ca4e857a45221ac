"""The lines of the log that tell of peers who come and go: what an operator wants, and not more than can be read."""

from __future__ import annotations

from typing import Final

import structlog

from network.budget import Allowance
from network.session import Session
from network.traffic import Cause

__all__ = ["PeerLog"]

log = structlog.get_logger("network")

RATE: Final = 2.0
BURST: Final = 100.0
"""Lines a second, and at once. What is left out is counted in the next line."""


class PeerLog:
    """Of one switch."""

    def __init__(self, now: float) -> None:
        self._allowance: Final = Allowance(RATE, BURST, now)
        self._left_out = 0

    def connected(self, session: Session, now: float) -> None:
        """A peer has opened Sync. Feelers and strangers do not, and are not worth a line."""
        client = None if session.identity is None else session.identity.client_version
        self._tell("peer connected", session, now, client=client)

    def left(self, session: Session, cause: Cause, reason: str, now: float) -> None:
        if session.has_synced or cause is Cause.BANNED:
            self._tell("peer left", session, now, cause=cause.value, reason=reason)
        else:
            log.debug("peer left", peer=str(session.address), cause=cause.value, reason=reason)

    def _tell(self, event: str, session: Session, now: float, **facts: object) -> None:
        if self._allowance.left(now) < 1.0:
            self._left_out += 1
            return
        self._allowance.spend(1.0, now)
        if self._left_out:
            facts["lines_left_out"], self._left_out = self._left_out, 0
        log.info(event, peer=str(session.address), direction=session.direction.value, **facts)
