"""A reorganisation of 1,000 blocks each way on a running node: how long it takes, and how long RPC is held up by it.

`python -m tests.benches.reorg` (or `make bench-reorg`). Indexer and pool are on. Each block of both branches commits
transfers of cells that the other branch leaves alone, so that all of them return to the pool. A process of its own
asks `get_tip_header` all the while.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

from consensus.types.blockchain import Block
from tests.support.chains.two_branches import Branches, make_branches
from tests.support.nodes.process import NodeProcess, RpcClient
from tests.support.nodes.quiet import feed, import_trusted, init_directory, quiet_node, submit
from tests.support.report import BENCH_DIR, Report

DEPTH = 1000
TRANSFERS = 2
QUIET_S = 3.0
SETTLE_S = 300.0
PAUSE_S = 0.001
"""Between two questions of the process that asks."""


def main() -> int:
    """Measure; or, as a child, ask a node."""
    parser = argparse.ArgumentParser(description="Deep reorganisation")
    parser.add_argument("--depth", type=int, default=DEPTH, help="blocks of a branch")
    parser.add_argument("--transfers", type=int, default=TRANSFERS, help="transfers that a block commits")
    parser.add_argument("--ask", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask is not None:
        ask_until_told(options.ask)
        return 0
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="reorg-", dir=BENCH_DIR) as directory:
        measure(Path(directory) / "node", make_branches(options.depth, options.transfers))
    return 0


# ---------------------------------------------------------------- the branches


# ---------------------------------------------------------------- the node


def measure(directory: Path, branches: Branches) -> None:
    """All figures."""
    report = Report("reorg")
    port = init_directory(directory)
    import_trusted(directory, [*branches.base, *branches.shorter])
    with quiet_node(directory, port) as node:
        wait_for_index(node.rpc)
        with Asking(port) as asking:
            time.sleep(QUIET_S)
        report.add("quiet_rpc_max_ms", asking.answer["max_ms"], "get_tip_header of a node that does nothing else")
        feed(node.rpc, branches.longer[:-1])
        there = reorganise(node, port, branches.longer[-1:], branches.transactions)
        back = reorganise(node, port, branches.end, branches.transactions)
        report_both(report, len(branches.longer), there, back)
        report.add("load_average", os.getloadavg()[0], "processes that wanted the processors, of the last minute")
        report.add("reorg_peak_mib", peak_mib(node), "most resident memory of the node in both")
    report.write()


def report_both(report: Report, depth: int, there: dict[str, float], back: dict[str, float]) -> None:
    """Figures of the way there and of the way back."""
    for way, figures, what in (("", there, "all rules and scripts"), ("back_", back, "back, known to be valid")):
        report.add(f"reorg_{way}s", figures["seconds"], f"{depth} blocks for {depth - 1}, {what}")
        report.add(f"reorg_{way}settled_s", figures["settled"], "until index and pool have followed too")
        asked = f"get_tip_header until then, {figures['count']:.0f} answers"
        report.add(f"reorg_{way}rpc_p99_ms", figures["p99_ms"], asked)
        report.add(f"reorg_{way}rpc_longest_ms", figures["max_ms"], "the longest of them")
    report.add(f"reorg_{depth}_rpc_max_ms", max(there["max_ms"], back["max_ms"]), "the longest of both ways")


def reorganise(node: NodeProcess, port: int, raw_blocks: Sequence[bytes], returning: int) -> dict[str, float]:
    """Submit the blocks that make the other branch the heaviest; wait until all have followed."""
    rpc, before = node.rpc, node.rpc.call("get_tip_header")
    blocks = [Block.parse(raw) for raw in raw_blocks]
    with Asking(port) as asking:
        started = time.perf_counter()
        for block in blocks:
            submit(rpc, block)
        seconds = time.perf_counter() - started
        wait_for_index(rpc)
        wait_for_pool(rpc, returning)
        settled = time.perf_counter() - started
    if rpc.call("get_tip_header")["hash"] != "0x" + blocks[-1].hash.hex() or rpc.call("get_header", before["hash"]):
        raise RuntimeError("the chain was not reorganised")
    return {"seconds": seconds, "settled": settled, **asking.answer}


def wait_for_index(rpc: RpcClient) -> None:
    """Until the index is at the tip."""
    tip = rpc.call("get_tip_header")["hash"]
    wait_until(lambda: (rpc.call("get_indexer_tip") or {}).get("block_hash") == tip, "the index does not follow")


def wait_for_pool(rpc: RpcClient, count: int) -> None:
    """Until so many transactions wait in the pool."""
    wait_until(lambda: pool_size(rpc.call("tx_pool_info")) >= count, "the pool does not follow")


def pool_size(info: dict[str, str]) -> int:
    return sum(int(info[kind], 16) for kind in ("pending", "proposed", "orphan"))


def wait_until(is_so: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + SETTLE_S
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError(complaint)
        time.sleep(0.2)


def peak_mib(node: NodeProcess) -> float:
    """Most resident memory that the process had, in MiB."""
    status = Path(f"/proc/{node.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    if found is None:
        raise RuntimeError("the process has no VmHWM")
    return int(found[1]) / 1024


# ---------------------------------------------------------------- who asks


class Asking:
    """A process that asks while the `with` lasts; then `answer` has `max_ms`, `p99_ms`, `count`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.answer: dict[str, float] = {}

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.benches.reorg", "--ask", str(self._port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        out, _err = self._process.communicate("\n", timeout=60)
        self.answer = json.loads(out)


def ask_until_told(port: int) -> None:
    """Ask one question after the other; at the first line of standard input say how long the answers took."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    body = b'{"jsonrpc":"2.0","id":1,"method":"get_tip_header","params":[]}'
    times = []
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        started = time.perf_counter()
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        connection.getresponse().read()
        times.append((time.perf_counter() - started) * 1000)
    p99 = statistics.quantiles(times, n=100)[98]
    sys.stdout.write(
        json.dumps(
            {
                "max_ms": max(times),
                "p99_ms": p99,
                "count": len(times),
                "over_50": sum(t > 50 for t in times),
                "worst": sorted(times)[-10:],
            }
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
