"""A node without the genesis block gets it from another one of this program, and then its chain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ckb_node.specs import bundled_text
from tests.support.nodes.process import NodeProcess, free_port, run_command


def make(directory: Path, *arguments: str) -> int:
    """The RPC port of a new directory."""
    port = free_port()
    ports = ("--rpc-port", str(port), "--p2p-port", str(free_port()))
    result = run_command("init", "-C", str(directory), "-c", "dev", "--ba-arg", "0x" + "11" * 20, *ports, *arguments)
    assert result.returncode == 0, result.stderr
    return port


def spec_known_by_hash(path: Path, genesis_hash: str) -> str:
    """The dev chain without its recipe, as mainnet's is."""
    params = bundled_text("dev").partition("[params]")[2]
    genesis = f'[genesis]\nhash = "{genesis_hash}"\nblock = {{ file = "absent.block" }}\n'
    path.write_text(f'name = "ckb_dev"\n{genesis}[params]{params}')
    return str(path)


@pytest.mark.slow
def test_run_gets_genesis_and_chain_from_a_bootnode(tmp_path: Path) -> None:
    giver = NodeProcess(tmp_path / "a", "run", port=make(tmp_path / "a", "--genesis-message", "from a peer"))
    taker: NodeProcess | None = None
    try:
        giver.wait_until_ready()
        for _ in range(5):
            giver.rpc.call("generate_block")
        spec = spec_known_by_hash(tmp_path / "spec.toml", giver.rpc.call("get_block_hash", "0x0"))
        port = make(tmp_path / "b", "--import-spec", spec)
        path = tmp_path / "b" / "config.toml"
        address = giver.rpc.call("local_node_info")["addresses"][0]["address"]
        text, count = re.subn(r"^bootnodes = \[\]", f'bootnodes = ["{address}"]', path.read_text(), flags=re.MULTILINE)
        assert count == 1
        path.write_text(text)
        taker = NodeProcess(tmp_path / "b", "run", port=port)
        taker.wait_until_ready()
        assert "verified by hash" in taker.output()
        assert taker.wait_for_tip(5) == 5
        assert taker.rpc.call("get_block_by_number", "0x0") == giver.rpc.call("get_block_by_number", "0x0")
    finally:
        for node in (giver, taker):
            if node is not None and node.process.poll() is None:
                node.kill()
