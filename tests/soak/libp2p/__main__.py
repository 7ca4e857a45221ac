"""libp2p among real processes: `make soak-libp2p`, some minutes.

First nodes that have only libp2p: sync from genesis, blocks and transactions that go round (the share that arrives, how
soon, and what it takes of the processor), a branch that is given up, a libp2p process that is killed at each node. Then
a mixed network: four nodes of the CKB wire, four of libp2p, two of both, and the reference where it is given; while the
two are dead both sides mine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from ckb_node.specs import bundled_text, files_of
from consensus.chainspec.spec import build_consensus, parse_spec
from consensus.types.blockchain import Transaction
from tests.soak.libp2p.nodes import AnyNode, News, WiredNode, again, end, one_tip, start, until
from tests.support.nodes.process import RpcClient
from tests.support.nodes.quiet import send
from tests.support.nodes.reference import OurNode, ReferenceNode, spec_text
from tests.support.nodes.transfers import prepare
from tests.support.report import BENCH_DIR, Report

BRANCH = 12, 15
"""Blocks of the shorter branch, and of the longer one."""
BEGINNING = 20
"""Blocks of the mixed network before it is one."""
REPAIR_S = 20.0
"""For what gossip has lost."""
SHARE = 99.9


def main() -> int:
    """1 when something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, help="the reference's binary")
    parser.add_argument("--cells", type=Path, help="directory of the official system cells")
    parser.add_argument(
        "--nodes", type=int, nargs="*", default=[2, 5, 10], help="of libp2p only; 0: only the mixed network"
    )
    parser.add_argument("--no-mixed", action="store_true", help="only nodes that have nothing but libp2p")
    parser.add_argument("--chain", type=int, default=500, help="blocks that the first one has before the others come")
    parser.add_argument("--blocks", type=int, default=60)
    parser.add_argument("--transactions", type=int, default=200)
    parser.add_argument("--a-second", type=float, default=4.0, help="blocks and transactions together")
    options = parser.parse_args()
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    report = Report("soak_libp2p")
    with tempfile.TemporaryDirectory(prefix="libp2p-", dir=BENCH_DIR) as name:
        directory = Path(name).absolute()
        text = bundled_text("dev") if options.cells is None else spec_text(options.cells.absolute())
        (directory / "spec.toml").write_text(text, encoding="utf-8")
        for count in options.nodes:
            if count:
                with ExitStack() as stack:
                    Alone(report, directory / str(count), directory / "spec.toml", count).run(stack, options)
        with ExitStack() as stack:
            if not options.no_mixed:
                mixed(report, stack, directory, options.reference)
    report.write()
    return 0


class Alone:
    """Nodes that have only libp2p. Each knows the first one; the others they find by it."""

    def __init__(self, report: Report, directory: Path, spec: Path, count: int) -> None:
        directory.mkdir()
        self._report, self._directory, self._spec, self._count = report, directory, spec, count
        self._nodes: list[WiredNode] = []

    def run(self, stack: ExitStack, options: argparse.Namespace) -> None:
        """Each part raises RuntimeError when it fails."""
        consensus = build_consensus(parse_spec(self._spec.read_text(encoding="utf-8")), files_of(Path()))
        first = start(stack, self._directory / "0", self._spec, None, [])
        for _ in range(options.chain):
            first.rpc.call("generate_block")
        transfers = prepare([first], consensus, options.transactions)
        for number in range(1, self._count):
            known = first.addresses(of_libp2p=True)
            self._nodes.append(start(stack, self._directory / str(number), self._spec, None, known))
        self._nodes.insert(0, first)
        self._add("sync_s", one_tip(self._nodes), f"until all had the {first.rpc.tip()} blocks of the first")
        until(self._are_joined, "a node has no peer", first)
        self._go_round(transfers, options.blocks, options.a_second)
        self._reorganise()
        self._kill_processes()

    def _add(self, name: str, value: float, how: str) -> None:
        self._report.add(f"{self._count}_{name}", value, how)

    def _are_joined(self) -> bool:
        return all(node.wires() == {"libp2p"} for node in self._nodes)

    def _go_round(self, transfers: Sequence[Transaction], blocks: int, rate: float) -> None:
        """Transactions to all nodes by turns, and blocks of all nodes by turns between them."""
        news = News(self._nodes)
        try:
            sent, cpu = dict[str, tuple[int, float]](), [node.cpu_seconds() for node in self._nodes]
            every = max(1, len(transfers) // blocks)
            for number, transfer in enumerate(transfers):
                place = number % self._count
                sent["0x" + transfer.hash.hex()] = place, time.monotonic()
                send(self._nodes[place].rpc, transfer)
                if number % every == 0:
                    begun = time.monotonic()
                    sent[self._nodes[-1 - place].rpc.call("generate_block")] = self._count - 1 - place, begun
                time.sleep(1 / rate)
            deadline = time.monotonic() + REPAIR_S
            while _missing(sent, news, self._count) and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            news.close()
        used = [
            after - before
            for node, pair in zip(self._nodes, cpu, strict=True)
            for before, after in zip(pair, node.cpu_seconds(), strict=True)
        ]
        self._tell(sent, news, used)

    def _tell(self, sent: dict[str, tuple[int, float]], news: News, used: Sequence[float]) -> None:
        delays = sorted(
            max(0.0, at - begun)
            for name, (origin, begun) in sent.items()
            for place, at in news.heard.get(name, {}).items()
            if place != origin
        )
        wanted = len(sent) * (self._count - 1)
        share, each = 100 * len(delays) / wanted, 1000 / (len(sent) * self._count)
        self._add("delivered_percent", share, f"of {wanted}: {len(sent)} blocks and transactions to each other node")
        self._add("p50_ms", 1000 * statistics.median(delays), "from the call to the other node's notice of it")
        self._add("p99_ms", 1000 * delays[int(0.99 * (len(delays) - 1))], "the same")
        self._add("node_cpu_ms", sum(used[::2]) * each, "CPU of a node's process for each, with all else that it does")
        self._add("child_cpu_ms", sum(used[1::2]) * each, "CPU of its libp2p process for each")
        if share < SHARE:
            raise RuntimeError(f"{wanted - len(delays)} of {wanted} did not arrive")

    def _reorganise(self) -> None:
        first = self._nodes[0].rpc
        one_tip(self._nodes)
        for _ in range(BRANCH[0]):
            first.call("generate_block")
        one_tip(self._nodes)
        first.call("truncate", first.call("get_block_hash", hex(first.tip() - BRANCH[0])))
        for _ in range(BRANCH[1]):
            first.call("generate_block")
        self._add("reorganised_s", one_tip(self._nodes), f"until {BRANCH[0]} blocks were given up everywhere")

    def _kill_processes(self) -> None:
        for node in self._nodes:
            child = node.child()
            assert child is not None
            child.kill()
        first = self._nodes[0].rpc
        first.call("generate_block")
        self._add(
            "killed_s", one_tip(self._nodes), "until a block was everywhere after all libp2p processes were killed"
        )


def _missing(sent: dict[str, tuple[int, float]], news: News, count: int) -> bool:
    return any(len(news.heard.get(name, ())) < count for name in sent)


def mixed(report: Report, stack: ExitStack, directory: Path, reference: Path | None) -> None:
    """Raises RuntimeError when the nodes do not come to one tip."""
    spec = directory / "spec.toml"
    ckb: list[AnyNode] = [start(stack, directory / "ckb-0", spec, [], None)]
    for _ in range(BEGINNING):  # who is in its initial download is left
        ckb[0].rpc.call("generate_block")
    seed = _of_ckb(ckb[0])
    ckb += [start(stack, directory / f"ckb-{number}", spec, seed, None) for number in range(1, 4)]
    if reference is not None:
        ckb.append(_theirs(stack, reference.absolute(), directory, spec, ckb[0]))
    both = [start(stack, directory / f"both-{number}", spec, _of_ckb(ckb[number]), []) for number in range(2)]
    one_tip([*ckb, *both])
    known = [address for node in both for address in node.addresses(of_libp2p=True)]
    libp2p = [start(stack, directory / "libp2p-0", spec, None, known)]
    known = [*libp2p[0].addresses(of_libp2p=True), *known]
    libp2p += [start(stack, directory / f"libp2p-{number}", spec, None, known) for number in range(1, 4)]
    everybody: list[AnyNode | OurNode] = [*ckb, *libp2p, *both]
    for node in both:
        until(lambda node=node: node.wires() == {"ckb", "libp2p"}, "it has not both wires", node)
    miners = [node.rpc for node in (*ckb, *libp2p, *both)]
    slowest = max(_mined(miners[number % len(miners)], everybody) for number in range(3 * len(miners)))
    report.add(
        "mixed_block_s", slowest, f"slowest of {3 * len(miners)} blocks, mined by each in turn, to {len(miners)}"
    )
    heights = _parted(report, both, ckb[-1].rpc, libp2p[-1].rpc, [ckb, libp2p])
    lives = [again(stack, node) for node in both]
    everybody = [*ckb, *libp2p, *lives]
    seconds = one_tip(everybody)
    report.add(
        "mixed_mended_s", seconds, f"until all had the longer branch of {heights}, after both were started again"
    )
    if {node.rpc.tip() for node in everybody} != {max(heights)}:
        raise RuntimeError("it is not the longer branch")
    report.add("mixed_after_s", max(_mined(rpc, everybody) for rpc in miners), "slowest block after that")


def _parted(
    report: Report, both: Sequence[WiredNode], one: RpcClient, other: RpcClient, sides: Sequence[Sequence[AnyNode]]
) -> tuple[int, int]:
    """What joins the sides is killed, and both mine; their heights."""
    for node in both:
        end(node)
    for rpc, count in zip((one, other), BRANCH, strict=True):
        for _ in range(count):
            rpc.call("generate_block")
    report.add("mixed_sides_s", max(map(one_tip, sides)), "until each side had its own branch")
    return one.tip(), other.tip()


def _mined(miner: RpcClient, nodes: Sequence[AnyNode | OurNode]) -> float:
    begun = time.monotonic()
    miner.call("generate_block")
    one_tip(nodes)
    return time.monotonic() - begun


def _of_ckb(node: AnyNode) -> list[str]:
    if isinstance(node, WiredNode):
        return node.addresses(of_libp2p=False)[:1]
    found = [each["address"] for each in node.rpc.call("local_node_info")["addresses"]]
    return [each for each in found if "/ws/" not in each][:1]


def _theirs(stack: ExitStack, binary: Path, directory: Path, spec: Path, neighbour: AnyNode) -> ReferenceNode:
    node = ReferenceNode(binary, directory / "reference", spec)
    stack.callback(node.stop)
    node.start()
    address, _, peer_id = _of_ckb(neighbour)[0].partition("/p2p/")
    is_connected: Callable[[], bool] = lambda: bool(node.rpc.call("get_peers"))  # noqa: E731
    node.rpc.call("add_node", peer_id, address)
    until(is_connected, "the reference finds nobody", node)
    return node


if __name__ == "__main__":
    sys.exit(main())
