"""`ckb-node import` of the first blocks of the public chains: many blocks a commit, and the state of single ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckb_node.config import load_config
from ckb_node.jsonrpc_types.block_view import encode_block_view
from consensus.types.blockchain import Block, Transaction
from storage.compare import state_differences
from tests.realchain.kinds import MAINNET, TESTNET
from tests.realchain.kit_replay import new_chain
from tests.realchain.public import PublicChain
from tests.realchain.vectors import FIRST_BLOCKS
from tests.support.nodes.directories import OK, invoke, stored

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def lines(blocks: list[Block]) -> bytes:
    return b"".join(encode_block_view(block) + b"\n" for block in blocks)


@pytest.mark.parametrize("network", [MAINNET, TESTNET])
def test_import_and_export(chains: dict[str, PublicChain], crates: Path, tmp_path: Path, network: str) -> None:
    consensus = chains[network].consensus
    blocks = [real.block for real in FIRST_BLOCKS[network]]
    root, source = tmp_path / "node", tmp_path / "chain.jsonl"
    source.write_bytes(lines(blocks))
    assert invoke("-C", str(root), "init", "-c", network, "--crates", str(crates)).exit_code == OK
    imported = invoke("-C", str(root), "import", str(source))
    assert imported.exit_code == OK, imported.stderr
    spending = sum(len(block.transactions) - 1 for block in blocks)
    assert f"imported {len(blocks)} blocks with {spending} transactions" in imported.stdout

    store, processor = new_chain(consensus)
    for block in blocks:
        processor.process(block)
    with stored(load_config(root)) as view, store.view() as expected:
        assert state_differences(view, expected) == []
    store.close()

    assert invoke("-C", str(root), "export", "-t", str(tmp_path)).exit_code == OK
    exported = tmp_path / f"{consensus.id}-0-{len(blocks)}.jsonl"
    assert exported.read_bytes() == lines([consensus.genesis_block, *blocks])


def test_a_forged_witness_stops_it(crates: Path, tmp_path: Path) -> None:
    """The header has its work, but it commits to what the owner signed."""
    blocks = [real.block for real in FIRST_BLOCKS[MAINNET][:14]]
    *others, last = blocks[11].transactions
    forged = Transaction(body=last.body, witnesses=[last.witnesses[0][:-1] + b"\xff"])
    blocks[11] = blocks[11].replace(transactions=[*others, forged])
    root, source = tmp_path / "node", tmp_path / "chain.jsonl"
    source.write_bytes(lines(blocks))
    assert invoke("-C", str(root), "init", "-c", MAINNET, "--crates", str(crates)).exit_code == OK
    refused = invoke("-C", str(root), "import", str(source))
    assert refused.exit_code != OK
    assert "TransactionsRoot" in refused.stderr
    with stored(load_config(root)) as view:
        assert view.tip_header().number == 11
