"""Real nodes that know each other over libp2p only: sync, following, a reorganisation, relay, a killed process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from ckb_node.jsonrpc_types.chain import transaction_json
from network.libp2p.service import is_installed
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.process import NodeProcess, free_port, run_command

pytestmark = [
    pytest.mark.skipif(not is_installed(), reason="libp2p is not installed: pip install 'ckb-node[libp2p]'"),
    pytest.mark.slow,
]

BLOCKS = 120


class Libp2pNode(NodeProcess):
    """`directory` is made. Its CKB wire listens nowhere and dials nobody."""

    def __init__(self, directory: Path, bootnodes: tuple[str, ...] = ()) -> None:
        rpc_port, self.libp2p_port = free_port(), free_port()
        arguments = ("--rpc-port", str(rpc_port), "--p2p-port", "0", "--ba-arg", "0x" + "11" * 20)
        result = run_command("init", "-C", str(directory), "-c", "dev", "--genesis-message", "ckb_dev", *arguments)
        assert result.returncode == 0, result.stderr
        path = directory / "config.toml"
        lines = [
            "listen_addresses = []" if "listen_addresses = [" in line and not line.startswith("#") else line
            for line in path.read_text().splitlines()
        ]
        names = ", ".join(f'"{each}"' for each in bootnodes)
        listen = f'"/ip4/127.0.0.1/tcp/{self.libp2p_port}"'
        section = f"[network.libp2p]\nenabled = true\nlisten_addresses = [{listen}]\nbootnodes = [{names}]\n"
        path.write_text("\n".join([*lines, "", section]))
        super().__init__(directory, "run", port=rpc_port)

    def address(self) -> str:
        """Of libp2p, once it listens."""
        self.until(lambda: any("/p2p/16Uiu2" in each["address"] for each in self.info()["addresses"]))
        (found,) = (each["address"] for each in self.info()["addresses"] if "/p2p/16Uiu2" in each["address"])
        return str(found)

    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = self.rpc.call("local_node_info")
        return found

    def until(self, is_so: Callable[[], bool], seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)

    def libp2p_process(self) -> psutil.Process | None:
        for child in psutil.Process(self.process.pid).children():
            if any("network.libp2p.child.main" in word for word in child.cmdline()):
                return child
        return None


@contextmanager
def running(directory: Path, *bootnodes: str) -> Iterator[Libp2pNode]:
    node = Libp2pNode(directory, bootnodes)
    try:
        node.wait_until_ready()
        yield node
    finally:
        if node.process.poll() is None:
            node.kill()


def tip_hash(node: NodeProcess) -> str:
    return str(node.rpc.call("get_tip_header")["hash"])


def mine(node: NodeProcess, count: int) -> None:
    for _ in range(count):
        node.rpc.call("generate_block")


def payment() -> dict[str, Any]:
    """Alice pays Bob."""
    consensus, alice = dev_consensus(), Wallet(ALICE_KEY)
    out_point, capacity = issued_cell(consensus, alice)
    outputs = [(Wallet(BOB_KEY).lock, 100 * CKB), (alice.lock, capacity - 101 * CKB)]
    found: dict[str, Any] = msgspec.to_builtins(
        transaction_json(alice.transfer(consensus, [(out_point, capacity)], outputs))
    )
    return found


def test_three_nodes_in_a_row(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(running(tmp_path / "a"))
        mine(first, BLOCKS)
        second = stack.enter_context(running(tmp_path / "b", first.address()))
        third = stack.enter_context(running(tmp_path / "c", second.address()))
        assert third.wait_for_tip(BLOCKS) == BLOCKS  # from genesis
        (peer,) = third.rpc.call("get_peers")
        assert (peer["transport"], peer["is_outbound"]) == ("libp2p", True)
        assert peer["version"].startswith("ckb-node/")
        assert peer["addresses"][0]["address"].startswith(f"/ip4/127.0.0.1/tcp/{second.libp2p_port}/")
        assert peer["sync_state"]["best_known_header_number"] == hex(BLOCKS)

        for number in range(BLOCKS + 1, BLOCKS + 6):  # follow, block by block
            mine(first, 1)
            third.wait_for_tip(number)
        assert tip_hash(third) == tip_hash(first)

        sent = payment()  # relayed from one end to the other, and mined there
        tx_hash = third.rpc.call("send_transaction", sent, "passthrough")
        first.until(lambda: first.rpc.call("get_transaction", tx_hash)["tx_status"]["status"] == "pending")
        for _ in range(20):
            mine(first, 1)
            third.wait_for_tip(first.rpc.tip())
        assert third.rpc.call("get_transaction", tx_hash)["tx_status"]["status"] == "committed"

        fork = int(first.rpc.call("get_tip_block_number"), 16) - 3  # another, longer branch
        second_tip = second.rpc.tip()
        first.rpc.call("truncate", first.rpc.call("get_block_hash", hex(fork)))
        mine(first, second_tip - fork + 3)
        third.until(lambda: tip_hash(third) == tip_hash(first))

        process = second.libp2p_process()  # what is between both loses its libp2p
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        mine(first, 3)
        third.until(lambda: tip_hash(third) == tip_hash(first))
        for node in (third, second, first):
            node.stop()
