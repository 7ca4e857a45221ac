"""Two programs, one chain: the reference and this node mine by turns while wallets send to both.

`python -m tests.soak.mining --reference <its binary> --cells <directory of the official system cells> --minutes 30` (or
`make soak-mining`). Blocks come by get_block_template and submit_block, as miners do it. In the end both must have the
same tip, all transfers must be committed, and nobody may be banned. Told: who mined what, how long a block took to be
the other one's tip, and what both logs say of warnings and errors.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import msgspec

from ckb_node.jsonrpc_types.chain import block_json, transaction_json
from ckb_node.mining.template_json import BlockTemplateJson, read_template
from ckb_node.specs import files_of
from consensus.chainspec.spec import build_consensus, parse_spec
from consensus.params import Consensus
from consensus.types.blockchain import OutPoint, Transaction
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.nodes.process import RpcClient, RpcFailure
from tests.support.nodes.reference import OurNode, ReferenceNode, init_ours, spec_text

BUILD = Path("build/soak")
FEE = 100_000
MAX_WAITING = 15
BLOCK_EVERY_S = 1.5
END_S = 180.0
FOLLOW_S = 20.0
BAD_LINE = re.compile(r"\b(ERROR|error|panicked|WARN|warning)\b")
SIMULTANEOUS = 0.05
"""Share of heights at which both mine at once."""

Node = ReferenceNode | OurNode


class MiningFailed(Exception):  # noqa: N818 - the condition is its name
    """The two do not agree."""


@dataclass
class Purse:
    """A wallet that pays from the change of its last transfer, by one node."""

    consensus: Consensus
    key: bytes
    rpc: RpcClient
    waiting: list[Transaction] = field(default_factory=list)
    committed: int = 0
    rejected: dict[str, str] = field(default_factory=dict)
    """Transfers that one of the two gave up, for a while or for good."""

    def __post_init__(self) -> None:
        self.wallet = Wallet(self.key)
        self.change = issued_cell(self.consensus, self.wallet)

    def send(self) -> None:
        if len(self.waiting) >= MAX_WAITING:
            return
        out_point, capacity = self.change
        outputs = [(self.wallet.lock, 100 * CKB), (self.wallet.lock, capacity - 100 * CKB - FEE)]
        transfer = self.wallet.transfer(self.consensus, [(out_point, capacity)], outputs)
        self.rpc.call("send_transaction", msgspec.to_builtins(transaction_json(transfer)), "passthrough")
        self.change = OutPoint(tx_hash=transfer.hash, index=1), outputs[1][1]
        self.waiting.append(transfer)

    def note_committed(self, nodes: Sequence[Node]) -> None:
        """Drop those that both programs have in the same block."""
        while self.waiting:
            tx_hash = f"0x{self.waiting[0].hash.hex()}"
            states = [node.rpc.call("get_transaction", tx_hash)["tx_status"] for node in nodes]
            if all(state["status"] == "rejected" for state in states):
                raise MiningFailed(f"{tx_hash}: {states}")
            for node, state in zip(nodes, states, strict=True):
                if state["status"] == "rejected":  # the other one still commits it
                    self.rejected[tx_hash] = f"{node.name}: {state['reason']}"
            if any(state["status"] != "committed" for state in states):
                return
            self.waiting.pop(0)
            self.committed += 1


def main() -> int:
    """Run for some minutes."""
    parser = argparse.ArgumentParser(description="Mining by turns")
    parser.add_argument("--reference", type=Path, required=True, help="the reference's binary")
    parser.add_argument("--cells", type=Path, required=True, help="directory of the official system cells")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dialler", choices=("ours", "reference"), default="ours")
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mining-", dir=BUILD) as name:
        directory = Path(name).absolute()
        spec = directory / "spec.toml"
        spec.write_text(spec_text(options.cells.absolute()), encoding="utf-8")
        reference = ReferenceNode(options.reference.absolute(), directory / "reference", spec)
        reference.start()
        ours = OurNode(directory / "ours", init_ours(directory / "ours", spec))
        try:
            ours.wait_until_ready()
            run(reference, ours, spec, options.minutes * 60, Random(options.seed), options.dialler)
        finally:
            reference.stop()
            if ours.process.poll() is None:
                ours.kill()
    return 0


def run(reference: ReferenceNode, ours: OurNode, spec: Path, seconds: float, rng: Random, dialler: str) -> None:
    """Mine and send; then until everything is committed."""
    nodes: tuple[Node, Node] = (reference, ours)
    consensus = build_consensus(parse_spec(spec.read_text(encoding="utf-8")), files_of(spec.parent))
    purses = [Purse(consensus, BOB_KEY, reference.rpc), Purse(consensus, ALICE_KEY, ours.rpc)]
    first, second = (ours, reference) if dialler == "ours" else (reference, ours)
    mine(reference)  # who is a day behind takes no part in relay
    mine(ours, may_fail=True)
    connect(first, second)
    blocks, delays = Counter[str](), {node.name: list[float]() for node in nodes}
    begun, told = time.monotonic(), time.monotonic()
    while time.monotonic() - begun < seconds or any(purse.waiting for purse in purses):
        if time.monotonic() - begun > seconds + END_S:
            raise MiningFailed(f"{[len(purse.waiting) for purse in purses]} transfers are not committed")
        one_height(nodes, rng, blocks, delays)
        for purse in purses:
            for _ in range(rng.randrange(3) if time.monotonic() - begun < seconds else 0):
                purse.send()
            purse.note_committed(nodes)
        time.sleep(rng.random() * 2 * BLOCK_EVERY_S)
        if time.monotonic() - told > 60:
            told = time.monotonic()
            tell(blocks, purses, delays)
    wait_for_same_tip(nodes)
    tell(blocks, purses, delays)
    for node in nodes:
        if banned := node.rpc.call("get_banned_addresses"):
            raise MiningFailed(f"{node.name} has banned {banned}")
        if len(node.rpc.call("get_peers")) != 1:
            raise MiningFailed(f"{node.name} has lost its peer")
        lines = node.log_path.read_text(errors="replace").splitlines()
        bad = [line for line in lines if BAD_LINE.search(line)]
        print(f"{node.name}: {len(bad)} lines of warnings or errors", *bad[:20], sep="\n  ", flush=True)


def one_height(nodes: tuple[Node, Node], rng: Random, blocks: Counter[str], delays: dict[str, list[float]]) -> None:
    """A block of one of them, or now and then one of each at the same time; until both have the same tip."""
    if rng.random() < SIMULTANEOUS:
        for node in nodes:
            blocks[f"{node.name} at the same time"] += mine(node, may_fail=True)
        one = nodes[rng.randrange(2)]
        time.sleep(0.5)
    else:
        one = nodes[rng.randrange(2)]
    other = nodes[1] if one is nodes[0] else nodes[0]
    blocks[one.name] += mine(one)
    wanted, begun = one.rpc.call("get_tip_header")["hash"], time.monotonic()
    while other.rpc.call("get_tip_header")["hash"] != wanted:
        if time.monotonic() - begun > FOLLOW_S:
            raise MiningFailed(f"{other.name} does not follow to {wanted}:\n{other.output()}")
        time.sleep(0.001)
    delays[other.name].append(time.monotonic() - begun)


def mine(node: Node, *, may_fail: bool = False) -> int:
    """Submit the block of the node's template; 1, or 0 when another block came first."""
    raw = msgspec.convert(node.rpc.call("get_block_template"), BlockTemplateJson)
    block = read_template(raw).to_block()
    try:
        node.rpc.call("submit_block", raw.work_id, msgspec.to_builtins(block_json(block)))
    except RpcFailure:
        if not may_fail:
            raise
        return 0
    return 1


def connect(dialler: Node, target: Node) -> None:
    info = target.rpc.call("local_node_info")
    address = next(each["address"] for each in info["addresses"] if "/ws" not in each["address"])
    dialler.rpc.call("add_node", info["node_id"], address.partition("/p2p/")[0])


def wait_for_same_tip(nodes: Sequence[Node]) -> None:
    until = time.monotonic() + FOLLOW_S
    while len({node.rpc.call("get_tip_header")["hash"] for node in nodes}) != 1:
        if time.monotonic() > until:
            raise MiningFailed("the tips differ")
        time.sleep(0.1)


def tell(blocks: Counter[str], purses: Sequence[Purse], delays: dict[str, list[float]]) -> None:
    medians = {name: f"{statistics.median(each) * 1000:.1f} ms" for name, each in delays.items() if each}
    committed = [purse.committed for purse in purses]
    print(f"blocks {dict(blocks)}, transfers committed {committed}, the other one followed after {medians}", flush=True)
    for purse in purses:
        for tx_hash, reason in purse.rejected.items():
            print(f"  {tx_hash} was rejected by {reason}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
