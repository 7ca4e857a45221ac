"""The peer layer: which connections become sessions, which handler gets what comes of them, why they end. No I/O.

A `Transport` brings connections, each runs in a `Session`; the registry says who may stay, handlers serve protocols.
Whatever a peer does, and whatever fails while it is served, ends that peer's session and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import structlog

from network.budget import Allowance
from network.ckb_wire.connection import WireConnection, WireLimits
from network.ckb_wire.secio import SecioHandshake
from network.connection import Connection
from network.dialling import Attempt, Dials, NoDial
from network.gate import HandshakeGate, Ticket, TurnedAway
from network.held import HeldBytes
from network.identity import Identity, peer_id_of
from network.intake import Intake, Work
from network.limits import FEELER, IDENTIFY, MIB, SYNC, ProtocolSpec
from network.multiaddr import Multiaddr
from network.peer import Direction, Handler, Peer, PeerIdentity, Scheduler, SessionKind, Timer, Wire
from network.peer_log import PeerLog
from network.peers.anchors import Anchors
from network.peers.bans import Ban, BanList, IpNetwork, network_of
from network.peers.registry import REFUSAL_TEXT, Refused, Registry
from network.peers.store import PeerStore
from network.rests import Rests
from network.session import Session
from network.switch_settings import SwitchSettings
from network.ties import Ties
from network.traffic import Cause, Traffic
from network.transport import Link, Receiver, Transport
from network.turns import Turns

__all__ = ["Switch", "SwitchSettings"]

log = structlog.get_logger("network")

CHECK_INTERVAL: Final = 30.0
OPEN_GRACE: Final = 10.0
"""Seconds after which a session must have Sync open."""
FEELER_GRACE: Final = 30.0
"""Seconds after which a feeler has found out what it can."""

ONION_TIMEOUT: Final = 120.0
"""Seconds; through Tor all takes longer."""

RECOUNT_AFTER: Final = 16 * MIB
"""Bytes that are queued between two looks at how many wait in all."""

CHAIN_PROTOCOLS: Final = 100
"""Ids from here on are of the chain's protocols, those that `set_active` stops."""
LAST_CHAIN_PROTOCOL: Final = 121


class Switch:
    """All connections of one node."""

    def __init__(
        self,
        transport: Transport,
        scheduler: Scheduler,
        identity: Identity,
        *,
        registry: Registry,
        store: PeerStore,
        bans: BanList,
        anchors: Anchors,
        rests: Rests | None = None,
        entropy: Callable[[int], bytes],
        settings: SwitchSettings | None = None,
    ) -> None:
        """`entropy`: see SecioHandshake."""
        self._scheduler, self._identity, self._rests = scheduler, identity, Rests() if rests is None else rests
        self._registry, self._store, self._bans, self._anchors = registry, store, bans, anchors
        self._entropy: Final = entropy
        self._settings: Final = settings or SwitchSettings()
        self._limits: Final = WireLimits(max_queued=self._settings.max_send_buffer)
        self._onion_limits: Final = replace(
            self._limits,
            handshake_timeout=ONION_TIMEOUT,
            select_timeout=ONION_TIMEOUT,
            idle_timeout=ONION_TIMEOUT,
        )
        self._peer_id: Final = identity.peer_id
        self._handlers: Final[dict[ProtocolSpec, Handler]] = {}
        self._sessions: Final[dict[int, Session]] = {}
        """All connections by session id, from the first byte until they are gone."""
        self._live: Final[dict[str, Session]] = {}
        """Those whose peer may stay, by peer id."""
        self._tickets: Final[dict[int, Ticket]] = {}
        self._attempts: Final[dict[int, Attempt]] = {}
        self._allowances: Final[dict[int, Allowance]] = {}
        self._held: Final = HeldBytes(self._settings.max_held_total)
        self._ties: Final = Ties(scheduler, identity.peer_id, self._live, self._ask_registry)
        self._dirty: Final[dict[int, Session]] = {}
        self._flush_timer: Timer | None = None
        self._last_id = 0
        self._is_active, self._is_closed = True, False
        now = scheduler.now()
        self._gate: Final = HandshakeGate(self._settings.gate, now)
        self._intake: Final = Intake(self._settings.intake, now)
        self._turns: Final = Turns(scheduler)
        self._log: Final = PeerLog(now)
        self._queued_since_check = 0
        self.dials: Final = Dials(transport, scheduler, self._peer_id)
        self.traffic: Final = Traffic()
        self._check_timer: Timer = scheduler.call_later(CHECK_INTERVAL, self._check_protocols)

    # --- what the assembly and RPC ask ---

    def register(self, handler: Handler) -> None:
        """Serve a protocol, from the next connection on."""
        self._handlers[handler.protocol] = handler
        self.traffic.add(handler.protocol)

    @property
    def protocols(self) -> Sequence[ProtocolSpec]:
        """Those that are served."""
        return list(self._handlers)

    def handler_of(self, protocol: ProtocolSpec) -> Handler | None:
        """Who serves it."""
        return self._handlers.get(protocol)

    @property
    def peer_id(self) -> str:
        return self._peer_id

    def peers(self) -> Sequence[Session]:
        """The connected peers; feelers are none. Satisfy network.peer.Peer."""
        return [session for session in self._live.values() if session.kind is not SessionKind.FEELER]

    def peer_of(self, peer_id: str) -> Session | None:
        """The connected peer with an id, a feeler's too."""
        return self._live.get(peer_id)

    @property
    def connections(self) -> int:
        """Of all kinds: peers, handshakes, those that are leaving."""
        return len(self._sessions)

    @property
    def handshakes(self) -> int:
        """Inbound connections whose handshake goes on."""
        return self._gate.at_once

    @property
    def is_active(self) -> bool:
        return self._is_active

    def set_active(self, *, active: bool) -> None:
        """Inactive, the node stays connected but does not hear what peers say of the chain."""
        self._is_active = active

    def dial(
        self,
        address: Multiaddr,
        kind: SessionKind = SessionKind.FULL,
        on_end: Callable[[str | None], None] | None = None,
    ) -> NoDial | None:
        """Begin to connect to `…/p2p/<peer id>`. `on_end` is told why it failed, or None when the peer has proven its
        key; it is not called when the answer says why there is no dial."""
        obstacle = self._no_dial(address)
        if obstacle is None:
            self.dials.begin(address, kind, self, on_end)
        return obstacle

    def may_dial(self, address: Multiaddr) -> bool:
        """Whether `dial` would begin."""
        return self._no_dial(address) is None

    def dialling(self, kind: SessionKind) -> int:
        """Dials for sessions of a kind that go on."""
        return self.dials.count(kind)

    def _no_dial(self, address: Multiaddr) -> NoDial | None:
        if self._is_closed:
            return NoDial.CLOSED
        if address.peer_id in self._live:
            return NoDial.CONNECTED
        ip, peer_id = address.ip, address.peer_id
        is_banned = ip is not None and self._bans.is_banned(ip, self._scheduler.wall_ms())
        if is_banned and not (peer_id is not None and self._registry.is_whitelisted(peer_id)):
            return NoDial.BANNED
        return self.dials.obstacle(address)

    def remove_node(self, peer_id: str, reason: str = "disconnect manually") -> bool:
        """Disconnect a peer; whether it was there."""
        session = self._live.get(peer_id)
        if session is None:
            return False
        session.disconnect(reason)
        return True

    def ban_network(self, network: IpNetwork, until_ms: int, reason: str) -> None:
        """The operator's ban: whoever is connected from there leaves."""
        now = self._scheduler.wall_ms()
        self._bans.add(Ban(network, until_ms, reason, now, is_manual=True), now)
        if until_ms <= now:
            return
        for session in list(self._live.values()):
            ip = session.address.ip
            if ip is not None and not session.is_whitelisted and self._bans.is_banned(ip, now):
                session.leave(Cause.BANNED, f"Ban peer {ip}, reason: {reason}")

    def identified(self, peer: Peer, identity: PeerIdentity) -> None:
        """Identify has told who a peer is."""
        session = self._sessions.get(peer.session_id)
        if session is not None:
            session.identity = identity

    def said_goodbye(self, peer: Peer, text: str) -> None:
        """A peer has told why it ends the connection."""
        session = self._sessions.get(peer.session_id)
        if session is not None:
            session.said_goodbye = True
            session.leave(Cause.CLOSED_BY_PEER, f"it said: {text}", told=False)

    def close(self) -> None:
        """End all connections, and begin none. They are gone when `connections` is 0, after CLOSE_WAIT at most."""
        self._is_closed = True
        self._check_timer.cancel()
        self.dials.close()
        for session in list(self._sessions.values()):
            session.leave(Cause.SHUTDOWN, "the node is stopping", told=False)
            session.hurry()

    # --- connections come ---

    def turns_away(self, address: Multiaddr) -> TurnedAway | None:
        """Why a connection from here would get no handshake whatever happens; for a transport that can ask before it
        reads."""
        if self._is_closed:
            return TurnedAway.CLOSED
        if not self._registry.may_handshake(address, self._scheduler.wall_ms()):
            return TurnedAway.BANNED
        if len(self._sessions) >= self._settings.max_connections:
            return TurnedAway.CONNECTIONS
        return None

    def accepted(self, link: Link, address: Multiaddr, since: float | None = None) -> Receiver | None:
        """Somebody has connected from an address, at `since` (now). None: it gets no handshake, end the link."""
        now = self._scheduler.now()
        ticket = self.turns_away(address) or self._gate.enter(address, self._last_id + 1, now)
        if isinstance(ticket, TurnedAway):
            self.traffic.turned_away[ticket.value] += 1
            return None
        if ticket.displaced is not None:
            self._sessions[ticket.displaced].leave(Cause.REJECTED, "others wait for a handshake", told=False)
        session = self.begin(link, address, Direction.INBOUND, SessionKind.FULL, now if since is None else since)
        self._tickets[ticket.number] = ticket
        return session

    def dialled(self, link: Link, attempt: Attempt) -> Receiver:
        """A dial has a connection."""
        session = self.begin(link, attempt.address, Direction.OUTBOUND, attempt.kind, self._scheduler.now())
        self._attempts[session.session_id] = attempt
        return session

    def begin(self, link: Link, address: Multiaddr, direction: Direction, kind: SessionKind, since: float) -> Session:
        """A connection stands; whose peer id `address` has, that peer must be there."""
        handshake = SecioHandshake(self._identity, entropy=self._entropy, expected_peer=address.peer_id)
        limits = self._limits if address.onion is None else self._onion_limits
        connection = WireConnection(handshake, direction, self.protocols, now=since, limits=limits)
        return self._begin(link, connection, address, direction, kind)

    def carried(self, link: Link, connection: Connection, address: Multiaddr, direction: Direction) -> Session | None:
        """A connection on another wire, whose handshake is made elsewhere. None: it may not stay, end the link."""
        turned_away = self.turns_away(address)
        if turned_away is not None:
            self.traffic.turned_away[turned_away.value] += 1
            return None
        return self._begin(link, connection, address, direction, SessionKind.FULL)

    def _begin(
        self, link: Link, connection: Connection, address: Multiaddr, direction: Direction, kind: SessionKind
    ) -> Session:
        self._last_id += 1
        place = (self._last_id, link, connection, address, direction, kind)
        most = self._settings.max_send_buffer
        session = Session(*place, self, self._scheduler, self._turns, max_send_buffer=most)
        self._sessions[self._last_id] = session
        self._allowances[self._last_id] = self._intake.enter(self._scheduler.now())
        session.begin_handshake()
        return session

    # --- sessions tell (network.session.Owner) ---

    def proven(self, session: Session, public_key: bytes) -> None:
        """The peer is who it says; may it stay?"""
        peer_id = peer_id_of(public_key)
        session.name(peer_id, session.address.with_peer_id(peer_id))
        self._handshake_over(session, None)
        other = self._live.get(peer_id)
        if other is None:
            self._ask_registry(session)
        else:
            self._ties.meet(other, session)

    def _ask_registry(self, session: Session) -> None:
        now, wall_ms = self._scheduler.now(), self._scheduler.wall_ms()
        verdict = self._registry.admit(
            session.session_id,
            session.peer_id,
            session.address,
            session.direction,
            session.kind,
            wire=session.wire,
            now_ms=int(now * 1000),
            wall_ms=wall_ms,
        )
        for eviction in verdict.evictions:
            self._sessions[eviction.session_id].leave(Cause.EVICTED, eviction.reason)
        if isinstance(verdict, Refused):
            self.traffic.refused[verdict.reason.value] += 1
            session.leave(Cause.REJECTED, REFUSAL_TEXT)
            return
        self._live[session.peer_id] = session
        session.begin(verdict.kind, is_whitelisted=verdict.is_whitelisted)
        self.traffic.sessions += 1
        if session.direction is Direction.OUTBOUND and session.wire is Wire.CKB:
            if session.kind is SessionKind.BLOCK_RELAY_ONLY:
                self._anchors.add(session.address)
            session.open(IDENTIFY)

    def introduced(self, session: Session, identity: PeerIdentity, protocols: Sequence[ProtocolSpec]) -> None:
        session.identity = identity
        if session.direction is Direction.INBOUND:
            return
        if SYNC not in protocols:
            session.disconnect("it does not speak sync on this chain")
        for protocol in protocols:
            session.open(protocol)

    def opened(self, session: Session, protocol: ProtocolSpec) -> None:
        if protocol is SYNC:
            session.has_synced = True
            self._log.connected(session, self._scheduler.now())
        handler = self._handlers.get(protocol)
        if handler is None:
            return
        try:
            handler.opened(session)
        except Exception as error:  # noqa: BLE001 - a handler's fault ends the session that it serves
            self.fault(session, f"{protocol.config_name}: opened", error)

    def received(self, session: Session, protocol: ProtocolSpec, payload: bytes) -> None:
        self.traffic.received(protocol, len(payload))
        handler = self._handlers.get(protocol)
        if handler is None or (not self._is_active and CHAIN_PROTOCOLS <= protocol.id <= LAST_CHAIN_PROTOCOL):
            return
        try:
            handler.received(session, payload)
        except Exception as error:  # noqa: BLE001 - as in `opened`
            self.fault(session, f"{protocol.config_name}: received", error)

    def closed(self, session: Session, protocol: ProtocolSpec) -> None:
        handler = self._handlers.get(protocol)
        if handler is None:
            return
        try:
            handler.closed(session)
        except Exception as error:  # noqa: BLE001 - as in `opened`
            self.fault(session, f"{protocol.config_name}: closed", error)

    def fault(self, session: Session, where: str, error: Exception) -> None:
        self.traffic.faults += 1
        log.error("fault while a peer was served", where=where, peer=str(session.address), exc_info=error)
        session.leave(Cause.FAULT, "internal error", told=False)

    def wait(self, session: Session, now: float) -> float:
        return self._intake.wait(self._allowances[session.session_id], now)

    def slice_size(self, now: float) -> int:
        return self._intake.slice_size(now)

    def used(self, session: Session, size: int, work: Work, now: float) -> None:
        self.traffic.bytes_in += size
        self._intake.spend(self._allowances[session.session_id], work.units, now)

    def holds(self, session: Session, size: int) -> None:
        largest = self._held.note(session.session_id, size)
        if largest is not None:
            reason = "too many bytes of unfinished messages, most of them of this peer"
            self._sessions[largest].leave(Cause.OVERLOAD, reason)

    def sent(self, session: Session, protocol: ProtocolSpec | None, size: int) -> None:
        if protocol is None:
            self.traffic.bytes_out += size
        else:
            self._queued_since_check += size
            self.traffic.sent(protocol, size)

    def flush_later(self, session: Session) -> None:
        self._dirty[session.session_id] = session
        if self._flush_timer is None:
            self._flush_timer = self._scheduler.call_later(0.0, self._flush)

    def ban(self, session: Session, seconds: int, reason: str) -> None:
        if session.is_whitelisted:
            log.warning("a whitelisted peer misbehaves", peer=str(session.address), reason=reason)
            return
        self.traffic.bans += 1
        ip, now = session.address.ip, self._scheduler.wall_ms()
        if ip is not None:
            self._bans.add(Ban(network_of(ip), now + seconds * 1000, reason, now), now)
            self._store.remove_ip(ip)
        self._store.remove(session.address)
        session.leave(Cause.BANNED, f"Ban for {seconds} seconds, reason: {reason}")

    def handshake_failed(self, session: Session, fault: str, *, is_self: bool) -> None:
        self.traffic.failed_handshakes[fault] += 1
        if is_self and session.direction is Direction.OUTBOUND:
            self.dials.add_own(session.address)

    def left(self, session: Session, cause: Cause, reason: str) -> None:
        was_live = self._live.get(session.peer_id) is session
        self._ties.ended(session, was_live=was_live)
        if was_live:
            del self._live[session.peer_id]
            self._registry.remove(session.session_id)
            self.traffic.left[cause] += 1
            self._rests.left(session, cause, self._scheduler.now())
            self._log.left(session, cause, reason, self._scheduler.now())
        else:
            self._handshake_over(session, f"{cause.value}: {reason}")
        self._dirty.pop(session.session_id, None)
        self._held.forget(session.session_id)

    def gone(self, session: Session) -> None:
        del self._sessions[session.session_id]
        del self._allowances[session.session_id]
        self._intake.leave()

    # --- inside ---

    def _handshake_over(self, session: Session, fault: str | None) -> None:
        """Once for each session: well (None), or not."""
        ticket = self._tickets.pop(session.session_id, None)
        if ticket is not None:
            self._gate.leave(ticket)
        attempt = self._attempts.pop(session.session_id, None)
        if attempt is not None:
            attempt.end(fault)
        if fault is not None:
            log.debug("no session", address=str(session.address), reason=fault)

    def _flush(self) -> None:
        self._flush_timer = None
        sessions = list(self._dirty.values())
        self._dirty.clear()
        for session in sessions:
            session.flush_if_needed()
        if self._queued_since_check > RECOUNT_AFTER:
            self._queued_since_check = 0
            self._bound_send_buffers()

    def _bound_send_buffers(self) -> None:
        """Of peers that do not read, those with the most bytes leave when all together have too many."""
        waiting = {session: session.queued_bytes for session in self._sessions.values()}
        excess = sum(waiting.values()) - self._settings.max_send_total
        for session in sorted(waiting, key=waiting.__getitem__, reverse=True):
            if excess <= 0:
                break
            excess -= waiting[session]
            session.leave(Cause.OVERLOAD, "too much waits to be sent, most of it to this peer")

    def _check_protocols(self) -> None:
        """Peers that open nothing would hold their place for ever, and who does not identify itself may be of any
        chain."""
        self._check_timer = self._scheduler.call_later(CHECK_INTERVAL, self._check_protocols)
        now = self._scheduler.now()
        for session in list(self._live.values()):
            age, opened = now - session.connected_at, session.versions
            if session.kind is SessionKind.FEELER:
                if age > FEELER_GRACE:
                    session.disconnect("feeler connection")
            elif age >= OPEN_GRACE and (SYNC not in opened or session.identity is None) and FEELER not in opened:
                session.disconnect("open protocols error: incomplete open protocols")
