"""Sync beside the reference: the same chains from the same serving node, each client from a fresh directory.

Names of figures end with whose client it was: the reference's (`_reference`), ours, or ours from two of our own servers
(`_from_ours`); the first two have the same reference node as their only peer.

`make bench-sync REFERENCE=<its binary> CELLS=<directory of the official system cells>`; without `REFERENCE` only our
own client is measured, from our own servers. A client is measured from the moment it is told its peer until it has the
peer's tip. Headers and blocks are fetched at the same time by both, so the rate of headers is that of a client that
already takes blocks. `--only NAME` measures one chain.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.benches.importing import maker_on, with_transfers, write_lines
from tests.support.nodes.process import RpcClient, run_command
from tests.support.nodes.reference import OurNode, ReferenceNode, init_ours, spec_text
from tests.support.report import BENCH_DIR, Report

COMMAND_S = 600.0
SYNC_S = 300.0
POLL_S = 0.02
CALL_EVERY = 5
"""Polls between two looks at memory."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

EMPTY_BLOCKS = 50_000
TWO_TX_BLOCKS = 5_000
BIG_BLOCKS, BIG_BLOCK_TRANSACTIONS = 500, 500


@dataclass(frozen=True)
class Chain:
    """A file of blocks; what of it is counted, and whether a target lets clients leave out its scripts."""

    name: str
    path: Path
    transactions: int
    is_trusted: bool


@dataclass
class Course:
    """What a client took to reach the tip. Seconds since it knew its peer; CPU seconds and MiB of all its processes;
    RPC calls in seconds."""

    headers: int = 0
    headers_s: float = 0.0
    blocks: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_mib: float = 0.0
    calls: list[float] = field(default_factory=list)


class Node(Protocol):
    """A running node of either program."""

    @property
    def rpc(self) -> RpcClient: ...


def main() -> int:
    """Make the chains, serve them, measure both."""
    parser = argparse.ArgumentParser(description="Sync beside the reference")
    parser.add_argument("--reference", type=Path, help="the reference's binary")
    parser.add_argument("--cells", type=Path, required=True, help="directory of the official system cells")
    parser.add_argument("--only", default="", help="the chain of this name")
    parser.add_argument("--scale", type=float, default=1.0, help="of the lengths of the chains")
    options = parser.parse_args()
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sync-", dir=BENCH_DIR) as name:
        directory = Path(name).absolute()
        spec = directory / "spec.toml"
        spec.write_text(spec_text(options.cells.absolute()), encoding="utf-8")
        report, peaks = Report("sync"), list[float]()
        for chain in chains(directory, spec, options.scale, options.only):
            place = directory / chain.name
            place.mkdir()
            own = measure_ours(report, place, spec, chain)
            peaks.append(own.peak_mib)
            if options.reference is not None:
                peaks.append(measure_both(report, place, options.reference.absolute(), spec, chain))
            shutil.rmtree(place)
        report.add("peak_mib", max(peaks), "the most that our client took")
        report.write()
    return 0


def chains(directory: Path, spec: Path, scale: float, only: str) -> Iterator[Chain]:
    """Made when their turn comes."""
    empty, pairs, big = (int(count * scale) for count in (EMPTY_BLOCKS, TWO_TX_BLOCKS, BIG_BLOCKS))
    path = directory / "empty.jsonl"
    if only in ("", "empty"):
        maker = maker_on(spec)
        for _ in range(empty):
            maker.add()
        write_lines(path, maker)
        yield Chain("empty", path, 0, is_trusted=False)
        path.unlink()
    for name, blocks, per_block in (("two_tx", pairs, 2), ("big", big, BIG_BLOCK_TRANSACTIONS)):
        if only and not only.startswith(name):
            continue
        path = directory / f"{name}.jsonl"
        with_transfers(path, spec, blocks, per_block)
        for suffix, is_trusted in (("_trusted", True), ("_all_scripts", False)):
            if only in ("", name, name + suffix):
                yield Chain(name + suffix, path, blocks * per_block, is_trusted=is_trusted)
        path.unlink()


def measure_ours(report: Report, directory: Path, spec: Path, chain: Chain) -> Course:
    """One chain by our client from two of our own servers."""
    with ExitStack() as stack:
        servers = [stack.enter_context(serving_ours(directory / f"server{at}", spec, chain.path)) for at in range(2)]
        own = course_of_ours(directory / "own", spec, target_on(servers[0], chain), servers)
    tell(report, chain, "_from_ours", own)
    if chain.name == "empty":
        report.add("headers_per_s", rate(own.headers, own.headers_s), "empty blocks, from two of our own servers")
    return own


def measure_both(report: Report, directory: Path, reference: Path, spec: Path, chain: Chain) -> float:
    """One chain by the reference's client and ours from the reference. The most memory of ours."""
    with serving_reference(directory / "server", reference, spec, chain.path) as server:
        target = target_on(server, chain)
        theirs = course_of_reference(directory / "reference", reference, spec, target, [server])
        ours = course_of_ours(directory / "ours", spec, target, [server])
    tell(report, chain, "_reference", theirs)
    tell(report, chain, "", ours)
    headers_ratio = rate(ours.headers, ours.headers_s) / rate(theirs.headers, theirs.headers_s)
    report.add(f"{chain.name}_headers_ratio", headers_ratio, "ours to the reference's")
    report.add(f"{chain.name}_ratio", theirs.seconds / ours.seconds, "blocks, ours to the reference's")
    if chain.name == "empty":
        report.add("headers_ratio", headers_ratio, "ours to the reference's, from the same server")
        report.add("blocks_per_s", rate(ours.blocks, ours.seconds), "empty blocks, from the reference")
        report.add("blocks_ratio", theirs.seconds / ours.seconds, "ours to the reference's")
    if chain.name == "big_trusted":
        report.add("tx_per_s", rate(chain.transactions, ours.seconds), "in blocks of 500, scripts trusted")
        report.add("tx_ratio", theirs.seconds / ours.seconds, "ours to the reference's")
    return ours.peak_mib


def target_on(server: Node, chain: Chain) -> str | None:
    """Hash of the last block of the file, if its scripts are trusted."""
    return server.rpc.call("get_block_hash", hex(server.rpc.tip() - 1)) if chain.is_trusted else None


def tell(report: Report, chain: Chain, whose: str, course: Course) -> None:
    report.add(f"{chain.name}_headers_per_s{whose}", rate(course.headers, course.headers_s), "headers known")
    report.add(f"{chain.name}_blocks_per_s{whose}", rate(course.blocks, course.seconds), "blocks on the main chain")
    if chain.transactions:
        report.add(f"{chain.name}_tx_per_s{whose}", rate(chain.transactions, course.seconds), "transfers in them")
    report.add(f"{chain.name}_cpu_s{whose}", course.cpu_s, "CPU of the client")
    report.add(f"{chain.name}_peak_mib{whose}", course.peak_mib, "memory of the client")
    if course.calls:
        p99 = statistics.quantiles(course.calls, n=100)[98] * 1000
        report.add(f"{chain.name}_rpc_p99_ms{whose}", p99, f"of {len(course.calls)} calls meanwhile")


def rate(count: float, seconds: float) -> float:
    return count / max(seconds, POLL_S)


# --- nodes ---


@contextmanager
def serving_reference(directory: Path, binary: Path, spec: Path, blocks: Path) -> Iterator[ReferenceNode]:
    """With the chain of a file, and a block of now on it: who is a day behind serves nobody."""
    node = ReferenceNode(binary, directory, spec)
    command = [str(binary), "import", "-C", str(directory), "--skip-script-verify", str(blocks)]
    subprocess.run(command, capture_output=True, check=False, timeout=COMMAND_S)  # it may die when all is done
    node.start()
    try:
        require_whole(node, blocks)
        node.rpc.call("generate_block")
        yield node
    finally:
        node.stop()


@contextmanager
def serving_ours(directory: Path, spec: Path, blocks: Path) -> Iterator[OurNode]:
    """The same."""
    port = init_ours(directory, spec)
    done = run_command("import", "-C", str(directory), "--skip-script-verify", str(blocks), timeout_s=COMMAND_S)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    node = OurNode(directory, port)
    try:
        node.wait_until_ready()
        require_whole(node, blocks)
        node.rpc.call("generate_block")
        yield node
    finally:
        node.stop()


def require_whole(node: Node, blocks: Path) -> None:
    with blocks.open("rb") as file:
        height = sum(1 for _ in file) - 1
    if (tip := node.rpc.tip()) != height:
        raise RuntimeError(f"the server has {tip} of {height} blocks")


def course_of_reference(
    directory: Path, binary: Path, spec: Path, target: str | None, servers: Sequence[Node]
) -> Course:
    node = ReferenceNode(binary, directory, spec)
    node.start([] if target is None else ["--assume-valid-target", target])
    try:
        assert node.process is not None
        return followed(node, node.process.pid, servers)
    finally:
        node.stop()


def course_of_ours(directory: Path, spec: Path, target: str | None, servers: Sequence[Node]) -> Course:
    port = init_ours(directory, spec)
    node = OurNode(directory, port, *([] if target is None else ["--assume-valid-target", target]))
    try:
        node.wait_until_ready()
        return followed(node, node.process.pid, servers)
    finally:
        node.stop()


def followed(node: Node, pid: int, servers: Sequence[Node]) -> Course:
    """Tell a client its peers, and watch it until it has their tip."""
    course, height = Course(), max(server.rpc.tip() for server in servers)
    cpu, started = cpu_seconds(pid), time.perf_counter()
    for server in servers:
        info = server.rpc.call("local_node_info")
        address = next(each["address"] for each in info["addresses"] if "/ws" not in each["address"])
        node.rpc.call("add_node", info["node_id"], address)
    polls = 0
    while course.blocks < height:
        time.sleep(POLL_S)
        begun = time.perf_counter()
        course.blocks = node.rpc.tip()
        course.calls.append(time.perf_counter() - begun)
        if course.headers < height:
            course.headers = int(node.rpc.call("sync_state")["best_known_block_number"], 16)
            course.headers_s = time.perf_counter() - started
        polls += 1
        if polls % CALL_EVERY == 0:
            course.peak_mib = max(course.peak_mib, memory_mib(pid))
        if time.perf_counter() - started > SYNC_S:
            raise RuntimeError(f"the tip is {course.blocks} of {height}, headers {course.headers}")
    course.seconds = time.perf_counter() - started
    course.cpu_s = cpu_seconds(pid) - cpu
    return course


def family(pid: int) -> Iterator[int]:
    """A process and its descendants that run."""
    yield pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended meanwhile
            for child in (thread / "children").read_text().split():
                yield from family(int(child))


def cpu_seconds(pid: int) -> float:
    ticks = 0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_S


def memory_mib(pid: int) -> float:
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in family(pid))
    return pages * PAGE / (1 << 20)


if __name__ == "__main__":
    sys.exit(main())
