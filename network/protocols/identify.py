"""Identify (protocol 2): which chain, which software, which services, and which addresses.

Both ends say it once, as soon as the protocol is open. It is the only check that both are on the same chain. The
dialler opens its other protocols when it knows.

Different from the reference: addresses with another peer's id, and names (which may lead anywhere, to this machine
too), are not taken from a peer's list; that an outbound session has ended is noted for its address only when there was
a valid Identify.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from consensus.errors import MoleculeError
from network.limits import FEELER, IDENTIFY, Flags, ProtocolSpec
from network.messages.peers import Address, Identify, IdentifyMessage
from network.multiaddr import Multiaddr, MultiaddrError
from network.peer import Direction, Peer, PeerIdentity, Scheduler, SessionKind, Timer
from network.peers.groups import group_of
from network.peers.known import REQUIRED_FLAGS, serves
from network.peers.penalties import Misbehaviour, apply_penalty, penalty
from network.protocols.own_addresses import OwnAddresses

__all__ = ["MAX_ADDRESSES", "TIMEOUT", "IdentifyProtocol", "IdentifyStore", "LocalIdentity"]

TIMEOUT: Final = 8.0
"""Seconds that a peer may take to identify itself."""
MAX_ADDRESSES: Final = 10
MAX_CLIENT_VERSION: Final = 256
"""Bytes of our own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalIdentity:
    """What this node says of itself. `network_name`: `/ckb/92b197aa`, see Consensus.network_name."""

    network_name: str
    client_version: str
    flags: Flags

    def __post_init__(self) -> None:
        if not self.flags:
            raise ValueError("a node without any flag is banned by all others")
        if len(self.client_version.encode()) > MAX_CLIENT_VERSION:
            raise ValueError(f"a client version of more than {MAX_CLIENT_VERSION} bytes")

    def encode(self) -> bytes:
        name, version = self.network_name.encode(), self.client_version.encode()
        return Identify(flag=self.flags, name=name, client_version=version).raw


class IdentifyStore(Protocol):
    """The store of addresses, as far as Identify knows it."""

    def add_told(self, address: Multiaddr, flags: int, now_ms: int, source: Multiaddr | None = None) -> bool:
        """A peer (`source`, the address of its session) tells an address; whether it is now known."""

    def add_connected(self, address: Multiaddr, flags: int, now_ms: int) -> bool:
        """An address that was dialled leads to a node that serves `flags`."""

    def still_connected(self, address: Multiaddr, now_ms: int) -> None:
        """An outbound session has lived until now."""


@dataclass(slots=True)
class _Session:
    timeout: Timer
    has_received: bool = False


@dataclass(frozen=True, slots=True)
class _Told:
    """A peer's message, decoded outside."""

    listening: Sequence[Multiaddr]
    observed: Multiaddr
    inner: bytes


class IdentifyProtocol:
    """Satisfies network.peer.Handler."""

    def __init__(
        self,
        local: LocalIdentity,
        *,
        own: OwnAddresses,
        store: IdentifyStore,
        scheduler: Scheduler,
        opens: Callable[[], Sequence[ProtocolSpec]],
        on_identified: Callable[[Peer, PeerIdentity], None],
        required: Flags = REQUIRED_FLAGS,
    ) -> None:
        """`opens`: the protocols that a dialler opens on a full session. `on_identified` hears of each valid Identify,
        before anything is opened: from then on `Peer.identity` must be it. `required`: what we dial for."""
        self._local, self._inner = local, local.encode()
        self._own, self._store, self._scheduler = own, store, scheduler
        self._opens, self._on_identified, self._required = opens, on_identified, required
        self._sessions: Final[dict[int, _Session]] = {}

    @property
    def protocol(self) -> ProtocolSpec:
        return IDENTIFY

    def opened(self, peer: Peer) -> None:
        timeout = self._scheduler.call_later(TIMEOUT, lambda: apply_penalty(peer, Misbehaviour.IDENTIFY_TIMEOUT))
        self._sessions[peer.session_id] = _Session(timeout)
        # What an address is known for must not be connected with what it is used for.
        told = [] if peer.kind is SessionKind.BLOCK_RELAY_ONLY else self._own.told(MAX_ADDRESSES)
        message = IdentifyMessage(
            listen_addrs=[Address(data=address.to_bytes()) for address in told],
            observed_addr=Address(data=peer.address.to_bytes()),
            identify=self._inner,
        )
        peer.send(IDENTIFY, message.raw)

    def closed(self, peer: Peer) -> None:
        session = self._sessions.pop(peer.session_id, None)
        if session is not None:
            session.timeout.cancel()
        self._own.forget(peer.session_id)
        if peer.direction is Direction.OUTBOUND and peer.identity is not None:
            self._store.still_connected(peer.address, self._scheduler.wall_ms())

    def received(self, peer: Peer, payload: bytes) -> None:
        session = self._sessions.get(peer.session_id)
        if session is None:
            return
        told = _decode(payload)
        if told is None:
            apply_penalty(peer, Misbehaviour.IDENTIFY_UNDECODABLE)
        elif session.has_received:
            apply_penalty(peer, Misbehaviour.IDENTIFY_TWICE)
        else:
            session.has_received = True
            session.timeout.cancel()
            self._identified(peer, told)

    def _identified(self, peer: Peer, told: _Told) -> None:
        identity = self._read_identity(told.inner)
        if isinstance(identity, Misbehaviour):
            apply_penalty(peer, identity)
            peer.disconnect(penalty(identity).reason)  # a whitelisted peer is not banned, and is of no use either
            return
        identity = replace(identity, listening=_listening(peer, told.listening))
        self._on_identified(peer, identity)
        if peer.direction is Direction.OUTBOUND and not self._open_next(peer, identity):
            return
        if len(told.listening) > MAX_ADDRESSES:
            apply_penalty(peer, Misbehaviour.IDENTIFY_TOO_MANY_ADDRESSES)
            return
        for address in identity.listening:
            self._store.add_told(address, identity.flags, self._scheduler.wall_ms(), peer.address)
        if peer.session_id in self._sessions:  # nothing above has ended it
            self._own.observe(peer.session_id, told.observed, group_of(peer.address))

    def _open_next(self, peer: Peer, identity: PeerIdentity) -> bool:
        """As the dialler, go on with the session; False when the peer does not serve what we need."""
        self._store.add_connected(peer.address, identity.flags, self._scheduler.wall_ms())
        if peer.kind is SessionKind.FEELER:
            peer.open(FEELER)
        elif serves(identity.flags, self._required):
            for protocol in self._opens():
                if protocol not in (IDENTIFY, FEELER):
                    peer.open(protocol)
        else:
            apply_penalty(peer, Misbehaviour.IDENTIFY_MISSING_FLAGS)
            return False
        return True

    def _read_identity(self, inner: bytes) -> PeerIdentity | Misbehaviour:
        """Without the addresses, or what is wrong with it."""
        try:
            identify = Identify.parse(inner)
            name, version = identify.name.decode(), identify.client_version.decode()
        except (MoleculeError, UnicodeDecodeError):
            return Misbehaviour.IDENTIFY_INNER_UNDECODABLE
        if name != self._local.network_name:
            return Misbehaviour.IDENTIFY_OTHER_CHAIN
        if identify.flag == 0:
            return Misbehaviour.IDENTIFY_NO_FLAGS
        return PeerIdentity(Flags.known(identify.flag), version)


def _listening(peer: Peer, told: Sequence[Multiaddr]) -> tuple[Multiaddr, ...]:
    """What others can reach, with the peer's id; never another one's."""
    own = [address for address in told if address.is_reachable and address.peer_id in (None, peer.peer_id)]
    named = [address if address.peer_id else address.with_peer_id(peer.peer_id) for address in own]
    return tuple(dict.fromkeys(named))[:MAX_ADDRESSES]


def _decode(payload: bytes) -> _Told | None:
    """None when the message or the observed address is undecodable; undecodable ones of the list are left out."""
    try:
        message = IdentifyMessage.parse(payload, compatible=True)
        observed = Multiaddr.from_bytes(message.observed_addr.data)
    except (MoleculeError, MultiaddrError):
        return None
    listening = []
    for item in message.listen_addrs:
        try:
            listening.append(Multiaddr.from_bytes(item.data))
        except MultiaddrError:
            continue
    return _Told(listening, observed, message.identify)
