"""One seed: a tree of blocks, delivered in several orders, each of which must end in the same chain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from structlog.testing import capture_logs

from tests.simulator.grow import Grower, Sample, Tree
from tests.simulator.model import Model
from tests.simulator.node import Node, assert_index, assert_main_chain, assert_stored_blocks, node
from tests.simulator.rules import LATER_MS
from tests.simulator.state import State

SIZES = (25, 40, 60, 90)
CHECK_EVERY = 15
"""Deliveries between two comparisons of everything."""


class Delivery:
    """Gives blocks to a node and to the model, and holds one against the other."""

    def __init__(self, tree: Tree, subject: Node, random: Random) -> None:
        self.tree, self.subject, self.random = tree, subject, random
        self.model = Model(tree.genesis)
        self.count = 0
        self.verdicts: Counter[str] = Counter()

    def give(self, samples: Sequence[Sample]) -> None:
        """One after the other; after each, the answers and the tips are compared."""
        for sample in samples:
            answer, expected = self.subject.deliver(sample.block), self.model.deliver(sample)
            name = f"block {sample.block.number} 0x{sample.block.hash.hex()[:12]} ({sample.fault or 'good'})"
            assert answer == expected, f"{name}: {answer}, expected {expected}"
            self.verdicts[answer] += 1
            self.count += 1
            with self.subject.store.view() as view:
                assert view.tip_header() == self.model.tip.tip.header
            assert self.subject.followed == [state.hash for state in self.model.tip.path]
            assert {block.hash for block in self.subject.writer.orphans} == set(self.model.waiting)
            if self.count % CHECK_EVERY == 0:
                self.check()

    def check(self) -> None:
        """Compare everything but the index."""
        with self.subject.store.view() as view:
            assert_main_chain(view, self.model.tip)
            assert_stored_blocks(view, self.model)

    def check_index(self) -> None:
        """Let the indexer catch up; at times there is a whole other branch for it to take back."""
        assert_index(self.subject, self.model.tip)

    def restart(self) -> None:
        self.subject.restart()
        self.model.restart()
        self.check()

    def truncate(self) -> None:
        """Cut off a few blocks of the main chain."""
        path = self.model.tip.path
        to: State = path[max(len(path) - self.random.randint(1, 6), 0)]
        self.subject.truncate(to.hash)
        self.model.truncate(to)
        self.check()
        self.check_index()

    def let_time_pass(self) -> None:
        """Until the blocks from the future are none any more."""
        self.subject.clock_ms = LATER_MS
        self.model.is_late = True

    def finish(self) -> None:
        """Everything once more, so that nothing is missing: the heaviest sound chain wins."""
        self.let_time_pass()
        self.give(self.tree.samples)
        assert self.model.tip is self.tree.best
        self.check()
        self.check_index()


Order = Callable[[Delivery], None]


def as_grown(delivery: Delivery) -> None:
    delivery.give(delivery.tree.samples)


def children_first(delivery: Delivery) -> None:
    delivery.give(delivery.tree.samples[::-1])


def shuffled(delivery: Delivery) -> None:
    delivery.give(delivery.random.sample(delivery.tree.samples, len(delivery.tree.samples)))


def by_height(delivery: Delivery) -> None:
    """All branches side by side, so that the tip jumps between them."""
    key = lambda sample: (sample.block.number, delivery.random.random())  # noqa: E731
    ordered = sorted(delivery.tree.samples, key=key)
    half = len(ordered) // 2
    delivery.give(ordered[:half])
    delivery.check_index()
    delivery.give(ordered[half:])


def lighter_branches_first(delivery: Delivery) -> None:
    """Whole branches, each heavier than the one before: every switch is deep."""
    by_hash = {sample.block.hash: sample for sample in delivery.tree.samples if sample.state is not None}
    leaves = sorted(delivery.tree.states + delivery.tree.bad_states, key=lambda state: state.total_difficulty)
    for leaf in delivery.random.sample(leaves, 3) + leaves[-6:]:
        delivery.give([by_hash[state.hash] for state in leaf.path[1:]])


def with_accidents(delivery: Delivery) -> None:
    """Shuffled within a window, with duplicates, restarts and cuts."""
    random, samples = delivery.random, delivery.tree.samples
    window = random.choice((3, 8, 20))
    order = sorted(range(len(samples)), key=lambda index: index + random.uniform(0, window))
    for index in order:
        delivery.give([samples[index]] * random.choice((1, 1, 1, 2)))
        if random.random() < 0.05:
            delivery.give(random.sample(samples[: index + 1], min(index + 1, 5)))
        if random.random() < 0.03:
            delivery.restart()
        if random.random() < 0.06:
            delivery.check_index()
        if random.random() < 0.01:
            delivery.let_time_pass()
        if random.random() < 0.02:
            delivery.truncate()


def in_groups(delivery: Delivery) -> None:
    """A chain by the way of `ckb-node import`, at times one with a bad block in it; then the rest as from peers."""
    random, tree, model = delivery.random, delivery.tree, delivery.model
    state = random.choice([tree.best, *tree.bad_states])
    samples = {sample.block.hash: sample for sample in tree.samples if sample.state is not None}
    path = [samples[each.hash] for each in state.path[1:]]
    answer = delivery.subject.attach_in_groups([sample.block for sample in path], random.choice((1, 3, 100)))
    expected = None
    for sample in path:
        if sample.context is not None:
            expected = type(sample.context).__name__
            model.invalid.add(sample.block.hash)
            break
        model.stored[sample.block.hash] = sample
        assert sample.state is not None
        model.verified.add(sample.block.hash)
        model.tip = sample.state
    assert answer == expected, f"{answer}, expected {expected}"
    delivery.check()
    shuffled(delivery)


ORDERS: Sequence[Order] = (
    as_grown,
    children_first,
    shuffled,
    by_height,
    lighter_branches_first,
    with_accidents,
    in_groups,
    in_groups,
)


def run_seed(seed: int, size: int | None = None) -> Counter[str]:
    """What was tried, by kind. AssertionError names seed and order."""
    with capture_logs():
        return _run(seed, size)


def _run(seed: int, size: int | None) -> Counter[str]:
    random = Random(seed)
    try:
        tree = Grower(random).grow(size or random.choice(SIZES))
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, while growing: {error}") from error
    counts = tree.counts
    for order in ORDERS:
        with TemporaryDirectory() as directory:
            on_disk = Path(directory) / "chain" if random.random() < 0.25 else None
            with node(tree.genesis.consensus, on_disk) as subject:
                delivery = Delivery(tree, subject, random)
                try:
                    order(delivery)
                    delivery.finish()
                except AssertionError as error:
                    raise AssertionError(f"seed {seed}, order {order.__name__}: {error}") from error
                counts.update({f"answer {name}": count for name, count in delivery.verdicts.items()})
    return counts
