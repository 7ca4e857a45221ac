"""What import takes of each kind of transaction: blocks of 24 of one kind beside equal blocks of transfers.

`python -m tests.benches.chain_kinds` (or `make bench-chain-kinds`). `share` times the difference is what a kind adds to
the mean transaction of the public chains' mix, so its rows say where that goes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.benches.chain import MIXED_BLOCK_TRANSACTIONS, UNCLE_EVERY, child
from tests.support.chains.long_chain import ChainMaker, write_blocks
from tests.support.chains.mixed_chain import PER_MILLE, Kind, MixedMaker
from tests.support.report import BENCH_DIR, Report

TRANSACTIONS = 4800
DATA_PER_MILLE = 125
"""Large data in every eighth transaction: a block has room for ten of them."""
UNCLES_EVERY = 2
"""Blocks of the chain that has many."""
WHAT = {"uncles": "a transfer and an uncle"}
REPEATS = 3


def main() -> int:
    """Make the chains, then import each a few times, by turns: all have the same noise then."""
    parser = argparse.ArgumentParser(description="Import of each kind of transaction")
    parser.add_argument("--keep", type=Path, help="directory for the chains, which are made only if they are missing")
    options = parser.parse_args()
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kinds-", dir=BENCH_DIR) as name:
        measure(options.keep or Path(name))
    return 0


def measure(directory: Path) -> None:
    """Processor time and time, µs each."""
    report = Report("chain-kinds")
    directory.mkdir(parents=True, exist_ok=True)
    paths = {"plain": made(directory / "plain", {})}
    for kind in PER_MILLE:
        paths[kind.name.lower()] = made(
            directory / kind.name.lower(), {kind: DATA_PER_MILLE if kind is Kind.DATA else 1000}
        )
    paths["uncles"] = made(directory / "uncles", {}, uncle_every=UNCLES_EVERY)
    paths["mixed"] = made(directory / "mixed", PER_MILLE, uncle_every=UNCLE_EVERY)
    runs = [{name: child(path) for name, path in paths.items()} for _ in range(REPEATS)]
    for seconds, how in (("cpu_s", "processor time"), ("wall_s", "time")):
        each = {name: min(run[name][seconds] / run[name]["transactions"] for run in runs) * 1e6 for name in paths}
        plain = each["plain"]
        each["data"] = plain + (each["data"] - plain) * 1000 / DATA_PER_MILLE
        each["uncles"] = plain + (each["uncles"] - plain) * UNCLES_EVERY * MIXED_BLOCK_TRANSACTIONS
        for name, us in each.items():
            what = f"{how} of {WHAT.get(name, 'a transaction')}; {text_of(name, us - plain)}"
            report.add(f"{name}_{seconds[:-2]}_us", us, what)
    report.write()


def text_of(name: str, more: float) -> str:
    """How much more than a transfer, and what that adds to the mean of the mix."""
    if name == "uncles":
        return f"in the mix {more / UNCLE_EVERY / MIXED_BLOCK_TRANSACTIONS:+.2f}"
    share = next((each / 1000 for kind, each in PER_MILLE.items() if kind.name.lower() == name), 1.0)
    return f"{more:+.1f}, in the mix {more * share:+.2f}"


def made(path: Path, per_mille: Mapping[Kind, int], uncle_every: int = 0) -> Path:
    """A chain of these kinds."""
    if not path.exists():
        maker = ChainMaker()
        mixed = MixedMaker(maker, TRANSACTIONS, per_mille)
        preparing = len(maker.raw_blocks)
        maker.add_in_two_phases(mixed.batches(MIXED_BLOCK_TRANSACTIONS), uncle_every)
        write_blocks(path, maker.raw_blocks, preparing)
    return path


if __name__ == "__main__":
    raise SystemExit(main())
