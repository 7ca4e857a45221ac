"""The stratum server under load: miners of all dialects on loopback, in a process beside the node.

`python -m tests.benches.mining_stratum [--miners 2000 --rate 200 --seconds 60]` (or `make bench-mining`): how soon
shares are answered, memory, all miners coming back at once; then how soon 500 miners have the job on a new tip while
the node takes blocks of 200 transfers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import psutil

from ckb_node.chain.events import ChainChanged
from ckb_node.config import Config, parse_config
from ckb_node.node import Node, open_node, running
from ckb_node.runtime.interpreter import stay_responsive
from ckb_node.stratum.found import Outcome
from consensus.types.blockchain import Block
from tests.support.builders.wallet import BOB_KEY, Wallet
from tests.support.chains.long_chain import ChainMaker
from tests.support.report import BENCH_DIR, Report

CONNECTIONS: Final = 8000
TIP_MINERS: Final = 500
TIP_BLOCKS: Final = 40
TRANSFERS: Final = 200
BLOCK_EVERY_S: Final = 0.4
WATCHED_EVERY_S: Final = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description="The stratum server under load")
    parser.add_argument("--miners", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    report = Report("mining")
    with tempfile.TemporaryDirectory(prefix="mining-", dir=BENCH_DIR) as name:
        root = Path(name).absolute()
        asyncio.run(measure_shares(report, root / "shares", options.miners, options.rate, options.seconds))
        asyncio.run(measure_tips(report, root / "tips"))
    report.write_beside_others()


def config_of(root: Path) -> Config:
    lock = Wallet(BOB_KEY).lock
    text = f"""
    [chain]
    spec = {{ bundled = "dev" }}
    [logger]
    filter = "warn"
    log_to_stdout = false
    [rpc]
    listen_address = "127.0.0.1:0"
    [block_assembler]
    code_hash = "0x{lock.code_hash.hex()}"
    args = "0x{lock.args.hex()}"
    hash_type = "type"
    [network]
    listen_addresses = []
    [stratum]
    listen_address = "127.0.0.1:0"
    start_difficulty = 1e-10
    min_difficulty = 1e-10
    max_difficulty = 1e-10
    """
    return Config(root, parse_config(text))


@asynccontextmanager
async def serving(root: Path) -> AsyncIterator[tuple[Node, int]]:
    """A node in this process, and the port for miners."""
    with open_node(config_of(root)) as node:
        stay_responsive()
        async with running(node, CONNECTIONS, mine=False):
            assert node.mining is not None
            assert node.mining.stratum is not None
            yield node, node.mining.stratum.addresses[0][0][1]


@asynccontextmanager
async def miners(port: int, count: int, rate: float, seconds: float, storms: int) -> AsyncIterator[Callable[[], Any]]:
    """They have joined; what is yielded awaits their figures."""
    arguments = [str(each) for each in (port, count, rate, seconds, storms)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benches.mining_clients",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 28,
    )
    assert process.stdout is not None
    output = process.stdout
    try:
        await output.readline()

        async def figures() -> Any:
            return json.loads(await output.readline())

        yield figures
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def rank(values: list[float], part: float) -> float:
    """The value below which this part lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


async def measure_shares(report: Report, root: Path, count: int, rate: float, seconds: float) -> None:
    async with serving(root) as (node, port):
        assert node.mining is not None
        stratum = node.mining.stratum
        assert stratum is not None
        async with miners(port, count, rate, seconds, storms=2) as figures, asyncio.TaskGroup() as group:
            memory: list[int] = []
            watching = group.create_task(watch_memory(memory))
            processor = time.process_time()
            seen = await figures()
            processor = time.process_time() - processor
            watching.cancel()
        with node.chain.view() as view:
            tip = view.tip_header().number
        outcomes = stratum.outcomes()
        verdicts = {verdict.value: many for verdict, many in stratum.desk.workers.counts.items()}
        blocks = stratum.desk.found.total
    answers = seen["answers_ms"]
    how = f"{count} miners, {seen['sent']} shares: {verdicts}"
    report.add("shares_p50_ms", statistics.median(answers), how)
    report.add(
        "shares_p99_ms", rank(answers, 0.99), f"{seen['unanswered']} unanswered, {seen['lost']} connections lost"
    )
    report.add("shares_found_blocks", blocks, f"tip {tip}; of the last 256: {outcomes[Outcome.MAIN]} on the main chain")
    report.add("shares_memory_mib", memory[-1] / (1 << 20), f"at the start {memory[0] / (1 << 20):.0f}, of the node")
    flat = statistics.mean(memory[-3:]) / statistics.mean(memory[1:4]) if len(memory) > 6 else 1.0
    report.add("shares_memory_factor", flat, f"last to first samples, in {seconds:g} s")
    report.add("shares_node_cpu", processor / (seconds + sum(seen["storms_s"])), "processors that the node took")
    report.add("storm_s", max(seen["storms_s"]), f"until {count} miners that came back at once all had jobs")


async def watch_memory(found: list[int]) -> None:
    process = psutil.Process()
    while True:
        found.append(process.memory_info().rss)
        await asyncio.sleep(WATCHED_EVERY_S)


async def measure_tips(report: Report, root: Path) -> None:
    raw_blocks, preparing = await asyncio.to_thread(blocks_of_transfers)
    tips: dict[int, float] = {}
    async with serving(root) as (node, port):

        def on_change(change: ChainChanged) -> None:
            tips[change.new_tip.number] = time.monotonic()

        node.chain._listeners.insert(0, on_change)
        blocks = [Block.parse(raw) for raw in raw_blocks]
        for block in blocks[:preparing]:
            await node.chain.process(block)
        seconds = BLOCK_EVERY_S * (len(blocks) - preparing) + 2
        async with miners(port, TIP_MINERS, 0.0, seconds, storms=0) as figures:
            for block in blocks[preparing:]:
                due = time.monotonic() + BLOCK_EVERY_S
                await node.chain.process(block)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            seen = await figures()
    first = blocks[preparing].number
    delays = [
        1000 * (came - tips[int(height) - 1])
        for height, times in seen["jobs_s"].items()
        if int(height) - 1 >= first
        for came in times
    ]
    how = f"{len(delays)} jobs of {TIP_MINERS} miners, {len(blocks) - preparing} blocks of {TRANSFERS} transfers"
    report.add("tip_to_job_median_ms", statistics.median(delays), how)
    report.add(
        "tip_to_job_p99_ms", rank(delays, 0.99), "from the tip's event in the node to the line read by the miner"
    )


def blocks_of_transfers() -> tuple[list[bytes], int]:
    """Serialised, and how many of them only prepare."""
    maker = ChainMaker()
    transfers = list(maker.transfers(maker.cells(TIP_BLOCKS * TRANSFERS)))
    preparing = len(maker.raw_blocks)
    maker.add_in_two_phases([transfers[at : at + TRANSFERS] for at in range(0, len(transfers), TRANSFERS)])
    return maker.raw_blocks, preparing


if __name__ == "__main__":
    main()
