"""One connection from its first byte to its last: it runs the wire's state machine, hands what comes of it to the
switch, and is the `Peer` that handlers see. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from network.ckb_wire.events import (
    Ended,
    EndReason,
    Established,
    Event,
    Introduced,
    Opened,
    ProtocolClosed,
    Received,
    Refused,
)
from network.ckb_wire.secio import HandshakeFault
from network.connection import Connection
from network.intake import Work
from network.limits import DISCONNECT_MESSAGE, ProtocolSpec
from network.multiaddr import Multiaddr
from network.one_timer import OneTimer
from network.peer import Direction, PeerIdentity, Scheduler, SessionKind, Wire
from network.session_owner import Owner, Stage
from network.traffic import Cause
from network.transport import Link
from network.turns import Turns
from network.waiting import WaitingMessages

__all__ = ["MAX_REASON", "Session", "Stage"]

MAX_REASON: Final = 200
"""Characters of a reason that the peer is told."""

MAX_PARKED: Final = 256
"""Events that wait on a connection that is a peer's second one."""

DISCONNECT_WAIT: Final = 0.5
"""Seconds between the reason and the end: a reason right before the end is often lost on the way."""

MAX_TURN: Final = 512
"""Events that are handled before other peers have their turn; at most as many more as the connection gives at once."""

CLOSE_WAIT: Final = 1.5
"""Seconds that the last bytes have to leave; then the connection is cut."""

_PEER_CLOSED: Final = (EndReason.PEER_CLOSED, EndReason.END_OF_STREAM)


class Session:
    """Satisfies network.peer.Peer and network.transport.Receiver."""

    def __init__(
        self,
        session_id: int,
        link: Link,
        connection: Connection,
        address: Multiaddr,
        direction: Direction,
        kind: SessionKind,
        owner: Owner[Session],
        scheduler: Scheduler,
        turns: Turns,
        *,
        max_send_buffer: int,
    ) -> None:
        """`max_send_buffer`: bytes that may wait to be sent."""
        self._session_id: Final = session_id
        self._link: Final = link
        self._connection: Final = connection
        self._direction: Final = direction
        self._owner: Final = owner
        self._scheduler: Final = scheduler
        self._turns: Final = turns
        self._time: Final = turns.enter()
        self._max_send_buffer: Final = max_send_buffer
        self._address, self._kind = address, kind
        self._peer_id, self._is_whitelisted = "", False
        self._connected_at = scheduler.now()
        self._stage = Stage.HANDSHAKE
        self._versions: Final[dict[ProtocolSpec, str]] = {}
        self._held: Final[dict[ProtocolSpec, None]] = {}
        self._waiting: Final = WaitingMessages()
        self._events: Final[deque[Event]] = deque()
        self._is_dispatching = self._is_feeding = self._is_to_flush = self._is_put_off = self._is_parked = False
        self._is_proceeding = False  # messages that have waited are handed on in a later turn
        self._unread = bytearray()
        self._is_at_end = False
        self._timer: Final = OneTimer(scheduler)
        self.identity: PeerIdentity | None = None
        self.has_synced = False
        """Sync was open: it was no feeler, and no stranger that only looked."""
        self.said_goodbye = False
        """It has told why it leaves."""

    # --- Peer ---

    @property
    def session_id(self) -> int:
        return self._session_id

    @property
    def peer_id(self) -> str:
        return self._peer_id

    @property
    def address(self) -> Multiaddr:
        return self._address

    @property
    def direction(self) -> Direction:
        return self._direction

    @property
    def kind(self) -> SessionKind:
        return self._kind

    @property
    def is_whitelisted(self) -> bool:
        return self._is_whitelisted

    @property
    def connected_at(self) -> float:
        return self._connected_at

    @property
    def queued_bytes(self) -> int:
        return self._connection.queued_bytes + self._link.buffered_bytes

    @property
    def wire(self) -> Wire:
        """What carries it."""
        return self._connection.wire

    @property
    def stage(self) -> Stage:
        return self._stage

    @property
    def versions(self) -> dict[ProtocolSpec, str]:
        """The open protocols and their versions."""
        return self._versions

    def version_of(self, protocol: ProtocolSpec) -> str | None:
        return self._versions.get(protocol)

    def open(self, protocol: ProtocolSpec) -> None:
        if self._stage is Stage.LIVE and self._direction is Direction.OUTBOUND and protocol not in self._versions:
            self._connection.open(protocol, self._scheduler.now())
            self._flush_soon()

    def close(self, protocol: ProtocolSpec) -> None:
        if self._stage is Stage.LIVE and protocol in self._versions:
            self._connection.close_protocol(protocol, self._scheduler.now())
            self._flush_soon()
            self._later([ProtocolClosed(protocol, None)])

    def send(self, protocol: ProtocolSpec, payload: bytes) -> bool:
        if self._stage is not Stage.LIVE or protocol not in self._versions:
            return False
        if not self._connection.send(protocol, payload, self._scheduler.now()):
            return False
        self._owner.sent(self, protocol, len(payload))
        self._flush_soon()
        return self._bound_queue()

    def hold(self, protocol: ProtocolSpec) -> None:
        if self._stage is Stage.LIVE and protocol in self._versions and protocol not in self._held:
            self._held[protocol] = None
            if self._waiting.begin(protocol):
                self._connection.hold(protocol)

    def release(self, protocol: ProtocolSpec) -> None:
        if self._stage is Stage.LIVE and protocol in self._held:
            del self._held[protocol]
            self._scheduler.call_later(0.0, self._proceed)

    def disconnect(self, reason: str) -> None:
        self.leave(Cause.DISCONNECTED, reason)

    def ban(self, seconds: int, reason: str) -> None:
        if self._stage is Stage.LIVE:
            self._owner.ban(self, seconds, reason)

    # --- what the switch decides ---

    def name(self, peer_id: str, address: Multiaddr) -> None:
        """The key is proven: who it is, and where."""
        self._peer_id, self._address = peer_id, address

    def begin_handshake(self) -> None:
        """Once; the first bytes leave when the link is ready."""
        self._flush_soon()

    def park(self) -> None:
        """Whether the peer may stay is decided later, by `begin` or `leave`; what it says meanwhile waits."""
        self._is_parked = True

    def begin(self, kind: SessionKind, *, is_whitelisted: bool) -> None:
        """The peer may stay."""
        if self._is_parked:
            self._is_parked = False
            self._later(())
        self._kind, self._is_whitelisted = kind, is_whitelisted
        self._connected_at = self._scheduler.now()
        self._stage = Stage.LIVE

    def leave(self, cause: Cause, reason: str, *, told: bool = True) -> None:
        """End it: tell the peer why if `told` and if it listens, wait for a moment, close."""
        if self._stage not in (Stage.HANDSHAKE, Stage.LIVE):
            return
        reason = reason[:MAX_REASON]
        is_told = told and bool(reason) and DISCONNECT_MESSAGE in self._versions
        if is_told:
            self._connection.send(DISCONNECT_MESSAGE, reason.encode(errors="replace"), self._scheduler.now())
            self._write()
        self._end(cause, reason)
        if is_told:
            self._timer.set(DISCONNECT_WAIT, self._close)
        else:
            self._close()

    def hurry(self) -> None:
        """A session that is leaving waits no longer for its reason to be read."""
        if self._stage is Stage.LEAVING:
            self._close()

    def flush(self) -> None:
        """Hand what is to be sent to the link, and look when the connection wants to be called next."""
        self._is_to_flush = False
        if self._stage not in (Stage.HANDSHAKE, Stage.LIVE):
            return
        self._write()
        self._timer.set_by(self._connection.next_deadline(), self._advance)
        self._bound_queue()

    def flush_if_needed(self) -> None:
        """`flush`, unless that has happened since it was asked for."""
        if self._is_to_flush:
            self.flush()

    # --- Receiver ---

    def receive(self, data: memoryview) -> None:
        if self._stage not in (Stage.HANDSHAKE, Stage.LIVE):
            return
        if self._is_put_off:
            self._unread += data
        else:
            self._feed(data)

    def _feed(self, data: memoryview) -> None:
        """Read slice by slice, as long as the peer need not wait and has not had a whole turn: others want theirs."""
        begun = now = self._scheduler.now()
        events = 0
        self._is_feeding = True
        while (data or self._is_behind) and self._stage in (Stage.HANDSHAKE, Stage.LIVE):
            wait = self._owner.wait(self, now)
            if wait > 0.0 or events >= MAX_TURN or not self._has_turn(begun, now):
                self._put_off(data, wait)
                break
            size = 0 if self._is_behind else min(self._turns.slice_size, self._owner.slice_size(now))
            events += self._feed_slice(data[:size], now)
            data = data[size:]
            now = self._turns.spend(self._time, now)
        self._is_feeding = False
        self.flush()
        self._turns.spend(self._time, now)

    @property
    def _is_behind(self) -> bool:
        """Events, or what becomes some, wait: nothing more is to be read before."""
        return (bool(self._events) and not self._is_parked) or self._connection.is_behind

    def _has_turn(self, begun: float, now: float) -> bool:
        """When there is much to do, who costs little goes first, and strangers go last."""
        if not self._turns.is_over:
            return now - begun < self._turns.share
        return now == begun and self._stage is Stage.LIVE and self._turns.has_place(self._time, now)

    def _feed_slice(self, data: memoryview, now: float) -> int:
        """How many events came of it, and one."""
        connection = self._connection
        frames, delivered = connection.work_done
        connection.limit_events(self._turns.max_events)
        try:
            events = connection.receive(data, now) if data else () if self._events else connection.proceed(now)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must end no more than this connection
            self._owner.fault(self, "receive", error)
            return 0
        frames_read, bytes_delivered = connection.work_done
        work = Work(max(len(data), bytes_delivered - delivered), len(events), max(0, frames_read - frames))
        self._owner.used(self, len(data), work, now)
        self._take(events)
        self._tell_held()
        return 1 + len(events)

    def _put_off(self, data: memoryview, wait: float) -> None:
        self._is_put_off = True
        self._unread = bytearray(data)
        self._link.pause_reading()
        self._turns.put_off(self._resume, self._time, wait)

    def _resume(self) -> None:
        """Go on where the turn ended."""
        if self._stage not in (Stage.HANDSHAKE, Stage.LIVE):
            return
        self._is_put_off = False
        data, self._unread = self._unread, bytearray()
        self._feed(memoryview(data))
        if not self._is_put_off:
            self._link.resume_reading()
            if self._is_at_end:
                self.end_of_stream()

    def _proceed(self) -> None:
        """Messages of a protocol that is held no more: first those that have waited here. A handler may hold again."""
        until = self._scheduler.now() + self._turns.seconds
        self._is_proceeding = False
        for protocol in self._waiting.protocols - self._held.keys():
            self._hand_waiting(protocol, until)
        if self._is_behind and not self._is_put_off:
            self._put_off(memoryview(b""), 0.0)
        self._tell_held()
        self._flush_soon()
        if self._is_at_end:
            self.end_of_stream()

    def _hand_waiting(self, protocol: ProtocolSpec, until: float) -> None:
        """In turns: thousands may have waited."""
        now = self._scheduler.now()
        while self._waiting.has(protocol) and protocol not in self._held and self._stage is Stage.LIVE:
            if now >= until and not self._is_proceeding:
                self._is_proceeding = True
                self._turns.put_off(self._proceed, self._time, 0.0)
            if self._is_proceeding:
                return
            self._owner.received(self, protocol, self._waiting.take(protocol))
            now = self._turns.spend(self._time, now)
        if protocol not in self._held and self._stage is Stage.LIVE:
            self._waiting.end(protocol)
            self._take(self._connection.release(protocol, self._scheduler.now()))

    def _tell_held(self) -> None:
        if self._stage in (Stage.HANDSHAKE, Stage.LIVE):
            self._owner.holds(self, self._connection.held_bytes + self._waiting.size)

    def end_of_stream(self) -> None:
        if self._stage is Stage.LEAVING:
            self._close()
        elif self._is_put_off or self._is_proceeding:
            self._is_at_end = True
        elif self._stage is not Stage.GONE:
            self._take(self._connection.end_of_stream(self._scheduler.now()))
            if self._events and not self._is_parked:  # those are handled first
                self._is_at_end = True
                return
            self.leave(Cause.CLOSED_BY_PEER, "the peer has closed the connection", told=False)

    def lost(self, reason: str) -> None:
        if self._stage is Stage.GONE:
            return
        if self._stage is not Stage.LEAVING:
            self._end(Cause.CLOSED_BY_PEER, reason)
        self._timer.stop()
        self._stage = Stage.GONE
        self._owner.gone(self)

    # --- inside ---

    def _bound_queue(self) -> bool:
        """Answers to what is below protocols, which a peer may cause without end, wait to be sent, too."""
        queued = self.queued_bytes
        if queued > self._max_send_buffer:
            self.leave(Cause.OVERLOAD, f"{queued} bytes wait to be sent")
            return False
        return True

    def _flush_soon(self) -> None:
        """What is sent in one turn leaves together; what answers to what came leaves after all of that is read."""
        if not self._is_feeding and not self._is_to_flush:
            self._is_to_flush = True
            self._owner.flush_later(self)

    def _take(self, events: Sequence[Event]) -> None:
        """Handle events in order, after those that wait, as far as there is time; the others in a later turn. A handler
        that causes more of them returns first."""
        self._events.extend(events)
        if self._is_parked:
            self._look_at_parked(events)
            return
        if self._is_dispatching:
            return
        self._is_dispatching = True
        until = self._scheduler.now() + self._turns.seconds
        try:
            while self._events and self._stage in (Stage.HANDSHAKE, Stage.LIVE) and not self._is_parked:
                self._dispatch(self._events.popleft())
                if self._events and self._scheduler.now() >= until:
                    break
        finally:
            self._is_dispatching = False
        if self._events and not self._is_feeding and not self._is_put_off:
            self._put_off(memoryview(b""), 0.0)

    def _look_at_parked(self, events: Sequence[Event]) -> None:
        """Only the end matters now, and that not too much is waiting."""
        for event in events:
            if isinstance(event, Ended):
                self._ended(event)
                return
        if len(self._events) > MAX_PARKED:
            self.leave(Cause.OVERLOAD, "too many messages on a second connection", told=False)

    def _later(self, events: Sequence[Event]) -> None:
        """Handle events soon, but not within the call of a handler."""
        self._events.extend(events)
        self._scheduler.call_later(0.0, lambda: self._take(()))

    def _dispatch(self, event: Event) -> None:
        match event:
            case Received(protocol, payload):
                if not self._waiting.add(protocol, payload) and protocol in self._versions:
                    self._owner.received(self, protocol, payload)
            case Opened(protocol, version):
                self._versions[protocol] = version
                self._owner.opened(self, protocol)
            case ProtocolClosed(protocol):
                self._held.pop(protocol, None)
                self._waiting.end(protocol)
                if self._versions.pop(protocol, None) is not None:
                    self._owner.closed(self, protocol)
            case Established(public_key):
                self._owner.proven(self, public_key)
            case Introduced(identity, protocols):
                self._owner.introduced(self, identity, protocols)
            case Ended():
                self._ended(event)
            case Refused():
                pass  # the peer does not speak it

    def _ended(self, event: Ended) -> None:
        """The wire is at its end."""
        if self._stage is Stage.HANDSHAKE:
            label = event.reason.value if event.fault is None else event.fault.value
            self._owner.handshake_failed(self, label, is_self=event.fault is HandshakeFault.CONNECT_SELF)
        cause = Cause.CLOSED_BY_PEER if event.reason in _PEER_CLOSED else Cause.WIRE
        self.leave(cause, f"{event.reason.value}: {event.detail}" if event.detail else event.reason.value, told=False)

    def _end(self, cause: Cause, reason: str) -> None:
        """No more events; handlers are told, but not within the call of one."""
        self._stage = Stage.LEAVING
        self._timer.stop()
        self._unread.clear()
        self._events.clear()
        self._held.clear()
        self._waiting.clear()
        open_protocols = list(self._versions)
        self._versions.clear()
        self._owner.left(self, cause, reason)
        if open_protocols:
            self._scheduler.call_later(0.0, lambda: self._tell_closed(open_protocols))

    def _tell_closed(self, protocols: Sequence[ProtocolSpec]) -> None:
        for protocol in protocols:
            self._owner.closed(self, protocol)

    def _close(self) -> None:
        """Say goodbye on the wire, let the rest leave, cut the connection if it does not."""
        self._connection.close(self._scheduler.now())
        self._write()
        self._link.close()
        self._timer.set(CLOSE_WAIT, self._link.abort)

    def _write(self) -> None:
        data = self._connection.data_to_send()
        if data:
            self._owner.sent(self, None, sum(map(len, data)))
            self._link.write(data)

    def _advance(self) -> None:
        now = self._scheduler.now()
        try:
            events = self._connection.advance(now)
        except Exception as error:  # noqa: BLE001 - as in `receive`
            self._owner.fault(self, "advance", error)
            return
        self._take(events)
        self.flush()
