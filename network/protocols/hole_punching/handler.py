"""The way of a hole punching request: originator, intermediates, target, and back.

    originator  ConnectionRequest →           target        the route grows
    originator  ← ConnectionRequestDelivered  target        back along the route
    originator  ConnectionSync →              target        along the same way once more
    originator  dials after half a round trip; the target dials when it hears of it

Different from the reference, where its rules would harm the node or others:
- Without an address of our own we neither ask nor answer: an empty list gets its sender banned.
- A request whose route is full is not forwarded: the next node would ban us for it.
- What this node asked itself is not forwarded when it comes back.
- Requests go to one session at least: with fewer than nine sessions the reference tells fewer than that, or none.
- Dialled are addresses that others can reach, at most four ports of a host, once for each request: whoever wants this
  node to flood somebody else gets little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from math import isqrt
from random import Random
from typing import Final, Protocol

from network.identity import peer_id_to_bytes
from network.ip import IpAddress
from network.limits import HOLE_PUNCHING, Flags, ProtocolSpec
from network.messages.peers import ConnectionRequest, ConnectionRequestDelivered, ConnectionSync
from network.multiaddr import Multiaddr
from network.peer import Direction, Peer, Scheduler, Timer
from network.peers.known import REQUIRED_FLAGS
from network.peers.penalties import apply_penalty
from network.protocols.hole_punching.messages import (
    MAX_ADDRESSES,
    MAX_HOPS,
    BadPunching,
    PunchingMessage,
    decode,
    encode,
    read_addresses,
    verify,
    wire_addresses,
)
from network.protocols.hole_punching.pending import PendingMeetings
from network.protocols.hole_punching.rates import PunchingRates, SessionRates
from network.protocols.hole_punching.traversal import ACCEPTER_DELAY
from network.protocols.own_addresses import OwnAddresses
from network.protocols.pace import MessagePace

__all__ = ["HolePunchingProtocol", "HolePunchingStore", "Punch"]

TICK: Final = 5 * 60.0
"""Seconds between requests of our own."""
SETTLE: Final = 10.0
"""Seconds from a session's beginning until requests: by then the peer has told where it sees us."""
REQUEST_TIMEOUT: Final = 5 * 60.0
"""Seconds in which an answer to a request counts."""
MAX_REQUESTS: Final = 64

MESSAGES_PER_SECOND: Final = 120.0
MESSAGES_AT_ONCE: Final = 240.0
"""Of a session: more than are heard, so that what is too much is dropped first, and then read slowly."""
MAX_PORTS_OF_HOST: Final = 4

Punch = Callable[[Sequence[Multiaddr], Direction, float], None]
"""Connect with one peer at one of these addresses, both sides at once, as its dialler or as its accepter; dial in so
many seconds. See HolePuncher.punch."""


class HolePunchingStore(Protocol):
    """The store of addresses, as far as hole punching knows it."""

    def to_punch(
        self, count: int, now_ms: int, *, required: int, connected: Collection[str] = ()
    ) -> Sequence[Multiaddr]:
        """Up to `count` random ones with an IP address that were never connected and that serve `required`;
        `connected`: peer ids."""


@dataclass(slots=True)
class _Session:
    peer: Peer
    peer_id: bytes
    rates: SessionRates = field(default_factory=SessionRates)


class HolePunchingProtocol:
    """Satisfies network.peer.Handler."""

    def __init__(
        self,
        *,
        own: OwnAddresses,
        store: HolePunchingStore,
        scheduler: Scheduler,
        rng: Random,
        free_outbound: Callable[[], int],
        punch: Punch,
        required: Flags = REQUIRED_FLAGS,
        allow_local: bool = False,
    ) -> None:
        """`free_outbound`: how many more outbound peers are wanted. `allow_local`: dial addresses that nobody outside
        can reach, too."""
        self._own, self._store, self._scheduler, self._rng = own, store, scheduler, rng
        self._free_outbound, self._punch, self._required, self._allow_local = (
            free_outbound,
            punch,
            required,
            allow_local,
        )
        self._own_id: Final = peer_id_to_bytes(own.own_id)
        self._sessions: Final[dict[bytes, _Session]] = {}
        """By peer id."""
        self._requests: Final[dict[bytes, float]] = {}
        """Our own, by target: when they were sent."""
        self._meetings: Final = PendingMeetings()
        self._rates: Final = PunchingRates(scheduler.now())
        self._due = scheduler.now() + TICK
        """When the next requests are due. Peers may come and go until then."""
        self._pace: Final = MessagePace(scheduler, HOLE_PUNCHING, rate=MESSAGES_PER_SECOND, burst=MESSAGES_AT_ONCE)
        self._tick: Timer | None = None

    @property
    def protocol(self) -> ProtocolSpec:
        return HOLE_PUNCHING

    def opened(self, peer: Peer) -> None:
        peer_id = peer_id_to_bytes(peer.peer_id)
        self._sessions[peer_id] = _Session(peer, peer_id)
        if self._tick is None:
            delay = max(self._due - self._scheduler.now(), SETTLE)
            self._tick = self._scheduler.call_later(delay, self._on_tick)

    def closed(self, peer: Peer) -> None:
        peer_id = peer_id_to_bytes(peer.peer_id)
        session = self._sessions.get(peer_id)
        if session is not None and session.peer.session_id == peer.session_id:
            del self._sessions[peer_id]
        self._meetings.forget_session(peer.session_id)
        self._pace.forget(peer)
        if not self._sessions and self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def received(self, peer: Peer, payload: bytes) -> None:
        session = self._sessions.get(peer_id_to_bytes(peer.peer_id))
        if session is None:
            return
        self._pace.spend(peer)
        try:
            message = decode(payload)
            if session.rates.allow(message, self._scheduler.now()):
                verify(message)
                self._handle(session, message)
        except BadPunching as fault:
            apply_penalty(peer, fault.misbehaviour)

    def _handle(self, session: _Session, message: PunchingMessage) -> None:
        if isinstance(message, ConnectionRequest):
            self._on_request(session, message)
        elif isinstance(message, ConnectionRequestDelivered):
            self._on_delivered(session, message)
        else:
            self._on_sync(message)

    # --- ConnectionRequest ---

    def _on_request(self, session: _Session, message: ConnectionRequest) -> None:
        if self._own_id in message.route or message.from_ == self._own_id:
            return
        if not self._rates.allow(message, self._scheduler.now()):
            return
        addresses = read_addresses(message)
        if message.to == self._own_id:
            self._answer(session, message, addresses)
        elif message.max_hops > 0 and len(message.route) < MAX_HOPS:
            self._forward_request(session, message)

    def _answer(self, session: _Session, message: ConnectionRequest, addresses: Sequence[Multiaddr]) -> None:
        """As the target, tell where we are; dial when the originator says so."""
        now = self._scheduler.now()
        if self._meetings.was_answered(message.from_, now) or message.from_ in self._sessions:
            return
        own, dialable = self._own.told(MAX_ADDRESSES, allow_local=self._allow_local), self._dialable(addresses)
        if not own or not dialable:
            return
        answer = ConnectionRequestDelivered(
            from_=message.from_,
            to=message.to,
            route=message.route[:-1],
            sync_route=message.route[::-1],
            listen_addrs=wire_addresses(own),
        )
        if session.peer.send(HOLE_PUNCHING, encode(answer)):
            self._meetings.add(message.from_, dialable, session.peer.session_id, now)

    def _forward_request(self, session: _Session, message: ConnectionRequest) -> None:
        route = [*message.route, self._own_id]
        payload = encode(message.replace(max_hops=message.max_hops - 1, route=route))
        target = self._sessions.get(message.to)
        if target is not None:
            target.peer.send(HOLE_PUNCHING, payload)
        else:
            self._gossip(payload, except_to={*message.route, message.from_, session.peer_id})

    # --- ConnectionRequestDelivered ---

    def _on_delivered(self, session: _Session, message: ConnectionRequestDelivered) -> None:
        now = self._scheduler.now()
        if not self._rates.allow(message, now):
            return
        addresses = read_addresses(message)
        if message.route or message.from_ != self._own_id:
            self._send_on(message)
            return
        asked_at = self._requests.pop(message.to, None)
        if asked_at is None or now - asked_at >= REQUEST_TIMEOUT:
            return
        start = ConnectionSync(from_=message.from_, to=message.to, route=message.sync_route[:-1])
        dialable = self._dialable(addresses)
        if session.peer.send(HOLE_PUNCHING, encode(start)) and dialable:
            half_a_round_trip = (now - asked_at) / 2  # then the other side has heard of it
            self._punch(dialable, Direction.OUTBOUND, half_a_round_trip)

    # --- ConnectionSync ---

    def _on_sync(self, message: ConnectionSync) -> None:
        now = self._scheduler.now()
        if not self._rates.allow(message, now):
            return
        if message.route or message.to != self._own_id:
            self._send_on(message)
            return
        dialable = self._meetings.take(message.from_, now)
        if dialable:
            self._punch(dialable, Direction.INBOUND, ACCEPTER_DELAY)

    # --- on the way ---

    def _send_on(self, message: ConnectionRequestDelivered | ConnectionSync) -> None:
        """To the last of the route, or when the route is at its end to the end itself, if we are connected."""
        end = message.from_ if isinstance(message, ConnectionRequestDelivered) else message.to
        following = self._sessions.get(message.route[-1] if message.route else end)
        if following is not None:
            following.peer.send(HOLE_PUNCHING, encode(message.replace(route=message.route[:-1])))

    def _gossip(self, payload: bytes, except_to: Collection[bytes] = ()) -> None:
        """To a few sessions, of which the number grows with the root of all."""
        others = [session for peer_id, session in self._sessions.items() if peer_id not in except_to]
        count = max(isqrt(len(self._sessions)) - 1, 1)
        for session in self._rng.sample(others, min(count, len(others))):
            session.peer.send(HOLE_PUNCHING, payload)

    def _dialable(self, addresses: Sequence[Multiaddr]) -> Sequence[Multiaddr]:
        """IP addresses with a TCP port and nothing on top."""
        ports: Counter[IpAddress] = Counter()
        found = []
        for address in dict.fromkeys(addresses):
            ip = address.ip
            if ip is None or not address.port or address.stored != address:
                continue
            if not (address.is_reachable or self._allow_local) or ports[ip] >= MAX_PORTS_OF_HOST:
                continue
            ports[ip] += 1
            found.append(address)
        return found

    # --- our own requests ---

    def _on_tick(self) -> None:
        self._tick = self._scheduler.call_later(TICK, self._on_tick)
        now = self._scheduler.now()
        self._due = now + TICK
        self._meetings.expire(now)
        for target in [target for target, at in self._requests.items() if now - at >= REQUEST_TIMEOUT]:
            del self._requests[target]
        wanted = min(self._free_outbound(), MAX_REQUESTS - len(self._requests))
        if wanted > 0:
            self._ask(wanted, now)

    def _ask(self, wanted: int, now: float) -> None:
        own = wire_addresses(self._own.told(MAX_ADDRESSES, allow_local=self._allow_local))
        if not own:
            return
        connected = {session.peer.peer_id for session in self._sessions.values()}
        now_ms = self._scheduler.wall_ms()
        for address in self._store.to_punch(wanted, now_ms, required=self._required, connected=connected):
            if address.peer_id is None:
                continue
            target = peer_id_to_bytes(address.peer_id)
            if target == self._own_id or target in self._requests:
                continue
            request = ConnectionRequest(from_=self._own_id, to=target, max_hops=MAX_HOPS, route=[], listen_addrs=own)
            self._requests[target] = now
            self._gossip(encode(request))
