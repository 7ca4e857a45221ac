"""Gossip over libp2p alone, which no relay or sync repairs: the share that arrives, how soon, and what it takes.

`python -m tests.benches.gossip` (or `make bench-gossip`): networks in one process, each with a libp2p process of its
own, on this machine's cores, which all of them share.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import structlog

from network.libp2p.service import INSTALL, is_installed
from network.libp2p.topics import TRANSACTIONS
from network.peer import Peer
from tests.benches.wire import cpu_seconds
from tests.benches.wire_node import WARNINGS
from tests.support.nodes.networks import until
from tests.support.nodes.sides import Side, side
from tests.support.report import Report

SIZE = 300
AFTER_S = 5.0
"""For what is late."""
IDLE_S = 5.0
WARM = 20
"""Messages before those that count, for meshes to form."""


class Ear:
    """Judges all to be good, and notes when it came."""

    def __init__(self) -> None:
        self.came: dict[bytes, float] = {}

    def received(self, peer: Peer, data: bytes, verdict: Callable[[bool], None]) -> None:
        self.came.setdefault(data, time.perf_counter())
        verdict(True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="*", default=[3, 10])
    parser.add_argument("--messages", type=int, default=400)
    parser.add_argument("--a-second", type=float, default=20.0)
    options = parser.parse_args()
    if not is_installed():
        print(f"libp2p is not installed: {INSTALL}")
        return 1
    report = Report("gossip")
    for count in options.nodes:
        with tempfile.TemporaryDirectory() as directory:
            asyncio.run(measure(report, Path(directory), count, options.messages, options.a_second))
    report.write()
    return 0


async def measure(report: Report, directory: Path, count: int, messages: int, rate: float) -> None:
    ears = [Ear() for _ in range(count)]
    async with AsyncExitStack() as stack:
        sides = list[Side]()
        for number, ear in enumerate(ears):
            bootnodes = [each.address for each in sides[:1] + sides[-1:]]
            place = side(directory / str(number), number + 1, bootnodes, topics={TRANSACTIONS: ear})
            sides.append(await stack.enter_async_context(place))
        await until(lambda: all(each.layer.switch.peers() for each in sides))
        await publish(sides, WARM, 5.0)
        await asyncio.sleep(IDLE_S / 2)  # for what follows the last message
        before = cpu_of(sides)
        await asyncio.sleep(IDLE_S)
        idle = (cpu_of(sides) - before) / IDLE_S / count
        report.add(f"{count}_idle_cpu_ms", 1000 * idle, "CPU of one libp2p process in a second without messages")
        before = cpu_of(sides)
        sent = await publish(sides, messages, rate)
        deadline = time.perf_counter() + AFTER_S
        while arrived(sent, ears) < messages * (count - 1) and time.perf_counter() < deadline:  # noqa: ASYNC110 - of many
            await asyncio.sleep(0.05)
        tell(report, count, sent, ears, cpu_of(sides) - before)


async def publish(sides: Sequence[Side], messages: int, rate: float) -> dict[bytes, tuple[int, float]]:
    """Each by a random one; who published what, and when."""
    rng, sent = Random(messages), dict[bytes, tuple[int, float]]()
    for _ in range(messages):
        place, content = rng.randrange(len(sides)), os.urandom(SIZE)
        sent[content] = place, time.perf_counter()
        sides[place].libp2p.publish(TRANSACTIONS, content)
        await asyncio.sleep(1 / rate)
    return sent


def cpu_of(sides: Sequence[Side]) -> float:
    """Seconds of all libp2p processes."""
    return sum(cpu_seconds(each.libp2p.process.pid) for each in sides if each.libp2p.process is not None)


def arrived(sent: dict[bytes, tuple[int, float]], ears: Sequence[Ear]) -> int:
    return sum(content in ear.came for content in sent for ear in ears)


def tell(report: Report, count: int, sent: dict[bytes, tuple[int, float]], ears: Sequence[Ear], cpu: float) -> None:
    delays = sorted(ear.came[content] - at for content, (_, at) in sent.items() for ear in ears if content in ear.came)
    wanted = len(sent) * (count - 1)
    report.add(
        f"{count}_delivered_percent", 100 * len(delays) / wanted, f"of {len(sent)} to each of {count - 1} others"
    )
    report.add(f"{count}_p50_ms", 1000 * statistics.median(delays), "from one network to another")
    report.add(f"{count}_p99_ms", 1000 * delays[int(0.99 * (len(delays) - 1))], "the same")
    report.add(f"{count}_child_cpu_ms", 1000 * cpu / len(sent) / count, "CPU of one libp2p process for each message")


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr), wrapper_class=WARNINGS)
    sys.exit(main())
