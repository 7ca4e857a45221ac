"""Every key of the chain database, in one table. The first byte tells the kind; numbers in keys are big endian.

| key | value | of |
|---|---|---|
| `H` block hash | header 208 B, archive location 12 B, transaction count u32 | every stored block |
| `F` number u64, block hash | empty | every stored block |
| `h` block hash | header 208 B, total difficulty u256 | header without its block, see `storage.header_rows` |
| `f` number u64, block hash | empty | the same headers |
| `w` total difficulty u256 (big endian), block hash | empty | those of them on which no other stands |
| `S` block hash | proposal ids of it and its uncles, 10 B each, sorted | every stored block with such ids |
| `X` block hash | `BlockExt` (molecule) | every stored block, and the invalid ones that are remembered |
| `P` block hash | epoch key: hash of the last block of the epoch before, 32 B | every block with an epoch |
| `E` epoch key | `EpochExt` 108 B (molecule) | epochs of any branch |
| `e` epoch number u64 | epoch key | main chain |
| `N` number u64 | block hash | main chain |
| `T` transaction hash | `storage.records.TransactionRecord`, 72 B | main chain |
| `C` out point 36 B | live cell, see `storage.records` | main chain |
| `U` uncle hash | header 208 B | uncles that the main chain embeds |
| `R` MMR position u64 | `HeaderDigest` 120 B (RFC 44) | main chain |
| `G` archive location 12 B | empty | bodies of forgotten blocks, given up at the next open |
| `I` slot u16 | block hash | the invalid blocks that were remembered last |
| `J` slot u16 | serial u64 of a commit | last commits, see `storage.serials` |
| `M` name | meta: see the names below | |

Numbers in values are little endian. Block bodies are in the archive (`storage.archive`).
A change of any layout raises SCHEMA_VERSION and adds a step to `storage.migrations`.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "CELL",
    "COMMIT_SERIAL",
    "EPOCH",
    "EPOCH_NUMBER",
    "EPOCH_OF_BLOCK",
    "EXT",
    "FORGOTTEN_BODY",
    "HEADER",
    "HEADER_LEAF",
    "HEADER_NUMBER",
    "HEADER_ROW",
    "INVALID_SLOT",
    "MAIN_NUMBER",
    "META_ARCHIVE",
    "META_GENESIS",
    "META_HEADER_CUT",
    "META_INVALID",
    "META_SCHEMA",
    "META_SERIAL",
    "META_SPEC",
    "META_TIP",
    "MMR_NODE",
    "PROPOSALS",
    "SCHEMA_VERSION",
    "STORED_NUMBER",
    "TRANSACTION",
    "UNCLE",
    "number_key",
]

SCHEMA_VERSION: Final = 2

HEADER: Final = b"H"
STORED_NUMBER: Final = b"F"
HEADER_ROW: Final = b"h"
HEADER_NUMBER: Final = b"f"
HEADER_LEAF: Final = b"w"
PROPOSALS: Final = b"S"
EXT: Final = b"X"
EPOCH_OF_BLOCK: Final = b"P"
EPOCH: Final = b"E"
EPOCH_NUMBER: Final = b"e"
MAIN_NUMBER: Final = b"N"
TRANSACTION: Final = b"T"
CELL: Final = b"C"
UNCLE: Final = b"U"
MMR_NODE: Final = b"R"
FORGOTTEN_BODY: Final = b"G"
INVALID_SLOT: Final = b"I"
COMMIT_SERIAL: Final = b"J"

META_SCHEMA: Final = b"Mschema"
"""Schema version, u32."""
META_TIP: Final = b"Mtip"
"""Hash of the main chain's last block."""
META_ARCHIVE: Final = b"Marchive"
"""Location of the last record that a commit wrote; what lies behind it is cut at open."""
META_SERIAL: Final = b"Mserial"
"""Serial number of the last commit, u64."""
META_INVALID: Final = b"Minvalid"
"""Number of the invalid block that was remembered last, u64, from 1."""
META_HEADER_CUT: Final = b"Mcut"
"""Deleted headers, height u64 (big endian) and hash 32 B each: header rows that stand on them must be deleted, too."""
META_GENESIS: Final = b"Mgenesis"
"""Hash of the genesis block."""
META_SPEC: Final = b"Mspec"
"""Hash of the chain spec that the operator runs."""


def number_key(prefix: bytes, number: int) -> bytes:
    """Key of a block height, epoch number or MMR position; OverflowError outside u64."""
    return prefix + number.to_bytes(8, "big")
