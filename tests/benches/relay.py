"""How fast blocks go round: `submit_block` to every tip, over nodes in a line and in a mesh; and what one node takes.

`make bench-relay` with REFERENCE=<its binary> CELLS=<directory of the official system cells>: eight nodes of this
program and two of the reference. Without them: this program alone, on its own dev chain's scripts. All on loopback and
on this machine's cores, which ten nodes share: a block is verified ten times before all have it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

import msgspec

from ckb_node.jsonrpc_types.chain import block_json
from ckb_node.specs import bundled_text, files_of
from consensus.chainspec.spec import build_consensus, parse_spec
from consensus.params import Consensus
from consensus.types.blockchain import Block, Transaction
from tests.benches.relay_nodes import Listener, Node, connect, listening, start_nodes
from tests.benches.relay_path import bench_path
from tests.support.nodes.process import RpcClient
from tests.support.nodes.quiet import send, template_block
from tests.support.nodes.reference import OurNode, spec_text
from tests.support.nodes.transfers import prepare
from tests.support.report import BENCH_DIR, Report

OURS = 8
EMPTY_BLOCKS = 60
FULL_BLOCKS = 5
TRANSACTIONS = 500
PAUSE_S = 0.3
"""Between blocks, so that none waits for the one before."""
POOLS_S = 120.0
"""For transactions to come to all pools."""


@dataclass
class Net:
    """All nodes, the first of which mines; what is left to be sent."""

    nodes: Sequence[Node]
    listener: Listener
    consensus: Consensus
    transfers: list[Transaction] = field(default_factory=list)

    @property
    def miner(self) -> RpcClient:
        return self.nodes[0].rpc


def main() -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description="Relay of blocks")
    parser.add_argument("--reference", type=Path, help="the reference's binary")
    parser.add_argument("--cells", type=Path, help="directory of the official system cells")
    parser.add_argument("--ours", type=int, default=OURS, help="nodes of this program; 0: ten of the reference")
    parser.add_argument("--full-blocks", type=int, default=FULL_BLOCKS)
    parser.add_argument("--path-only", action="store_true", help="only what one node takes")
    options = parser.parse_args()
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    report = Report("relay" if options.ours else "relay_reference")
    if options.ours:
        bench_path(report, TRANSACTIONS)
    if not options.path_only:
        with tempfile.TemporaryDirectory(prefix="relay-", dir=BENCH_DIR) as name, ExitStack() as stack:
            bench_net(report, stack, Path(name).absolute(), options)
    report.write()
    return 0


def bench_net(report: Report, stack: ExitStack, directory: Path, options: argparse.Namespace) -> None:
    """Start all nodes, and measure in each topology."""
    text = bundled_text("dev") if options.cells is None else spec_text(options.cells.absolute())
    spec = directory / "spec.toml"
    spec.write_text(text, encoding="utf-8")
    reference = None if options.reference is None else options.reference.absolute()
    nodes = start_nodes(stack, directory, spec, reference, options.ours)
    consensus = build_consensus(parse_spec(text), files_of(Path()))
    transfers = prepare(nodes, consensus, 2 * options.full_blocks * TRANSACTIONS)
    asyncio.run(measure(report, directory, Net(nodes, Listener(), consensus, transfers), options.full_blocks))


async def measure(report: Report, directory: Path, net: Net, full_blocks: int) -> None:
    """In a line first, then with connections between all."""
    nodes = net.nodes
    line = list(zip(nodes[1:], nodes, strict=False))
    others = [(b, a) for at, a in enumerate(nodes) for b in nodes[at + 2 :]]
    async with listening(directory / "listener", net.consensus.network_name, nodes) as net.listener:
        before = rebuilt(nodes)
        for name, pairs in (("line", line), ("mesh", others)):
            await asyncio.to_thread(connect, pairs)
            empty = [await announce_next(net) for _ in range(EMPTY_BLOCKS)]
            tell(report, f"{name}_empty", empty, f"{len(empty)} blocks with their cellbase only")
            full = [await announce_full(net) for _ in range(full_blocks)]
            tell(report, f"{name}_{TRANSACTIONS}", full, f"{len(full)} blocks of {TRANSACTIONS} pooled transactions")
        ok, failed = (after - at for after, at in zip(rebuilt(nodes), before, strict=True))
        if ok + failed == 0:
            return
        share = ok / (ok + failed)
        report.add(
            "rebuilt_share", share, f"of {ok + failed:.0f} compact blocks at nodes of this program, without asking"
        )


def tell(report: Report, name: str, times: Sequence[Sequence[float]], what: str) -> None:
    """`times`: of each block, the seconds until each node had it."""
    last = sorted(max(each) * 1000 for each in times)
    of_all = sorted(each * 1000 for block in times for each in block)
    report.add(f"{name}_median_ms", statistics.median(last), f"submit_block until the last node has it, {what}")
    report.add(f"{name}_p99_ms", last[round(0.99 * (len(last) - 1))], "the same, 99th percentile")
    report.add(f"{name}_node_median_ms", statistics.median(of_all), "the same, until a node has it, median of all")


async def announce_next(net: Net) -> list[float]:
    """Mine what the first node's template has; seconds from `submit_block` until each node has the block."""
    await asyncio.sleep(PAUSE_S)
    block = await asyncio.to_thread(template_block, net.miner)
    return await announce(net, block)


async def announce(net: Net, block: Block) -> list[float]:
    """Seconds from the request's first byte until each node has the block."""
    parameters = ["0x1", msgspec.to_builtins(block_json(block))]
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "submit_block", "params": parameters}).encode()
    begun = time.perf_counter()
    submitted = asyncio.to_thread(net.miner.post, body)
    heard, answer = await asyncio.gather(net.listener.all_have(block.hash, len(net.nodes)), submitted)
    if "error" in json.loads(answer):
        raise RuntimeError(answer.decode())
    return [at - begun for at in heard.values()]


async def announce_full(net: Net) -> list[float]:
    """Put fresh transfers into all pools, propose them, and mine them."""
    batch, net.transfers = net.transfers[:TRANSACTIONS], net.transfers[TRANSACTIONS:]
    await asyncio.to_thread(fill_pools, net.nodes, batch)
    for _ in range(2):
        await announce_next(net)
    await asyncio.sleep(1.0)
    block = await asyncio.to_thread(template_block, net.miner)
    if len(block.transactions) != len(batch) + 1:
        raise RuntimeError(f"the template has {len(block.transactions) - 1} transactions, not {len(batch)}")
    return await announce(net, block)


def fill_pools(nodes: Sequence[Node], batch: Sequence[Transaction]) -> float:
    """Send them to the first node, and wait until all have them by relay; the seconds from the last one sent."""
    for transaction in batch:
        send(nodes[0].rpc, transaction)
    begun = time.monotonic()
    for node in nodes:
        while pooled(node.rpc) < len(batch):
            if time.monotonic() - begun > POOLS_S:
                raise RuntimeError(f"the pool of {node.name} has {pooled(node.rpc)} transactions:\n{node.output()}")
            time.sleep(0.05)
    return time.monotonic() - begun


def pooled(rpc: RpcClient) -> int:
    info = rpc.call("tx_pool_info")
    return int(info["pending"], 16) + int(info["proposed"], 16)


def rebuilt(nodes: Sequence[Node]) -> tuple[float, float]:
    """Compact blocks that nodes of this program put together with what they had, and those for which they asked."""
    ok = failed = 0.0
    for node in nodes:
        if isinstance(node, OurNode):
            text = metrics_of(node)
            ok += figure(text, "ckb_relay_cb_reconstruct_ok")
            failed += figure(text, "ckb_relay_cb_reconstruct_fail")
    return ok, failed


def metrics_of(node: OurNode) -> str:
    config = (node.directory / "config.toml").read_text(encoding="utf-8")
    found = re.search(r'type = "prometheus", listen_address = "127.0.0.1:(\d+)"', config.rpartition("[metrics")[2])
    assert found is not None
    connection = HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def figure(text: str, name: str) -> float:
    found = re.search(rf"^{name} ([\d.e+]+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


if __name__ == "__main__":
    raise SystemExit(main())
