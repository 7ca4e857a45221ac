"""A short dev chain with payments, and node directories for the commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from click.testing import CliRunner, Result

from ckb_node.cli.main import main
from ckb_node.commands.init import InitOptions, init_directory
from ckb_node.config import Config, load_config
from ckb_node.jsonrpc_types.block_view import encode_block_view
from consensus.types.blockchain import Block, OutPoint
from storage.chain_state import ChainState
from storage.chain_store import ChainStore
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.chains.devchain import dev_chain, dev_consensus

OK, CLI, CONFIG, IO, FAILURE = 0, 64, 65, 66, 113
BLOCKS, PAYMENTS = 24, 6


@cache
def mined(message: bytes = b"", blocks: int = BLOCKS, payments: int = PAYMENTS) -> tuple[Block, ...]:
    """Blocks 1 to `blocks` of the bundled dev chain; Alice pays Bob so often."""
    return asyncio.run(_mine(message, blocks, payments))


async def _mine(message: bytes, count: int, payments: int) -> tuple[Block, ...]:
    alice, bob = Wallet(ALICE_KEY), Wallet(BOB_KEY)
    async with dev_chain(message=message) as dev:
        out_point, capacity = issued_cell(dev.consensus, alice)
        blocks = []
        for number in range(count):
            if number < payments:
                change = capacity - 101 * CKB
                outputs = [(bob.lock, 100 * CKB), (alice.lock, change)]
                payment = alice.transfer(dev.consensus, [(out_point, capacity)], outputs)
                await dev.pool.submit(payment)
                out_point, capacity = OutPoint(tx_hash=payment.hash, index=1), change
            blocks.append(await dev.mine())
        assert sum(len(block.transactions) - 1 for block in blocks) == payments
        return tuple(blocks)


def file_of(path: Path, blocks: Sequence[Block], *, genesis: bool = True) -> Path:
    """A file of blocks, as exports are."""
    lines = [dev_consensus().genesis_block, *blocks] if genesis else blocks
    path.write_bytes(b"".join(encode_block_view(block) + b"\n" for block in lines))
    return path


def with_block(blocks: Sequence[Block], number: int, change: Callable[[Block], Block]) -> list[Block]:
    """The chain with one block changed, and those above it built on the changed one."""
    changed = list(blocks[: number - 1])
    for block in blocks[number - 1 :]:
        new = change(block) if block.number == number else block
        if changed and new.parent_hash != changed[-1].hash:
            new = new.replace(header=new.header.with_fields(parent_hash=changed[-1].hash))
        changed.append(new)
    return changed


def make_node(root: Path, port: int = 8114, message: str = "ckb_dev") -> Config:
    """The directory of a node on the chain of `mined`, or on another by its genesis message."""
    options = InitOptions(root=root, chain="dev", genesis_message=message, rpc_port=port, p2p_port=0)
    init_directory(options, lambda _: None, lambda _: None)
    return load_config(root)


@contextmanager
def stored(config: Config) -> Iterator[ChainState]:
    """What the node's database holds."""
    store = ChainStore.open(config.data_dir / "chain")
    try:
        with store.view() as view:
            yield view
    finally:
        store.close()


def tip_of(config: Config) -> int:
    with stored(config) as view:
        return view.tip_header().number


def invoke(*arguments: str, stdin: bytes | str | None = None) -> Result:
    """A command to its end; never with a traceback."""
    result = CliRunner().invoke(main, arguments, input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), "a traceback"
    return result
