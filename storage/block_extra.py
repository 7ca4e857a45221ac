"""What a header's extra hash commits to (RFC 31), read without the block's transactions: light clients want no more."""

from __future__ import annotations

from itertools import pairwise
from struct import Struct
from typing import Final, NamedTuple

from consensus.codec.layout import NUMBER_SIZE, U32
from consensus.crypto.hashing import ZERO_HASH, ckb_hash, ckb_hash_concat
from consensus.errors import MoleculeError
from consensus.types.blockchain import Block, Header, uncles_hash
from consensus.types.extensions import UNCLE_BLOCK_VEC
from storage.archive import Archive
from storage.records import BlockRecord

__all__ = ["BlockExtra", "read_extra"]

_FIELDS: Final = (4, 5)
"""Of a block without and with extension."""
_HEAD: Final = Struct("<6I")
"""Of a block with extension: its size and the offsets of header, uncles, transactions, proposals and extension."""
_NO_UNCLES: Final = NUMBER_SIZE
"""Bytes of an empty vector."""


class BlockExtra(NamedTuple):
    """A block's header, the hash over its uncles (zero without any), and its extension."""

    header: Header
    uncles_hash: bytes
    extension: bytes | None


def read_extra(record: BlockRecord, archive: Archive) -> BlockExtra:
    """Of a stored block. Raises StorageError.

    Slices of the archive have no checksum, but the extra hash covers these. A block that was stored unchecked may have
    another; such a one is read as a whole.
    """
    header = Header.trusted(record.header)
    try:
        uncles, extension = _read_parts(record, archive)
    except MoleculeError:  # damaged, as the checksum of the whole will tell
        uncles, extension = ZERO_HASH, None
    if _committed(uncles, extension) != header.extra_hash:
        block = Block.trusted(archive.read(record.location))
        uncles, extension = uncles_hash(block.uncles), block.extension
    return BlockExtra(header, uncles, extension)


def _read_parts(record: BlockRecord, archive: Archive) -> tuple[bytes, bytes | None]:
    """Hash over the uncles, and the extension. Raises StorageError, MoleculeError."""
    location = record.location
    size, *offsets = _HEAD.unpack(archive.read_slice(location, 0, _HEAD.size))
    fields = offsets[0] // NUMBER_SIZE - 1
    bounds = [*offsets[:fields], size]
    if size != location.length or fields not in _FIELDS or any(end < start for start, end in pairwise(bounds)):
        raise MoleculeError("Block", "the head is broken")
    uncles_size = bounds[2] - bounds[1]
    uncles = ZERO_HASH
    if uncles_size != _NO_UNCLES:
        uncles = uncles_hash(UNCLE_BLOCK_VEC.parse(archive.read_slice(location, bounds[1], uncles_size)))
    if fields == _FIELDS[0]:
        return uncles, None
    packed = archive.read_slice(location, bounds[4], bounds[5] - bounds[4])
    return uncles, packed[U32.size :]


def _committed(uncles: bytes, extension: bytes | None) -> bytes:
    return uncles if extension is None else ckb_hash_concat(uncles, ckb_hash(extension))
