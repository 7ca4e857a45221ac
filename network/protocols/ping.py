"""Ping (protocol 0): is the peer there, and how far away is it?

Both ends ping each other every two minutes, one ping at a time. Stricter than the reference in one point: it looks for
timeouts only every 1200 s, and so may take 2400 s to find one; here each tick looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from consensus.errors import MoleculeError
from network.limits import PING, ProtocolSpec
from network.messages.peers import Ping, PingMessage, Pong
from network.peer import Peer, Scheduler, Timer
from network.peers.penalties import Misbehaviour, apply_penalty
from network.protocols.pace import MessagePace

__all__ = ["INTERVAL", "TIMEOUT", "PingProtocol", "PingRecords"]

INTERVAL: Final = 120.0
"""Seconds from ping to ping, unless configured."""
TIMEOUT: Final = 1200.0
"""Seconds that a peer may take to answer, unless configured."""

MESSAGES_PER_SECOND: Final = 4.0
MESSAGES_AT_ONCE: Final = 64.0

U32_MASK: Final = 0xFFFF_FFFF


class PingRecords(Protocol):
    """Who keeps what pings tell: the choice of whom to evict depends on it."""

    def ping_received(self, session_id: int, now_ms: int) -> None:
        """The peer sent a ping."""

    def ping_answered(self, session_id: int, round_trip_ms: int, now_ms: int) -> None:
        """The peer answered one of ours."""


@dataclass(slots=True)
class _Session:
    peer: Peer
    nonce: int = 0
    sent_at: float | None = None
    """When the ping was sent that waits for its answer; None when none does."""


class PingProtocol:
    """Satisfies network.peer.Handler."""

    def __init__(
        self, scheduler: Scheduler, records: PingRecords, *, interval: float = INTERVAL, timeout: float = TIMEOUT
    ) -> None:
        """`interval` and `timeout` in seconds."""
        self._scheduler, self._records = scheduler, records
        self._interval, self._timeout = interval, timeout
        self._start: Final = scheduler.now()
        self._sessions: Final[dict[int, _Session]] = {}
        self._pace: Final = MessagePace(scheduler, PING, rate=MESSAGES_PER_SECOND, burst=MESSAGES_AT_ONCE)
        self._tick: Timer | None = None

    @property
    def protocol(self) -> ProtocolSpec:
        return PING

    def opened(self, peer: Peer) -> None:
        self._sessions[peer.session_id] = _Session(peer)
        if self._tick is None:
            self._tick = self._scheduler.call_later(self._interval, self._on_tick)

    def closed(self, peer: Peer) -> None:
        self._sessions.pop(peer.session_id, None)
        self._pace.forget(peer)
        if not self._sessions and self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def received(self, peer: Peer, payload: bytes) -> None:
        self._pace.spend(peer)
        try:
            message = PingMessage.parse(payload, compatible=True).payload
        except MoleculeError:
            apply_penalty(peer, Misbehaviour.PING_UNDECODABLE)
            return
        if isinstance(message, Ping):
            self._answer(peer, message)
        elif isinstance(message, Pong):
            self._measure(peer, message)

    def ping_all(self) -> None:
        """Ping every peer that owes no answer; RPC `ping_peers`."""
        now = self._scheduler.now()
        for session in list(self._sessions.values()):
            if session.sent_at is None:
                self._send_ping(session, now)

    def _answer(self, peer: Peer, ping: Ping) -> None:
        self._records.ping_received(peer.session_id, round(self._scheduler.now() * 1000))
        peer.send(PING, PingMessage(payload=Pong(nonce=ping.nonce)).raw)

    def _measure(self, peer: Peer, pong: Pong) -> None:
        session = self._sessions.get(peer.session_id)
        if session is None:
            return
        if session.sent_at is None or pong.nonce != session.nonce:
            apply_penalty(peer, Misbehaviour.PONG_WRONG)
            return
        now = self._scheduler.now()
        round_trip_ms = round((now - session.sent_at) * 1000)
        self._records.ping_answered(peer.session_id, round_trip_ms, round(now * 1000))
        session.sent_at = None

    def _on_tick(self) -> None:
        self._tick = self._scheduler.call_later(self._interval, self._on_tick)
        now = self._scheduler.now()
        for session in list(self._sessions.values()):
            if session.sent_at is None:
                self._send_ping(session, now)
            elif now - session.sent_at >= self._timeout:
                apply_penalty(session.peer, Misbehaviour.PING_TIMEOUT)

    def _send_ping(self, session: _Session, now: float) -> None:
        session.nonce = int(now - self._start) & U32_MASK
        if session.peer.send(PING, PingMessage(payload=Ping(nonce=session.nonce)).raw):
            session.sent_at = now
