"""Discovery (protocol 1): which other nodes there are.

The dialler asks once, the accepter answers once with addresses of its store; after that both tell each other the
addresses of peers that they are connected with, few at a time.

Stricter than the reference, which takes any number of announcements, and an answer that it never asked for: answers
are taken from those who were asked, and announcements as fast as an honest node sends them. More is left unread, and
not punished. Better than there: a peer whose address or Identify is not known at the first tick is announced later,
not a day later; nobody is told its own address.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Final, Protocol

from network.budget import Allowance
from network.limits import DISCOVERY, Flags, ProtocolSpec
from network.messages.peers import GetNodes
from network.multiaddr import Multiaddr
from network.peer import Direction, Peer, Scheduler, SessionKind, Timer
from network.peers.known import REQUIRED_FLAGS, KnownAddress
from network.peers.penalties import Misbehaviour, apply_penalty
from network.protocols.discovery_messages import (
    MAX_ANNOUNCED,
    MAX_ANSWERED,
    REUSE_PORT_VERSION,
    BadDiscovery,
    FoundNodes,
    get_nodes,
    nodes,
    read_message,
)
from network.protocols.known_addresses import KnownAddresses
from network.protocols.own_addresses import OwnAddresses
from network.protocols.pace import MessagePace

__all__ = ["DiscoveryProtocol", "DiscoveryStore"]

TICK: Final = 60.0
"""Seconds between looks at what is to be announced."""
ANNOUNCE_AGAIN: Final = 24 * 3600.0
"""Seconds until a peer's address is announced once more."""
TARGETS: Final = 3
"""Sessions that hear of an address at once."""
SPARE: Final = 64
"""Addresses of the store beside those asked for: some may be of no use to the peer."""

ANNOUNCED_PER_SECOND: Final = MAX_ANNOUNCED / TICK
ANNOUNCED_AT_ONCE: Final = 3.0 * MAX_ANNOUNCED
"""Addresses: timers of others are not exact, and messages are held up on their way."""
REMEMBERED_AT_ONCE: Final = 100
"""Addresses of an answer, which takes some milliseconds; an answer may have 3,000."""
MESSAGES_PER_SECOND: Final = 1.0
MESSAGES_AT_ONCE: Final = 16.0

NodeAddress = tuple[Multiaddr, Flags]


class DiscoveryStore(Protocol):
    """The store of addresses, as far as Discovery knows it."""

    def add_told(self, address: Multiaddr, flags: int, now_ms: int, source: Multiaddr | None = None) -> bool:
        """A peer (`source`, the address of its session) tells an address; whether it is now known."""

    def to_share(self, count: int, now_ms: int, required: int) -> Sequence[KnownAddress]:
        """Up to `count` random ones that we were connected with in the last seven days and that serve `required`."""


@dataclass(slots=True)
class _Session:
    peer: Peer
    known: KnownAddresses
    may_announce: Allowance
    """Addresses that we take unasked."""
    address: Multiaddr | None = None
    """Where others can reach the peer, when that is known."""
    announced_at: float | None = None
    queue: list[NodeAddress] = field(default_factory=list)
    """To be announced to the peer at the next tick."""
    has_been_asked: bool = False
    has_asked: bool = False
    has_answered: bool = False


class DiscoveryProtocol:
    """Satisfies network.peer.Handler."""

    def __init__(
        self,
        *,
        own: OwnAddresses,
        store: DiscoveryStore,
        scheduler: Scheduler,
        rng: Random,
        required: Flags = REQUIRED_FLAGS,
        allow_local: bool = False,
        reuses_port: bool = True,
    ) -> None:
        """`allow_local`: addresses that nobody outside can reach are good, too (`discovery_local_address`).
        `reuses_port`: we dial from the port on which we listen; the reference says so on each Linux."""
        self._reuses_port = reuses_port
        self._own, self._store, self._scheduler, self._rng = own, store, scheduler, rng
        self._required, self._allow_local = required, allow_local
        self._sessions: Final[dict[int, _Session]] = {}
        self._pace: Final = MessagePace(scheduler, DISCOVERY, rate=MESSAGES_PER_SECOND, burst=MESSAGES_AT_ONCE)
        self._tick: Timer | None = None

    @property
    def protocol(self) -> ProtocolSpec:
        return DISCOVERY

    def opened(self, peer: Peer) -> None:
        if peer.kind is SessionKind.BLOCK_RELAY_ONLY:
            return
        allowance = Allowance(ANNOUNCED_PER_SECOND, ANNOUNCED_AT_ONCE, self._scheduler.now())
        session = _Session(peer, KnownAddresses(self._rng), allowance)
        self._sessions[peer.session_id] = session
        session.known.add(peer.address.to_bytes())
        if peer.direction is Direction.OUTBOUND:
            session.address = peer.address
            session.has_been_asked = True
            port = self._own.listen_port(allow_local=self._allow_local)
            peer.send(DISCOVERY, get_nodes(port, self._required, reuses_port=self._reuses_port))
        if self._tick is None:
            self._tick = self._scheduler.call_later(TICK, self._on_tick)

    def closed(self, peer: Peer) -> None:
        self._sessions.pop(peer.session_id, None)
        self._pace.forget(peer)
        if not self._sessions and self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def received(self, peer: Peer, payload: bytes) -> None:
        session = self._sessions.get(peer.session_id)
        if session is None:
            return
        self._pace.spend(peer)
        try:
            self._take(session, read_message(payload))
        except BadDiscovery as fault:
            apply_penalty(peer, fault.misbehaviour)

    def _take(self, session: _Session, message: GetNodes | FoundNodes) -> None:
        """Raises BadDiscovery."""
        if isinstance(message, GetNodes):
            self._asked(session, message)
        elif message.is_announcement:
            self._told(session, message)
        else:
            self._answered(session, message)

    # --- questions and answers ---

    def _asked(self, session: _Session, message: GetNodes) -> None:
        if session.has_asked:
            apply_penalty(session.peer, Misbehaviour.DISCOVERY_SECOND_GET_NODES)
            return
        session.has_asked = True
        required = message.required_flags
        wanted = Flags.COMPATIBILITY if required is None else Flags.known(required)
        # Before the peer's own address comes into the store.
        found = self._pick(session, wanted, min(message.count, MAX_ANSWERED))
        self._learn_address(session, message)
        session.known.update(address.to_bytes() for address, _ in found)
        session.peer.send(DISCOVERY, nodes(found, is_announcement=False))

    def _pick(self, session: _Session, wanted: Flags, count: int) -> list[NodeAddress]:
        stored = self._store.to_share(count + SPARE, self._scheduler.wall_ms(), wanted)
        good = [
            (known.address, Flags.known(known.flags))
            for known in stored
            if self._is_good(known.address) and known.peer_id != session.peer.peer_id
        ]
        return good[:count]

    def _learn_address(self, session: _Session, message: GetNodes) -> None:
        """Where an inbound peer can be reached: at the port that it names, or, when it dials from the port on which it
        listens, where it came from."""
        if session.address is not None:
            return
        if message.listen_port is not None:
            session.address = session.peer.address.with_port(message.listen_port)
            session.known.add(session.address.to_bytes())
            identity = session.peer.identity
            flags = Flags.COMPATIBILITY if identity is None else identity.flags
            self._remember(session, [(session.address, flags)])
        elif message.version >= REUSE_PORT_VERSION:
            session.address = session.peer.address

    def _answered(self, session: _Session, message: FoundNodes) -> None:
        if session.has_answered:
            apply_penalty(session.peer, Misbehaviour.DISCOVERY_SECOND_NODES)
            return
        session.has_answered = True
        if session.has_been_asked:
            self._remember_slowly(session, message.addresses())

    def _told(self, session: _Session, message: FoundNodes) -> None:
        found, now = list(message.addresses()), self._scheduler.now()
        taken = found[: max(int(session.may_announce.left(now)), 0)]
        session.may_announce.spend(len(taken), now)
        self._remember(session, taken)

    def _remember_slowly(self, session: _Session, found: Iterator[NodeAddress]) -> None:
        """A few, the others when the event loop has looked for other work; a peer that has left is not believed."""
        if self._sessions.get(session.peer.session_id) is not session:
            return
        try:
            some = list(islice(found, REMEMBERED_AT_ONCE))
        except BadDiscovery as fault:
            apply_penalty(session.peer, fault.misbehaviour)
            return
        self._remember(session, some)
        if some:
            self._scheduler.call_later(0.0, lambda: self._remember_slowly(session, found))

    def _remember(self, session: _Session, found: Iterable[NodeAddress]) -> None:
        now_ms, source = self._scheduler.wall_ms(), session.peer.address
        for address, flags in found:
            session.known.add(address.to_bytes())
            if self._is_good(address):
                self._store.add_told(address, flags, now_ms, source)

    def _is_good(self, address: Multiaddr) -> bool:
        """The reference takes names for good, too: they may lead anywhere."""
        return self._allow_local or address.is_reachable

    # --- gossip ---

    def _on_tick(self) -> None:
        self._tick = self._scheduler.call_later(TICK, self._on_tick)
        for session in list(self._sessions.values()):
            self._send_queue(session)
        for session in list(self._sessions.values()):
            self._announce(session)

    def _send_queue(self, session: _Session) -> None:
        if session.queue:
            message = nodes(session.queue, is_announcement=True)
            session.queue = []
            session.peer.send(DISCOVERY, message)

    def _announce(self, session: _Session) -> None:
        """Queue a peer's address for a few others, when it is due."""
        now, address, identity = self._scheduler.now(), session.address, session.peer.identity
        is_due = session.announced_at is None or now - session.announced_at > ANNOUNCE_AGAIN
        if not is_due or address is None or identity is None or not self._is_good(address):
            return
        session.announced_at = now
        others = [other for other in self._sessions.values() if other is not session]
        for target in self._rng.sample(others, min(TARGETS, len(others))):
            if len(target.queue) < MAX_ANNOUNCED and address.to_bytes() not in target.known:
                target.queue.append((address, identity.flags))
                target.known.add(address.to_bytes())
