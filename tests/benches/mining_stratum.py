"""The stratum server under load: miners of all dialects on loopback, in a process beside the node.

`python -m tests.benches.mining_stratum [--miners 2000 --rate 200 --seconds 60]` (or `make bench-mining`): how soon
shares are answered, memory, all miners coming back at once; then how soon 500 miners have the job on a new tip while
the node takes blocks of 200 transfers, one every 0.4 s (`tip_to_job`) and one after the other (`busy_tip_to_job`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from ckb_node.chain.events import ChainChanged
from ckb_node.config import Config, parse_config
from ckb_node.mining.template import BlockTemplate
from ckb_node.node import Node, open_node, running
from ckb_node.runtime.interpreter import stay_responsive
from ckb_node.stratum.connection import MinerConnection
from ckb_node.stratum.found import Outcome
from ckb_node.stratum.service import StratumService
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
    parser.add_argument("--tips-only", action="store_true", help="only how soon miners have jobs")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    report = Report("mining")
    with tempfile.TemporaryDirectory(prefix="mining-", dir=BENCH_DIR) as name:
        root = Path(name).absolute()
        if not options.tips_only:
            asyncio.run(measure_shares(report, root / "shares", options.miners, options.rate, options.seconds))
        asyncio.run(measure_tips(report, root / "tips", "tip_to_job", BLOCK_EVERY_S))
        asyncio.run(measure_tips(report, root / "busy", "busy_tip_to_job", 0.0))
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
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 28,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    commands, output = process.stdin, process.stdout
    try:
        await output.readline()

        async def figures() -> Any:
            commands.write(b"enough\n")
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


@dataclass
class Tip:
    """When what happened to a new tip, in seconds of the monotonic clock, which processes share."""

    set_s: float
    heard_s: float = math.nan
    template_s: float = math.nan
    sent_s: list[float] = field(default_factory=list)
    """When each miner's job was in its socket."""
    sending_s: list[float] = field(default_factory=list)
    """How long each took."""


class TipWatch:
    """Notes the way of each tip through the node: set in the chain's thread, heard on the event loop, made a template
    of, sent to each miner."""

    def __init__(self, node: Node, stratum: StratumService) -> None:
        self.tips: dict[int, Tip] = {}
        self._sending: Tip | None = None
        self._on_short = stratum.on_short
        node.chain._writer._listeners.insert(0, self._set)
        node.chain._listeners.insert(0, self._heard)
        stratum.on_short = self._short  # type: ignore[method-assign]

    def _set(self, event: object) -> None:
        if isinstance(event, ChainChanged):
            self.tips[event.new_tip.number] = Tip(time.monotonic())

    def _heard(self, change: ChainChanged) -> None:
        self.tips[change.new_tip.number].heard_s = time.monotonic()

    def _short(self, template: BlockTemplate) -> Iterator[None]:
        self._sending = self.tips.get(template.number - 1)
        if self._sending is not None:
            self._sending.template_s = time.monotonic()
        yield from self._on_short(template)
        self._sending = None

    @contextmanager
    def on_sockets(self) -> Iterator[None]:
        """Note what is sent."""
        send = MinerConnection.send

        def noted(connection: MinerConnection, data: bytes) -> None:
            begun = time.monotonic()
            send(connection, data)
            if self._sending is not None:
                now = time.monotonic()
                self._sending.sent_s.append(now)
                self._sending.sending_s.append(now - begun)

        MinerConnection.send = noted  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            MinerConnection.send = send  # type: ignore[method-assign]


async def measure_tips(report: Report, root: Path, name: str, every_s: float) -> None:
    """Figures named after `name`; a block comes every `every_s`, or when the last is taken."""
    raw_blocks, preparing = await asyncio.to_thread(blocks_of_transfers)
    async with serving(root) as (node, port):
        assert node.mining is not None
        assert node.mining.stratum is not None
        watch = TipWatch(node, node.mining.stratum)
        blocks = [Block.parse(raw) for raw in raw_blocks]
        for block in blocks[:preparing]:
            await node.chain.process(block)
        with watch.on_sockets():
            async with miners(port, TIP_MINERS, 0.0, 0.0, storms=0) as figures:
                for block in blocks[preparing:]:
                    due = time.monotonic() + every_s
                    await node.chain.process(block)
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                await asyncio.sleep(1)
                seen = await figures()
    tips = {number: tip for number, tip in watch.tips.items() if number >= blocks[preparing].number}
    report_tips(report, name, tips, seen["jobs_s"])


def report_tips(report: Report, name: str, tips: dict[int, Tip], jobs_s: dict[str, list[float]]) -> None:
    """To the miner's read and to the return of `send`, and the parts of the way."""
    read = [
        1000 * (came - tips[int(height) - 1].set_s)
        for height, times in jobs_s.items()
        if int(height) - 1 in tips
        for came in times
    ]
    sent = [1000 * (done - tip.set_s) for tip in tips.values() for done in tip.sent_s]
    how = f"{len(read)} jobs of {TIP_MINERS} miners, {len(tips)} blocks of {TRANSFERS} transfers"
    report.add(f"{name}_median_ms", statistics.median(read), how)
    report.add(f"{name}_p99_ms", rank(read, 0.99), "from the commit of the tip to the line read by the miner")
    report.add(f"{name}_sent_median_ms", statistics.median(sent), f"to the return of send, of {len(sent)}")
    report.add(f"{name}_sent_p99_ms", rank(sent, 0.99), "the same; what lies between is the miners' process")
    told = [tip for tip in tips.values() if tip.sent_s]
    legs = {
        "heard": [tip.heard_s - tip.set_s for tip in told],
        "template": [tip.template_s - tip.heard_s for tip in told],
        "first": [tip.sent_s[0] - tip.template_s for tip in told],
        "all": [tip.sent_s[-1] - tip.sent_s[0] for tip in told],
    }
    for leg, values in legs.items():
        report.add(f"{name}_leg_{leg}_ms", 1000 * statistics.median(values), f"p99 {1000 * rank(values, 0.99):.2f}")
    sending = [each for tip in told for each in tip.sending_s]
    report.add(f"{name}_one_send_us", 1e6 * statistics.median(sending), f"p99 {1e6 * rank(sending, 0.99):.0f}")


def blocks_of_transfers() -> tuple[list[bytes], int]:
    """Serialised, and how many of them only prepare."""
    maker = ChainMaker()
    transfers = list(maker.transfers(maker.cells(TIP_BLOCKS * TRANSFERS)))
    preparing = len(maker.raw_blocks)
    maker.add_in_two_phases([transfers[at : at + TRANSFERS] for at in range(0, len(transfers), TRANSFERS)])
    return maker.raw_blocks, preparing


if __name__ == "__main__":
    main()
