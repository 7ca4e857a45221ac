"""Differential fuzzing of the VM's engines.

    python -m tests.fuzz --seconds 900 [--start N] [--kind K] [--replay FILE]

Prints how the programs ended, and each seed on which an engine differs from the reference engine. Such a seed belongs
into `tests/fuzz/seeds.txt` once its cause is known. Exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from tests.fuzz.compare import Engines, Seed, compare
from tests.fuzz.programs import KINDS

MAX_DIFFERENCES = 20
SEEDS = Path(__file__).parent / "seeds.txt"


def read_seeds(path: Path = SEEDS) -> list[Seed]:
    """The seeds of a file, one a line; comments begin with #."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [Seed.parse(line) for line in lines if line]


def endless_seeds(start: int, kinds: Sequence[str]) -> Iterator[Seed]:
    """Every kind on every version, number after number."""
    for number in count(start):
        for kind in kinds:
            for version in (0, 1, 2):
                yield Seed(kind, number, version)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--start", type=int, help="first number of seeds; by default from the clock")
    parser.add_argument("--kind", choices=list(KINDS), action="append")
    parser.add_argument("--replay", type=Path, help="a file of seeds, in place of new ones")
    options = parser.parse_args()
    start = int(time.time()) * 1000 if options.start is None else options.start
    seeds = read_seeds(options.replay) if options.replay else endless_seeds(start, options.kind or list(KINDS))
    engines, ends, failed, runs = Engines.for_all_kinds(), Counter[str](), 0, 0
    deadline = time.monotonic() + options.seconds
    for seed in seeds:
        if time.monotonic() > deadline or failed >= MAX_DIFFERENCES:
            break
        expected, differences = compare(engines[seed.kind], seed)
        runs += 1
        ends[expected.end] += 1
        for difference in differences:
            print(f"{seed}   # {difference.engine}: {difference.text}", flush=True)
        failed += bool(differences)
    hosts = {host for some in engines.values() for host in some.hosts.values()}
    translated = sum(host.translated for host in hosts)
    print(f"{runs} programs from number {start}, {translated} loads translated, {failed} differ")
    print(", ".join(f"{end} {number}" for end, number in ends.most_common()))
    return 1 if failed or not runs else 0


if __name__ == "__main__":
    sys.exit(main())
