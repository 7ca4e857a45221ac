"""Both indexers: how fast they follow a chain, how they answer, what they take on the disk; the reference beside.

`make bench-indexer REFERENCE=<its binary> CELLS=<directory of the official system cells> [TRANSACTIONS=200000]`. A
build is the time of a node's first start until its index is at the tip, less that of a second start. Answers come by
HTTP, one at a time.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from consensus.types.blockchain import Block
from tests.benches.importing import COMMAND_S, maker_on, write_lines
from tests.support.builders.wallet import ALICE_KEY, Wallet
from tests.support.chains.mixed_chain import MixedMaker
from tests.support.nodes.process import RpcClient, run_command
from tests.support.nodes.reference import OurNode, ReferenceNode, init_ours, spec_text
from tests.support.report import BENCH_DIR, Report

PER_BLOCK, UNCLE_EVERY = 24, 20
TRANSACTIONS = 36_000
CALLS = 200
SKIP_SCRIPTS = ("--skip-script-verify",)
MODULES = {"key_value": "Indexer", "sqlite": "RichIndexer"}


class _Node(Protocol):
    """Either program, running."""

    rpc: RpcClient


Running = Callable[[], Any]


def main() -> int:
    """Make a chain, import it into both programs, and start them with each indexer."""
    parser = argparse.ArgumentParser(description="Indexers beside the reference's")
    parser.add_argument("--reference", type=Path, help="the reference's binary")
    parser.add_argument("--cells", type=Path, required=True, help="directory of the official system cells")
    parser.add_argument("--transactions", type=int, default=TRANSACTIONS)
    options = parser.parse_args()
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    report = Report("indexer")
    with tempfile.TemporaryDirectory(prefix="indexer-", dir=BENCH_DIR) as name:
        directory = Path(name).absolute()
        spec, file = directory / "spec.toml", directory / "blocks.jsonl"
        spec.write_text(spec_text(options.cells.absolute()), encoding="utf-8")
        count = make_chain(spec, file, options.transactions)
        measure_ours(report, directory, spec, file, count)
        if options.reference is not None:
            measure_reference(report, directory, spec, file, count, options.reference.absolute())
    report.write()
    return 0


def make_chain(spec: Path, file: Path, transactions: int) -> int:
    """A file of blocks; how many transactions they have."""
    maker = maker_on(spec)
    maker.add_in_two_phases(MixedMaker(maker, transactions).batches(PER_BLOCK), UNCLE_EVERY)
    write_lines(file, maker)
    return sum(len(Block.parse(raw).transactions) for raw in maker.raw_blocks)


def measure_ours(report: Report, directory: Path, spec: Path, file: Path, count: int) -> None:
    home = directory / "ours"
    port = init_ours(home, spec)
    done = run_command("import", "-C", str(home), *SKIP_SCRIPTS, str(file), timeout_s=COMMAND_S)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    places = {"key_value": home / "data/indexer", "sqlite": home / "data/rich_indexer"}
    for name, option in (("key_value", "--indexer"), ("sqlite", "--rich-indexer")):

        @contextmanager
        def running(option: str = option) -> Iterator[_Node]:
            node = OurNode(home, port, option)
            try:
                node.wait_until_ready()
                yield node
            finally:
                node.stop()

        measure(report, name, running, places[name], count)


def measure_reference(report: Report, directory: Path, spec: Path, file: Path, count: int, binary: Path) -> None:
    for name, module in MODULES.items():
        home = directory / f"reference-{name}"
        node = ReferenceNode(binary, home, spec, module)
        run_import(binary, home, file)

        @contextmanager
        def running(node: ReferenceNode = node) -> Iterator[_Node]:
            node.start()
            try:
                yield node
            finally:
                node.stop()

        place = home / "data/indexer" / ("store" if name == "key_value" else "sqlite")
        measure(report, f"{name}_reference", running, place, count)


def run_import(binary: Path, home: Path, file: Path) -> None:
    """The reference may die of its database's locks when all is done, so its exit code says nothing."""
    command = [str(binary), "import", "-C", str(home), *SKIP_SCRIPTS, str(file)]
    subprocess.run(command, capture_output=True, check=False, timeout=COMMAND_S)


def measure(report: Report, name: str, running: Running, place: Path, count: int) -> None:
    """Build, answers, disk."""
    first = seconds_to_tip(running)
    started = time.perf_counter()
    with running() as node:
        until_indexed(node.rpc)
        build = first - (time.perf_counter() - started)
        report.add(f"{name}_tx_per_s", count / build, f"{count} transactions in {build:.2f} s")
        for method, samples in answers(node.rpc).items():
            cuts = statistics.quantiles(samples, n=100)
            report.add(f"{name}_{method}_p50_ms", cuts[49], f"{method} one at a time")
            report.add(f"{name}_{method}_p99_ms", cuts[98], "the same")
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    report.add(f"{name}_mb", size / 1e6, "on the disk")


def seconds_to_tip(running: Running) -> float:
    """From the start of a node until its index is at the tip."""
    started = time.perf_counter()
    with running() as node:
        until_indexed(node.rpc)
        return time.perf_counter() - started


def until_indexed(rpc: RpcClient) -> None:
    """Until the index is at the tip."""
    tip = rpc.call("get_tip_header")["hash"]
    deadline = time.monotonic() + COMMAND_S
    while (rpc.call("get_indexer_tip") or {}).get("block_hash") != tip:
        if time.monotonic() > deadline:
            raise RuntimeError("the index does not come to the tip")
        time.sleep(0.02)


def answers(rpc: RpcClient) -> dict[str, list[float]]:
    """Milliseconds of each call, of a lock that has most of the chain's cells."""
    lock = Wallet(ALICE_KEY).lock
    script = {"code_hash": "0x" + lock.code_hash.hex(), "hash_type": "type", "args": "0x"}
    key = {"script": script, "script_type": "lock"}
    found: dict[str, list[float]] = {}
    for method, params in (
        ("get_cells", [key, "asc", "0x64"]),
        ("get_transactions", [key, "desc", "0x64"]),
        ("get_cells_capacity", [key]),
    ):
        samples = found[method] = []
        for _ in range(CALLS if method != "get_cells_capacity" else CALLS // 10):
            started = time.perf_counter()
            rpc.call(method, *params)
            samples.append((time.perf_counter() - started) * 1000)
    return found


if __name__ == "__main__":
    sys.exit(main())
