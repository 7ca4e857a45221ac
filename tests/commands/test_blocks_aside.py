"""Blocks of a file by a process of its own: the same as without, up to the first line that is none."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ckb_node.commands import blocks_aside
from ckb_node.commands.block_lines import BlockLine, BlockLineError, read_blocks
from ckb_node.commands.blocks_aside import blocks_of, read_frames
from ckb_node.commands.blocks_child import HEAD, Kind, write_blocks
from ckb_node.jsonrpc_types.block_view import encode_block_view
from ckb_node.runtime.errors import CommandError
from tests.support.nodes.directories import mined
from vm.child import start_child

LINES = b"\n".join([b"", *(encode_block_view(block) for block in mined()), b""])


def frames_of(text: bytes) -> bytes:
    out = io.BytesIO()
    write_blocks(io.BytesIO(text), out)
    return out.getvalue()


def facts(lines: list[BlockLine]) -> list[tuple[int, int, bytes]]:
    return [(line.number, line.size, line.block.raw) for line in lines]


def test_frames_say_what_the_lines_say() -> None:
    found = list(read_frames(io.BytesIO(frames_of(LINES))))
    assert len(found) > 1
    assert facts(found) == facts(list(read_blocks(io.BytesIO(LINES))))


def test_a_line_that_is_no_block_is_told_with_its_number_behind_those_before_it() -> None:
    first = LINES.split(b"\n")[1]
    lines = read_frames(io.BytesIO(frames_of(first + b"\nnonsense\n" + first)))
    assert next(lines).number == 1
    with pytest.raises(BlockLineError, match="line 2: no block"):
        next(lines)


@pytest.mark.parametrize("end", [-1, -HEAD.size, HEAD.size, HEAD.size - 1, 0])
def test_a_process_that_was_killed_is_not_taken_for_the_end_of_the_file(end: int) -> None:
    with pytest.raises(CommandError, match="has ended before the file"):
        list(read_frames(io.BytesIO(frames_of(LINES)[:end])))


def test_a_block_is_bounded_before_it_is_read() -> None:
    with pytest.raises(CommandError, match="line 7: its block has 4294967295 bytes"):
        list(read_frames(io.BytesIO(HEAD.pack(Kind.BLOCK, 7, 1, 0xFFFFFFFF))))


def test_a_large_file_is_read_by_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "blocks"
    path.write_bytes(LINES)
    started: list[str] = []

    def start(module: str, arguments: Sequence[str], **more: Any) -> subprocess.Popen[bytes]:
        started.append(module)
        return start_child(module, arguments, **more)

    monkeypatch.setattr(blocks_aside, "start_child", start)
    with path.open("rb") as file, blocks_of(file, blocks_aside.LARGE_FILE - 1) as lines:
        expected = facts(list(lines))
    assert not started
    with path.open("rb") as file, blocks_of(file, blocks_aside.LARGE_FILE) as lines:
        assert facts(list(lines)) == expected
    assert started == ["ckb_node.commands.blocks_child"]


def test_the_process_ends_with_the_import(tmp_path: Path) -> None:
    path = tmp_path / "blocks"
    path.write_bytes(LINES * 2000)  # more than the pipe holds
    assert path.stat().st_size > 2 * blocks_aside.PIPE_BYTES
    with path.open("rb") as file, blocks_of(file, path.stat().st_size) as lines:
        assert next(lines).block.raw == mined()[0].raw
    with pytest.raises(ValueError, match="closed"):
        list(lines)
