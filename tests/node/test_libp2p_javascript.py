"""js-libp2p, which shares no code with this node or its library, as a peer."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from network.libp2p.service import is_installed
from network.messages.protocols import RelayTransaction
from tests.node.kit_libp2p import payment, payment_json, running
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.javascript import packages_of, run_program

pytestmark = [
    pytest.mark.skipif(not is_installed(), reason="libp2p is not installed: pip install 'ckb-node[libp2p]'"),
    pytest.mark.slow,
]

HERE = Path(__file__).with_name("libp2p_js")
UNCHECKED = "LIBP2P IS NOT TRIED WITH A PEER OF OTHERS"
PROGRAM_S = 100
BLOCKS = 30


def test_a_peer_of_another_library(tmp_path: Path) -> None:
    packages = packages_of(HERE, UNCHECKED)
    shutil.copy(HERE / "peer.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    consensus, stop = dev_consensus(), threading.Event()
    with running(tmp_path / "node") as node:
        for _ in range(BLOCKS):
            node.rpc.call("generate_block")
        transaction, shown = payment(), payment_json()
        cycles = int(node.rpc.call("estimate_cycles", shown)["cycles"], 16)
        given = {
            "address": node.address(),
            "network": consensus.network_name,
            "genesis": consensus.genesis_hash.hex(),
            "transaction": RelayTransaction(cycles=cycles, transaction=transaction).raw.hex(),
        }

        def mine() -> None:
            while not stop.wait(0.5):
                node.rpc.call("generate_block")

        miner = threading.Thread(target=mine)
        miner.start()
        try:
            done = run_program("peer.mjs", tmp_path, json.dumps(given), seconds=PROGRAM_S)
            assert done.returncode == 0, done.stderr + node.output()
            told = json.loads(done.stdout.splitlines()[-1])
            tx_hash = f"0x{transaction.hash.hex()}"
            node.until(lambda: node.rpc.call("get_transaction", tx_hash)["tx_status"]["status"] == "committed")
        finally:
            stop.set()
            miner.join()
        assert told["headers"] >= BLOCKS
        assert told["tip"] == told["block"] == node.rpc.call("get_block_hash", hex(told["headers"]))[2:]
        gossiped = told["gossiped"]
        assert gossiped["hash"] == node.rpc.call("get_block_hash", hex(gossiped["number"]))[2:]
        node.stop()
