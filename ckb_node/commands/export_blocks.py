"""`ckb-node export`: write blocks of the main chain to a file, one JSON block a line."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click

from ckb_node.commands.block_lines import STANDARD
from ckb_node.config import Config
from ckb_node.jsonrpc_types.block_view import encode_block_view
from ckb_node.jsonrpc_types.hex_text import BadTextError, parse_hash
from ckb_node.opening import open_chain
from ckb_node.runtime.errors import CommandError
from ckb_node.runtime.progress import BlockProgress
from ckb_node.runtime.stop_flag import StopFlag, stop_flag
from consensus.lookup import require
from storage.chain_state import ChainState


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """`target`: a directory, or - for standard output. The ends are heights or hashes, both included."""

    target: str
    first: str | None = None
    last: str | None = None


def export_blocks(config: Config, options: ExportOptions) -> int:
    """The command. Raises CommandError, OSError."""
    with open_chain(config) as (consensus, store, _), store.view() as view, stop_flag() as stop:
        tip = view.tip_header().number
        first = 0 if options.first is None else height_of(view, options.first)
        last = tip if options.last is None else height_of(view, options.last)
        if last < first:
            raise CommandError(f"Invalid range: from {first} to {last}")
        name = f"{consensus.id}-{first}-{last}.jsonl"
        with (
            _opened(options.target, name) as file,
            BlockProgress("exporting", last - first + 1) as progress,
        ):
            write_blocks(view, range(first, last + 1), file, progress, stop)
        click.echo(f"exported {progress.counts.summary()}", err=options.target == STANDARD)
    return 0


def height_of(view: ChainState, text: str) -> int:
    """The height that a number or the hash of a main-chain block names. CommandError when there is no such block."""
    if text.isascii() and text.isdecimal() and len(text) < 20:
        number, tip = int(text), view.tip_header().number
        if number > tip:
            raise CommandError(f"there is no block {number}: the tip is {tip}")
        return number
    try:
        block_hash = parse_hash(text if text.startswith("0x") else f"0x{text}")
    except BadTextError:
        raise CommandError(f"Invalid block hash provided: {text}") from None
    header = view.header(block_hash)
    if header is None or not view.is_main(block_hash):
        raise CommandError(f"block {text} is not on the main chain")
    return header.number


def write_blocks(view: ChainState, heights: range, file: BinaryIO, progress: BlockProgress, stop: StopFlag) -> None:
    """Write the main chain's blocks at these heights."""
    for height in heights:
        stop.check()
        block = require(view.block(require(view.main_hash(height), "main-chain block", height)), "block", height)
        file.write(encode_block_view(block) + b"\n")
        progress.advance(1, 1, len(block.transactions) - 1)


@contextmanager
def _opened(target: str, name: str) -> Iterator[BinaryIO]:
    """Standard output, or a new file in a directory that gets its name when it is whole."""
    if target == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(target) / name
    if path.exists():
        raise CommandError(f"{path} is there already")
    path.parent.mkdir(parents=True, exist_ok=True)
    click.echo(f"Writing to {path}")
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
