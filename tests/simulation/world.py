"""A whole network of simulated nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final

from network.multiaddr import Multiaddr
from network.peer import Handler
from network.peer_layer import PeerLayer, PeerLayerSettings
from network.peers.registry import RegistrySettings
from tests.simulation.clock import Clock
from tests.simulation.node import SimNode
from tests.simulation.wires import Cable, Wires


class World:
    """Nodes, their cables, and what happens to them. The same seed gives the same run."""

    def __init__(self, seed: int, cable: Cable | None = None) -> None:
        self.seed: Final = seed
        self.rng: Final = Random(seed)
        self.clock: Final = Clock()
        self.wires: Final = Wires(self.clock, Random(f"{seed}:wires"), cable)
        self.nodes: Final[list[SimNode]] = []

    @property
    def running(self) -> list[SimNode]:
        return [node for node in self.nodes if node.is_running]

    def add(
        self,
        bootnodes: Sequence[Multiaddr] = (),
        *,
        ip: str | None = None,
        registry: RegistrySettings | None = None,
        settings: PeerLayerSettings | None = None,
        handlers: Callable[[PeerLayer], Iterable[Handler]] | None = None,
    ) -> SimNode:
        """A node more, not started; without an `ip` in a network group of its own."""
        number = len(self.nodes)
        node = SimNode(
            self.wires,
            f"node {number}",
            ip or host_ip(number),
            seed=self.seed,
            bootnodes=bootnodes,
            registry=registry,
            settings=settings,
            handlers=handlers,
        )
        self.nodes.append(node)
        return node

    def add_many(self, count: int, *, registry: RegistrySettings | None = None) -> list[SimNode]:
        """Each knows one earlier node as its bootnode; the first knows nobody."""
        added: list[SimNode] = []
        for _ in range(count):
            bootnodes = [self.rng.choice(added).address] if added else []
            added.append(self.add(bootnodes, registry=registry))
        return added

    def start(self, nodes: Iterable[SimNode], within: float = 5.0) -> None:
        """At random moments of the next seconds."""
        for node in nodes:
            self.clock.call_later(self.rng.random() * within, node.start)

    def run(self, seconds: float) -> None:
        self.clock.run_for(seconds)

    def run_until(self, condition: Callable[[], bool], limit: float) -> float | None:
        """Seconds until the condition holds, looked at each second; None when it did not within `limit`."""
        begin = self.clock.now()
        while not condition():
            if self.clock.now() - begin >= limit:
                return None
            self.clock.run_for(1.0)
        return self.clock.now() - begin

    def churn(self, every: float, until: float, restart_after: float = 30.0) -> None:
        """From time to time a random node is killed, and started again with what it had learnt."""

        def turn() -> None:
            if self.clock.now() >= until:
                return
            self.clock.call_later(every, turn)
            node = self.rng.choice(self.running)
            node.kill()
            self.clock.call_later(restart_after, lambda: self.reborn(node).start())

        self.clock.call_later(every, turn)

    def reborn(self, node: SimNode) -> SimNode:
        """The same node in a new process, with its stored tables."""
        new = SimNode(
            self.wires,
            node.name,
            node.ip,
            seed=self.seed,
            bootnodes=node.layer.settings.outbound.bootnodes,
            registry=node.layer.settings.registry,
            tables=node.tables,
        )
        self.nodes[self.nodes.index(node)] = new
        return new


def host_ip(number: int) -> str:
    """A public address, each in a network group of its own (65,536 of them)."""
    return f"{64 + number // 250}.{number % 250}.7.9"
