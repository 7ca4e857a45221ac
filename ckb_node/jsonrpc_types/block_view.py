"""Blocks as JSON texts with their hashes: what `get_block` answers and what a line of an exported chain holds.

Texts come from files and other nodes, so nothing in them is believed: the header's hash is compared when it is given,
unknown members are skipped, and the caller must bound the text.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ckb_node.jsonrpc_types.chain import HeaderJson, TransactionJson, read_header
from ckb_node.jsonrpc_types.fast_read import header_bytes, transaction_bytes
from ckb_node.jsonrpc_types.fast_write import block_view_json
from ckb_node.jsonrpc_types.hex_text import BadTextError, bytes_text, parse_bytes, parse_short_id
from consensus.codec.molecule import BYTES, pack_parts
from consensus.errors import MoleculeError
from consensus.types.blockchain import PROPOSAL_SHORT_ID_VEC, Block, Header, UncleBlock


class BlockTextError(Exception):
    """The text is no block."""


class _HeaderText(HeaderJson, frozen=True, forbid_unknown_fields=False, gc=False):
    hash: str | None = None


class _TransactionText(TransactionJson, frozen=True, forbid_unknown_fields=False, gc=False):
    pass


class _UncleText(Struct, frozen=True, gc=False):
    header: _HeaderText
    proposals: list[str]


class _BlockText(Struct, frozen=True, gc=False):
    header: _HeaderText
    uncles: list[_UncleText]
    transactions: list[_TransactionText]
    proposals: list[str]
    extension: str | UnsetType | None = UNSET


class _HeaderOfText(Struct, frozen=True, gc=False):
    header: _HeaderText


_HEADER_DECODER = msgspec.json.Decoder(_HeaderOfText)
_DECODER = msgspec.json.Decoder(_BlockText)
_ENCODER = msgspec.json.Encoder()


def decode_block_view(text: bytes) -> Block:
    """The block of a JSON text. BlockTextError says what is wrong with it.

    Whether the header commits to the body is the rules' to find out (consensus.rules.block.verify_block_body).
    """
    try:
        view = _DECODER.decode(text)
        block = _block(view)
    except RecursionError:
        raise BlockTextError("nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, BadTextError, MoleculeError) as error:
        raise BlockTextError(str(error)) from error
    claimed = view.header.hash
    if claimed is not None and claimed != bytes_text(block.hash):
        raise BlockTextError(f"the header says that its hash is {claimed[:66]}, but it is {bytes_text(block.hash)}")
    return block


def decode_block_header(text: bytes) -> Header:
    """The header of a block's JSON text; nothing else of it is looked at, its hash is computed. BlockTextError."""
    try:
        return read_header(_HEADER_DECODER.decode(text).header)
    except RecursionError:
        raise BlockTextError("nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, BadTextError, MoleculeError) as error:
        raise BlockTextError(str(error)) from error


def encode_block_view(block: Block) -> bytes:
    """The text of a block, in one line."""
    return _ENCODER.encode(block_view_json(block))


def _block(view: _BlockText) -> Block:
    proposals = [parse_short_id(each) for each in view.proposals]
    fields = [
        header_bytes(view.header),
        pack_parts([_uncle(uncle).raw for uncle in view.uncles]),
        pack_parts([transaction_bytes(transaction) for transaction in view.transactions]),
        PROPOSAL_SHORT_ID_VEC.pack(proposals),
    ]
    if isinstance(view.extension, str):
        fields.append(BYTES.pack(parse_bytes(view.extension)))
    return Block.parse(pack_parts(fields))


def _uncle(uncle: _UncleText) -> UncleBlock:
    proposals = [parse_short_id(each) for each in uncle.proposals]
    return UncleBlock(header=read_header(uncle.header), proposals=proposals)
