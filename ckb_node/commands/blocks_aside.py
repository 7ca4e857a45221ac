"""Blocks of a large file by a process of their own: to make a block of its text takes longer than to take it.

The process is a child like others (vm/child.py). It runs ahead as far as the pipe holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from ckb_node.commands.block_lines import MAX_LINE_BYTES, BlockLine, BlockLineError, read_blocks
from ckb_node.commands.blocks_child import HEAD, Kind
from ckb_node.runtime.errors import CommandError
from consensus.types.blockchain import Block
from vm.child import start_child

LARGE_FILE: Final = 4 << 20
"""Bytes. The lines of a smaller one are read before a process has started."""
PIPE_BYTES: Final = 1 << 20
"""What the process may be ahead; the most that the system gives everybody."""
_MODULE: Final = "ckb_node.commands.blocks_child"


@contextmanager
def blocks_of(file: BinaryIO, size: int | None) -> Iterator[Iterator[BlockLine]]:
    """The blocks of an open file of `size` bytes, None when it has none; see `read_blocks`. Raises OSError."""
    if size is None or size < LARGE_FILE:
        yield read_blocks(file)
        return
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb", buffering=PIPE_BYTES) as frames:
        with os.fdopen(theirs, "wb"):
            with contextlib.suppress(OSError):
                fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            child = start_child(_MODULE, [str(theirs)], stdin=file, pass_fds=(theirs,), group=0)
        try:
            yield read_frames(frames)
        finally:
            child.kill()
            child.wait()


def read_frames(frames: BinaryIO) -> Iterator[BlockLine]:
    """What `blocks_child.write_blocks` wrote. BlockLineError; CommandError when there is no end."""
    while True:
        kind, number, line_size, size = HEAD.unpack(_exactly(frames, HEAD.size))
        if size > MAX_LINE_BYTES:
            raise CommandError(f"line {number}: its block has {size} bytes")
        payload = _exactly(frames, size)
        if kind == Kind.BLOCK:
            yield BlockLine(number, line_size, Block.parse(payload))
        elif kind == Kind.FAULT:
            raise BlockLineError(number, payload.decode())
        else:
            return


def _exactly(frames: BinaryIO, size: int) -> bytes:
    found = frames.read(size)
    if len(found) < size:
        raise CommandError("the process that reads the file has ended before the file has; was it killed?")
    return found
