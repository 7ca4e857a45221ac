"""Attack a node that follows a mining one, attack after attack, and judge how it fares.

The miner makes a block each second. For each attack the follower is started anew; its RPC is asked for the tip all the
time; the time from a tip of the miner's to the same of the follower's is its lag. Judged are: 99 % of cheap calls
within 50 ms; no block more than a second late; memory below 600 MiB; whether attackers are banned as the protocol's
table says.
On a machine that does other work the times of "Control" say what to compare with.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hostile.__main__ import _children, rss_mib
from tests.hostile.chain import Target, target_in
from tests.hostile.following.attacks import NAMES, PEERS, run_attack
from tests.hostile.following.over_libp2p import BANNED, OVER_LIBP2P, libp2p_address, listen_over_libp2p
from tests.support.nodes.asker import tcp_address
from tests.support.nodes.process import NodeProcess, RpcClient, free_port
from tests.support.report import BENCH_DIR

CHEAP_MS, LAG_MS, MEMORY_MIB = 50, 1000, 600
SYNC_S, BEGIN_S, WARM_S, PAUSE_S = 60.0, 30.0, 1.5, 0.02
MINING_INTERVAL_S = 1.0
NO_BLOCK_S = 15.0
"""Blocks come by chance: an attack lasts so much longer while none has come."""
MINER_NICENESS = 10
"""As that of attackers: it is on a machine of its own, too, and does most of what the follower does."""


_processes = multiprocessing.get_context("spawn")


@dataclass
class Outcome:
    """Times in seconds, memory in MiB."""

    name: str
    calls: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    failed: int = 0
    behind: int = 0
    memory: float = 0.0
    children: float = 0.0
    cpu: float = 0.0
    log_kb: float = 0.0
    sent: int = 0
    bans: list[str] = field(default_factory=list)
    ended: str = ""

    def failures(self) -> list[str]:
        """Which bounds were broken."""
        expects = self.name in BANNED or (self.name in PEERS and PEERS[self.name].expects_bans)
        found = [
            (bool(self.ended), "it ended"),
            (_ms(self.calls, 0.99) >= CHEAP_MS, "calls"),
            (_ms(self.lags, 1.0) >= LAG_MS or self.behind > 1, "lag"),
            (self.memory >= MEMORY_MIB, "memory"),
            (self.failed > 0, "failed calls"),
            (self.sent == 0 and self.name != "Control", "nothing was sent"),
            (expects and not self.bans, "no ban"),
            (bool(self.bans) and not expects, f"bans: {self.bans[0] if self.bans else ''}"),
        ]
        return [word for is_broken, word in found if is_broken]

    def line(self) -> str:
        calls = " ".join(f"{_ms(self.calls, share):6.1f}" for share in (0.5, 0.99, 1.0))
        lags = " ".join(f"{_ms(self.lags, share):5.0f}" for share in (0.5, 1.0))
        return (
            f"{self.name:20} calls {calls} | lag {lags} of {len(self.lags)} | {self.memory:4.0f}"
            f" +{self.children:.0f} MiB | cpu {self.cpu:.2f} | log {self.log_kb:6.1f} kB"
            f" | sent {self.sent} | bans {len(self.bans)}" + "".join(f"  FAILED: {each}" for each in self.failures())
        )


def main() -> int:
    """Run the attacks whose names contain one of the words, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="parts of names of attacks")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each attack")
    parser.add_argument("--keep", type=Path, help="keep the chain in this directory, or use the one that is there")
    options = parser.parse_args()
    chosen = [name for name in NAMES if not options.words or any(word in name for word in options.words)]
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hostile-", dir=BENCH_DIR) as directory:
        target = target_in(options.keep or Path(directory))
        outcomes = [run(name, target, options.seconds, Path(directory)) for name in chosen]
    bad = [each for each in outcomes if each.failures()]
    (BENCH_DIR / "hostile-following.json").write_text(json.dumps([_figures(each) for each in outcomes], indent=1))
    print(f"{len(outcomes) - len(bad)} of {len(outcomes)} attacks held")
    return 1 if bad else 0


def run(name: str, target: Target, seconds: float, room: Path) -> Outcome:
    """One attack, printed as a line."""
    ports = free_port(), free_port()
    miner, victim = (_node(target, room / f"{name}-{place}", port) for place, port in enumerate(ports))
    if name in OVER_LIBP2P:
        listen_over_libp2p(miner)
        listen_over_libp2p(victim)
    miner_node = NodeProcess(miner, "dev", "--interval", str(MINING_INTERVAL_S), port=ports[0])
    os.setpriority(os.PRIO_PROCESS, miner_node.process.pid, MINER_NICENESS)
    victim_node = NodeProcess(victim, "run", port=ports[1])
    attackers = None
    try:
        miner_node.wait_until_ready()
        victim_node.wait_until_ready()
        _connect(name, miner_node.rpc, victim_node.rpc)
        theirs, mine = _processes.Pipe()
        attackers = _processes.Process(target=run_attack, args=(name, target, ports, theirs), daemon=True)
        attackers.start()
        mine.poll(BEGIN_S)
        time.sleep(WARM_S)
        outcome = _measure(name, miner_node, victim_node, seconds)
        while mine.poll():
            outcome.sent = mine.recv()[1]
        if victim_node.process.poll() is None:
            outcome.bans = [each["ban_reason"] for each in victim_node.rpc.call("get_banned_addresses")]
        print(outcome.line(), flush=True)
        for reason in dict.fromkeys(re.sub(r"0x\w+|\d+", "N", each)[:120] for each in outcome.bans):
            print(f"    {reason}")
        return outcome
    finally:
        if attackers is not None:
            attackers.kill()
            attackers.join()
        for node in (miner_node, victim_node):
            if node.process.poll() is None:
                node.kill()


def _node(target: Target, directory: Path, port: int) -> Path:
    """A copy of the target's node, that listens elsewhere and has another key."""
    shutil.copytree(target.directory, directory)
    (directory / "data/network/secret_key").unlink(missing_ok=True)
    config = directory / "config.toml"
    text = config.read_text(encoding="utf-8")
    config.write_text(re.sub(r'127\.0\.0\.1:\d+"', f'127.0.0.1:{port}"', text, count=1), encoding="utf-8")
    return directory


def _connect(name: str, miner: RpcClient, victim: RpcClient) -> None:
    """And wait until both have one tip. Over libp2p, where the miner listens for that."""
    end = time.monotonic() + SYNC_S
    address = str(tcp_address(miner)) if name not in OVER_LIBP2P else None
    while address is None and time.monotonic() < end:
        time.sleep(0.1)
        address = libp2p_address(miner)
    assert address is not None
    victim.call("add_node", address.split("/p2p/")[1], address)
    while victim.tip() < miner.tip():
        if time.monotonic() > end:
            raise RuntimeError("the follower does not follow")
        time.sleep(0.1)


def _measure(name: str, miner: NodeProcess, victim: NodeProcess, seconds: float) -> Outcome:
    outcome, seen = Outcome(name), dict[int, float]()
    end = time.monotonic() + seconds
    latest, done = end + NO_BLOCK_S, threading.Event()
    watcher = threading.Thread(target=_watch, args=(miner.rpc, seen, done))
    log_size, cpu, begun, last = _logged(victim), _cpu(victim), time.monotonic(), victim.rpc.tip()
    watcher.start()
    while time.monotonic() < (end if outcome.lags else latest):
        started = time.monotonic()
        try:
            tip = victim.rpc.tip()
        except OSError:
            outcome.failed += 1
            if victim.process.poll() is not None:
                outcome.ended = f"{victim.process.returncode}: {victim.output()[-500:]}"
                break
            continue
        now = time.monotonic()
        outcome.calls.append(now - started)
        outcome.lags += [now - seen[number] for number in range(last + 1, tip + 1) if number in seen]
        last = max(last, tip)
        outcome.memory = max(outcome.memory, rss_mib(victim.process.pid))
        time.sleep(PAUSE_S)
    done.set()
    watcher.join()
    outcome.behind = miner.rpc.tip() - last
    outcome.children = sum(map(rss_mib, _children(victim.process.pid)))
    outcome.cpu = (_cpu(victim) - cpu) / (time.monotonic() - begun) if not outcome.ended else 0.0
    outcome.log_kb = (_logged(victim) - log_size) / 1000
    return outcome


def _watch(miner: RpcClient, seen: dict[int, float], done: threading.Event) -> None:
    """When the miner had which tip."""
    last = 0
    while not done.is_set():
        try:
            tip = miner.tip()
        except OSError:
            continue
        for number in range(last + 1, tip + 1):
            seen.setdefault(number, time.monotonic())
        last = tip
        time.sleep(PAUSE_S)


def _cpu(node: NodeProcess) -> float:
    """Seconds that the node's process has used."""
    fields = Path(f"/proc/{node.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / 100


def _logged(node: NodeProcess) -> int:
    logs = node.directory / "data/logs"
    return sum(path.stat().st_size for path in logs.iterdir()) + node.log_path.stat().st_size


def _ms(seconds: list[float], share: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else float("inf")


def _figures(outcome: Outcome) -> dict[str, Any]:
    shown: Callable[[list[float]], float] = statistics.median
    return vars(outcome) | {"calls": _ms(outcome.calls, 0.99), "lags": shown(outcome.lags or [0.0])}


if __name__ == "__main__":
    raise SystemExit(main())
