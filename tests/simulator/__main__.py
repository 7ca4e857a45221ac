"""Simulated chains for as long as one likes.

    python -m tests.simulator --seconds 1200 [--seed N] [--size BLOCKS] [--replay FILE]

Prints each seed on which the node does not do as the model says. Such a seed belongs into `tests/simulator/seeds.txt`
once its cause is known. Exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from tests.simulator.run import run_seed

MAX_FAILURES = 10
SEEDS = Path(__file__).parent / "seeds.txt"


def read_seeds(path: Path = SEEDS) -> list[int]:
    """The seeds of a file, one a line; comments begin with #."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [int(line) for line in lines if line]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, help="the first seed; by default from the clock")
    parser.add_argument("--size", type=int, help="blocks of a tree; by default each seed has its own")
    parser.add_argument("--replay", type=Path, help="a file of seeds, in place of new ones")
    options = parser.parse_args()
    first = int(time.time()) * 1000 if options.seed is None else options.seed
    seeds: Iterable[int] = read_seeds(options.replay) if options.replay else count(first)
    counts, failed, runs = Counter[str](), 0, 0
    deadline = time.monotonic() + options.seconds
    for seed in seeds:
        if time.monotonic() > deadline or failed >= MAX_FAILURES:
            break
        runs += 1
        try:
            counts += run_seed(seed, options.size)
        except Exception:  # noqa: BLE001 - whatever it is, the seed must be told and the others go on
            failed += 1
            print(f"seed {seed} fails:\n{traceback.format_exc()}", flush=True)
    print("\n".join(f"{kind} {number}" for kind, number in sorted(counts.items())))
    print(f"{runs} trees from seed {first}, {failed} failed")
    return 1 if failed or not runs else 0


if __name__ == "__main__":
    sys.exit(main())
