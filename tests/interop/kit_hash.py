"""Hashes of headers and blocks that are only JSON."""

from __future__ import annotations

import msgspec

from ckb_node.jsonrpc_types.chain import BlockJson, HeaderJson, read_block, read_header
from tests.interop.kit_json import Json, hexed


def header_hash(header: Json) -> str:
    return hexed(read_header(msgspec.convert(header, HeaderJson)).hash)


def block_hash(block: Json) -> str:
    """Of the block with the roots of its content."""
    return hexed(read_block(msgspec.convert(block, BlockJson)).with_roots().hash)
