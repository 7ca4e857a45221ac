"""Block import: blocks from raw bytes onto LevelDB in synced bulk, with all rules, scripts trusted or run.

`python -m tests.benches.chain` (or `make bench-chain`) makes the chains, then imports each in processes of their own,
so that memory is the import's alone. Blocks that make the cells for the others' transfers are not measured, except with
scripts, where all is, the start of processes too. Rates are by the clock, since the disk and the scripts have threads
and processes of their own: measure on a quiet machine. On a busy one the figures per second of processor time say more.
`--profile` adds where the time goes; `--blocks` sets how many blocks the chain for the memory figure has.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from ckb_node.chain.bulk import BulkImport
from ckb_node.chain.checks import all_rules, scripts_later, scripts_trusted
from ckb_node.chain.writer import ChainWriter
from ckb_node.runtime.clock import SystemClock
from ckb_node.runtime.interpreter import set_for_bulk
from ckb_node.verification.service import ParallelScriptService
from consensus.kernels.prepare import load_kernels
from consensus.types.blockchain import Block
from storage.chain_store import ChainStore
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.long_chain import ChainMaker, read_blocks, write_blocks
from tests.support.chains.mixed_chain import PER_MILLE, Kind, MixedMaker
from tests.support.report import BENCH_DIR, Report
from vm import Engines

SMALL_BLOCKS = 20_000
TWO_TX_BLOCKS = 10_000
BIG_BLOCKS = 40
BIG_BLOCK_TRANSACTIONS = 500
MIXED_BLOCKS = 500
MIXED_BLOCK_TRANSACTIONS = 24
UNCLE_EVERY = 20
REPEATS = 3

PHASES = (
    ("parse", "parse"),
    ("header rules", "fast_verify_header"),
    ("body rules", "fast_verify_block_body"),
    ("transactions", "visit"),
    ("two-phase", "_require_proposals"),
    ("DAO field", "dao_field_matches"),
    ("reward", "reward_matches"),
    ("chain root", "chain_root_matches"),
    ("MMR nodes", "nodes_of_next"),
    ("attach", "_attach"),
    ("hand over", "save"),
)
"""What to call the cumulative time of a function that holds a phase."""


def main() -> int:
    """Make chains and measure; or, as a child, import one."""
    parser = argparse.ArgumentParser(description="Block import")
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    parser.add_argument("--blocks", type=int, default=SMALL_BLOCKS, help="empty blocks of the long chain")
    parser.add_argument("--import", dest="source", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--scripts", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--programs", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.source is not None:
        print(json.dumps(import_chain(options.source, options.scripts, options.programs, options.profile)))
        return 0
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="chain-", dir=BENCH_DIR) as directory:
        measure(Path(directory), options.blocks, with_profile=options.profile)
    return 0


def measure(directory: Path, long_chain: int, *, with_profile: bool) -> None:
    """All figures."""
    report = Report("chain")
    empty, pairs, big, mixed, plain = (directory / name for name in ("empty", "pairs", "big", "mixed", "plain"))
    make_empty(empty, long_chain)
    make_transfers(pairs, TWO_TX_BLOCKS, 2)
    make_transfers(big, BIG_BLOCKS, BIG_BLOCK_TRANSACTIONS)
    make_mixed(mixed, PER_MILLE)
    make_mixed(plain, {})

    runs = imported(empty)
    report.add("assume_valid_blocks_per_s", best(runs, "blocks"), "blocks with only a cellbase, scripts trusted")
    report.add("assume_valid_blocks_per_cpu_s", best(runs, "blocks", "cpu_s"), "the same, of processor time")
    peak = max(run["peak_mib"] for run in runs)
    runs = imported(pairs)
    report.add("two_tx_blocks_per_s", best(runs, "blocks"), "blocks with two transfers, scripts trusted")
    report.add("two_tx_blocks_per_cpu_s", best(runs, "blocks", "cpu_s"), "the same, of processor time")
    runs = imported(big)
    report.add("assume_valid_tx_per_s", best(runs, "transactions"), "blocks of 500 transfers, scripts trusted")
    report.add("assume_valid_tx_per_cpu_s", best(runs, "transactions", "cpu_s"), "the same, of processor time")
    peak = max(peak, *(run["peak_mib"] for run in runs))
    add_mixed(report, mixed, plain)
    report.add("import_peak_mib", peak, f"of {long_chain} blocks and the rest, scripts trusted")

    programs = directory / "programs"
    cold, *runs = (child(big, "--scripts", "--programs", str(programs)) for _ in range(1 + REPEATS))
    report.add("full_verify_tx_per_s", best(runs, "transactions"), "blocks of 500 transfers, all scripts run")
    report.add("full_verify_tx_per_cpu_s", best(runs, "transactions", "cpu_s"), "the same, of all processes' time")
    report.add("full_verify_start_s", min(run["start_s"] for run in runs), "until the first scripts have passed")
    report.add("full_verify_cold_s", cold["wall_s"], "the same chain when no program was translated before")
    report.add("full_verify_peak_mib", max(run["peak_mib"] for run in runs), "of the importing process")
    report.write()
    if with_profile:
        for source in (empty, pairs, big, plain, mixed):
            print(f"\n{source.name} blocks")
            child(source, "--profile")


def add_mixed(report: Report, mixed: Path, plain: Path) -> None:
    """Transactions of all kinds, and as many transfers in equal blocks, by turns: both have the same noise then."""
    runs, others = zip(*((child(mixed), child(plain)) for _ in range(REPEATS)), strict=True)
    how = f"blocks of {MIXED_BLOCK_TRANSACTIONS} transactions of all kinds, scripts trusted"
    report.add("mixed_tx_per_s", best(runs, "transactions"), how)
    report.add("mixed_tx_per_cpu_s", best(runs, "transactions", "cpu_s"), "the same, of processor time")
    for name, seconds in (("mixed_tx_ratio", "wall_s"), ("mixed_tx_cpu_ratio", "cpu_s")):
        ratio = best(runs, "transactions", seconds) / best(others, "transactions", seconds)
        report.add(name, ratio, "to equal blocks of transfers" + ("" if seconds == "wall_s" else ", processor time"))
    full = [child(mixed, "--scripts") for _ in range(REPEATS)]
    report.add("mixed_full_verify_tx_per_s", best(full, "transactions"), "all blocks, all scripts run")


def make_empty(path: Path, count: int) -> None:
    maker = ChainMaker()
    for _ in range(count):
        maker.add()
    write_blocks(path, maker.raw_blocks)


def make_mixed(path: Path, per_mille: Mapping[Kind, int]) -> None:
    maker = ChainMaker()
    mixed = MixedMaker(maker, MIXED_BLOCKS * MIXED_BLOCK_TRANSACTIONS, per_mille)
    preparing = len(maker.raw_blocks)
    maker.add_in_two_phases(mixed.batches(MIXED_BLOCK_TRANSACTIONS), UNCLE_EVERY if per_mille else 0)
    write_blocks(path, maker.raw_blocks, preparing)


def make_transfers(path: Path, blocks: int, per_block: int) -> None:
    maker = ChainMaker()
    transfers = list(maker.transfers(maker.cells(blocks * per_block)))
    preparing = len(maker.raw_blocks)
    maker.add_in_two_phases([transfers[at : at + per_block] for at in range(0, len(transfers), per_block)])
    write_blocks(path, maker.raw_blocks, preparing)


# ---------------------------------------------------------------- the child


def imported(source: Path, *options: str) -> list[dict[str, float]]:
    """What some imports of a file by fresh processes took."""
    return [child(source, *options) for _ in range(REPEATS)]


def child(source: Path, *options: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benches.chain", "--import", str(source), *options]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    *shown, last = output.splitlines()
    if shown:
        print("\n".join(shown), flush=True)
    figures: dict[str, float] = json.loads(last)
    return figures


def best(runs: Sequence[dict[str, float]], what: str, seconds: str = "wall_s") -> float:
    """The highest rate: noise only ever slows down."""
    return max(run[what] / run[seconds] for run in runs)


def import_chain(source: Path, scripts: bool, programs: Path | None, with_profile: bool) -> dict[str, float]:
    """Import a file; seconds of processor and wall, counts, the process' peak memory in MiB."""
    profiler = cProfile.Profile()
    with tempfile.TemporaryDirectory(dir=source.parent) as name:
        (preparing, raws), directory = read_blocks(source), Path(name)
        if scripts:  # the start of the script processes counts, and the first transactions start them
            preparing, raws = [], preparing + raws
        with importer(directory, programs or directory / "vm", run_scripts=scripts) as take:
            take(preparing)
            cpu, wall = time.process_time(), time.perf_counter()
            figures = profiler.runcall(take, raws) if with_profile else take(raws)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        # Script processes have ended now: their time counts, that of their start too.
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu += children.ru_utime + children.ru_stime
    if with_profile:
        print_profile(profiler, int(figures["blocks"]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**figures, "cpu_s": cpu, "wall_s": wall, "peak_mib": peak}


@contextmanager
def importer(
    directory: Path, programs: Path, *, run_scripts: bool
) -> Iterator[Callable[[Sequence[bytes]], dict[str, float]]]:
    """A function that imports raw blocks as `ckb-node import` does; it counts them and the transactions of users."""
    consensus, now_ms = dev_consensus(), SystemClock().now_ms
    store = ChainStore.open(directory / "chain")
    with Engines(programs) as engines, closing(ParallelScriptService(consensus, engines, programs)) as scripts:
        load_kernels(programs)
        writer = ChainWriter(consensus, store, scripts, now_ms)
        writer.start(bytes(32))
        check = all_rules(consensus, scripts_later if run_scripts else scripts_trusted, now_ms)

        def take(raws: Sequence[bytes]) -> dict[str, float]:
            transactions, started, start = 0, time.perf_counter(), 0.0
            with set_for_bulk(), BulkImport(writer, check) as bulk:
                for raw in raws:
                    block = Block.parse(raw)
                    bulk.add(block)
                    transactions += len(block.tx_slices) - 1
                    if not start and len(scripts.verified):
                        start = time.perf_counter() - started
            return {"blocks": len(raws), "transactions": transactions, "start_s": start}

        yield take
    store.close()


def print_profile(profiler: cProfile.Profile, blocks: int) -> None:
    """Phases in µs per block, profiling included; then the functions that cost most."""
    stats = pstats.Stats(profiler, stream=sys.stdout).strip_dirs()
    spent: dict[str, float] = {}
    for (_, _, function), (_, _, _, cumulative, _) in stats.stats.items():  # type: ignore[attr-defined]
        spent[function] = max(spent.get(function, 0.0), cumulative)
    for phase, function in PHASES:
        print(f"  {phase:20} {spent.get(function, 0.0) / blocks * 1e6:10.1f} µs per block")
    stats.sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    raise SystemExit(main())
