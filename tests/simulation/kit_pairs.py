"""Two connected nodes, and a handler that takes notes, for the tests of sessions."""

from __future__ import annotations

from collections.abc import Callable

from network.ip import IpAddress
from network.limits import RELAY, ProtocolSpec
from network.multiaddr import Multiaddr
from network.peer import Peer
from network.session import Session
from tests.simulation.node import SimNode
from tests.simulation.wires import Cable
from tests.simulation.world import World

QUICK = Cable(latency=0.01, jitter=0.0, bandwidth=1e9)


class Notes:
    """A handler of Relay that notes what happens, and does what a test wants."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes]] = []
        self.on_received: Callable[[Peer, bytes], None] = lambda _peer, _payload: None
        self.peers: list[Peer] = []
        self.depth = 0

    @property
    def protocol(self) -> ProtocolSpec:
        return RELAY

    def opened(self, peer: Peer) -> None:
        self.peers.append(peer)
        self._note("opened", b"")

    def received(self, peer: Peer, payload: bytes) -> None:
        self._note("received", payload)
        self.depth += 1
        try:
            self.on_received(peer, payload)
        finally:
            self.depth -= 1

    def closed(self, peer: Peer) -> None:
        del peer
        self._note("closed", b"")

    def _note(self, what: str, payload: bytes) -> None:
        assert self.depth == 0, "a handler is never called from within a call of its own"
        self.calls.append((what, payload))

    @property
    def payloads(self) -> list[bytes]:
        return [payload for what, payload in self.calls if what == "received"]


class Pair:
    """Two connected nodes with Relay; `one` has dialled `two`."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World(1, QUICK)
        self.two, self.two_notes = self._add()
        self.one, self.one_notes = self._add(self.two.address)
        self.two.start()
        self.one.start()
        self.world.run(2)

    def _add(self, *bootnodes: Multiaddr) -> tuple[SimNode, Notes]:
        node, notes = self.world.add(bootnodes), Notes()
        node.switch.register(notes)
        return node, notes

    @property
    def one_peer(self) -> Session:
        """What `one` sees of `two`."""
        (peer,) = self.one.switch.peers()
        return peer

    @property
    def two_peer(self) -> Session:
        (peer,) = self.two.switch.peers()
        return peer


def ip_of(node: SimNode) -> IpAddress:
    ip = node.place.ip
    assert ip is not None
    return ip
