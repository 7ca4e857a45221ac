"""A handler of Discovery with what it uses, and its messages."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from network.limits import DISCOVERY
from network.messages.peers import DiscoveryMessage, GetNodes, Node, Nodes
from network.multiaddr import Multiaddr
from network.peer import Direction, SessionKind
from network.peers.known import KnownAddress
from network.protocols.discovery import DiscoveryProtocol
from network.protocols.own_addresses import OwnAddresses
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FULL_NODE, FakePeer, address, peer_id
from tests.support.network.stores import FakeStore

OWN_ID = peer_id("self")


GET_NODES = bytes.fromhex(
    "3000000008000000000000002400000014000000180000001c0000001c00000001000000e80300000e00000000000000"
)


class Case:
    """A handler with all that it uses."""

    def __init__(
        self, *, allow_local: bool = False, listening: Sequence[Multiaddr] = (), reuses_port: bool = True
    ) -> None:
        self.scheduler, self.store = FakeScheduler(), FakeStore()
        self.handler = DiscoveryProtocol(
            own=OwnAddresses(OWN_ID, Random(1), listening=listening),
            store=self.store,
            scheduler=self.scheduler,
            rng=Random(2),
            allow_local=allow_local,
            reuses_port=reuses_port,
        )

    def peer(
        self,
        seed: int = 1,
        direction: Direction = Direction.INBOUND,
        kind: SessionKind = SessionKind.FULL,
        at: Multiaddr | None = None,
    ) -> FakePeer:
        return FakePeer(seed, direction=direction, kind=kind, at=at, identity=FULL_NODE).connect(self.handler)

    def asked(self, seed: int = 1) -> FakePeer:
        """A peer that we dialled and have asked."""
        peer = self.peer(seed, Direction.OUTBOUND)
        peer.take(DISCOVERY)
        return peer

    def receive(self, peer: FakePeer, payload: bytes) -> FakePeer:
        self.handler.received(peer, payload)
        return peer

    def share(self, *seeds: int, flags: int = 0x3F) -> None:
        """The store has addresses to tell."""
        self.store.shared += [KnownAddress(address(seed), flags, last_connected_ms=1) for seed in seeds]


def get_nodes(count: int = 1000, port: int | None = None, flags: int | None = 0x0E, version: int = 1) -> bytes:
    return DiscoveryMessage(payload=GetNodes(version=version, count=count, listen_port=port, required_flags=flags)).raw


def raw_nodes(announce: bytes, items: Sequence[Node]) -> bytes:
    return DiscoveryMessage(payload=Nodes(announce=announce, items=items)).raw


def node(*addresses: Multiaddr | bytes, flags: int | None = 0x3F) -> Node:
    raw = [item if isinstance(item, bytes) else item.to_bytes() for item in addresses]
    return Node(addresses=raw, flags=flags)


def told(peer: FakePeer) -> list[tuple[bool, list[tuple[Multiaddr, int | None]]]]:
    """The `Nodes` that were sent to a peer since the last look: announcement or answer, and what is in it."""
    found = []
    for payload in peer.take(DISCOVERY):
        message = DiscoveryMessage.parse(payload).payload
        assert isinstance(message, Nodes)
        items = [(Multiaddr.from_bytes(item.addresses[0]), item.flags) for item in message.items]
        assert all(len(item.addresses) == 1 for item in message.items)
        found.append((message.announce == b"\1", items))
    return found
