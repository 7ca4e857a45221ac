"""A real dev node that mines only when it is asked: for tests and benchmarks that decide about each block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from click.testing import CliRunner

from ckb_node.chain.bulk import BulkImport
from ckb_node.chain.checks import all_rules, scripts_trusted
from ckb_node.cli.main import main
from ckb_node.config import load_config
from ckb_node.jsonrpc_types.chain import block_json, transaction_json
from ckb_node.mining.template_json import BlockTemplateJson, read_template
from ckb_node.opening import open_chain
from consensus.types.blockchain import Block, Transaction
from tests.support.chains.long_chain import NOW_MS
from tests.support.nodes.process import NodeProcess, RpcClient, free_port

BOB_ARG = "0x470dcdc5e44064909650113a274b3b36aecb6dc7"


def init_directory(directory: Path, edit: Callable[[str], str] = str) -> int:
    """Make a dev node's directory, its chain that of `dev_consensus`, its miner Bob; the RPC port.

    `edit` may change the text of config.toml.
    """
    port = free_port()
    chain = ("--chain", "dev", "--genesis-message", "ckb_dev", "--ba-arg", BOB_ARG)
    options = (*chain, "--rpc-port", str(port), "--p2p-port", "0")
    made = CliRunner().invoke(main, ("init", *options, "-C", str(directory)))
    if made.exit_code != 0:
        raise RuntimeError(made.output)
    config = directory / "config.toml"
    config.write_text(edit(config.read_text(encoding="utf-8")), encoding="utf-8")
    return port


@contextmanager
def quiet_node(directory: Path, port: int) -> Iterator[NodeProcess]:
    """A node over a directory made by `init_directory`; it must end in order."""
    node = NodeProcess(directory, "run", port=port)
    try:
        node.wait_until_ready()
        yield node
        node.stop()
    finally:
        if node.process.poll() is None:
            node.kill()


def send(rpc: RpcClient, transaction: Transaction) -> str:
    """`send_transaction`; the hash."""
    answer: str = rpc.call("send_transaction", msgspec.to_builtins(transaction_json(transaction)), "passthrough")
    return answer


def template_block(rpc: RpcClient) -> Block:
    """`get_block_template` as the block that a miner would submit."""
    return read_template(msgspec.convert(rpc.call("get_block_template"), BlockTemplateJson)).to_block()


def submit(rpc: RpcClient, block: Block) -> str:
    """`submit_block`; the hash."""
    answer: str = rpc.call("submit_block", "0x1", msgspec.to_builtins(block_json(block)))
    return answer


def empty_block(rpc: RpcClient) -> None:
    """A new tip that neither proposes nor commits."""
    template = rpc.call("get_block_template")
    rpc.call("generate_block_with_template", template | {"transactions": [], "proposals": []})


def import_trusted(directory: Path, raw_blocks: Sequence[bytes]) -> None:
    """Put blocks onto an empty chain, scripts trusted."""
    with open_chain(load_config(directory)) as (consensus, _, writer):
        check = all_rules(consensus, scripts_trusted, lambda: NOW_MS)
        with BulkImport(writer, check) as bulk:
            for raw in raw_blocks:
                bulk.add(Block.parse(raw))


def feed(rpc: RpcClient, raw_blocks: Sequence[bytes]) -> None:
    for raw in raw_blocks:
        submit(rpc, Block.parse(raw))
