"""The node's own figures: start, memory, cheap RPC, import of small blocks, block templates.

`python -m tests.benches.node` (or `make bench-node`) runs all; `--profile` shows where block import spends its time.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ckb_node.chain.events import Verdict
from ckb_node.chain.service import ChainService
from ckb_node.chain.writer import ChainWriter
from ckb_node.runtime.clock import SystemClock
from ckb_node.verification.scripts import ScriptService
from consensus.types.blockchain import Block, OutPoint, Transaction
from storage.chain_store import ChainStore
from tests.benches.rpc_load import requests_per_second
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.chains.devchain import dev_chain, dev_consensus
from tests.support.nodes.process import NodeProcess, RpcClient
from tests.support.nodes.quiet import empty_block, init_directory, quiet_node, send
from tests.support.report import BENCH_DIR, Report

STARTS = 5
IDLE_S = 3.0
SMALL_BLOCKS = 1500
POOL_TRANSACTIONS = 1000
TIPS_FOR_TEMPLATES = 7
"""Fewer than the proposal window is long, so that the transactions stay proposed."""


def main() -> int:
    """Measure everything, or profile the import."""
    parser = argparse.ArgumentParser(description="The node's own figures")
    parser.add_argument("--profile", action="store_true", help="profile block import instead")
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="node-", dir=BENCH_DIR) as directory:
        if parser.parse_args().profile:
            profile_import(Path(directory))
            return 0
        report = Report("node")
        bench_process(report, Path(directory) / "node")
        bench_import(report, Path(directory) / "chain")
        report.write()
    return 0


# ---------------------------------------------------------------- a real process


def bench_process(report: Report, directory: Path) -> None:
    """Start, memory, RPC and templates of one node directory."""
    port = init_directory(directory)
    with quiet_node(directory, port) as node:
        for _ in range(20):
            node.rpc.call("generate_block")
    starts = [second_start_s(directory, port) for _ in range(STARTS)]
    report.add("start_to_rpc_s", statistics.median(starts), f"process start until RPC answers, median of {STARTS}")
    with quiet_node(directory, port) as node:
        time.sleep(IDLE_S)
        report.add("idle_rss_mib", rss_mib(node), "resident memory of a started node that nobody asks")
        for pipelined, name, words in (
            (1, "rpc_tip_per_s", "one request in flight each"),
            (16, "rpc_tip_pipelined_per_s", "16 requests in flight each"),
        ):
            rate = asyncio.run(requests_per_second(port, "get_tip_block_number", pipelined=pipelined))
            report.add(name, rate, f"get_tip_block_number, 16 keep-alive connections of one client process, {words}")
    with quiet_node(directory, port) as node:
        bench_templates(report, node)
        report.add("busy_rss_mib", rss_mib(node), f"resident memory after {POOL_TRANSACTIONS} transactions' scripts")


def second_start_s(directory: Path, port: int) -> float:
    """Seconds from the start of the process to the first answer."""
    started = time.perf_counter()
    with quiet_node(directory, port):
        return time.perf_counter() - started


def rss_mib(node: NodeProcess) -> float:
    """Resident memory of the process in MiB."""
    status = Path(f"/proc/{node.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    if found is None:
        raise RuntimeError("the process has no VmRSS")
    return int(found[1]) / 1024


# ---------------------------------------------------------------- templates


def bench_templates(report: Report, node: NodeProcess) -> None:
    """get_block_template after each of some new tips: while the pool waits for proposal, and when it is proposed."""
    rpc = node.rpc
    transfers = fund_and_make_transfers(rpc)
    started = time.perf_counter()
    for transfer in transfers:
        send(rpc, transfer)
    report.add("send_transaction_per_s", len(transfers) / (time.perf_counter() - started),
               "transfers into the pool, script run included, one client that waits for each")  # fmt: skip
    report.add("template_pending_ms", median_template_ms(rpc, transactions=0),
               f"get_block_template after a new tip, {POOL_TRANSACTIONS} transactions to propose")  # fmt: skip
    rpc.call("generate_block")
    empty_block(rpc)
    report.add("template_ms", median_template_ms(rpc, transactions=POOL_TRANSACTIONS),
               f"get_block_template after a new tip, {POOL_TRANSACTIONS} transactions to commit")  # fmt: skip


def median_template_ms(rpc: RpcClient, transactions: int) -> float:
    """Milliseconds that the first template on a new tip takes."""
    times = []
    for _ in range(TIPS_FOR_TEMPLATES):
        empty_block(rpc)
        started = time.perf_counter()
        template = rpc.call("get_block_template")
        times.append((time.perf_counter() - started) * 1000)
        if len(template["transactions"]) != transactions:
            raise RuntimeError(f"the template has {len(template['transactions'])} transactions, not {transactions}")
    return statistics.median(times)


def fund_and_make_transfers(rpc: RpcClient) -> list[Transaction]:
    """Split Alice's money into one cell for each transfer, committed; the transfers, not sent yet."""
    consensus, alice, bob = dev_consensus(), Wallet(ALICE_KEY), Wallet(BOB_KEY)
    cell, capacity = issued_cell(consensus, alice)
    amount = 100 * CKB
    outputs = [(alice.lock, amount)] * POOL_TRANSACTIONS
    split = alice.transfer(
        consensus, [(cell, capacity)], [*outputs, (alice.lock, capacity - sum(c for _, c in outputs) - CKB)]
    )
    send(rpc, split)
    while rpc.call("get_transaction", "0x" + split.hash.hex())["tx_status"]["status"] != "committed":
        rpc.call("generate_block")
    cells = [OutPoint(tx_hash=split.hash, index=index) for index in range(POOL_TRANSACTIONS)]
    return [alice.transfer(consensus, [(each, amount)], [(bob.lock, amount - 100_000)]) for each in cells]


# ---------------------------------------------------------------- import


async def small_blocks(count: int) -> list[bytes]:
    """Serialised blocks of a dev chain that hold only their cellbases."""
    async with dev_chain() as dev:
        return [(await dev.mine()).raw for _ in range(count)]


def bench_import(report: Report, directory: Path) -> None:
    """Blocks one after the other through the chain service onto LevelDB, each its own synced commit."""
    raw_blocks = asyncio.run(small_blocks(SMALL_BLOCKS))
    with open_writer(directory) as writer:
        seconds = asyncio.run(import_seconds(writer, raw_blocks))
    report.add("small_blocks_per_s", len(raw_blocks) / seconds,
               f"{SMALL_BLOCKS} blocks with only a cellbase, chain service onto LevelDB, one commit each")  # fmt: skip


@contextmanager
def open_writer(directory: Path) -> Iterator[ChainWriter]:
    """A dev chain's block writer over a database on disk."""
    consensus = dev_consensus()
    store = ChainStore.open(directory)
    writer = ChainWriter(consensus, store, ScriptService(consensus), SystemClock().now_ms)
    writer.start(bytes(32))
    try:
        yield writer
    finally:
        store.close()


async def import_seconds(writer: ChainWriter, raw_blocks: Sequence[bytes]) -> float:
    """Seconds for all blocks, parsing included."""
    chain = ChainService(writer)
    started = time.perf_counter()
    for raw in raw_blocks:
        if await chain.process(Block.parse(raw)) is not Verdict.BEST:
            raise RuntimeError("a block was not taken")
    seconds = time.perf_counter() - started
    chain.close()
    return seconds


def profile_import(directory: Path) -> None:
    """Where the time of block import goes, without the hop between threads."""
    raw_blocks = asyncio.run(small_blocks(SMALL_BLOCKS))
    profiler = cProfile.Profile()

    def run(writer: ChainWriter) -> None:
        for raw in raw_blocks:
            writer.process(Block.parse(raw))

    with open_writer(directory / "chain") as writer:
        profiler.runcall(run, writer)
    for order in ("tottime", "cumulative"):
        pstats.Stats(profiler).strip_dirs().sort_stats(order).print_stats(20)


if __name__ == "__main__":
    raise SystemExit(main())
