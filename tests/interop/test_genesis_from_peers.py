"""Our node without the genesis block gets it from the other program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.kit_chain import wait_until
from tests.support.nodes.process import NodeProcess, free_port, run_command
from tests.support.nodes.reference import CELLS, REFERENCE, ReferenceNode, spec_text

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[ReferenceNode]:
    spec = tmp_path / "spec.toml"
    spec.write_text(spec_text(Path(CELLS)))
    node = ReferenceNode(Path(REFERENCE), tmp_path / "reference", spec)
    node.start()
    try:
        yield node
    finally:
        node.stop()


def spec_without_cells(reference: ReferenceNode, directory: Path) -> Path:
    """The same chain, known by its hash; where the cells are is not said truly."""
    genesis_hash = reference.rpc.call("get_block_hash", "0x0")
    text = spec_text(Path("absent"))
    text = text.replace("[genesis]\n", f'[genesis]\nhash = "{genesis_hash}"\n', 1)
    path = directory / "known-by-hash.toml"
    path.write_text(text)
    return path


def make(directory: Path, spec: Path, *arguments: str) -> str:
    """What `init` says."""
    made = run_command(
        *("init", "-C", str(directory), "-c", "dev", "--import-spec", str(spec), "--p2p-port", "0"),
        *("--rpc-port", str(free_port()), *arguments),
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout + made.stderr


def address_of(reference: ReferenceNode) -> str:
    info = reference.rpc.call("local_node_info")
    place = next(each["address"] for each in info["addresses"] if "/ws" not in each["address"]).partition("/p2p/")[0]
    return f"{place}/p2p/{info['node_id']}"


@pytest.mark.parametrize("blocks", [1, 5])
def test_run_gets_it_from_a_bootnode(reference: ReferenceNode, tmp_path: Path, blocks: int) -> None:
    for _ in range(blocks):
        reference.rpc.call("generate_block")
    directory = tmp_path / "ours"
    make(directory, spec_without_cells(reference, tmp_path))
    config = directory / "config.toml"
    text, count = re.subn(
        r"^bootnodes = \[\]", f'bootnodes = ["{address_of(reference)}"]', config.read_text(), flags=re.MULTILINE
    )
    assert count == 1
    port = int(re.findall(r'^listen_address = "127.0.0.1:(\d+)"', text, flags=re.MULTILINE)[0])
    config.write_text(text)
    ours = NodeProcess(directory, "run", port=port)
    try:
        ours.wait_until_ready()
        assert ours.rpc.call("get_block_by_number", "0x0") == reference.rpc.call("get_block_by_number", "0x0")
        wait_until(lambda: len(reference.rpc.call("get_peers")) == 1)
        wait_until(lambda: ours.rpc.call("get_tip_header") == reference.rpc.call("get_tip_header"))
        assert reference.rpc.call("get_banned_addresses") == []
    finally:
        ours.kill()


def test_init_gets_it_from_a_named_peer(reference: ReferenceNode, tmp_path: Path) -> None:
    reference.rpc.call("generate_block")
    spec = spec_without_cells(reference, tmp_path)
    said = make(tmp_path / "ours", spec, "--genesis-peer", address_of(reference))
    assert "verified by hash" in said
    assert reference.rpc.call("get_banned_addresses") == []
