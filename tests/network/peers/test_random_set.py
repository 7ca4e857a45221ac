"""Sets by name, of which the largest is known at once."""

from __future__ import annotations

from random import Random

from network.peers.random_set import Pools


def test_the_largest_is_the_largest_whatever_comes_and_goes() -> None:
    rng, pools = Random(1), Pools[int]()
    sets: dict[str, set[int]] = {}
    for _ in range(5000):
        name, item = rng.choice("abcdef"), rng.randrange(12)
        if rng.random() < 0.5:
            pools.add(name, item)
            sets.setdefault(name, set()).add(item)
        elif name in sets:
            pools.discard(name, item)
            sets[name].discard(item)
            if not sets[name]:
                del sets[name]
        assert len(pools) == len(sets)
        if sets:
            assert len(pools.largest()) == max(map(len, sets.values()))
