"""Attacks on one real node: what it costs the node, and whether honest sessions notice."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tests.soak.peers.attacks import spread
from tests.soak.peers.nodes import Node, serve_first
from tests.support.nodes.namespaces import Host
from tests.support.nodes.process import ROOT
from tests.support.nodes.talker import Target

SAMPLE_S = 0.25
RAMP_S = 2.0
REST_S = 8.0
"""After an attack, before the node is looked at and the next one begins: handshakes end after 5 s."""
PING_S = 0.4
PING_MS = 50.0
HONEST_FIRST = 110
FIRST = 60
"""Honest peers are in 110.0.0.0/8, each attack in a network of its own from 60.0.0.0/8 on."""


@dataclass(frozen=True)
class Attack:
    """`addresses`: from how many the connections come."""

    title: str
    behaviour: str
    addresses: int
    connections: int


ATTACKS = (
    Attack("nothing", "", 0, 0),
    Attack("2,000 silent connections from one address", "silent", 1, 2000),
    Attack("2,000 silent connections from 2,000", "silent", 2000, 2000),
    Attack("500 stalled handshakes from 500", "stalled", 500, 500),
    Attack("garbage on 200 connections from 200", "garbage", 200, 200),
    Attack("100 peers that never read", "deaf", 100, 100),
    Attack("1,000 peers in order from 1,000", "crowd", 1000, 1000),
)


@dataclass
class Outcome:
    """Round trips in ms, memory in MiB. `after`: some seconds after the attack."""

    title: str
    ping_median: float = 0.0
    ping_p99: float = 0.0
    ping_max: float = 0.0
    pings: int = 0
    lost: list[str] = field(default_factory=list)
    rpc_median: float = 0.0
    rpc_max: float = 0.0
    rpc_failed: int = 0
    memory_before: float = 0.0
    memory_max: float = 0.0
    memory_after: float = 0.0
    descriptors_max: int = 0
    descriptors_after: int = 0
    peers_max: int = 0
    attacker: dict[str, Any] = field(default_factory=dict)


class Meter:
    """Looks at a node from outside, in a thread of its own."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.memory: list[float] = []
        self.descriptors: list[int] = []
        self.rpc_ms: list[float] = []
        self.peers: list[int] = []
        self.rpc_failed = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._watch, self._ask)]

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            with suppress(OSError):
                self.memory.append(self._node.memory_mib())
                self.descriptors.append(self._node.descriptors())

    def _ask(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            begun = time.monotonic()
            try:
                peers = self._node.peers()
            except (OSError, HTTPException, ValueError):
                self.rpc_failed += 1
            else:
                self.rpc_ms.append((time.monotonic() - begun) * 1000)
                self.peers.append(len(peers))


class Scene:
    """The attacked node, honest peers and attackers, the latter on hosts of their own if there are namespaces."""

    def __init__(self, node: Node, network_name: str, honest: Host, hostile: Host, directory: Path) -> None:
        self._node, self._honest, self._hostile = node, honest, hostile
        self._directory = directory
        target = Target(node.host.ip, node.p2p_port, node.identity.peer_id, network_name)
        self._target = json.dumps(asdict(target))
        self._has_namespaces = hostile.namespace is not None

    @contextmanager
    def _process(self, host: Host, name: str, *arguments: str, is_served_first: bool = False) -> Iterator[Path]:
        """A module of this package; the file of its lines."""
        path = self._directory / f"{name}-{time.monotonic_ns()}.jsonl"
        command = [*host.prefix, sys.executable, "-m", f"tests.soak.peers.{name}", *arguments]
        with path.open("wb") as lines:
            process = subprocess.Popen(command, cwd=ROOT, stdout=lines, start_new_session=True)
        try:
            if is_served_first:
                serve_first(process.pid)
            yield path
            if process.poll() is not None:
                raise RuntimeError(f"{name} has ended with {process.returncode}")
        finally:
            process.kill()
            process.wait(timeout=30)

    @contextmanager
    def honest(self, count: int, interval_s: float = PING_S) -> Iterator[Path]:
        """Honest sessions, each of a network of its own."""
        sources = spread(HONEST_FIRST, count) if self._has_namespaces else ["127.110.0.1"] * count
        words = (self._target, ",".join(sources), str(interval_s))
        with self._process(self._honest, "honest", *words, is_served_first=True) as path:
            yield path

    def run(self, number: int, attack: Attack, seconds: float, pings: Path) -> Outcome:
        outcome = Outcome(attack.title, memory_before=self._node.memory_mib())
        meter = Meter(self._node)
        begun = time.monotonic()
        if attack.behaviour:
            first = FIRST + number if self._has_namespaces else 127
            words = (attack.behaviour, self._target, str(first), str(attack.addresses), str(attack.connections))
            with self._process(self._hostile, "attacks", *words) as told:
                begun += RAMP_S
                time.sleep(RAMP_S)
                with meter.running():
                    time.sleep(seconds)
                outcome.attacker = _last(told)
        else:
            with meter.running():
                time.sleep(seconds)
        self._judge(outcome, meter, begun, pings)
        time.sleep(REST_S if attack.behaviour else 0.0)
        outcome.memory_after, outcome.descriptors_after = self._node.memory_mib(), self._node.descriptors()
        return outcome

    def _judge(self, outcome: Outcome, meter: Meter, begun: float, pings: Path) -> None:
        lines = [line for line in _lines(pings) if line["at"] >= begun]
        trips = sorted(line["ms"] for line in lines if "ms" in line)
        outcome.lost = [line["lost"] for line in lines if "lost" in line]
        outcome.pings = len(trips)
        if trips:
            outcome.ping_median, outcome.ping_max = statistics.median(trips), trips[-1]
            outcome.ping_p99 = trips[min(len(trips) - 1, len(trips) * 99 // 100)]
        if meter.rpc_ms:
            outcome.rpc_median, outcome.rpc_max = statistics.median(meter.rpc_ms), max(meter.rpc_ms)
            outcome.peers_max = max(meter.peers)
        outcome.rpc_failed = meter.rpc_failed
        outcome.memory_max = max(meter.memory, default=0.0)
        outcome.descriptors_max = max(meter.descriptors, default=0)


def _lines(path: Path) -> Sequence[dict[str, Any]]:
    """The last one may not be complete."""
    text = path.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _last(path: Path) -> dict[str, Any]:
    lines = _lines(path)
    return lines[-1] if lines else {}
