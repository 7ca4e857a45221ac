"""Hours of churn, liars and reorganisations: what a node holds stays as it was after the first hours."""

from __future__ import annotations

import gc
from collections import Counter
from dataclasses import dataclass

from tests.simulation.sync.attacks import ATTACKS
from tests.simulation.sync.blocks import free_cell, spending
from tests.simulation.sync.checks import check_one_tip, check_sound
from tests.simulation.sync.forge import Forge
from tests.simulation.sync.impostor import Impostor
from tests.simulation.sync.sizes import table_sizes, timers
from tests.simulation.sync.world import SyncWorld, mesh
from tests.simulation.wires import Cable

HOUR = 3600.0
OURS = ("ckb_node.sync", "ckb_node.txpool", "network.")
SLACK = 300
"""Entries that a table may have more than hours ago: what happens to be in it."""


@dataclass(frozen=True)
class Sample:
    """What there is at one moment. `tables`: of the node that is never killed."""

    tables: Counter[str]
    timers: int
    objects: int


def sample(world: SyncWorld) -> Sample:
    gc.collect()
    modules = (getattr(type(each), "__module__", None) for each in gc.get_objects())
    objects = sum(isinstance(module, str) and module.startswith(OURS) for module in modules)
    return Sample(table_sizes(world.nodes[0]), timers(world.clock), objects)


def churn(world: SyncWorld, hour: int) -> str:
    """An hour with kills, a partition, transactions and a liar; what the liar does."""
    rng = world.rng
    attack = rng.choice(ATTACKS)
    victim = world.nodes[0]
    forge = Forge(world.consensus, victim.store.copied(), f"liar {hour}")
    liar = world.add_liar(Impostor(world.clock, forge, attack.strike, attack.protocols), victim)
    for number in range(6):
        world.run(HOUR / 12)
        node = rng.choice(world.nodes[1:])
        node.kill()
        world.restart_later(node, rng.uniform(5.0, 60.0))
        world.send(victim, spending(world.consensus, free_cell(world.consensus, 6 * hour + number)))
        world.run(HOUR / 12)
    liar.kill()
    half = [node.ip for node in world.nodes[:2]]
    world.wires.part([half, [node.ip for node in world.nodes[2:]]])
    world.clock.call_later(300.0, world.wires.mend)
    return attack.name


class LongRun:
    """Four nodes, so many hours. `events` are what has happened."""

    def __init__(self, seed: int, hours: int, interval: float = 60.0) -> None:
        """`interval`: seconds between blocks, on average."""
        world = SyncWorld(seed, Cable(latency=0.03))
        self.world = world
        self.samples: list[Sample] = []
        self.events: list[str] = []
        self._hours = hours
        for number, dials in enumerate(mesh(4)):
            world.add(dials, with_filters=number == 0)
        world.start()
        world.mine_every(interval)

    def run(self) -> None:
        """Raises AssertionError when something has grown."""
        world = self.world
        for hour in range(self._hours):
            self.events.append(f"hour {hour}: {churn(world, hour)}")
            self.samples.append(sample(world))
        world.stop_mining()
        world.run(400.0)
        world.mine(world.nodes[0])
        assert world.settle(300.0) is not None
        check_sound(world)
        check_one_tip(world)
        assert_flat(self.samples[self._hours // 3], self.samples[-1])


def assert_flat(early: Sample, late: Sample) -> None:
    grown = {
        where: (early.tables[where], count)
        for where, count in late.tables.items()
        if count > 2 * early.tables[where] + SLACK
    }
    assert not grown, grown
    assert late.timers <= 2 * early.timers + SLACK
    assert late.objects <= 2 * early.objects + 10 * SLACK
