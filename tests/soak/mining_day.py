"""A day of mining in ten minutes: two nodes on a dev chain, a miner process for each, and what goes wrong in a day.

`python -m tests.soak.mining_day --minutes 10` (or `make soak-mining-day`). At random moments node or miner or both are
killed (kill -9), or the two nodes are parted until the other one's branch is heavier, so that a reorganisation follows;
all the while a wallet pays more than the small pool holds. After each the miner must have a block accepted again within
seconds, and in the end each block that the node acknowledged to its miner must be there, on the main chain or beside
it, both nodes must agree, and the data must equal a replay (`ckb-node check`).
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import msgspec

from ckb_node.dev_accounts import MINER_ARG
from ckb_node.jsonrpc_types.chain import transaction_json
from consensus.types.blockchain import OutPoint, Transaction
from tests.soak.kill import LostError, batch
from tests.soak.mining import connect
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.process import RpcClient, RpcFailure, free_port, run_command
from tests.support.nodes.reference import OurNode, set_pool

BUILD = Path("build/soak")
DELAY_MS = 100
POOL_BYTES = 5000
"""Some ten transfers."""
REMEMBERED = 100
FEE = 100_000
PAUSE_S = (1.0, 6.0)
AHEAD = 3
RESUME_S = 60.0
"""A miner without a block for so long has not resumed; on an idle machine it takes two or three seconds."""
END_S = 120.0
GENESIS = "ckb_dev"
ACCEPTED = re.compile(r"what='block (\d+) (0x[0-9a-f]{64})'")
EVENTS = ("kill node", "kill miner", "kill both", "reorganisation")


class MinerProcess:
    """`ckb-node miner` of a node's directory; what it printed is read as it comes."""

    def __init__(self, directory: Path) -> None:
        self._log_path = directory.with_suffix(".miner.log")
        self._directory = directory
        self._read_to = 0
        self.acknowledged: dict[str, int] = {}
        """Heights by hash of all blocks that the node took, of all its runs."""
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "ckb_node", "miner", "-C", str(self._directory)]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(timeout=10)

    def read(self) -> int:
        """Take in what it printed since; how many blocks are acknowledged."""
        with self._log_path.open("rb") as log:
            log.seek(self._read_to)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for number, block_hash in ACCEPTED.findall(whole.decode(errors="replace")):
            self.acknowledged[block_hash] = int(number)
        return len(self.acknowledged)


class Payer:
    """Bob pays Alice without end, from the change of the last payment."""

    def __init__(self) -> None:
        self._bob, self._alice = Wallet(BOB_KEY), Wallet(ALICE_KEY)
        self._consensus = dev_consensus()
        self._change = issued_cell(self._consensus, self._bob)
        self._sent: deque[Transaction] = deque(maxlen=REMEMBERED)
        self._next = self._transfer()
        self.paid = self.full = 0

    def _transfer(self) -> Transaction:
        out_point, capacity = self._change
        outputs = [(self._alice.lock, 100 * CKB), (self._bob.lock, capacity - 100 * CKB - FEE)]
        return self._bob.transfer(self._consensus, [(out_point, capacity)], outputs)

    def pay(self, rpc: RpcClient) -> None:
        """Until the pool is full. A pool that has lost payments before gets them once more."""
        for _ in range(3):
            try:
                self._send(rpc, self._next)
            except RpcFailure as failure:
                if "Full" in str(failure) or "Full" in str(failure.data):
                    self.full += 1
                    return
                self._send_again(rpc)
                return
            self.paid += 1
            self._sent.append(self._next)
            capacity = self._change[1] - 100 * CKB - FEE
            self._change = OutPoint(tx_hash=self._next.hash, index=1), capacity
            self._next = self._transfer()

    def _send_again(self, rpc: RpcClient) -> None:
        for each in self._sent:
            with contextlib.suppress(RpcFailure):
                self._send(rpc, each)

    def _send(self, rpc: RpcClient, transfer: Transaction) -> None:
        rpc.call("send_transaction", msgspec.to_builtins(transaction_json(transfer)), "passthrough")


@dataclass
class Day:
    """Both nodes and their miners, and what was seen."""

    directory: Path
    rng: random.Random
    events: Counter[str] = field(default_factory=Counter)
    resumed_s: list[float] = field(default_factory=list)
    detached: int = 0

    def __post_init__(self) -> None:
        self._ports = {name: _make(self.directory / name) for name in ("ours", "other")}
        self.node, self.other = self._start("ours"), self._start("other")
        connect(self.other, self.node)
        self.miner, self.rival = MinerProcess(self.directory / "ours"), MinerProcess(self.directory / "other")
        self.payer = Payer()

    def _start(self, name: str) -> OurNode:
        node = OurNode(self.directory / name, self._ports[name])
        node.wait_until_ready()
        return node

    def stop(self) -> None:
        for miner in (self.miner, self.rival):
            miner.kill()
        for node in (self.node, self.other):
            if node.process.poll() is None:
                node.kill()

    def pause(self, seconds: float) -> None:
        """Pay meanwhile."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.payer.pay(self.node.rpc)
            self.miner.read()
            time.sleep(0.05)

    def event(self) -> None:
        """One thing goes wrong, and all is well again."""
        what = self.rng.choice(EVENTS)
        self.events[what] += 1
        if what == "reorganisation":
            self._part_and_join()
        else:
            if what != "kill node":
                self.miner.kill()
            if what != "kill miner":
                self.node.kill()
                self.node = self._start("ours")
                connect(self.other, self.node)
            if what != "kill node":
                self.miner.start()
        before, begun = self.miner.read(), time.monotonic()
        wait_until(lambda: self.miner.read() > before, RESUME_S, f"no block is accepted after: {what}")
        self.resumed_s.append(time.monotonic() - begun)

    def _part_and_join(self) -> None:
        """The other node gets ahead while they are apart; our miner is killed in the middle of it."""
        self.other.rpc.call("set_network_active", False)
        self.pause(0.5)
        self.miner.kill()
        height = self.node.rpc.tip()
        seen = self.node.rpc.call("get_block_hash", hex(height))
        wait_until(lambda: self.other.rpc.tip() > height + AHEAD, END_S, "the other node does not get ahead")
        self.other.rpc.call("set_network_active", True)
        connect(self.other, self.node)
        wait_until(lambda: self.node.rpc.tip() > height + AHEAD, END_S, "the nodes do not come together")
        self.detached += self.node.rpc.call("get_block_hash", hex(height)) != seen
        self.miner.start()

    def verify(self) -> int:
        """All acknowledged blocks are there. How many they are."""
        self.miner.read()
        hashes = list(self.miner.acknowledged)
        for at in range(0, len(hashes), 500):
            part = [(block_hash, "0x0") for block_hash in hashes[at : at + 500]]
            rpc = self.node.rpc
            for block, *found in zip(
                part, batch(rpc, "get_block", part), batch(rpc, "get_fork_block", part), strict=True
            ):
                if not any(found):
                    raise LostError(
                        f"block {self.miner.acknowledged[block[0]]} {block[0]} was acknowledged and is gone"
                    )
        return len(hashes)


def _make(directory: Path) -> int:
    port = free_port()
    options = ["-c", "dev", "--genesis-message", GENESIS, "--ba-arg", MINER_ARG, "--rpc-port", str(port)]
    made = run_command("init", "-C", str(directory), *options, "--p2p-port", str(free_port()))
    assert made.returncode == 0, made.stdout + made.stderr
    path = directory / "config.toml"
    set_pool(path, {"max_tx_pool_size": POOL_BYTES})
    worker = f'workers = [{{ worker_type = "Dummy", delay_type = "Poisson", lambda = {DELAY_MS} }}]\n'
    path.write_text(path.read_text().replace("[miner]\n", f"[miner]\n{worker}poll_interval_millis = 100\n"))
    return port


def wait_until(condition: Callable[[], bool], seconds: float, fault: str) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise LostError(fault)
        time.sleep(0.02)


def run(directory: Path, seconds: float, seed: int) -> Day:
    """The day, with a line for each event. Raises LostError, RpcFailure, AssertionError."""
    day = Day(directory, random.Random(seed))
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            day.pause(day.rng.uniform(*PAUSE_S))
            day.event()
            print(f"{sum(day.events.values()):3} tip {day.node.rpc.tip()}, {day.verify()} acknowledged", flush=True)
        day.rival.kill()  # first: after a block of both at one height nobody would decide between them
        height = day.node.rpc.tip()
        wait_until(lambda: day.node.rpc.tip() > height + 1, END_S, "our miner does not go on")
        day.miner.kill()
        wait_until(lambda: tip(day.node) == tip(day.other), END_S, "the tips differ in the end")
        day.verify()
        day.node.stop()
    finally:
        day.stop()
    checked = run_command("check", "-C", str(directory / "ours"), timeout_s=END_S * 5)
    if checked.returncode != 0:
        raise LostError(f"the data differs from a replay: {checked.stdout}{checked.stderr}")
    return day


def tip(node: OurNode) -> str:
    found: str = node.rpc.call("get_tip_header")["hash"]
    return found


def main() -> int:
    """0 when nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mining-day-", dir=BUILD) as name:
        try:
            day = run(Path(name).absolute(), options.minutes * 60, options.seed)
        except (LostError, AssertionError, RpcFailure, OSError, HTTPException) as error:
            print(f"FAILED (seed {options.seed}): {error}", file=sys.stderr)
            return 1
    print(f"{len(day.miner.acknowledged)} blocks acknowledged, none lost; {dict(day.events)}, {day.detached} detached")
    print(f"{day.payer.paid} payments taken, the pool was full {day.payer.full} times")
    print(f"mining again after {statistics.median(day.resumed_s):.1f} s, at most {max(day.resumed_s):.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
