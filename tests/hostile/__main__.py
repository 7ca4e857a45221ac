"""Attack a mining node, one attack after the other, and judge how honest clients fare: `make hostile`.

For each attack the node is started anew and mines; four honest clients call it; after some seconds, while the attack
goes on, it gets SIGTERM. CheckedBlock are: on connections that are kept, 99 % of cheap calls within 50 ms, of templates
within 100 ms; no failed call; resident memory of the node below 600 MiB; gone within 3 s. On a machine that does other
work the times of "no attack" say what to compare with.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.hostile.attacks import ATTACKS, run_attack
from tests.hostile.chain import Target, target_in
from tests.hostile.honest import Served, run_clients
from tests.support.nodes.process import NodeProcess
from tests.support.report import BENCH_DIR

CHEAP_MS, TEMPLATE_MS, MEMORY_MIB, STOP_S = 50, 100, 600, 3.0
MINING_INTERVAL_S = 1.0
WARM_S = 1.0
SAMPLE_S = 0.05
PATIENCE_S = 60.0

COLUMNS = (
    ("cheap p99", 10),
    ("max", 7),
    ("templates", 10),
    ("max", 7),
    ("connects", 9),
    ("calls", 6),
    ("failed", 7),
    ("MiB", 5),
    ("all", 5),
    ("blocks", 7),
    ("log kB", 7),
    ("stop s", 7),
)
TITLE = f"{'attack, times in ms':45} " + " ".join(f"{name:>{width}}" for name, width in COLUMNS)

_processes = multiprocessing.get_context("spawn")


@dataclass
class Outcome:
    """What came of an attack: milliseconds, MiB, seconds, and the log's growth in kB."""

    name: str
    cheap_p99: float
    cheap_max: float
    template_p99: float
    template_max: float
    connect_max: float
    calls: int
    faults: list[str]
    memory: float
    children: float
    stop: float
    log_kb: float
    blocks: int

    def failures(self) -> list[str]:
        """Which bounds were broken."""
        found = [
            (self.cheap_p99 >= CHEAP_MS, "cheap"),
            (self.template_p99 >= TEMPLATE_MS, "templates"),
            (self.memory >= MEMORY_MIB, "memory"),
            (self.stop >= STOP_S, "SIGTERM"),
            (bool(self.faults), "failed calls"),
            (self.blocks == 0, "no block mined"),
        ]
        return [word for is_broken, word in found if is_broken]


def main() -> int:
    """Run the attacks whose names contain one of the words, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="parts of names of attacks")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each attack")
    parser.add_argument("--keep", type=Path, help="keep the chain in this directory, or use the one that is there")
    options = parser.parse_args()
    chosen = [name for name in ATTACKS if not options.words or any(word in name for word in options.words)]
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hostile-", dir=BENCH_DIR) as directory:
        print("making the chain ...", flush=True)
        target = target_in(options.keep or Path(directory))
        print(TITLE)
        outcomes = [run(name, target, options.seconds) for name in chosen]
    (BENCH_DIR / "hostile.json").write_text(json.dumps({each.name: vars(each) for each in outcomes}, indent=1))
    bad = [each for each in outcomes if each.failures()]
    for each in bad:
        print(f"FAILED {each.name}: {', '.join(each.failures())} {each.faults[:2] or ''}")
    print(f"{len(outcomes) - len(bad)} of {len(outcomes)} attacks held")
    return 1 if bad else 0


def run(name: str, target: Target, seconds: float) -> Outcome:
    """One attack from start to SIGTERM, printed as a line."""
    node = NodeProcess(Path(target.directory), "dev", "--interval", str(MINING_INTERVAL_S), port=target.port)
    begun = _processes.Event()
    attacker = _processes.Process(target=run_attack, args=(name, target, begun), daemon=True)
    mine, theirs = _processes.Pipe()
    clients = _processes.Process(target=run_clients, args=(target.port, seconds, theirs), daemon=True)
    logs = Path(target.directory) / "data/logs"
    try:
        node.wait_until_ready()
        tip, log_size = node.rpc.tip(), _size(logs)
        attacker.start()
        if not begun.wait(PATIENCE_S):
            raise RuntimeError("the attacker does not begin")
        time.sleep(WARM_S)
        clients.start()
        memory = children = 0.0
        while clients.is_alive() and not mine.poll(SAMPLE_S):
            memory = max(memory, rss_mib(node.process.pid))
            children = max(children, sum(map(rss_mib, _children(node.process.pid))))
        served = mine.recv() if mine.poll(PATIENCE_S) else Served(faults=["the clients did not end"])
        stopped = _stop(node)
        return _outcome(name, served, memory, children, stopped, _size(logs) - log_size, tip)
    finally:
        for process in (attacker, clients):
            if process.pid is not None:
                process.kill()
                process.join()
        if node.process.poll() is None:
            node.kill()


def _outcome(
    name: str, served: Served, memory: float, children: float, stopped: float, logged: int, tip: int
) -> Outcome:
    outcome = Outcome(
        name=name,
        cheap_p99=_percentile(served.cheap, 0.99),
        cheap_max=_percentile(served.cheap, 1.0),
        template_p99=_percentile(served.templates, 0.99),
        template_max=_percentile(served.templates, 1.0),
        connect_max=_percentile(served.connects, 1.0),
        calls=len(served.cheap) + len(served.templates),
        faults=served.faults,
        memory=memory,
        children=children,
        stop=stopped,
        log_kb=logged / 1000,
        blocks=served.tip - tip,
    )
    print(_line(outcome), flush=True)
    return outcome


def _line(outcome: Outcome) -> str:
    """The outcome under the title."""
    values = (
        f"{outcome.cheap_p99:.1f}",
        f"{outcome.cheap_max:.1f}",
        f"{outcome.template_p99:.1f}",
        f"{outcome.template_max:.1f}",
        f"{outcome.connect_max:.1f}",
        f"{outcome.calls}",
        f"{len(outcome.faults)}",
        f"{outcome.memory:.0f}",
        f"{outcome.memory + outcome.children:.0f}",
        f"{outcome.blocks}",
        f"{outcome.log_kb:.1f}",
        f"{outcome.stop:.2f}",
    )
    shown = " ".join(f"{value:>{width}}" for value, (_, width) in zip(values, COLUMNS, strict=True))
    failed = outcome.failures()
    return f"{outcome.name:45} {shown}" + ("" if not failed else f"  FAILED: {', '.join(failed)}")


def _stop(node: NodeProcess) -> float:
    """Seconds from SIGTERM to the end; PATIENCE_S when it does not end by itself, -1 when it had ended before."""
    if node.process.poll() is not None:
        raise RuntimeError(f"the node ended by itself with {node.process.returncode}:\n{node.output()}")
    started = time.monotonic()
    node.process.send_signal(signal.SIGTERM)
    try:
        code = node.process.wait(timeout=PATIENCE_S)
    except Exception:  # noqa: BLE001 - whatever it is, the figure says it
        return PATIENCE_S
    if code != 0:
        sys.stdout.write(node.output())
        raise RuntimeError(f"the node ended with {code}")
    return time.monotonic() - started


def _percentile(seconds: list[float], share: float) -> float:
    """Milliseconds."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else float("inf")


def rss_mib(pid: int) -> float:
    """Resident memory of a process, 0 when it is gone."""
    try:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def _children(pid: int) -> list[int]:
    """Processes that the node started."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(each) for task in tasks for each in (task / "children").read_text(encoding="ascii").split()]
    except OSError:
        return []


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir()) if directory.is_dir() else 0


if __name__ == "__main__":
    raise SystemExit(main())
