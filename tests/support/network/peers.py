"""Peers that note down what is asked of them."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from itertools import count

from network.identity import SHA256_MULTIHASH_PREFIX, base58
from network.limits import VERSION, Flags, ProtocolSpec
from network.multiaddr import Multiaddr
from network.peer import Direction, Handler, MessageTooLarge, PeerIdentity, SessionKind

FULL_NODE = PeerIdentity(Flags(0x3F), "0.206.0")

_SESSIONS = count(1)


def peer_id(seed: object) -> str:
    """A well-formed peer id, the same for the same seed."""
    return base58(SHA256_MULTIHASH_PREFIX + sha256(str(seed).encode()).digest())


def address(seed: int, *, port: int = 8115, with_id: bool = True) -> Multiaddr:
    """A reachable address, in another network group for each seed below 12,800."""
    text = f"/ip4/{40 + seed % 50}.{seed // 50 % 256}.{seed // 12800 % 256}.9/tcp/{port}"
    return Multiaddr.parse(f"{text}/p2p/{peer_id(seed)}" if with_id else text)


class FakePeer:
    """Satisfies network.peer.Peer. `protocols` are open from the start; `open` opens at once, without telling a
    handler: tests say `handler.opened(peer)`."""

    def __init__(
        self,
        seed: int,
        *,
        direction: Direction = Direction.INBOUND,
        kind: SessionKind = SessionKind.FULL,
        protocols: Iterable[ProtocolSpec] = (),
        identity: PeerIdentity | None = None,
        is_whitelisted: bool = False,
        at: Multiaddr | None = None,
        connected_at: float = 0.0,
    ) -> None:
        self.session_id = next(_SESSIONS)
        self.peer_id = peer_id(seed)
        self.address = at or address(seed)
        self.direction, self.kind, self.is_whitelisted = direction, kind, is_whitelisted
        self.connected_at, self.identity = connected_at, identity
        self.queued_bytes = 0
        self.versions = dict.fromkeys(protocols, VERSION)
        self.sent: list[tuple[ProtocolSpec, bytes]] = []
        self.asked_to_open: list[ProtocolSpec] = []
        self.held: set[ProtocolSpec] = set()
        self.disconnected: str | None = None
        """The reason, when it was disconnected."""
        self.banned: tuple[int, str] | None = None
        """Seconds and reason, when it was banned."""

    @property
    def has_ended(self) -> bool:
        return self.disconnected is not None or self.banned is not None

    def version_of(self, protocol: ProtocolSpec) -> str | None:
        return self.versions.get(protocol)

    def open(self, protocol: ProtocolSpec) -> None:
        if not self.has_ended and protocol not in self.versions:
            self.asked_to_open.append(protocol)
            self.versions[protocol] = VERSION

    def close(self, protocol: ProtocolSpec) -> None:
        self.versions.pop(protocol, None)

    def send(self, protocol: ProtocolSpec, payload: bytes) -> bool:
        if self.has_ended or protocol not in self.versions:
            return False
        if len(payload) + protocol.has_flag_byte > protocol.max_frame:
            raise MessageTooLarge(protocol, len(payload), protocol.max_frame)
        self.sent.append((protocol, payload))
        return True

    def take(self, protocol: ProtocolSpec) -> list[bytes]:
        """What was sent on a protocol since the last look."""
        taken = [payload for sent_on, payload in self.sent if sent_on is protocol]
        self.sent = [message for message in self.sent if message[0] is not protocol]
        return taken

    def hold(self, protocol: ProtocolSpec) -> None:
        self.held.add(protocol)

    def release(self, protocol: ProtocolSpec) -> None:
        self.held.discard(protocol)

    def disconnect(self, reason: str) -> None:
        if not self.has_ended:
            self.disconnected = reason

    def ban(self, seconds: int, reason: str) -> None:
        if not self.has_ended:
            self.banned = (seconds, reason)

    def connect(self, handler: Handler) -> FakePeer:
        """The handler's protocol is open now, and the handler knows."""
        self.versions[handler.protocol] = VERSION
        handler.opened(self)
        return self
