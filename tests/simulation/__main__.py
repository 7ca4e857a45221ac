"""Simulated networks in chaos for as long as one likes.

    python -m tests.simulation [peers|sync|hours] [--seconds 1200 | --minutes 20] [--seed N] [--hours 24]

`peers`: nodes that find each other; `sync`: nodes that sync chains and relay blocks, and liars among them; `hours`: a
few of those for so many simulated hours, in which nothing may grow. Prints each seed after which a network is not
whole, with what has happened. Exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

import structlog

from tests.simulation.chaos import Chaos
from tests.simulation.sync.long_run import LongRun
from tests.simulation.sync.storm import Storm

MAX_FAILURES = 10


class Run(Protocol):
    """One seed."""

    @property
    def events(self) -> Sequence[str]:
        """What has happened."""

    def run(self) -> None:
        """Raises AssertionError when the network is not whole in the end."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("what", nargs="?", choices=("peers", "sync", "hours"), default="peers")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--seed", type=int, help="the first seed; by default from the clock")
    parser.add_argument("--hours", type=int, default=24)
    options = parser.parse_args()
    runs_of: dict[str, Callable[[int], Run]] = {
        "peers": Chaos,
        "sync": Storm,
        "hours": lambda seed: LongRun(seed, options.hours),
    }
    make = runs_of[options.what]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    first = int(time.time()) * 1000 if options.seed is None else options.seed
    deadline, failed, runs = time.monotonic() + (options.minutes * 60 or options.seconds), 0, 0
    for seed in count(first):
        if time.monotonic() > deadline or failed >= MAX_FAILURES:
            break
        runs += 1
        network = make(seed)
        try:
            network.run()
        except Exception:  # noqa: BLE001 - whatever it is, the seed must be told and the others go on
            failed += 1
            print(f"seed {seed} fails:\n{traceback.format_exc()}{', '.join(network.events)}", flush=True)
    print(f"{runs} networks from seed {first}, {failed} failed")
    return 1 if failed or not runs else 0


if __name__ == "__main__":
    sys.exit(main())
