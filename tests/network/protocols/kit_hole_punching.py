"""A node with HolePunching alone, and messages of that protocol, for its tests."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from network.identity import peer_id_to_bytes
from network.limits import HOLE_PUNCHING
from network.messages.peers import (
    HOLE_PUNCHING_MESSAGE,
    Address,
    ConnectionRequest,
    ConnectionRequestDelivered,
    ConnectionSync,
)
from network.multiaddr import Multiaddr
from network.peer import Direction
from network.protocols.hole_punching import HolePunchingProtocol
from network.protocols.hole_punching.messages import PunchingMessage
from network.protocols.own_addresses import OwnAddresses
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer, address, peer_id
from tests.support.network.stores import FakeStore

Punched = tuple[list[Multiaddr], Direction]
"""Addresses, and as whom."""

A, B, C = 1001, 1002, 1003
"""Nodes that are not connected with ours."""


def ident(seed: object) -> bytes:
    return peer_id_to_bytes(peer_id(seed))


class Node:
    """A node with this protocol alone."""

    def __init__(
        self,
        seed: int = 0,
        scheduler: FakeScheduler | None = None,
        *,
        has_address: bool = True,
        allow_local: bool = False,
    ) -> None:
        self.seed = seed
        self.scheduler, self.store = scheduler or FakeScheduler(), FakeStore()
        self.own = OwnAddresses(peer_id(seed), Random(seed))
        if has_address:
            self.own.add_public(address(seed))
        self.free_outbound = 0
        self.punched: list[Punched] = []
        self.delay = -1.0
        self.peers: dict[int, FakePeer] = {}
        self.handler = HolePunchingProtocol(
            own=self.own,
            store=self.store,
            scheduler=self.scheduler,
            rng=Random(seed),
            free_outbound=lambda: self.free_outbound,
            punch=self._punch,
            allow_local=allow_local,
        )

    def _punch(self, addresses: Sequence[Multiaddr], direction: Direction, delay: float) -> None:
        self.punched.append((list(addresses), direction))
        self.delay = delay

    def connect(self, *seeds: int) -> Sequence[FakePeer]:
        """Sessions with other nodes."""
        for seed in seeds:
            self.peers[seed] = FakePeer(seed).connect(self.handler)
        return [self.peers[seed] for seed in seeds]

    def receive(self, seed: int, message: PunchingMessage | bytes) -> FakePeer:
        payload = message if isinstance(message, bytes) else HOLE_PUNCHING_MESSAGE.pack(message)
        self.handler.received(self.peers[seed], payload)
        return self.peers[seed]

    def sent(self) -> list[tuple[int, PunchingMessage]]:
        """To whom and what, since the last look."""
        found: list[tuple[int, PunchingMessage]] = []
        for seed, peer in self.peers.items():
            for payload in peer.take(HOLE_PUNCHING):
                message = HOLE_PUNCHING_MESSAGE.parse(payload)
                assert isinstance(message, ConnectionRequest | ConnectionRequestDelivered | ConnectionSync)
                found.append((seed, message))
        return found

    @property
    def meetings(self) -> int:
        return len(self.handler._meetings)


def request(
    from_: int = A,
    to: int = B,
    *,
    hops: int = 6,
    route: Sequence[bytes] = (),
    listening: Sequence[Multiaddr | bytes] | None = None,
) -> ConnectionRequest:
    return ConnectionRequest(
        from_=ident(from_), to=ident(to), max_hops=hops, route=route, listen_addrs=_addresses(listening, from_)
    )


def delivered(
    from_: int = A,
    to: int = B,
    *,
    route: Sequence[bytes] = (),
    sync_route: Sequence[bytes] = (),
    listening: Sequence[Multiaddr | bytes] | None = None,
) -> ConnectionRequestDelivered:
    return ConnectionRequestDelivered(
        from_=ident(from_), to=ident(to), route=route, sync_route=sync_route, listen_addrs=_addresses(listening, to)
    )


def sync(from_: int = A, to: int = B, *, route: Sequence[bytes] = ()) -> ConnectionSync:
    return ConnectionSync(from_=ident(from_), to=ident(to), route=route)


def _addresses(listening: Sequence[Multiaddr | bytes] | None, owner: int) -> list[Address]:
    items = [address(owner)] if listening is None else listening
    return [Address(data=item if isinstance(item, bytes) else item.to_bytes()) for item in items]


def read(items: Sequence[Address]) -> list[Multiaddr]:
    return [Multiaddr.from_bytes(item.data) for item in items]
