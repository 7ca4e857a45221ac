"""The genesis blocks of the public chains from the official Rust crates, which cargo fetches: exact hashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckb_node.commands.list_hashes import bundled_hashes, configured_hashes, hashes_of, published_hashes_of
from ckb_node.config import load_config
from ckb_node.genesis.crates import CratesSource
from ckb_node.genesis.obtain import load_consensus
from ckb_node.jsonrpc_types.block_view import encode_block_view
from ckb_node.specs import bundled_text, load_bundled
from consensus.chainspec.spec import consensus_of
from tests.support.crates import fetch_crates
from tests.support.nodes.directories import OK, invoke

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UNCHECKED = "THE GENESIS HASHES OF MAINNET, TESTNET AND PREVIEW ARE NOT CHECKED in this run"

PUBLISHED = {
    "mainnet": "92b197aa1fba0f63633922c61c92375c9c074a93e85963554f5499fe1450d0e5",
    "testnet": "10639e0895502b5688a6be8cf69460d76541bfa4821629d86d62ba0aae3f9606",
    "preview": "9ed819e4bac690c22e97111baf7fbc873811fa053bfa8764db22e138be3f3728",
    "staging": "bc081e6b2e31149c1dc39007f161ed0a0b63d5d30b3b771acc6a3b622133fcc0",
}
REFERENCE_DEV = "120ab9abd48e3b82f93b88eba8c50a0e1304cc2fffb5573fb14b56c6348f2305"
"""With the message "ckb_dev"."""


@pytest.fixture(scope="module")
def crates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the unpacked crates."""
    return fetch_crates(tmp_path_factory.mktemp("crates"), UNCHECKED)


@pytest.mark.parametrize("chain", PUBLISHED)
def test_init_builds_the_genesis_of_public_chains(crates: Path, tmp_path: Path, chain: str) -> None:
    root = tmp_path / "node"
    made = invoke("-C", str(root), "init", "-c", chain, "--crates", str(crates))
    assert made.exit_code == OK, made.stderr
    assert f"Genesis Hash: 0x{PUBLISHED[chain]}\n" in made.stdout
    assert "cannot run yet" not in made.stderr
    config = load_config(root)
    consensus = load_consensus(config)
    assert consensus.genesis_hash.hex() == PUBLISHED[chain]
    assert invoke("-C", str(root), "stats").exit_code != OK  # a chain of one block has no statistics, but it opens
    assert invoke("-C", str(root), "export", "-t", str(tmp_path)).exit_code == OK
    exported = tmp_path / f"{consensus.id}-0-0.jsonl"
    assert exported.read_bytes() == encode_block_view(consensus.genesis_block) + b"\n"

    other = tmp_path / "other"  # an exported genesis block is a source in turn
    again = invoke("-C", str(other), "init", "-c", chain, "--genesis", str(exported))
    assert again.exit_code == OK, again.stderr
    assert load_consensus(load_config(other)) == consensus


@pytest.mark.parametrize("chain", PUBLISHED)
def test_published_hashes_are_those_of_the_block(crates: Path, chain: str) -> None:
    spec = load_bundled(chain)
    genesis = CratesSource(crates).load(spec)
    published = published_hashes_of(spec, Path())
    assert published is not None
    assert published == bundled_hashes()[spec.name]
    cellbase, dep_groups = genesis.transactions
    assert {cell.tx_hash for cell in published.system_cells} == {f"0x{cellbase.hash.hex()}"}
    assert {group.tx_hash for group in published.dep_groups} == {f"0x{dep_groups.hash.hex()}"}
    if chain != "mainnet":  # whose spec names no cells
        assert published == hashes_of(spec, consensus_of(spec, genesis), Path())


def test_dev_chain_with_the_official_cells_is_the_reference_s(crates: Path, tmp_path: Path) -> None:
    root = tmp_path / "node"
    cells = crates / "ckb-system-scripts" / "specs" / "cells"
    options = ("-c", "dev", "--genesis-message", "ckb_dev", "--system-cells", str(cells))
    made = invoke("-C", str(root), "init", *options)
    assert made.exit_code == OK, made.stderr
    assert f"Genesis Hash: 0x{REFERENCE_DEV}\n" in made.stdout
    hashes = configured_hashes(load_config(root))["ckb_dev"]
    assert hashes.cellbase == "0xa563884b3686078ec7e7677a5f86449b15cf2693f3c1241766c6996f206cc541"
    assert hashes.dep_groups[0].tx_hash == "0xace5ea83c478bb866edf122ff862085789158f5cbff155b7bb5f13058555b708"

    spec = tmp_path / "theirs.toml"
    spec.write_text(bundled_text("dev"))
    theirs = invoke("-C", str(tmp_path / "b"), "init", "-c", "dev", "--import-spec", str(spec), *options[-2:])
    assert f"Genesis Hash: 0x{REFERENCE_DEV}\n" in theirs.stdout
    assert "WARN: the spec" not in theirs.stderr
