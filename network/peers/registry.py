"""The table of connected peers: who may stay, and who goes for another."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Final

from network.multiaddr import Multiaddr
from network.peer import Direction, SessionKind, Wire
from network.peers.bans import BanList
from network.peers.eviction import BOOTNODE_EVICTION, EVICTION, victim_of
from network.peers.groups import group_of

__all__ = [
    "Admitted",
    "ConnectionCounts",
    "Eviction",
    "PeerEntry",
    "Refusal",
    "Refused",
    "Registry",
    "RegistrySettings",
]

MAX_BLOCK_RELAY_ONLY: Final = 2
BOOTNODE_RESERVE: Final = 10
IP_SHARE: Final = 8
"""One global IP address may have this part of the inbound sessions, and MIN_PER_IP in any case."""
MIN_PER_IP: Final = 8


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Limits count sessions; each wire has outbound places of its own.

    `whitelist`: peer ids that are never banned or evicted, and counted nowhere."""

    max_inbound: int = 117
    max_outbound: int = 8
    max_libp2p_outbound: int = 4
    whitelist: frozenset[str] = frozenset()
    whitelist_only: bool = False
    block_relay_only: bool = True
    bootnode_mode: bool = False


class Refusal(Enum):
    """Why a connection may not stay. The peer is told `reject peer connection` in each case."""

    SESSION_EXISTS = "the session is in the table"
    PEER_EXISTS = "the peer is connected"
    NOT_WHITELISTED = "only the whitelist may connect"
    BANNED = "the IP address is banned"
    TOO_MANY_OF_IP = "too many inbound sessions from this IP address"
    TOO_MANY_INBOUND = "all inbound sessions are taken"
    TOO_MANY_OUTBOUND = "all outbound sessions are taken"


REFUSAL_TEXT: Final = "reject peer connection"


@dataclass(frozen=True, slots=True)
class Eviction:
    """A session to be ended, and the text that the peer is told. It is out of the table."""

    session_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """It may stay, as `kind`; `evictions` are to be ended for it."""

    kind: SessionKind
    is_whitelisted: bool
    evictions: tuple[Eviction, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    reason: Refusal
    evictions: tuple[Eviction, ...] = ()


@dataclass(slots=True, eq=False)
class PeerEntry:
    """A session. Times are milliseconds of an even clock."""

    session_id: int
    peer_id: str
    address: Multiaddr
    direction: Direction
    kind: SessionKind
    is_whitelisted: bool
    connected_ms: int
    wire: Wire = Wire.CKB
    ping_ms: int | None = None
    """The last round trip."""
    last_ping_ms: int | None = None
    """When the last message of the ping protocol came."""
    last_useful_ms: int | None = None
    """When it last was the first to bring something valid."""
    group: str = field(init=False)

    def __post_init__(self) -> None:
        self.group = group_of(self.address)

    @property
    def is_inbound(self) -> bool:
        return self.direction is Direction.INBOUND

    @property
    def is_full_outbound(self) -> bool:
        return self.direction is Direction.OUTBOUND and self.kind is SessionKind.FULL and self.wire is Wire.CKB

    @property
    def is_libp2p_outbound(self) -> bool:
        return self.direction is Direction.OUTBOUND and self.wire is Wire.LIBP2P


@dataclass(frozen=True, slots=True)
class ConnectionCounts:
    """Sessions; all but `total` without the whitelist, and none with feelers."""

    total: int
    inbound: int
    outbound: int
    block_relay_only: int


class Registry:
    """At most `max_inbound + max_outbound + 2` sessions, besides whitelisted ones and feelers."""

    def __init__(self, settings: RegistrySettings, bans: BanList, rng: Random) -> None:
        self._settings: Final = settings
        self._bans, self._rng = bans, rng
        self._entries: Final = dict[int, PeerEntry]()
        self._sessions: Final = dict[str, int]()
        """Of each peer id, feelers included."""
        self._feelers: Final = dict[int, PeerEntry]()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[PeerEntry]:
        """In the order of their coming, without feelers."""
        return iter(self._entries.values())

    def get(self, session_id: int) -> PeerEntry | None:
        return self._entries.get(session_id)

    def session_of(self, peer_id: str) -> int | None:
        """The session of a peer, be it a feeler."""
        return self._sessions.get(peer_id)

    def is_whitelisted(self, peer_id: str) -> bool:
        return peer_id in self._settings.whitelist

    @property
    def peer_ids(self) -> Collection[str]:
        """Of all sessions, feelers included."""
        return self._sessions.keys()

    @property
    def outbound_groups(self) -> Collection[str]:
        """Network groups of the sessions that we dialled."""
        return {entry.group for entry in self._entries.values() if not entry.is_inbound}

    @property
    def missing_outbound(self) -> int:
        """How many outbound sessions there may be besides those that are."""
        return max(0, self._settings.max_outbound - self.counts().outbound)

    @property
    def missing_libp2p(self) -> int:
        """How many outbound sessions on libp2p there may be besides those that are."""
        there = sum(entry.is_libp2p_outbound for entry in self._entries.values() if not entry.is_whitelisted)
        return max(0, self._settings.max_libp2p_outbound - there)

    def counts(self) -> ConnectionCounts:
        inbound = outbound = block_relay_only = 0
        for entry in self._entries.values():
            if not entry.is_whitelisted:
                inbound += entry.is_inbound
                outbound += entry.is_full_outbound
                block_relay_only += entry.kind is SessionKind.BLOCK_RELAY_ONLY
        return ConnectionCounts(len(self._entries), inbound, outbound, block_relay_only)

    def may_handshake(self, address: Multiaddr, now_ms: int) -> bool:
        """Before the peer's key is known: False when it could not stay whoever it is, so that no work is lost on it."""
        ip = address.ip
        return bool(self._settings.whitelist) or ip is None or not self._bans.is_banned(ip, now_ms)

    def admit(
        self,
        session_id: int,
        peer_id: str,
        address: Multiaddr,
        direction: Direction,
        kind: SessionKind = SessionKind.FULL,
        *,
        wire: Wire = Wire.CKB,
        now_ms: int,
        wall_ms: int,
    ) -> Admitted | Refused:
        """Judge a connection whose key is proven, and enter it when it may stay.

        `kind`: what we dialled it for. An outbound session that finds no room becomes block-relay-only. `now_ms`: of an
        even clock; `wall_ms`: since 1970, for bans.
        """
        if session_id in self._entries or session_id in self._feelers:
            return Refused(Refusal.SESSION_EXISTS)
        if peer_id in self._sessions:
            return Refused(Refusal.PEER_EXISTS)
        is_whitelisted = self.is_whitelisted(peer_id)
        entry = PeerEntry(session_id, peer_id, address, direction, kind, is_whitelisted, now_ms, wire)
        evictions = self._bootnode_evictions()
        if not is_whitelisted:
            refusal = self._refusal(entry, wall_ms)
            if refusal is not None:
                return Refused(refusal, tuple(evictions))
            evictions += self._make_room(entry)
        (self._feelers if kind is SessionKind.FEELER else self._entries)[session_id] = entry
        self._sessions[peer_id] = session_id
        return Admitted(entry.kind, is_whitelisted, tuple(evictions))

    def remove(self, session_id: int) -> PeerEntry | None:
        """A session has ended; None when it is out of the table already."""
        entry = self._entries.pop(session_id, None) or self._feelers.pop(session_id, None)
        if entry is not None:
            del self._sessions[entry.peer_id]
        return entry

    def ping_answered(self, session_id: int, round_trip_ms: int, now_ms: int) -> None:
        entry = self._entries.get(session_id)
        if entry is not None:
            entry.ping_ms, entry.last_ping_ms = round_trip_ms, now_ms

    def ping_received(self, session_id: int, now_ms: int) -> None:
        entry = self._entries.get(session_id)
        if entry is not None:
            entry.last_ping_ms = now_ms

    def was_useful(self, session_id: int, now_ms: int) -> None:
        """The peer was the first to bring a valid block or transaction."""
        entry = self._entries.get(session_id)
        if entry is not None:
            entry.last_useful_ms = now_ms

    def _refusal(self, entry: PeerEntry, wall_ms: int) -> Refusal | None:
        """Why a peer that is not whitelisted may not stay. The room decides the kind of an outbound session."""
        if self._settings.whitelist_only:
            return Refusal.NOT_WHITELISTED
        ip = entry.address.ip
        if ip is not None and self._bans.is_banned(ip, wall_ms):
            return Refusal.BANNED
        if entry.is_inbound:
            return self._inbound_refusal(entry)
        if entry.kind is SessionKind.FEELER:
            return None
        if entry.wire is Wire.LIBP2P:
            return None if self.missing_libp2p > 0 else Refusal.TOO_MANY_OUTBOUND
        kind = self._outbound_kind(entry.kind)
        if kind is None:
            return Refusal.TOO_MANY_OUTBOUND
        entry.kind = kind
        return None

    def _inbound_refusal(self, entry: PeerEntry) -> Refusal | None:
        if self._settings.max_inbound <= 0:
            return Refusal.TOO_MANY_INBOUND
        if entry.address.is_reachable and entry.address.ip is not None:
            beside = sum(other.is_inbound and other.address.ip == entry.address.ip for other in self._entries.values())
            if beside >= max(MIN_PER_IP, self._settings.max_inbound // IP_SHARE):
                return Refusal.TOO_MANY_OF_IP
        return None

    def _outbound_kind(self, wanted: SessionKind) -> SessionKind | None:
        counts = self.counts()
        may_relay_blocks = self._settings.block_relay_only and counts.block_relay_only < MAX_BLOCK_RELAY_ONLY
        if wanted is SessionKind.BLOCK_RELAY_ONLY and may_relay_blocks:
            return SessionKind.BLOCK_RELAY_ONLY
        if counts.outbound < self._settings.max_outbound:
            return SessionKind.FULL
        return SessionKind.BLOCK_RELAY_ONLY if may_relay_blocks else None

    def _make_room(self, entry: PeerEntry) -> list[Eviction]:
        inbound = self._inbound() if entry.is_inbound else []
        if not inbound or len(inbound) < self._settings.max_inbound:
            return []
        return [self._evict(victim_of(inbound, self._rng), EVICTION)]

    def _inbound(self) -> list[PeerEntry]:
        return [entry for entry in self._entries.values() if entry.is_inbound and not entry.is_whitelisted]

    def _bootnode_evictions(self) -> list[Eviction]:
        """A bootnode makes room for newcomers before it is full: half of the inbound peers have what they came for."""
        if not self._settings.bootnode_mode:
            return []
        inbound = self._inbound()
        if len(inbound) + BOOTNODE_RESERVE < self._settings.max_inbound:
            return []
        return [self._evict(entry, BOOTNODE_EVICTION) for entry in self._rng.sample(inbound, len(inbound) // 2)]

    def _evict(self, entry: PeerEntry, reason: str) -> Eviction:
        self.remove(entry.session_id)
        return Eviction(entry.session_id, reason)
