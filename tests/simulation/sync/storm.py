"""One seed of misfortune for nodes that sync: cables break, networks part while both sides mine, nodes are killed and
come back, disks fill, liars lie; then it is calm, and there must be one tip and nothing left over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from tests.simulation.sync.attack import Attack
from tests.simulation.sync.attacks import ATTACKS
from tests.simulation.sync.blocks import FREE_CELLS, free_cell, output_of, sim_consensus, spending
from tests.simulation.sync.chain import ChainCosts
from tests.simulation.sync.checks import check_asked_seldom, check_one_tip, check_sound
from tests.simulation.sync.forge import Forge, history
from tests.simulation.sync.impostor import Impostor
from tests.simulation.sync.node import SyncNode
from tests.simulation.sync.world import SyncWorld, line, mesh, random_graph, ring, star
from tests.simulation.wires import Cable

CALM: Final = 420.0
"""Seconds in which a network must find together: bans of liars do not matter, addresses that failed are tried again."""
CALM_OF_FINDING: Final = 1800.0
"""If its nodes find each other by discovery, each looks for somebody new every ten minutes, on average."""
DAY: Final = 86_400.0


class Storm:
    """A world and its misfortunes, for `length` seconds."""

    def __init__(self, seed: int, length: float = 240.0) -> None:
        rng = Random(f"storm:{seed}")
        self.rng: Final = rng
        self.length: Final = length
        self.events: Final[list[str]] = []
        cable = Cable(
            latency=rng.choice((0.002, 0.04, 0.25)),
            jitter=rng.choice((0.0, 0.02, 0.2)),
            bandwidth=rng.choice((100_000.0, 1e6, 1e8)),
            loss=rng.choice((0.0, 0.0, 0.03)),
            cut=rng.choice((0.0, 0.0, 0.2)),
            cut_within=200.0,
        )
        in_ibd = rng.random() < 0.5
        consensus = sim_consensus(3 * DAY if in_ibd else 3600.0, adjusts=rng.random() < 0.5)
        world = SyncWorld(seed, cable, consensus)
        self.world: Final = world
        self._made = 0
        start = history(consensus, rng.choice((60, 200))) if in_ibd else Forge(consensus)
        count = rng.randint(3, 7)
        edges: Sequence[Sequence[int] | None]
        self._is_finding = rng.random() < 0.2
        if self._is_finding:
            edges = [None] * count
        else:
            edges = rng.choice((line, ring, star, mesh, lambda count: random_graph(rng, count)))(count)
        max_outbound = rng.choice((1, 2, 4, 8))
        costs = ChainCosts(block=rng.choice((0.002, 0.05)))
        fresh = [0] if in_ibd else []  # who has the history; the others come without
        for number, dials in enumerate(edges):
            store = start.store if number in fresh or rng.random() < 0.5 else None
            bootnodes = [rng.randrange(number)] if number else []
            with_filters = rng.random() < 0.3
            world.add(
                dials,
                store=store,
                costs=costs,
                bootnodes=bootnodes,
                max_outbound=max_outbound,
                with_filters=with_filters,
            )
        world.start(within=10.0)
        world.mine_every(rng.choice((2.0, 8.0, 20.0)))

    def run(self) -> None:
        world, rng = self.world, self.rng
        while world.clock.now() < self.length:
            world.run(rng.uniform(0.5, 20.0))
            misfortune = rng.choice(self._misfortunes())
            self.events.append(f"{world.clock.now():.1f} {misfortune.__name__}")
            misfortune()
        self._become_calm()
        check_sound(world)
        check_one_tip(world)
        check_asked_seldom(world)

    def _misfortunes(self) -> list[Callable[[], None]]:
        return [
            self.kill,
            self.stop,
            self.unplug,
            self.part,
            self.cut,
            self.fill_disk,
            self.break_scripts,
            self.lie,
            self.send_transactions,
            self.send_transactions,
            self.mine_much,
        ]

    def _become_calm(self) -> None:
        world = self.world
        world.stop_mining()
        world.wires.mend()
        world.wires.cable = Cable()
        for liar in world.liars:
            liar.kill()
        for node in list(world.nodes):
            node.store.disk.is_full = False
            node.chain.scripts.breaks = False
            if not node.is_running:
                world.reborn(node).start()
        world.run(5.0)
        calm = CALM_OF_FINDING if self._is_finding else CALM
        took = world.run_until(self._have_same_work, calm)
        assert took is not None, f"after {calm:.0f} s of calm some are behind: {self._tips()}"
        world.mine(world.running[0])  # of branches with equal work the first seen stays: one more block decides
        took = world.settle(60.0)
        assert took is not None, f"no one tip: {self._tips()}"

    def _have_same_work(self) -> bool:
        return len({node.chain.tip().total_difficulty for node in self.world.nodes}) == 1

    def _tips(self) -> list[tuple[str, int, int]]:
        return [(node.name, node.height, len(node.switch.peers())) for node in self.world.nodes]

    # --- misfortunes ---

    def kill(self) -> None:
        self._end(lambda node: node.kill())

    def stop(self) -> None:
        self._end(lambda node: node.stop())

    def unplug(self) -> None:
        self._end(lambda node: node.unplug())

    def part(self) -> None:
        ips = [node.ip for node in self.world.nodes]
        self.rng.shuffle(ips)
        at = self.rng.randint(1, len(ips) - 1)
        self.world.wires.part([ips[:at], ips[at:]])
        self.world.clock.call_later(self.rng.uniform(5.0, 120.0), self.world.wires.mend)

    def cut(self) -> None:
        ends = list(self.world.wires.ends)
        for end in self.rng.sample(ends, len(ends) // 3):
            end.cut()

    def fill_disk(self) -> None:
        """The node ends as soon as it writes; its disk is emptied before it starts again."""
        node = self._victim()
        if node is not None and len(self.world.running) > 2:
            node.store.disk.is_full = True
            self.world.clock.call_later(self.rng.uniform(5.0, 60.0), lambda: self._empty_disk(node))

    def _empty_disk(self, node: SyncNode) -> None:
        node.store.disk.is_full = False
        if not node.is_running:
            self.world.restart_later(node, 0.0)

    def break_scripts(self) -> None:
        """A while in which the node can verify no script."""
        node = self._victim()
        if node is not None:
            node.chain.scripts.breaks = True

            def mend() -> None:
                node.chain.scripts.breaks = False

            self.world.clock.call_later(self.rng.uniform(1.0, 20.0), mend)

    def lie(self) -> None:
        node = self._victim()
        if node is None:
            return
        attack: Attack = self.rng.choice(ATTACKS)
        self.events.append(f"{attack.name} against {node.name}")
        forge = Forge(self.world.consensus, node.store.copied(), f"liar {len(self.world.liars)}")
        self.world.add_liar(Impostor(self.world.clock, forge, attack.strike, attack.protocols), node)

    def send_transactions(self) -> None:
        """A chain of them, each to another node."""
        consensus = self.world.consensus
        cell = free_cell(consensus, self._made)
        self._made = (self._made + 1) % (FREE_CELLS // 2)
        for number in range(self.rng.randint(1, 5)):
            transaction = spending(consensus, cell, fee=1_000_000, capacity=10_000 * 10**8 - number * 1_000_000)
            node = self._victim()
            if node is not None:
                self.world.send(node, transaction)
            cell = output_of(transaction)

    def mine_much(self) -> None:
        """One node finds many blocks at once; alone if it is parted from the others."""
        node = self._victim()
        if node is not None:
            self.world.mine(node, count=self.rng.choice((3, 10, 10, 40, 40, 150)))

    def _end(self, end: Callable[[SyncNode], None]) -> None:
        node = self._victim()
        if node is not None and len(self.world.running) > 2:
            end(node)
            self.world.restart_later(node, self.rng.uniform(1.0, 60.0))

    def _victim(self) -> SyncNode | None:
        running = self.world.running
        return self.rng.choice(running) if running else None
