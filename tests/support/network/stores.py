"""A store of addresses that notes what it is told and gives what a test has put in."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from network.multiaddr import Multiaddr
from network.peers.known import KnownAddress, serves


class FakeStore:
    """Satisfies what the protocols want of network.peers.store.PeerStore."""

    def __init__(self) -> None:
        self.told: list[tuple[Multiaddr, int, Multiaddr | None]] = []
        """Address, flags, and the address of who told it."""
        self.connected: list[tuple[Multiaddr, int]] = []
        self.still: list[Multiaddr] = []
        self.shared: list[KnownAddress] = []
        self.punchable: list[Multiaddr] = []

    def add_told(self, address: Multiaddr, flags: int, now_ms: int, source: Multiaddr | None = None) -> bool:
        del now_ms
        self.told.append((address, flags, source))
        return True

    def add_connected(self, address: Multiaddr, flags: int, now_ms: int) -> bool:
        del now_ms
        self.connected.append((address, flags))
        return True

    def still_connected(self, address: Multiaddr, now_ms: int) -> None:
        del now_ms
        self.still.append(address)

    def to_share(self, count: int, now_ms: int, required: int) -> Sequence[KnownAddress]:
        del now_ms
        return [known for known in self.shared if serves(known.flags, required)][:count]

    def to_punch(
        self, count: int, now_ms: int, *, required: int, connected: Collection[str] = ()
    ) -> Sequence[Multiaddr]:
        del now_ms, required
        return [address for address in self.punchable if address.peer_id not in connected][:count]

    @property
    def told_addresses(self) -> list[Multiaddr]:
        return [address for address, _, _ in self.told]
