"""A peer that passes on what others have made: it answers for what it must have checked, and for nothing else."""

from __future__ import annotations

from typing import Final

from network.limits import ProtocolSpec
from network.multiaddr import Multiaddr
from network.peer import Direction, Peer, PeerIdentity, SessionKind

__all__ = ["Forwarder"]


class Forwarder:
    """Satisfies network.peer.Peer: the same peer, which is neither banned nor disconnected."""

    def __init__(self, peer: Peer) -> None:
        self._peer: Final = peer

    @property
    def session_id(self) -> int:
        return self._peer.session_id

    @property
    def peer_id(self) -> str:
        return self._peer.peer_id

    @property
    def address(self) -> Multiaddr:
        return self._peer.address

    @property
    def direction(self) -> Direction:
        return self._peer.direction

    @property
    def kind(self) -> SessionKind:
        return self._peer.kind

    @property
    def is_whitelisted(self) -> bool:
        return self._peer.is_whitelisted

    @property
    def connected_at(self) -> float:
        return self._peer.connected_at

    @property
    def identity(self) -> PeerIdentity | None:
        return self._peer.identity

    @property
    def queued_bytes(self) -> int:
        return self._peer.queued_bytes

    def version_of(self, protocol: ProtocolSpec) -> str | None:
        return self._peer.version_of(protocol)

    def open(self, protocol: ProtocolSpec) -> None:
        self._peer.open(protocol)

    def close(self, protocol: ProtocolSpec) -> None:
        self._peer.close(protocol)

    def send(self, protocol: ProtocolSpec, payload: bytes) -> bool:
        return self._peer.send(protocol, payload)

    def hold(self, protocol: ProtocolSpec) -> None:
        self._peer.hold(protocol)

    def release(self, protocol: ProtocolSpec) -> None:
        self._peer.release(protocol)

    def disconnect(self, reason: str) -> None:
        """Others have made it."""

    def ban(self, seconds: int, reason: str) -> None:
        """Others have made it."""
