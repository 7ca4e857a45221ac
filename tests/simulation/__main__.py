"""Simulated networks in chaos for as long as one likes.

    python -m tests.simulation --seconds 1200 [--seed N]

Prints each seed after which a network is not whole, with what has happened. Exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from itertools import count

import structlog

from tests.simulation.chaos import Chaos

MAX_FAILURES = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, help="the first seed; by default from the clock")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    first = int(time.time()) * 1000 if options.seed is None else options.seed
    deadline, failed, runs = time.monotonic() + options.seconds, 0, 0
    for seed in count(first):
        if time.monotonic() > deadline or failed >= MAX_FAILURES:
            break
        runs += 1
        chaos = Chaos(seed)
        try:
            chaos.run()
        except Exception:  # noqa: BLE001 - whatever it is, the seed must be told and the others go on
            failed += 1
            print(f"seed {seed} fails:\n{traceback.format_exc()}{', '.join(chaos.events)}", flush=True)
    print(f"{runs} networks from seed {first}, {failed} failed")
    return 1 if failed or not runs else 0


if __name__ == "__main__":
    sys.exit(main())
