"""What the pool takes and gives: `send_transaction`, transactions of peers, templates (`make bench-pool`).

With `--reference BINARY --cells DIRECTORY` the reference stands beside it, on the same spec, with the same transfers.
Rates and the load come from one machine, so what a transaction takes of its processors is told too: `main_us_per_tx` of
the node's main process, `scripts_us_per_tx` of those that run scripts. Memory of the pool for each byte:
tests.benches.pool_memory.
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
from tests.support.processor import Spent, spent
from tests.support.report import BENCH_DIR, Report

COUNT = 3000
CELL = 200 * CKB
FEE = 100_000
WARM = 1000
WARM_S = 8.0
"""Transfers before the clock runs, half of them behind a pause: a node's first start translates the lock, and keeps the
translation on disk."""
TEMPLATE = 1285
"""Transactions of the template whose making is timed; all others of the pool are not proposed."""
PROPOSED_AT_ONCE = 643
"""Two blocks propose them."""
TIPS = 7
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
    relayed = asyncio.run(relay_rate(stack, directory, spec, consensus, options.count))
    report.add("relay_per_s", relayed.per_s, "the same transfers from two peers, announced, asked for and given")
    tell_load(report, "relay_", relayed)


@dataclass(frozen=True)
class Taken:
    """What a node made of transactions that came as fast as it took them."""

    per_s: float
    main_us: float
    """Of a processor, for each transaction; `load_us` is what this process took to give it."""
    scripts_us: float
    load_us: float

    @classmethod
    def of(cls, count: int, seconds: float, node: Spent, load_s: float) -> Taken:
        return cls(count / seconds, *(1e6 * each / count for each in (node.own, node.children, load_s)))


@dataclass(frozen=True)
class Figures:
    """Of one node."""

    sent: Taken
    template_first_ms: float
    template_again_ms: float
    template_count: int


def tell_load(report: Report, prefix: str, taken: Taken) -> None:
    report.add(f"{prefix}main_us_per_tx", taken.main_us, "processor time of the main process")
    report.add(f"{prefix}scripts_us_per_tx", taken.scripts_us, "of its script processes")
    report.add(f"{prefix}load_us_per_tx", taken.load_us, "of who gave them")


def tell(report: Report, ours: Figures, count: int) -> None:
    report.add("send_per_s", ours.sent.per_s, f"{count} transfers by send_transaction, 16 connections")
    tell_load(report, "send_", ours.sent)
    what = f"get_block_template with {ours.template_count} transactions"
    report.add("template_first_ms", ours.template_first_ms, f"{what}, first on a tip, median of {TIPS}")
    report.add("template_again_ms", ours.template_again_ms, f"{what}, asked for again, median of {REPEATS}")


def compare(report: Report, ours: Figures, theirs: Figures) -> None:
    report.add("reference_send_per_s", theirs.sent.per_s, "the same of the reference")
    report.add("reference_send_us_per_tx", theirs.sent.main_us, "processor time")
    report.add("send_ratio", ours.sent.per_s / theirs.sent.per_s, "ours to the reference")
    report.add("reference_template_first_ms", theirs.template_first_ms, f"with {theirs.template_count} transactions")
    report.add("reference_template_again_ms", theirs.template_again_ms, "asked for again")
    report.add("template_ratio", theirs.template_first_ms / ours.template_first_ms, "reference's time to ours")


def bench_node(start: Callable[[], Node], consensus: Consensus, options: argparse.Namespace) -> Figures:
    """Fill the pool, then ask for templates."""
    node = start()
    scene = prepare(node.rpc, consensus, options.count + WARM)
    asyncio.run(warm_up(node.rpc.port, scene))
    assert node.process is not None
    before, begun = spent(node.process.pid), time.process_time()
    seconds = asyncio.run(send_seconds(node.rpc.port, scene.transfers[WARM:]))
    sent = Taken.of(options.count, seconds, spent(node.process.pid).since(before), time.process_time() - begun)
    first, again, count = template_times(node.rpc)
    node.stop()
    return Figures(sent, first, again, count)


async def warm_up(port: int, scene: Scene) -> None:
    """See WARM."""
    await send_seconds(port, scene.transfers[: WARM // 2])
    await asyncio.sleep(WARM_S)
    await send_seconds(port, scene.transfers[WARM // 2 : WARM])


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
    """Milliseconds of the first on a tip and of later ones, and their transactions, which are proposed before."""
    for proposed in range(0, TEMPLATE, PROPOSED_AT_ONCE):
        template = rpc.call("get_block_template")
        proposals = template["proposals"][: min(PROPOSED_AT_ONCE, TEMPLATE - proposed)]
        rpc.call("generate_block_with_template", template | {"transactions": [], "proposals": proposals})
    firsts, again, count = list[float](), list[float](), 0
    for _ in range(TIPS):
        empty_block(rpc)
        begun = time.perf_counter()
        body = rpc.post(_TEMPLATE)
        firsts.append((time.perf_counter() - begun) * 1000)
        count = body.count(b'"cycles"') - 1
    for _ in range(REPEATS):
        begun = time.perf_counter()
        rpc.post(_TEMPLATE)
        again.append((time.perf_counter() - begun) * 1000)
    return statistics.median(firsts), statistics.median(again), count


_TEMPLATE = b'{"jsonrpc":"2.0","id":1,"method":"get_block_template","params":[]}'


async def relay_rate(stack: ExitStack, directory: Path, spec: Path, consensus: Consensus, count: int) -> Taken:
    """From the announcement until the pool has all; two peers give half each."""
    node = start_one_of_ours(stack, directory / "relay", spec)
    scene = await asyncio.to_thread(prepare, node.rpc, consensus, count + WARM)
    await warm_up(node.rpc.port, scene)
    known = await asyncio.to_thread(cycles_of, stack, directory, spec, scene)
    halves = [dict(list(known.items())[at::2]) for at in range(2)]
    givers = [Giver(half) for half in halves]
    async with (
        giving(directory / "giver-0", consensus.network_name, node, givers[0], 0x71),
        giving(directory / "giver-1", consensus.network_name, node, givers[1], 0x72),
    ):
        before, gave = spent(node.process.pid), time.process_time()
        begun = time.perf_counter()
        for giver in givers:
            giver.announce()
        while await asyncio.to_thread(pooled, node.rpc) < count + WARM:
            if time.perf_counter() - begun > WAIT_S:
                raise RuntimeError(f"the pool has {pooled(node.rpc)} transactions:\n{node.output()}")
            await asyncio.sleep(POLL_S)
        seconds = time.perf_counter() - begun
        taken = Taken.of(count, seconds, spent(node.process.pid).since(before), time.process_time() - gave)
    node.stop()
    return taken


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
