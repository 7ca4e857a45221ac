"""Many real nodes, each in a network namespace of its own: `make soak-peers`.

They start with one bootnode each and must find eight peers; half of them are killed, and the rest must find others; one
with a hundred sessions gets Ctrl-C and must be gone within two seconds, and know its peers and bans when it comes back;
then one is attacked in several ways while honest peers measure their round trips. Without root everything runs on
loopback, where all nodes are of one network group. `--only-nat`: nodes behind routers, that nobody can dial, must meet
by hole punching, which takes five to fifteen minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.soak.peers.growth import WANTED, Found, wait_for_meetings, wait_for_peers
from tests.soak.peers.hostile import ATTACKS, FIRST, HONEST_FIRST, PING_MS, Outcome, Scene
from tests.soak.peers.nodes import Maker, Node, serve_first, without_bootnodes
from tests.support.nodes.namespaces import Host, Hosts, NoNamespaces
from tests.support.nodes.reference import spec_text

REPORT = Path("build/soak/peers.json")
STARTED_AT_ONCE = 4
STOP_S = 2.0
CROWD = 100
BANNED = "203.0.113.0/24"
MEMORY_MIB = 200.0
"""By so much the memory of an attacked node may grow."""
OPEN, HIDDEN = 5, 5
"""Nodes of `--only-nat` that anyone can dial, and those that nobody can: fewer than a node wants, so that it looks for
more."""
MEETING_S = 1200.0
PLACES = 110
"""Hosts besides those of nodes have addresses from here on."""


class Soak:
    """One run. `report` is what the JSON file says."""

    def __init__(self, options: argparse.Namespace, hosts: Hosts | None, directory: Path, stack: ExitStack) -> None:
        self._options, self._hosts, self._directory, self._stack = options, hosts, directory, stack
        self._random = random.Random(options.seed)
        spec = None
        if options.reference is not None:
            spec = directory / "spec.toml"
            spec.write_text(spec_text(options.cells))
        self._maker = Maker(directory, spec, options.reference, options.interval, local=hosts is None)
        self._nodes: list[Node] = []
        self.faults: list[str] = []
        self.report: dict[str, Any] = {"namespaces": hosts is not None, "seed": options.seed}

    # ------------------------------------------------------------ hosts and nodes

    def _host(self, name: str, number: int, networks: Sequence[str] = ()) -> Host:
        if self._hosts is None:
            return Host(name, f"127.{number}.0.1")
        return self._hosts.add(name, f"45.{number}.0.2", networks)

    def _add(self, node: Node) -> Node:
        self._nodes.append(node)
        self._stack.callback(node.kill)
        return node

    def _fault(self, text: str) -> None:
        self.faults.append(text)
        print(f"  FAULT: {text}", flush=True)

    # ------------------------------------------------------------ the phases

    def grow(self) -> None:
        """Each node knows one of those before it."""
        options = self._options
        references = 2 if options.reference is not None else 0
        kinds = ["ours"] * options.nodes
        for at in range(references):
            kinds.insert(options.nodes * (at + 1) // (references + 1), "reference")
        print(f"starting {options.nodes} nodes and {references} of the reference, one bootnode each", flush=True)
        begun = time.monotonic()
        for number, kind in enumerate(kinds, start=1):
            bootnodes = [self._random.choice(self._nodes).address] if self._nodes else []
            host = self._host(f"{kind}{number}", number)
            make = self._maker.ours if kind == "ours" else self._maker.reference
            self._add(make(host, bootnodes))
        for start in range(0, len(self._nodes), STARTED_AT_ONCE):
            some = self._nodes[start : start + STARTED_AT_ONCE]
            for node in some:
                node.start()
            for node in some:
                node.wait_until_ready()
        ready = time.monotonic()
        print(f"  all answer after {ready - begun:.0f} s", flush=True)
        wanted = 1 if options.only_attacks else min(WANTED, len(self._nodes) - 1)
        found = wait_for_peers(self._nodes, wanted, ready, options.limit, set())
        self._tell("peers", found, {"start_seconds": round(ready - begun, 1)})

    def meet(self, hosts: Hosts) -> None:
        """Nodes behind routers, of which nobody knows but through others."""
        print(f"starting {OPEN} nodes, and {HIDDEN} behind routers", flush=True)
        hidden: list[Node] = []
        for number in range(1, OPEN + HIDDEN + 1):
            bootnodes = [node.address for node in self._nodes[: min(number - 1, OPEN)]]
            if number <= OPEN:
                self._add(self._maker.ours(self._host(f"ours{number}", number), bootnodes))
            else:
                host = hosts.add_hidden(f"hidden{number}", f"45.{number}.0.2")
                hidden.append(self._add(self._maker.ours(host, bootnodes)))
        for node in self._nodes:
            node.start()
            node.wait_until_ready()
        found = wait_for_peers(self._nodes, OPEN - 1, time.monotonic(), self._options.limit, set())
        self._tell("peers", found, {})
        met = wait_for_meetings(hidden, MEETING_S)
        for name, count in met.items():
            print(f"  {name:14} sessions with other hidden nodes: {count}")
        self.report["met"] = met
        lonely = [name for name, count in met.items() if not count]
        if lonely:
            self._fault(f"have met nobody behind a router: {', '.join(lonely)}")

    def mend(self) -> None:
        """kill -9 for half of them."""
        victims = self._random.sample(self._nodes, len(self._nodes) // 2)
        print(f"kill -9: {', '.join(sorted(node.name for node in victims))}", flush=True)
        begun = time.monotonic()
        for node in victims:
            node.kill()
            self._nodes.remove(node)
        wanted = min(WANTED, len(self._nodes) - 1)
        dead = {node.identity.peer_id for node in victims}
        found = wait_for_peers(self._nodes, wanted, begun, self._options.limit, dead)
        self._tell("mended", found, {})

    def _tell(self, name: str, found: Sequence[Found], facts: dict[str, Any]) -> None:
        times = [each.seconds for each in found if each.seconds is not None]
        late = [each.name for each in found if each.seconds is None]
        for each in found:
            time_text = "late" if each.seconds is None else f"{each.seconds:.0f} s"
            print(f"  {each.name:14} {time_text:>7}  in {each.inbound:2}  out {each.outbound:2}")
        if late:
            self._fault(f"{name}: not enough peers in time: {', '.join(late)}")
        print(f"  {name}: the last one after {max(times, default=0):.0f} s", flush=True)
        self.report[name] = {
            "seconds_last": round(max(times, default=0.0), 1),
            "seconds_median": round(sorted(times)[len(times) // 2], 1) if times else None,
            "late": late,
            "nodes": [asdict(each) for each in found],
            **facts,
        }

    def come_back(self, honest: Host, hostile: Host) -> None:
        """Ctrl-C with many sessions, and the next start without bootnodes."""
        ours = [node for node in self._nodes if node.name.startswith("ours")]
        node = max(ours, key=lambda each: len(each.peers()))
        node.rpc.call("set_ban", BANNED, "insert", None, None, "a soak test")
        scene = Scene(node, self._network_name(node), honest, hostile, self._directory)
        with scene.honest(CROWD, interval_s=20.0):
            deadline = time.monotonic() + 60
            while (sessions := len(node.peers())) < CROWD and time.monotonic() < deadline:
                time.sleep(0.5)
            seconds = node.interrupt()
        addresses, bans = node.saved()
        print(
            f"Ctrl-C with {sessions} sessions: gone after {seconds:.2f} s, {addresses} addresses and {bans} bans saved"
        )
        if seconds >= STOP_S:
            self._fault(f"Ctrl-C took {seconds:.2f} s with {sessions} sessions")
        if sessions < CROWD:
            self._fault(f"only {sessions} sessions of {CROWD}")
        without_bootnodes(node)
        node.start()
        node.wait_until_ready()
        banned = [each["address"] for each in node.rpc.call("get_banned_addresses")]
        found = wait_for_peers([node], 4, node.started_at, self._options.limit, set())
        self._tell("came_back", found, {"sessions": sessions, "stop_seconds": round(seconds, 2)})
        self.report["came_back"] |= {"addresses": addresses, "bans": bans, "banned_after": banned}
        if BANNED not in banned:
            self._fault(f"the ban of {BANNED} is forgotten")

    def suffer(self, honest: Host, hostile: Host) -> None:
        """Attacks on a node that may open 1,024 files."""
        for node in self._nodes[3:]:
            node.kill()
        del self._nodes[3:]
        host = self._host("target", PLACES + 3)
        limit = self._options.files
        prefix = ["prlimit", f"--nofile={limit}:{limit}"]
        target = self._maker.ours(host, [self._nodes[0].address], prefix=prefix)
        self._add(target).start()
        serve_first(target.pid)
        target.wait_until_ready()
        scene = Scene(target, self._network_name(target), honest, hostile, self._directory)
        print(f"attacks of {self._options.seconds:.0f} s on a node that may open {limit} files")
        print(TITLE, flush=True)
        outcomes = []
        with scene.honest(8) as pings:
            time.sleep(8.0)
            for number, attack in enumerate(ATTACKS):
                if not any(word in attack.title for word in self._options.attacks or [""]):
                    continue
                outcome = scene.run(number, attack, self._options.seconds, pings)
                outcomes.append(outcome)
                print(row(outcome), flush=True)
                self._judge(outcome)
        self.report["hostile"] = [asdict(each) for each in outcomes]
        seconds = target.interrupt()
        print(f"Ctrl-C after the attacks: gone after {seconds:.2f} s")
        if seconds >= STOP_S:
            self._fault(f"Ctrl-C took {seconds:.2f} s after the attacks")

    def _judge(self, outcome: Outcome) -> None:
        title = outcome.title
        if outcome.lost:
            self._fault(f"{title}: honest sessions ended: {outcome.lost[:3]}")
        if not outcome.pings or outcome.ping_p99 > PING_MS:
            self._fault(f"{title}: round trips of {outcome.ping_p99:.0f} ms (99 %)")
        if outcome.rpc_failed:
            self._fault(f"{title}: RPC did not answer {outcome.rpc_failed} times")
        if outcome.descriptors_max > self._options.files:
            self._fault(f"{title}: {outcome.descriptors_max} files were open")
        if outcome.memory_max - outcome.memory_before > MEMORY_MIB:
            self._fault(f"{title}: memory grew to {outcome.memory_max:.0f} MiB")

    def _network_name(self, node: Node) -> str:
        genesis: str = node.rpc.call("get_block_hash", "0x0")
        return f"/{node.rpc.call('get_consensus')['id']}/{genesis[2:10]}"

    def run(self) -> None:
        """All phases."""
        options = self._options
        if options.only_nat:
            if self._hosts is None:
                self._fault("there are no routers on loopback")
            else:
                self.meet(self._hosts)
            return
        if options.only_attacks:
            options.nodes = 3
        self.grow()
        if options.only_grow:
            return
        if not options.only_attacks:
            self.mend()
        honest = self._host("honest", PLACES + 1, [f"{HONEST_FIRST}.0.0.0/8"])
        networks = [f"{FIRST + number}.0.0.0/8" for number in range(len(ATTACKS))]
        hostile = self._host("hostile", PLACES + 2, networks)
        if not options.only_attacks:
            self.come_back(honest, hostile)
        self.suffer(honest, hostile)


COLUMNS = (
    ("ping ms", 8, "ping_median"),
    ("99 %", 7, "ping_p99"),
    ("max", 7, "ping_max"),
    ("RPC ms", 7, "rpc_median"),
    ("max", 7, "rpc_max"),
    ("MiB", 6, "memory_before"),
    ("max", 6, "memory_max"),
    ("after", 6, "memory_after"),
    ("files", 6, "descriptors_max"),
    ("after", 6, "descriptors_after"),
    ("peers", 6, "peers_max"),
)
TITLE = f"  {'attack':44}" + "".join(f"{title:>{width}}" for title, width, _ in COLUMNS)


def row(outcome: Outcome) -> str:
    cells = (
        f"{getattr(outcome, name):>{width}.{int('ms' in title or '%' in title)}f}" for title, width, name in COLUMNS
    )
    return f"  {outcome.title:44}" + "".join(cells)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, help="the other program, ckb; two nodes of it take part")
    parser.add_argument("--cells", type=Path, help="the official system cells, which the reference needs")
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--interval", type=int, default=15, help="connect_outbound_interval_secs")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for each phase")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each attack")
    parser.add_argument("--files", type=int, default=1024, help="that the attacked node may open")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--loopback", action="store_true", help="no namespaces")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--only-grow", action="store_true", help="only the first phase")
    only.add_argument("--only-attacks", action="store_true", help="only the last phase")
    only.add_argument("--only-nat", action="store_true", help="another run: nodes behind routers")
    parser.add_argument("--attacks", nargs="*", help="parts of titles of attacks, by default all of them")
    parser.add_argument("--keep", type=Path, help="keep data and logs in this directory, which must not exist")
    options = parser.parse_args()
    if options.reference is not None and options.cells is None:
        parser.error("--reference needs --cells")
    return options


def hosts_if_possible(options: argparse.Namespace, stack: ExitStack) -> Hosts | None:
    if not options.loopback:
        try:
            hosts = Hosts()
        except NoNamespaces as error:
            print(f"NO NETWORK NAMESPACES: {error}")
        else:
            stack.callback(hosts.close)
            return hosts
    print("All nodes are on loopback, in one network group: less is tested so.", flush=True)
    return None


def main() -> int:
    """0 when everything was as it should be."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        hosts = hosts_if_possible(options, stack)
        if options.keep is not None:
            options.keep.mkdir(parents=True)
        directory = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ckb-peers-")))
        soak = Soak(options, hosts, directory.resolve(), stack)
        try:
            soak.run()
        finally:
            REPORT.parent.mkdir(parents=True, exist_ok=True)
            REPORT.write_text(json.dumps({**soak.report, "faults": soak.faults}, indent=1) + "\n")
    print(f"{len(soak.faults)} faults; written to {REPORT}")
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
