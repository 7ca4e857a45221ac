"""Random walks of a pool, held against plain rules: `make fuzz-pool SECONDS=… [SEED=…]`.

Each seed walks on a plain chain, and on one with a hardfork. A seed that fails is printed with its step. It belongs
into `tests/pool_walk/seeds.txt` once its cause is known.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

import structlog

from tests.pool_walk.walk import PoolFaultError, run_seed

SEEDS = Path(__file__).parent / "seeds.txt"
STEPS = 60
MAX_FAILED = 10


def read_seeds(path: Path = SEEDS) -> list[int]:
    """The seeds of a file, one a line; comments begin with #."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [int(line) for line in lines if line]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.pool_walk")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, help="the first; by default from the clock")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--storms", action="store_true", help="transactions and blocks come at the same time, too")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    first = int(time.time()) if options.seed is None else options.seed
    deadline, failed, counts, walks = time.monotonic() + options.seconds, 0, Counter[str](), 0
    for seed, has_fork in ((seed, has_fork) for seed in count(first) for has_fork in (False, True)):
        if time.monotonic() > deadline or failed >= MAX_FAILED:
            break
        walks += 1
        with tempfile.TemporaryDirectory() as directory:
            try:
                counts += run_seed(seed, options.steps, Path(directory), has_storms=options.storms, has_fork=has_fork)
            except PoolFaultError as fault:
                failed += 1
                print(f"{seed}   # {'with a fork, ' if has_fork else ''}{fault}", flush=True)
    print(f"{walks} walks of {options.steps} steps from seed {first}, {failed} failed")
    print(", ".join(f"{what.strip('_')} {number}" for what, number in sorted(counts.items())))
    return 1 if failed or not walks else 0


if __name__ == "__main__":
    sys.exit(main())
