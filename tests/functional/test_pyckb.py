"""A wallet that nobody here wrote (pyckb) moves money on a running node; every shannon is accounted for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders.wallet import ALICE_KEY, BOB_KEY
from tests.support.nodes.process import STOP_S, NodeProcess, dev_node
from tests.support.nodes.pyckb_wallets import pyckb_wallets

CKB = 100_000_000
AMOUNT = 12_345 * CKB + 678
FINALIZATION_DELAY = 11
FRESH_KEY = bytes.fromhex("1234567890abcdef").rjust(32, b"\0")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with dev_node(tmp_path_factory.mktemp("pyckb") / "node", interval_s=0.25) as running:
        yield running


@pytest.fixture(scope="module")
def wallets(node: NodeProcess) -> tuple[Any, Any, Any]:
    """The first account, the second one, and a fresh key."""
    miner, sender, receiver = pyckb_wallets(node.rpc.port, ALICE_KEY, BOB_KEY, FRESH_KEY)
    return miner, sender, receiver


def wait_for_status(node: NodeProcess, tx_hash: str, wanted: str, seen: list[str]) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer: dict[str, Any] = node.rpc.call("get_transaction", tx_hash)
        status = answer["tx_status"]["status"]
        if not seen or seen[-1] != status:
            seen.append(status)
        if status == wanted:
            return answer
        time.sleep(0.01)
    raise AssertionError(f"{tx_hash} did not become {wanted}; it was {seen}")


def wait_for_indexer(node: NodeProcess, number: int) -> None:
    deadline = time.monotonic() + 30
    while int(node.rpc.call("get_indexer_tip")["block_number"], 16) < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_transfer_is_pending_proposed_committed_and_paid_for(
    node: NodeProcess, wallets: tuple[Any, Any, Any]
) -> None:
    _, sender, receiver = wallets
    before = sender.capacity()
    assert receiver.capacity() == 0
    tx_hash = "0x" + sender.transfer(receiver.script, AMOUNT).hex()
    seen: list[str] = []
    committed = wait_for_status(node, tx_hash, "committed", seen)
    assert seen == ["pending", "proposed", "committed"]

    number = int(committed["tx_status"]["block_number"], 16)
    wait_for_indexer(node, number)
    outputs = [int(output["capacity"], 16) for output in committed["transaction"]["outputs"]]
    fee = before - sum(outputs)
    assert 0 < fee < CKB
    assert receiver.capacity() == AMOUNT
    assert sender.capacity() == before - AMOUNT - fee

    node.wait_for_tip(number + FINALIZATION_DELAY)
    state = node.rpc.call("get_block_economic_state", committed["tx_status"]["block_hash"])
    reward = {name: int(value, 16) for name, value in state["miner_reward"].items()}
    assert reward["committed"] == fee - fee * 4 // 10
    final = node.rpc.call("get_block_by_number", hex(number + FINALIZATION_DELAY))
    assert state["finalized_at"] == final["header"]["hash"]
    paid = sum(int(output["capacity"], 16) for output in final["transactions"][0]["outputs"])
    assert paid == sum(reward.values())
    proposed_in = [
        height
        for height in range(number - 10, number - 1)
        if tx_hash[:22] in node.rpc.call("get_block_by_number", hex(max(height, 0)))["proposals"]
    ]
    assert len(proposed_in) == 1
    proposer = node.rpc.call("get_block_by_number", hex(proposed_in[0]))["header"]["hash"]
    proposer_state = node.rpc.call("get_block_economic_state", proposer)
    assert int(proposer_state["miner_reward"]["proposal"], 16) == fee * 4 // 10


def test_the_receiver_can_spend_what_it_got(node: NodeProcess, wallets: tuple[Any, Any, Any]) -> None:
    _, sender, receiver = wallets
    if receiver.capacity() == 0:
        first = "0x" + sender.transfer(receiver.script, AMOUNT).hex()
        committed = wait_for_status(node, first, "committed", [])
        wait_for_indexer(node, int(committed["tx_status"]["block_number"], 16))
    has = receiver.capacity()
    back = "0x" + receiver.transfer_all(sender.script).hex()
    committed = wait_for_status(node, back, "committed", [])
    wait_for_indexer(node, int(committed["tx_status"]["block_number"], 16))
    assert receiver.capacity() == 0
    assert 0 < has - int(committed["transaction"]["outputs"][0]["capacity"], 16) < CKB


def test_the_miner_spends_rewards(node: NodeProcess, wallets: tuple[Any, Any, Any]) -> None:
    miner, _, receiver = wallets
    node.wait_for_tip(FINALIZATION_DELAY + 3)
    tx_hash = "0x" + miner.transfer(receiver.script, 100 * CKB).hex()
    wait_for_status(node, tx_hash, "committed", [])


def test_stops_within_three_seconds(tmp_path: Path) -> None:
    """The best of a few: another user of the machine may hold one up."""
    took: list[float] = []
    while not took or (min(took) >= STOP_S and len(took) < 4):
        with dev_node(tmp_path / f"node-{len(took)}") as node:
            node.wait_for_tip(2)
            took.append(node.stop())
    assert min(took) < STOP_S
