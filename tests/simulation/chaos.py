"""One seed of chaos: nodes come and go, cables break, networks part, strangers misbehave; then it is calm, and the
network must be whole and nothing left over."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from network.peer import SessionKind
from network.peers.registry import RegistrySettings
from tests.simulation.hostile import Flooder, RawClient, WireClient
from tests.simulation.node import SimNode
from tests.simulation.wires import Cable
from tests.simulation.world import World, host_ip

STORM = 300.0
"""Seconds of chaos."""
CALM = 900.0
"""Seconds that the network has to become whole: dead addresses rest, bans end, configured peers are tried again."""


class Chaos:
    """A world and its misfortunes."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(f"chaos:{seed}")
        cable = Cable(
            latency=rng.choice((0.005, 0.05, 0.3)),
            jitter=rng.choice((0.0, 0.02, 0.3)),
            bandwidth=rng.choice((50_000.0, 1e6, 1e9)),
            loss=rng.choice((0.0, 0.02)),
            cut=rng.choice((0.0, 0.2)),
            cut_within=120.0,
            refuse=rng.choice((0.0, 0.1)),
        )
        self.world = World(seed, cable)
        self.events: list[str] = []
        registry = RegistrySettings(
            max_inbound=rng.choice((6, 20, 117)), max_outbound=rng.choice((2, 4, 8)), bootnode_mode=False
        )
        self.world.start(self.world.add_many(rng.randint(4, 16), registry=registry), within=10.0)
        self._strangers = 0

    def run(self) -> None:
        world, rng = self.world, self.rng
        end = world.clock.now() + STORM
        while world.clock.now() < end:
            world.run(rng.uniform(1.0, 25.0))
            misfortune = rng.choice(
                (
                    self.kill,
                    self.stop,
                    self.unplug,
                    self.part,
                    self.cut,
                    self.silent_strangers,
                    self.strangers,
                    self.flooders,
                    self.disconnect,
                    self.ban,
                    self.dial_each_other,
                )
            )
            self.events.append(f"{world.clock.now():.0f} {misfortune.__name__}")
            misfortune()
        self._become_calm()
        check_whole(world)
        check_nothing_left(world)

    def _become_calm(self) -> None:
        world = self.world
        world.wires.mend()
        world.wires.cable = Cable()
        for node in list(world.nodes):
            if not node.is_running:
                world.reborn(node).start()
        world.run(CALM)

    # --- misfortunes ---

    def kill(self) -> None:
        self._restart_later(lambda node: node.kill())

    def stop(self) -> None:
        self._restart_later(lambda node: node.stop())

    def unplug(self) -> None:
        def pull(node: SimNode) -> None:
            node.is_running = False
            self.world.wires.unplug(node.ip)
            node.layer.close()

        self._restart_later(pull)

    def part(self) -> None:
        ips = [node.ip for node in self.world.nodes]
        self.rng.shuffle(ips)
        at = self.rng.randint(1, len(ips) - 1)
        self.world.wires.part([ips[:at], ips[at:]])
        self.world.clock.call_later(self.rng.uniform(5.0, 150.0), self.world.wires.mend)

    def cut(self) -> None:
        ends = list(self.world.wires.ends)
        for end in self.rng.sample(ends, len(ends) // 4):
            end.cut()

    def silent_strangers(self) -> None:
        ip, node = self._stranger(), self._victim()
        for _ in range(self.rng.randint(1, 200)):
            RawClient(self.world.wires, ip, self.rng.choice((b"", b"\0\0\0\xad", b"GET /"))).connect(node)

    def strangers(self) -> None:
        for _ in range(self.rng.randint(1, 10)):
            limit = self.rng.choice((None, None, self.rng.randint(0, 2000)))
            network = self.rng.choice((None, "/ckb/92b197aa"))
            client = WireClient(self.world.wires, self._stranger(), seed=self._strangers, limit=limit)
            client.network = network or client.network
            client.connect(self._victim())

    def flooders(self) -> None:
        Flooder(self.world.wires, self._stranger(), seed=self._strangers, every=5.0).connect(self._victim())

    def disconnect(self) -> None:
        peers = self._victim().switch.peers()
        if peers:
            self.rng.choice(peers).disconnect("sync disconnect")

    def ban(self) -> None:
        peers = self._victim().switch.peers()
        if peers:
            self.rng.choice(peers).ban(60, "chaos")

    def dial_each_other(self) -> None:
        running = self.world.running
        if len(running) >= 2:
            one, two = self.rng.sample(running, 2)
            one.switch.dial(two.address)
            two.switch.dial(one.address)

    def _restart_later(self, end: Callable[[SimNode], None]) -> None:
        if len(self.world.running) < 3:
            return
        node = self._victim()
        end(node)
        self.world.clock.call_later(self.rng.uniform(3.0, 100.0), lambda: self._restart(node))

    def _restart(self, node: SimNode) -> None:
        if node in self.world.nodes and not node.is_running:
            self.world.reborn(node).start()

    def _victim(self) -> SimNode:
        return self.rng.choice(self.world.running)

    def _stranger(self) -> str:
        self._strangers += 1
        return host_ip(5000 + self._strangers)


def check_whole(world: World) -> None:
    """Whoever wants outbound sessions has them, as far as there are nodes, and all nodes reach each other."""
    for node in world.nodes:
        assert node.switch.traffic.faults == 0, node.name
        others = len(world.nodes) - 1
        wanted = min(node.layer.settings.registry.max_outbound, others, 2)
        assert node.syncing >= wanted, f"{node.name} has {node.syncing} peers"
    reached, edge = {world.nodes[0].name}, [world.nodes[0]]
    by_name = {node.name: node for node in world.nodes}
    while edge:
        for name in edge.pop().peer_names:
            if name in by_name and name not in reached:
                reached.add(name)
                edge.append(by_name[name])
    assert len(reached) == len(world.nodes), f"only {sorted(reached)} are one network"


def check_nothing_left(world: World) -> None:
    """Tables hold what is connected now, and both ends of a session know of it."""
    for node in world.nodes:
        switch = node.switch
        numbers = set(switch._sessions)
        assert set(switch._allowances) == numbers
        assert set(switch._held.sizes) <= numbers
        assert set(switch._tickets) <= numbers
        assert set(switch._attempts) <= numbers
        assert switch._gate.at_once == len(switch._tickets)
        assert sum(switch._held.sizes.values()) == switch._held.total
        assert {session.session_id for session in switch._live.values()} <= numbers
        assert {entry.session_id for entry in node.layer.registry} == {peer.session_id for peer in switch.peers()}
        assert len(switch.dials) <= 20
        for peer in switch.peers():
            assert peer.kind is not SessionKind.FEELER
            other = next((other for other in world.nodes if other.identity.peer_id == peer.peer_id), None)
            if other is not None:
                assert other.switch.peer_of(node.identity.peer_id) is not None, f"{other.name} knows nothing"
