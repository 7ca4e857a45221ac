"""What the pool takes and gives: `send_transaction`, transactions of peers, templates (`make bench-pool`).

With `--reference BINARY --cells DIRECTORY` the reference stands beside it, on the same spec, with the same transfers.
Rates and the load come from one machine. Memory of the pool for each byte: tests.benches.pool_memory.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ckb_node.specs import bundled_text, files_of
from consensus.chainspec.spec import build_consensus, parse_spec
from consensus.params import Consensus
from consensus.types.blockchain import OutPoint, Transaction
from tests.benches.pool_load import POLL_S, WAIT_S, Giver, giving, send_seconds
from tests.benches.relay_nodes import Node, start_one_of_ours, start_one_of_theirs
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.nodes.process import RpcClient
from tests.support.nodes.quiet import empty_block, send
from tests.support.nodes.reference import spec_text
from tests.support.report import BENCH_DIR, Report

COUNT = 3000
CELL = 200 * CKB
FEE = 100_000
WARM = 1000
WARM_S = 8.0
"""Transfers before the clock runs, and a pause: a node's first start translates the lock, which it keeps on disk."""
TIPS = 5
REPEATS = 20


@dataclass(frozen=True)
class Scene:
    """Transfers whose cells are on the chain of a node, not sent yet."""

    consensus: Consensus
    transfers: Sequence[Transaction]


def main() -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description="The pool's rates")
    parser.add_argument("--reference", type=Path, help="the reference's binary")
    parser.add_argument("--cells", type=Path, help="directory of the official system cells")
    parser.add_argument("--count", type=int, default=COUNT)
    options = parser.parse_args()
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    report = Report("pool")
    with tempfile.TemporaryDirectory(prefix="pool-", dir=BENCH_DIR) as name, ExitStack() as stack:
        bench(report, stack, Path(name).absolute(), options)
    report.write()
    return 0


def bench(report: Report, stack: ExitStack, directory: Path, options: argparse.Namespace) -> None:
    """One node after the other, so that neither takes the other's cores."""
    text = bundled_text("dev") if options.cells is None else spec_text(options.cells.absolute())
    spec = directory / "spec.toml"
    spec.write_text(text, encoding="utf-8")
    consensus = build_consensus(parse_spec(text), files_of(Path()))
    reference = None
    if options.reference is not None:
        binary = options.reference.absolute()
        reference = bench_node(
            lambda: start_one_of_theirs(stack, binary, directory / "theirs", spec), consensus, options
        )
    ours = bench_node(lambda: start_one_of_ours(stack, directory / "ours", spec), consensus, options)
    tell(report, ours, options.count)
    if reference is not None:
        compare(report, ours, reference)
    report.add("relay_per_s", asyncio.run(relay_rate(stack, directory, spec, consensus, options.count)),
               "the same transfers from two peers, announced, asked for and given")  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """Of one node."""

    send_per_s: float
    template_first_ms: float
    template_again_ms: float
    template_count: int


def tell(report: Report, ours: Figures, count: int) -> None:
    report.add("send_per_s", ours.send_per_s, f"{count} transfers by send_transaction, 16 connections")
    what = f"get_block_template with {ours.template_count} transactions"
    report.add("template_first_ms", ours.template_first_ms, f"{what}, first on a tip, median of {TIPS}")
    report.add("template_again_ms", ours.template_again_ms, f"{what}, asked for again, median of {REPEATS}")


def compare(report: Report, ours: Figures, theirs: Figures) -> None:
    report.add("reference_send_per_s", theirs.send_per_s, "the same of the reference")
    report.add("send_ratio", ours.send_per_s / theirs.send_per_s, "ours to the reference")
    report.add("reference_template_first_ms", theirs.template_first_ms, f"with {theirs.template_count} transactions")
    report.add("reference_template_again_ms", theirs.template_again_ms, "asked for again")
    report.add("template_ratio", theirs.template_first_ms / ours.template_first_ms, "reference's time to ours")


def bench_node(start: Callable[[], Node], consensus: Consensus, options: argparse.Namespace) -> Figures:
    """Fill the pool, then ask for templates."""
    node = start()
    scene = prepare(node.rpc, consensus, options.count + WARM)
    asyncio.run(send_seconds(node.rpc.port, scene.transfers[:WARM]))
    time.sleep(WARM_S)
    seconds = asyncio.run(send_seconds(node.rpc.port, scene.transfers[WARM:]))
    first, again, count = template_times(node.rpc)
    node.stop()
    return Figures(options.count / seconds, first, again, count)


def prepare(rpc: RpcClient, consensus: Consensus, count: int) -> Scene:
    """One transaction makes all cells of Alice's; transfers that spend one each."""
    alice, bob = Wallet(ALICE_KEY), Wallet(BOB_KEY)
    purse = issued_cell(consensus, alice)
    rest = purse[1] - count * CELL - CKB
    split = alice.transfer(consensus, [purse], [*[(alice.lock, CELL)] * count, (alice.lock, rest)])
    send(rpc, split)
    while rpc.call("get_transaction", "0x" + split.hash.hex())["tx_status"]["status"] != "committed":
        rpc.call("generate_block")
    cells = (OutPoint(tx_hash=split.hash, index=index) for index in range(count))
    return Scene(consensus, [alice.transfer(consensus, [(each, CELL)], [(bob.lock, CELL - FEE)]) for each in cells])


def template_times(rpc: RpcClient) -> tuple[float, float, int]:
    """Milliseconds of the first on a tip and of later ones, and their transactions. All are proposed before."""
    while int(rpc.call("tx_pool_info")["pending"], 16) and len(rpc.call("get_block_template")["proposals"]):
        template = rpc.call("get_block_template")
        rpc.call("generate_block_with_template", template | {"transactions": []})
    first, again, count = list[float](), list[float](), 0
    for _ in range(TIPS):
        empty_block(rpc)
        begun = time.perf_counter()
        body = rpc.post(_TEMPLATE)
        first.append((time.perf_counter() - begun) * 1000)
        count = body.count(b'"cycles"') - 1
    for _ in range(REPEATS):
        begun = time.perf_counter()
        rpc.post(_TEMPLATE)
        again.append((time.perf_counter() - begun) * 1000)
    return statistics.median(first), statistics.median(again), count


_TEMPLATE = b'{"jsonrpc":"2.0","id":1,"method":"get_block_template","params":[]}'


async def relay_rate(stack: ExitStack, directory: Path, spec: Path, consensus: Consensus, count: int) -> float:
    """Transactions a second from the announcement until the pool has all; two peers give half each."""
    node = start_one_of_ours(stack, directory / "relay", spec)
    scene = await asyncio.to_thread(prepare, node.rpc, consensus, count + WARM)
    await send_seconds(node.rpc.port, scene.transfers[:WARM])
    known = await asyncio.to_thread(cycles_of, stack, directory, spec, scene)
    halves = [dict(list(known.items())[at::2]) for at in range(2)]
    givers = [Giver(half) for half in halves]
    async with (
        giving(directory / "giver-0", consensus.network_name, node, givers[0], 0x71),
        giving(directory / "giver-1", consensus.network_name, node, givers[1], 0x72),
    ):
        begun = time.perf_counter()
        for giver in givers:
            giver.announce()
        while await asyncio.to_thread(pooled, node.rpc) < count + WARM:
            if time.perf_counter() - begun > WAIT_S:
                raise RuntimeError(f"the pool has {pooled(node.rpc)} transactions:\n{node.output()}")
            await asyncio.sleep(POLL_S)
        seconds = time.perf_counter() - begun
    node.stop()
    return count / seconds


def cycles_of(stack: ExitStack, directory: Path, spec: Path, scene: Scene) -> dict[bytes, tuple[Transaction, int]]:
    """By hash, each transfer with the cycles that another node finds: each signature takes others."""
    node = start_one_of_ours(stack, directory / "cycles", spec)
    prepare(node.rpc, scene.consensus, len(scene.transfers))
    transfers = scene.transfers[WARM:]
    asyncio.run(send_seconds(node.rpc.port, transfers))
    pool = node.rpc.call("get_raw_tx_pool", True)
    node.stop()
    cycles = {name: int(info["cycles"], 16) for name, info in pool["pending"].items()}
    return {each.hash: (each, cycles["0x" + each.hash.hex()]) for each in transfers}


def pooled(rpc: RpcClient) -> int:
    info = rpc.call("tx_pool_info")
    return int(info["pending"], 16) + int(info["proposed"], 16)


if __name__ == "__main__":
    raise SystemExit(main())
