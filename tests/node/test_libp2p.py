"""Real nodes that know each other over libp2p only: sync, following, a reorganisation, relay; a process that is killed,
and one that has no memory left."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from network.libp2p.service import is_installed
from tests.node.kit_libp2p import Libp2pNode, payment_json, running
from tests.support.nodes.process import NodeProcess

pytestmark = [
    pytest.mark.skipif(not is_installed(), reason="libp2p is not installed: pip install 'ckb-node[libp2p]'"),
    pytest.mark.slow,
]

BLOCKS = 120


def tip_hash(node: NodeProcess) -> str:
    return str(node.rpc.call("get_tip_header")["hash"])


def mine(node: NodeProcess, count: int) -> None:
    for _ in range(count):
        node.rpc.call("generate_block")


def until_replaced(node: Libp2pNode, before: psutil.Process) -> psutil.Process:
    """Its next libp2p process."""

    def is_there() -> bool:
        found = node.libp2p_process()
        return found is not None and found.pid != before.pid

    node.until(is_there)
    replaced = node.libp2p_process()
    assert replaced is not None
    node.address()  # it listens
    return replaced


def test_three_nodes_in_a_row(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(running(tmp_path / "a"))
        mine(first, BLOCKS)
        second = stack.enter_context(running(tmp_path / "b", first.address()))
        third = stack.enter_context(running(tmp_path / "c", second.address()))
        assert third.wait_for_tip(BLOCKS) == BLOCKS  # from genesis
        bootnode = f"/ip4/127.0.0.1/tcp/{second.libp2p_port}/"
        peers = third.rpc.call("get_peers")  # the first, too, once Discovery has told of it
        (peer,) = [each for each in peers if each["addresses"][0]["address"].startswith(bootnode)]
        assert (peer["transport"], peer["is_outbound"]) == ("libp2p", True)
        assert peer["version"].startswith("ckb-node/")
        assert peer["sync_state"]["best_known_header_number"] == hex(BLOCKS)

        for number in range(BLOCKS + 1, BLOCKS + 6):  # follow, block by block
            mine(first, 1)
            third.wait_for_tip(number)
        assert tip_hash(third) == tip_hash(first)

        sent = payment_json()  # relayed from one end to the other, and mined there
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
        replaced = until_replaced(second, process)  # it is there again, and has no memory left
        vms = replaced.memory_info().vms
        replaced.rlimit(psutil.RLIMIT_AS, (vms, vms))
        mine(first, 3)
        third.until(lambda: tip_hash(third) == tip_hash(first))
        until_replaced(second, replaced)
        for node in (third, second, first):
            node.stop()
