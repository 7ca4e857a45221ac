"""RPC under load: calls a second and how long they take, while nothing else happens and while blocks come in.

`make bench-rpc`, with REFERENCE=<its binary> CELLS=<directory of the official system cells> beside the reference: the
same chain, the same requests, one node after the other, by `wrk` over 16 connections. The load and the nodes share the
machine's cores. `main_us_per_call`: what one call takes of a processor in the node's main process, its kernel time
included.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import msgspec

from ckb_node.jsonrpc_types.chain import block_json
from ckb_node.specs import bundled_text
from consensus.codec.block_layout import transaction_bounds
from consensus.types.blockchain import Block
from tests.benches.importing import COMMAND_S, maker_on, write_lines
from tests.benches.indexing import run_import, until_indexed
from tests.benches.node import rss_mib
from tests.benches.rpc_calls import BATCH, Chain, body_of, calls, mixed, spoiled
from tests.benches.rpc_load import CONNECTIONS
from tests.benches.wrk import SECONDS, Load, is_wrk_there, load
from tests.support.chains.long_chain import ChainMaker
from tests.support.chains.mixed_chain import MixedMaker
from tests.support.nodes.process import run_command
from tests.support.nodes.reference import OurNode, ReferenceNode, init_ours, spec_text
from tests.support.processor import processor_seconds
from tests.support.report import BENCH_DIR, Report

TRANSACTIONS, PER_BLOCK, SMALL_BLOCKS = 4800, 24, 600
TAIL, TAIL_PER_BLOCK = 600, 10
"""Blocks that come in while calls are answered."""
MALFORMED, MALFORMED_S, ROUNDS = 3000, 8.0, 3
SKIP_SCRIPTS = "--skip-script-verify"

Node = OurNode | ReferenceNode


def main() -> int:
    """Make a chain, import it into each program, and ask."""
    parser = argparse.ArgumentParser(description="RPC under load")
    parser.add_argument("--reference", type=Path, help="the reference's binary")
    parser.add_argument("--cells", type=Path, help="directory of the official system cells")
    parser.add_argument("--only", default="", help="names of calls, separated by commas")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    report = Report("rpc")
    with tempfile.TemporaryDirectory(prefix="rpc-", dir=BENCH_DIR) as name:
        bench(report, Path(name).absolute(), options)
    report.write()
    return 0


def bench(report: Report, directory: Path, options: argparse.Namespace) -> None:
    """All of it."""
    spec, file = directory / "spec.toml", directory / "blocks.jsonl"
    spec.write_text(bundled_text("dev") if options.cells is None else spec_text(options.cells.absolute()))
    maker = maker_on(spec)
    chain, tail = make_chain(maker)
    write_lines(file, maker, 0, len(maker.raw_blocks) - len(tail))
    bodies = {name: each for name, each in calls(chain).items() if not options.only or name in options.only.split(",")}
    print(f"load: {'wrk' if is_wrk_there() else 'Python'}, {CONNECTIONS} connections, {options.seconds:g} s each")
    with ours_running(directory / "ours", spec, file) as node:
        ours = measure(report, "", node, bodies, tail, options.seconds)
    if options.reference is None:
        return
    with theirs_running(directory / "reference", spec, file, options.reference.absolute()) as other:
        theirs = measure(report, "reference_", other, bodies, tail, options.seconds)
    for name, rate in ours.items():
        report.add(f"{name}_ratio", rate / theirs[name], "ours to the reference's")


def make_chain(maker: ChainMaker) -> tuple[Chain, Sequence[bytes]]:
    """A chain of all kinds of transactions, small blocks on it, and last the blocks that are to come in later."""
    made = MixedMaker(maker, TRANSACTIONS)
    maker.add_in_two_phases(made.batches(PER_BLOCK))
    full = [block for block in map(Block.parse, maker.raw_blocks) if len(block.transactions) == PER_BLOCK + 1]
    later = list(maker.transfers(maker.cells(TAIL * TAIL_PER_BLOCK)))
    before = len(maker.raw_blocks)
    for _ in range(SMALL_BLOCKS):
        maker.add()
    small = [Block.parse(raw) for raw in maker.raw_blocks[before:]]
    live = live_cells(maker.raw_blocks)
    first = len(maker.raw_blocks)
    maker.add_in_two_phases([later[at : at + TAIL_PER_BLOCK] for at in range(0, len(later), TAIL_PER_BLOCK)])
    return Chain(small, full, live), maker.raw_blocks[first:]


def live_cells(raw_blocks: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """Out points that no block spends, the newest last."""
    created: dict[bytes, tuple[bytes, int]] = {}
    for raw in raw_blocks:
        transactions = Block.parse(raw).transactions
        for bounds, transaction in zip(transaction_bounds(raw), transactions, strict=True):
            for point in bounds.consumed:
                created.pop(point, None)
            if len(bounds.outputs) <= PER_BLOCK:
                keys = transaction.output_keys()
                created.update({key: (transaction.hash, index) for index, key in enumerate(keys)})
    return list(created.values())


@contextmanager
def ours_running(home: Path, spec: Path, file: Path) -> Iterator[OurNode]:
    """Our program with this chain and its indexer."""
    port = init_ours(home, spec)
    done = run_command("import", "-C", str(home), SKIP_SCRIPTS, str(file), timeout_s=COMMAND_S)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    node = OurNode(home, port, "--indexer")
    try:
        node.wait_until_ready()
        yield node
    finally:
        node.kill()


@contextmanager
def theirs_running(home: Path, spec: Path, file: Path, binary: Path) -> Iterator[ReferenceNode]:
    """The reference with the same."""
    node = ReferenceNode(binary, home, spec)
    run_import(binary, home, file)
    node.start()
    try:
        yield node
    finally:
        node.stop()


def measure(
    report: Report,
    prefix: str,
    node: Node,
    bodies: Mapping[str, Sequence[bytes]],
    tail: Sequence[bytes],
    seconds: float,
) -> dict[str, float]:
    """Each call by itself, then blocks without calls and with them; what can be compared."""
    until_indexed(node.rpc)
    rates: dict[str, float] = {}
    for name, requests in bodies.items():
        check(node, requests)
        found, spent = with_time(node, lambda requests=requests: load(node.rpc.port, requests, seconds))  # type: ignore[misc]
        calls_each = BATCH if name == "batch" else 1
        rates[name] = found.per_s * calls_each
        report.add(f"{prefix}{name}_per_s", found.per_s * calls_each, f"{len(requests)} different requests")
        report.add(f"{prefix}{name}_p50_ms", found.p50_ms, "until the answer")
        report.add(f"{prefix}{name}_p99_ms", found.p99_ms, "the same")
        report.add(f"{prefix}{name}_main_us_per_call", spent / found.answers / calls_each * 1e6, "processor time")
    if {"get_header", "get_transaction", "get_live_cell"} <= bodies.keys():
        rates |= while_importing(report, prefix, node, mixed(bodies), tail)
    if isinstance(node, OurNode):
        malformed(report, node, bodies)
    return rates


def check(node: Node, requests: Sequence[bytes]) -> None:
    """An error would be answered fast."""
    for body in requests[:: max(1, len(requests) // 20)]:
        if b'"error"' in (answer := node.rpc.post(body)):
            raise RuntimeError(answer[:500])


def while_importing(
    report: Report, prefix: str, node: Node, requests: Sequence[bytes], tail: Sequence[bytes]
) -> dict[str, float]:
    """Blocks by `submit_block` alone, then while calls of all kinds come over all connections."""
    half = len(tail) // 2
    alone, taken = submit(node.rpc.port, tail[:half], lambda: False)
    idle = alone / taken
    is_over = threading.Event()
    found: list[Load] = []

    def ask() -> None:
        try:
            found.append(load(node.rpc.port, requests, max(SECONDS, half / idle)))
        finally:
            is_over.set()

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.5)  # until it has begun
    count, taken = submit(node.rpc.port, tail[half:], is_over.is_set)
    asking.join()
    beside = count / taken
    report.add(f"{prefix}import_per_s", idle, f"blocks of {TAIL_PER_BLOCK} transfers by submit_block, alone")
    report.add(f"{prefix}import_loaded_per_s", beside, f"the same beside calls over {CONNECTIONS} connections")
    report.add(f"{prefix}import_loaded_ratio", beside / idle, f"of {count} blocks")
    report.add(f"{prefix}import_calls_per_s", found[0].per_s, "calls meanwhile")
    report.add(f"{prefix}p99_import_ms", found[0].p99_ms, "of them")
    return {"import": idle, "import_loaded": beside}


def malformed(report: Report, node: OurNode, calls_of_all: Mapping[str, Sequence[bytes]]) -> None:
    """Memory while nonsense comes, first for a while, then for ROUNDS as long again."""
    bodies = spoiled([each for requests in calls_of_all.values() for each in requests[:50]], MALFORMED)
    load(node.rpc.port, bodies, MALFORMED_S)
    before = rss_mib(node)
    calls_made = sum(load(node.rpc.port, bodies, MALFORMED_S).answers for _ in range(ROUNDS))
    report.add("malformed_rss_mib", before, f"resident memory after {MALFORMED_S:g} s of malformed calls")
    report.add("malformed_grown_mib", rss_mib(node) - before, f"what it grew by in {calls_made} more of them")


def submit(port: int, raw_blocks: Sequence[bytes], is_over: Callable[[], bool]) -> tuple[int, float]:
    """How many blocks went in, one after the other, and seconds. By two connections in turns, neither of which asks
    again as soon as it is answered: we let such clients wait."""
    bodies = [body_of("submit_block", "", msgspec.to_builtins(block_json(Block.parse(raw)))) for raw in raw_blocks]
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(2)]
    started, count = time.perf_counter(), 0
    for body, connection in zip(bodies, cycle(connections), strict=False):
        if is_over():
            break
        connection.request("POST", "/", body, {"content-type": "application/json"})
        answer = connection.getresponse().read()
        if b'"result"' not in answer:
            raise RuntimeError(answer[:500])
        count += 1
    return count, time.perf_counter() - started


def with_time(node: Node, work: Callable[[], Load]) -> tuple[Load, float]:
    """What came of some work, and seconds of a processor that the node's process took."""
    assert node.process is not None
    before = processor_seconds(node.process.pid)
    found = work()
    return found, processor_seconds(node.process.pid) - before


if __name__ == "__main__":
    sys.exit(main())
