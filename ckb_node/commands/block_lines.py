"""Files of blocks: one JSON block a line, as `export` writes them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ckb_node.jsonrpc_types.block_view import BlockTextError, decode_block_header, decode_block_view
from ckb_node.runtime.errors import CommandError
from consensus.types.blockchain import Block, Header

MAX_LINE_BYTES = 64 << 20
"""A mainnet block of full size takes about 1.3 MB, the largest genesis block 3 MB; more is no block."""

STANDARD = "-"


class BlockLineError(CommandError):
    """A line that cannot be used; the message begins with its number."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"line {number}: {reason}")
        self.number, self.reason = number, reason


class BlockLine(NamedTuple):
    """A block, and the length of its line in bytes."""

    number: int
    size: int
    block: Block


@contextmanager
def open_blocks(source: str) -> Iterator[BinaryIO]:
    """A file by its path, or standard input for `-`. OSError."""
    if source == STANDARD:
        yield sys.stdin.buffer
        return
    with Path(source).open("rb") as file:
        yield file


def size_of(source: str) -> int | None:
    """Bytes of a file; None for what has no size."""
    if source == STANDARD or not Path(source).is_file():
        return None
    return Path(source).stat().st_size


def read_blocks(file: BinaryIO, limit: int = MAX_LINE_BYTES) -> Iterator[BlockLine]:
    """The blocks of a file in order, each line read when it is asked for; empty lines do not count. BlockLineError."""
    for number, line in _lines(file, limit):
        try:
            yield BlockLine(number, len(line), decode_block_view(line))
        except BlockTextError as error:
            raise BlockLineError(number, f"no block: {error}") from error


def read_headers(file: BinaryIO, limit: int = MAX_LINE_BYTES) -> Iterator[Header]:
    """The same of their headers only, which takes a fraction of the time. BlockLineError."""
    for number, line in _lines(file, limit):
        try:
            yield decode_block_header(line)
        except BlockTextError as error:
            raise BlockLineError(number, f"no block: {error}") from error


def _lines(file: BinaryIO, limit: int) -> Iterator[tuple[int, bytes]]:
    """Number and text of each line that is not empty."""
    number = 0
    while line := file.readline(limit + 1):
        number += 1
        if len(line) > limit:
            raise BlockLineError(number, f"longer than {limit} bytes")
        if line.strip():
            yield number, line
