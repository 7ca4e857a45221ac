"""The process that makes blocks of the lines of a file, beside the one that imports them; see blocks_aside."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import IntEnum
from struct import Struct
from typing import BinaryIO, Final

from ckb_node.commands.block_lines import BlockLineError, read_blocks

HEAD: Final = Struct("<BQII")
"""Kind, number of the line, its size, size of what follows."""


class Kind(IntEnum):
    """What follows a head."""

    BLOCK = 0
    """A serialised block."""
    FAULT = 1
    """Why a line is no block. Nothing comes after it."""
    END = 2
    """Nothing: all lines were read."""


def main(arguments: Sequence[str]) -> int:
    """Reads standard input; writes to the descriptor that is the only argument."""
    with os.fdopen(int(arguments[0]), "wb", buffering=0) as out:
        try:
            write_blocks(sys.stdin.buffer, out)
        except BrokenPipeError:
            return 1  # the import has ended
    return 0


def write_blocks(file: BinaryIO, out: BinaryIO) -> None:
    """All blocks of a file, up to the first line that is none."""
    try:
        for line in read_blocks(file):
            _write(out, Kind.BLOCK, line.number, line.size, line.block.raw)
    except BlockLineError as error:
        _write(out, Kind.FAULT, error.number, 0, error.reason.encode(errors="replace"))
    else:
        _write(out, Kind.END, 0, 0, b"")


def _write(out: BinaryIO, kind: Kind, number: int, size: int, payload: bytes) -> None:
    rest = memoryview(HEAD.pack(kind, number, size, len(payload)) + payload)
    while rest:
        rest = rest[out.write(rest) :]
