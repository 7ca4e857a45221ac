"""`ckb-node stats`: how many uncles a part of the main chain has, and who mined its last blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import click

from ckb_node.config import Config
from ckb_node.jsonrpc_types.chain import HASH_TYPE_NAMES
from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.opening import open_chain
from ckb_node.runtime.errors import CommandError
from consensus.errors import MoleculeError
from consensus.lookup import require
from consensus.types.blockchain import CellbaseWitness
from storage.chain_state import ChainState

MINER_BLOCKS = 1000
"""Miners are counted in so many blocks at the end."""


def stats(config: Config, first: int | None, last: int | None) -> int:
    """The command: blocks above `first` up to `last`. CommandError."""
    with open_chain(config) as (_, store, _), store.view() as view:
        tip = view.tip_header().number
        start, end = first or 0, tip if last is None else last
        if start >= end:
            raise CommandError(f"--from {start} is not below --to {end}")
        if end > tip:
            raise CommandError(f"there is no block {end}: the tip is {tip}")
        for line in (*uncle_lines(view, start, end), *miner_lines(view, start, end)):
            click.echo(line)
    return 0


def uncle_lines(view: ChainState, start: int, end: int) -> Iterator[str]:
    """Uncles to blocks in (start, end]."""
    uncles = _total_uncles(view, end) - _total_uncles(view, start)
    blocks = end - start
    yield f"uncle_rate: {uncles}/{blocks}({uncles / blocks:g})"


def miner_lines(view: ChainState, start: int, end: int) -> Iterator[str]:
    """Locks and messages of cellbases of the last blocks of [start, end], the most frequent first."""
    heights = range(max(end - MINER_BLOCKS + 1, start), end + 1)
    witnesses = [_cellbase_witness(view, height) for height in heights]
    yield "by_miner_script:"
    yield f"{'percentage':<10} | {'total':<5} | {'args':<42} | {'code_hash':<66} | {'hash_type':<9} "
    for lock, count in Counter(witness.lock for witness in witnesses).most_common():
        share = f"{count / len(witnesses):.1%}"
        hash_type = HASH_TYPE_NAMES.get(lock.hash_type, str(lock.hash_type)).capitalize()
        args, code_hash = bytes_text(lock.args), bytes_text(lock.code_hash)
        yield f"{share:<10} | {count:<5} | {args:<42} | {code_hash:<66} | {hash_type:<9}"
    yield "by_miner_message:"
    yield f"{'percentage':<10} | {'total':<5} | {'messages':<50}"
    for message, count in Counter(witness.message for witness in witnesses).most_common():
        share = f"{count / len(witnesses):.1%}"
        yield f"{share:<10} | {count:<5} | {_shown(message):<50}"


def _shown(message: bytes) -> str:
    """b"text" with escapes for what cannot be printed."""
    text = "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else _escaped(byte) for byte in message)
    return f'b"{text}"'


def _escaped(byte: int) -> str:
    known = {0: "\\0", 9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 92: "\\\\"}
    return known.get(byte, f"\\x{byte:02x}")


def _total_uncles(view: ChainState, height: int) -> int:
    block_hash = require(view.main_hash(height), "main-chain block", height)
    return require(view.block_ext(block_hash), "block ext", block_hash).total_uncles_count


def _cellbase_witness(view: ChainState, height: int) -> CellbaseWitness:
    block_hash = require(view.main_hash(height), "main-chain block", height)
    cellbase = require(view.block(block_hash), "block", block_hash).transactions[0]
    try:
        return CellbaseWitness.parse(cellbase.witnesses[0])
    except (MoleculeError, IndexError) as error:
        raise CommandError(f"block {height} names no miner: {error}") from error
