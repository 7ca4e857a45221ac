"""kill -9 at random moments while a dev node mines, takes blocks by RPC and commits transfers.

What the node acknowledged must be there after each restart: blocks that `submit_block` took or that RPC showed as the
tip, and transfers that RPC showed as committed. The state must equal a replay from genesis (`ckb-node check`).
Run with `python -m tests.soak.kill --rounds 50`, or `make soak-kill`.

A killed process leaves what it wrote to the kernel: this proves the order of writes, not what a power cut leaves.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import msgspec

from ckb_node.jsonrpc_types.chain import block_json, transaction_json
from ckb_node.mining.template_json import BlockTemplateJson, read_template
from consensus.types.blockchain import OutPoint, Transaction
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.process import NodeProcess, RpcClient, RpcFailure, free_port, run_command

MINING_INTERVAL_S = 0.1
WORK_S = 3.0
"""A kill comes at most so long after the node is ready."""
KILL_WHILE_STARTING = 0.2
"""Share of rounds in which the node is killed before it is ready."""
STARTING_S = 1.0
MAX_WAITING = 20
"""Transfers that may wait in the pool."""
FEE = 100_000
CALLS_IN_BATCH = 1000


class LostError(Exception):
    """The node lost what it had acknowledged, or does not come back."""


@dataclass
class Acknowledged:
    """What the node said, as seen from outside."""

    main: dict[int, str] = field(default_factory=dict)
    """Hashes on the main chain by height. No block here has a competitor that is heavier, so they stay."""
    side: set[str] = field(default_factory=set)
    """Hashes of taken blocks that came second at their height."""
    committed: dict[str, str] = field(default_factory=dict)
    """Block hashes by hash of the transfer."""

    @property
    def height(self) -> int:
        return max(self.main, default=0)


class Sender:
    """Bob pays Alice; each transfer spends the change of the one before, as long as Bob's money lasts."""

    def __init__(self) -> None:
        self._consensus = dev_consensus()
        self._bob, self._alice = Wallet(BOB_KEY), Wallet(ALICE_KEY)
        self._change = issued_cell(self._consensus, self._bob)
        self._waiting: deque[Transaction] = deque()

    def send_one(self, rpc: RpcClient) -> None:
        """Send the next transfer, unless enough are waiting."""
        if len(self._waiting) >= MAX_WAITING:
            return
        out_point, capacity = self._change
        outputs = [(self._alice.lock, 100 * CKB), (self._bob.lock, capacity - 100 * CKB - FEE)]
        transfer = self._bob.transfer(self._consensus, [(out_point, capacity)], outputs)
        # It counts as waiting before it is sent: a kill on the way leaves open whether the node has it.
        self._waiting.append(transfer)
        self._change = OutPoint(tx_hash=transfer.hash, index=1), outputs[1][1]
        _send(rpc, transfer)

    def note_committed(self, rpc: RpcClient, acknowledged: Acknowledged) -> None:
        """Move transfers that the chain has from waiting to acknowledged, oldest first."""
        while self._waiting:
            tx_hash = _hex(self._waiting[0].hash)
            status = rpc.call("get_transaction", tx_hash)["tx_status"]
            if status["status"] != "committed":
                return
            acknowledged.committed[tx_hash] = status["block_hash"]
            self._waiting.popleft()

    def send_again(self, rpc: RpcClient) -> None:
        """The pool of a killed node is gone: bring back what the chain has not."""
        for transfer in self._waiting:
            if rpc.call("get_transaction", _hex(transfer.hash))["tx_status"]["status"] == "unknown":
                _send(rpc, transfer)


def _send(rpc: RpcClient, transfer: Transaction) -> None:
    rpc.call("send_transaction", msgspec.to_builtins(transaction_json(transfer)), "passthrough")


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def submit_block(rpc: RpcClient, acknowledged: Acknowledged) -> None:
    """Mine one block from outside; the node's own miner may have been faster."""
    raw = msgspec.convert(rpc.call("get_block_template"), BlockTemplateJson)
    block = read_template(raw).to_block()
    block_hash: str = rpc.call("submit_block", raw.work_id, msgspec.to_builtins(block_json(block)))
    if block_hash != _hex(block.hash):
        raise LostError(f"submit_block answered {block_hash} for block {_hex(block.hash)}")
    # From here on the block must never be lost, so it is noted before the next call, which may fail.
    acknowledged.side.add(block_hash)
    if rpc.call("get_block_hash", hex(block.number)) == block_hash:
        acknowledged.side.discard(block_hash)
        acknowledged.main[block.number] = block_hash


def note_tip(rpc: RpcClient, acknowledged: Acknowledged) -> None:
    """The tip as RPC shows it."""
    tip = rpc.call("get_tip_header")
    acknowledged.main[int(tip["number"], 16)] = tip["hash"]


def batch(rpc: RpcClient, method: str, params: Sequence[tuple[str, ...]]) -> list[Any]:
    """Results of many calls of one method. Raises RpcFailure for the first that fails."""
    results = []
    for start in range(0, len(params), CALLS_IN_BATCH):
        some = enumerate(params[start : start + CALLS_IN_BATCH])
        calls = [{"jsonrpc": "2.0", "id": index, "method": method, "params": each} for index, each in some]
        for answer in json.loads(rpc.post(json.dumps(calls).encode())):
            if "error" in answer:
                raise RpcFailure(answer["error"])
            results.append(answer["result"])
    return results


def verify_acknowledged(rpc: RpcClient, acknowledged: Acknowledged) -> int:
    """Everything that was acknowledged is there; the tip. Raises LostError."""
    tip = rpc.tip()
    if tip < acknowledged.height:
        raise LostError(f"the tip is {tip}, but block {acknowledged.height} was acknowledged")
    found = batch(rpc, "get_block_hash", [(hex(number),) for number in acknowledged.main])
    for (number, block_hash), now in zip(acknowledged.main.items(), found, strict=True):
        if now != block_hash:
            raise LostError(f"block {number} was {block_hash}, now it is {now}")
    side = sorted(acknowledged.side)
    bodies = zip(
        side,
        batch(rpc, "get_block", [(block_hash, "0x0") for block_hash in side]),
        batch(rpc, "get_fork_block", [(block_hash, "0x0") for block_hash in side]),
        strict=True,
    )
    for block_hash, *answers in bodies:
        if not any(answers):
            raise LostError(f"block {block_hash} was taken and is gone")
    states = batch(rpc, "get_transaction", [(tx_hash, "0x1") for tx_hash in acknowledged.committed])
    for (tx_hash, block_hash), state in zip(acknowledged.committed.items(), states, strict=True):
        if state["tx_status"]["block_hash"] != block_hash:
            raise LostError(f"transfer {tx_hash} was committed in {block_hash}, now it is {state['tx_status']}")
    return tip


class Soak:
    """The rounds. `say` gets a line of text after each."""

    def __init__(self, directory: Path, seed: int, deadline_s: float) -> None:
        self._directory, self._random = directory, random.Random(seed)
        self._port = free_port()
        self._deadline = time.monotonic() + deadline_s
        self.acknowledged = Acknowledged()
        self._sender = Sender()

    def _start(self) -> NodeProcess:
        if time.monotonic() > self._deadline:
            raise LostError("the time that this run may take is over")
        options = ("--interval", str(MINING_INTERVAL_S), "--rpc-port", str(self._port), "--p2p-port", "0")
        return NodeProcess(self._directory, "dev", *options, port=self._port)

    def round(self) -> str:
        """Start, work, kill; what happened."""
        node = self._start()
        try:
            if self.acknowledged.height and self._random.random() < KILL_WHILE_STARTING:
                after_s = self._random.uniform(0, STARTING_S)
                time.sleep(after_s)
                if node.process.poll() is not None:
                    raise LostError(f"the node ended by itself:\n{node.output()}")
                return f"killed {after_s:.2f} s after the start"
            node.wait_until_ready()
            tip = verify_acknowledged(node.rpc, self.acknowledged)
            after_s = self._random.uniform(0, WORK_S)
            self._work_until_killed(node, after_s)
            return f"tip {tip} at the start, killed after {after_s:.2f} s of work"
        finally:
            if node.process.poll() is None:
                node.kill()

    def _work_until_killed(self, node: NodeProcess, after_s: float) -> None:
        killer = threading.Timer(after_s, node.kill)
        killer.start()
        try:
            submit_block(node.rpc, self.acknowledged)
            self._sender.send_again(node.rpc)
            while True:
                note_tip(node.rpc, self.acknowledged)
                self._sender.send_one(node.rpc)
                self._sender.note_committed(node.rpc, self.acknowledged)
                submit_block(node.rpc, self.acknowledged)
        except (OSError, HTTPException):
            killer.join()
        except RpcFailure:
            killer.join()
            raise
        if node.process.returncode != -9:
            raise LostError(f"the node ended by itself:\n{node.output()}")

    def verify_comes_back(self) -> int:
        """The last restart: everything is there, the chain grows, and Ctrl-C ends it in order."""
        node = self._start()
        try:
            node.wait_until_ready()
            tip = verify_acknowledged(node.rpc, self.acknowledged)
            node.wait_for_tip(tip + 3)
            node.stop()
        finally:
            if node.process.poll() is None:
                node.kill()
        return tip

    def check(self) -> str:
        """`ckb-node check` of the killed node's data; its line that says how much was replayed."""
        limit_s = max(self._deadline - time.monotonic(), 1.0)
        done = run_command("check", "-C", str(self._directory), timeout_s=limit_s)
        if done.returncode != 0:
            raise LostError(f"the data differs from a replay: {done.stdout}{done.stderr}")
        return next(line for line in done.stdout.splitlines() if line.startswith("replayed "))


def run(directory: Path, rounds: int, seed: int, check_every: int, deadline_s: float) -> Acknowledged:
    """All rounds with a line of progress for each. Raises LostError, AssertionError or RpcFailure."""
    soak = Soak(directory, seed, deadline_s)
    print(f"kill -9 {rounds} times, seed {seed}, data in {directory}", flush=True)
    for number in range(1, rounds + 1):
        what = soak.round()
        seen = soak.acknowledged
        counts = f"{len(seen.main)} blocks, {len(seen.side)} on the side, {len(seen.committed)} transfers"
        checked = f"; {soak.check()}" if number % check_every == 0 or number == rounds else ""
        print(f"{number:3}/{rounds} {what}; acknowledged {counts}{checked}", flush=True)
    print(f"last start: tip {soak.verify_comes_back()}; {soak.check()}", flush=True)
    return soak.acknowledged


def main() -> int:
    """0 when nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--check-every", type=int, default=5, metavar="ROUNDS")
    parser.add_argument("--deadline", type=float, default=1800.0, metavar="SECONDS", help="of the whole run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ckb-kill-") as directory:
        try:
            run(Path(directory) / "node", options.rounds, options.seed, options.check_every, options.deadline)
        except (LostError, AssertionError, RpcFailure) as error:
            print(f"FAILED (seed {options.seed}): {error}", file=sys.stderr)
            return 1
    print("nothing was lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
