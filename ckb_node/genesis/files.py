"""Genesis blocks in files: molecule bytes, or JSON as nodes answer it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ckb_node.jsonrpc_types.block_view import BlockTextError, decode_block_view
from consensus.chainspec.spec import ChainSpec
from consensus.errors import MoleculeError, SpecError
from consensus.types.blockchain import Block

MAX_GENESIS_BYTES = 32 << 20
"""Mainnet's is 1.2 MB, and twice that as JSON."""


class GenesisSourceError(SpecError):
    """A source does not have the genesis block. The text is one line that names the source."""


class _Answer(msgspec.Struct):
    """A JSON-RPC response; its result stays JSON text."""

    result: msgspec.Raw


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file with the block in molecule or JSON."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def load(self, _: ChainSpec) -> Block:
        """The block of the file, not compared with the spec. GenesisSourceError."""
        return read_block_file(self.path)


def read_block_file(path: Path) -> Block:
    """A block from a file. GenesisSourceError when it is too large or no block."""
    try:
        return decode_block(read_bounded(path, MAX_GENESIS_BYTES))
    except (MoleculeError, BlockTextError) as error:
        raise GenesisSourceError(f"{path}: no block: {error}") from error


def write_block_file(path: Path, block: Block) -> None:
    """Write a block through a temporary file, so that a crash leaves no half block. OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        file.write(block.raw)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def decode_block(data: bytes) -> Block:
    """A block from molecule bytes, its JSON, or a JSON-RPC answer that holds its JSON. MoleculeError, BlockTextError.

    Molecule begins with its own length, which no JSON text of that length does.
    """
    if len(data) < 4 or int.from_bytes(data[:4], "little") == len(data):
        return Block.parse(data)
    return decode_block_view(_answered(data))


def _answered(text: bytes) -> bytes:
    try:
        return bytes(msgspec.json.decode(text, type=_Answer).result)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return text


def read_bounded(path: Path, limit: int) -> bytes:
    """A file of at most `limit` bytes. GenesisSourceError."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise GenesisSourceError(f"{path}: {error.strerror}") from error
    if len(data) > limit:
        raise GenesisSourceError(f"{path}: larger than {limit} bytes")
    return data
