"""`ckb-node import` beside the reference's `import`: the same file, the same chain spec, the same checks, in one run.

`make bench-import REFERENCE=<its binary> CELLS=<directory of the official system cells>`. Times are of whole commands,
start and stop included, since neither can be had without; the best of a few. The reference uses its own defaults.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ckb_node.jsonrpc_types.block_view import encode_block_view
from ckb_node.specs import files_of
from consensus.chainspec.spec import build_consensus, parse_spec
from consensus.types.blockchain import Block
from tests.support.chains.long_chain import ChainMaker
from tests.support.chains.mixed_chain import PER_MILLE, MixedMaker
from tests.support.nodes.process import RpcClient, run_command
from tests.support.nodes.reference import ReferenceNode, init_ours, spec_text
from tests.support.report import BENCH_DIR, Report

REPEATS = 3
COMMAND_S = 600.0
EMPTY_BLOCKS = 20_000
TWO_TX_BLOCKS = 10_000
BIG_BLOCKS, BIG_BLOCK_TRANSACTIONS = 40, 500
MIXED_BLOCKS, MIXED_BLOCK_TRANSACTIONS, UNCLE_EVERY = 1500, 24, 20
SKIP_SCRIPTS = ("--skip-script-verify",)


class Work(NamedTuple):
    """A file to import, and how; `amount` of what. `before` has the blocks below, whose import is not measured."""

    name: str
    path: Path
    options: tuple[str, ...]
    amount: int
    unit: str
    before: Path | None = None


def main() -> int:
    """Make the files and import each with both."""
    parser = argparse.ArgumentParser(description="Import beside the reference")
    parser.add_argument("--reference", type=Path, required=True, help="the reference's binary")
    parser.add_argument("--cells", type=Path, required=True, help="directory of the official system cells")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each command would compile the node, unlike an installed one
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="import-", dir=BENCH_DIR) as name:
        directory = Path(name).absolute()
        spec = directory / "spec.toml"
        spec.write_text(spec_text(options.cells.absolute()), encoding="utf-8")
        measure(directory, options.reference.absolute(), spec)
    return 0


def measure(directory: Path, reference: Path, spec: Path) -> None:
    """All figures."""
    report = Report("import")
    for work in works(directory, spec):
        ours = min(seconds_of_ours(directory / f"ours-{i}-{work.name}", spec, work) for i in range(REPEATS))
        theirs = min(
            seconds_of_reference(directory / f"reference-{i}-{work.name}", reference, spec, work)
            for i in range(REPEATS)
        )
        how = f"{work.unit}, {'scripts trusted' if work.options else 'all scripts run'}"
        report.add(f"{work.name}_per_s", work.amount / ours, how)
        report.add(f"{work.name}_reference_per_s", work.amount / theirs, "the same by the reference")
        report.add(f"{work.name}_ratio", theirs / ours, "ours to the reference's")
    report.write()


def works(directory: Path, spec: Path) -> Sequence[Work]:
    """Files of blocks on the spec's chain."""
    pairs, full = directory / "pairs.jsonl", directory / "big.jsonl"
    empty = directory / "empty.jsonl"
    maker = maker_on(spec)
    for _ in range(EMPTY_BLOCKS):
        maker.add()
    write_lines(empty, maker)
    with_transfers(pairs, spec, TWO_TX_BLOCKS, 2)
    with_transfers(full, spec, BIG_BLOCKS, BIG_BLOCK_TRANSACTIONS)
    return (*works_of_kinds(directory, spec), *works_of_transfers(empty, pairs, full))


def works_of_kinds(directory: Path, spec: Path) -> Sequence[Work]:
    """Transactions of all kinds, and as many transfers in equal blocks."""
    files = {name: directory / f"{name}.jsonl" for name in ("below", "mixed", "below_plain", "plain")}
    amount = MIXED_BLOCKS * MIXED_BLOCK_TRANSACTIONS
    for below, name, per_mille in (("below", "mixed", PER_MILLE), ("below_plain", "plain", {})):
        maker = maker_on(spec)
        made = MixedMaker(maker, amount, per_mille)
        preparing = len(maker.raw_blocks)
        maker.add_in_two_phases(made.batches(MIXED_BLOCK_TRANSACTIONS), UNCLE_EVERY if per_mille else 0)
        write_lines(files[below], maker, 0, preparing)
        write_lines(files[name], maker, preparing)
    kinds, plain = "transactions of all kinds in blocks of 24", "transfers in blocks of 24"
    return (
        Work("mixed_tx", files["mixed"], SKIP_SCRIPTS, amount, kinds, files["below"]),
        Work("mixed_plain_tx", files["plain"], SKIP_SCRIPTS, amount, plain, files["below_plain"]),
        Work("mixed_full_verify_tx", files["mixed"], (), amount, kinds, files["below"]),
    )


def works_of_transfers(empty: Path, pairs: Path, full: Path) -> Sequence[Work]:
    big = BIG_BLOCKS * BIG_BLOCK_TRANSACTIONS
    return (
        Work("empty_blocks", empty, SKIP_SCRIPTS, EMPTY_BLOCKS, "blocks with only a cellbase"),
        Work("two_tx_blocks", pairs, SKIP_SCRIPTS, TWO_TX_BLOCKS, "blocks with two transfers"),
        Work("trusted_tx", full, SKIP_SCRIPTS, big, "transfers in blocks of 500"),
        Work("full_verify_tx", full, (), big, "transfers in blocks of 500"),
    )


def maker_on(spec: Path) -> ChainMaker:
    return ChainMaker(build_consensus(parse_spec(spec.read_text(encoding="utf-8")), files_of(spec.parent)))


def with_transfers(path: Path, spec: Path, blocks: int, per_block: int) -> None:
    """Blocks that make the cells, then the blocks that spend them."""
    maker = maker_on(spec)
    transfers = list(maker.transfers(maker.cells(blocks * per_block)))
    maker.add_in_two_phases([transfers[at : at + per_block] for at in range(0, len(transfers), per_block)])
    write_lines(path, maker)


def write_lines(path: Path, maker: ChainMaker, first: int = 0, end: int | None = None) -> None:
    """The maker's blocks from `first` on, behind genesis unless others stand below them."""
    blocks = map(Block.parse, maker.raw_blocks[first:end])
    with path.open("wb") as file:
        for block in blocks if first else (maker.consensus.genesis_block, *blocks):
            file.write(encode_block_view(block) + b"\n")


def seconds_of_ours(directory: Path, spec: Path, work: Work) -> float:
    """Of `ckb-node import` into a fresh directory; without block filters, which the reference builds when it runs."""
    init_ours(directory, spec)
    config = directory / "config.toml"
    text, section = config.read_text(encoding="utf-8"), "[block_filters]\n"
    if section not in text:
        raise RuntimeError("the configuration says nothing of block filters")
    config.write_text(text.replace(section, f"{section}enabled = false\n"), encoding="utf-8")
    seconds = 0.0
    for path in (work.before, work.path):
        if path is not None:
            started = time.perf_counter()
            done = run_command("import", "-C", str(directory), *work.options, str(path), timeout_s=COMMAND_S)
            seconds = time.perf_counter() - started
            if done.returncode != 0:
                raise RuntimeError(done.stderr)
    return seconds


def seconds_of_reference(directory: Path, binary: Path, spec: Path, work: Work) -> float:
    """Of the reference's `import` likewise. Its tip afterwards says whether that went well: 0.206 may die of its
    database's locks when all is done."""
    node = ReferenceNode(binary, directory, spec)
    seconds = 0.0
    for path in (work.before, work.path):
        if path is not None:
            command = [str(binary), "import", "-C", str(directory), *work.options, str(path)]
            started = time.perf_counter()
            subprocess.run(command, capture_output=True, check=False, timeout=COMMAND_S)
            seconds = time.perf_counter() - started
    require_tip(node, work)
    return seconds


def require_tip(node: ReferenceNode, work: Work) -> None:
    """All blocks were imported."""
    height = sum(path.read_bytes().count(b"\n") for path in (work.before, work.path) if path is not None) - 1
    node.start()
    try:
        tip = RpcClient(node.rpc.port).tip()
    finally:
        node.stop()
    if tip != height:
        raise RuntimeError(f"the reference has {tip} of {height} blocks")


if __name__ == "__main__":
    sys.exit(main())
