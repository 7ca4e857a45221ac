"""What the rules need to look up, declared by the rules; storage (and the pool, and tests) satisfy these Protocols.

A `ChainReader` is one consistent state of the main chain: its tip, and everything that is true at that tip. A block is
verified with a reader whose tip is the block's parent: "main chain" below means "the branch that ends in the parent".
Hashes are 32 bytes, out points their 36-byte key, numbers block heights. Look-ups answer None for what is not there.
"""

from __future__ import annotations

from typing import Protocol

from consensus.types.blockchain import Block, Header, Transaction
from consensus.types.core import BlockExt, CellMeta, EpochExt, TransactionInfo


class CellProvider(Protocol):
    """Live cells."""

    def cell(self, out_point: bytes) -> CellMeta | None:
        """The live cell, None when it is spent or never was."""
        ...


class HeaderProvider(Protocol):
    """Headers of any stored block, on the main chain or not."""

    def header(self, block_hash: bytes) -> Header | None:
        """The header, None when the block is not stored."""
        ...


class StoredBlocksReader(HeaderProvider, Protocol):
    """What is stored of any block, on the main chain or not."""

    def block(self, block_hash: bytes) -> Block | None:
        """The block, None when it is not stored."""
        ...

    def block_ext(self, block_hash: bytes) -> BlockExt | None:
        """What the node knows of the block: fees, cycles, total difficulty."""
        ...

    def block_epoch(self, block_hash: bytes) -> EpochExt | None:
        """The epoch that the block belongs to."""
        ...

    def proposal_ids(self, block_hash: bytes) -> frozenset[bytes] | None:
        """Short ids proposed by the block or its uncles."""
        ...


class ChainReader(CellProvider, StoredBlocksReader, Protocol):
    """The main chain at one tip."""

    def tip_header(self) -> Header:
        """Header of the last block of the main chain."""
        ...

    def tip_epoch(self) -> EpochExt:
        """The epoch that the tip belongs to."""
        ...

    def main_hash(self, number: int) -> bytes | None:
        """Hash of the main chain's block at a height."""
        ...

    def is_main(self, block_hash: bytes) -> bool:
        """The block is on the main chain."""
        ...

    def uncle(self, uncle_hash: bytes) -> Header | None:
        """Header of an uncle that some main-chain block embeds."""
        ...

    def transaction_info(self, tx_hash: bytes) -> TransactionInfo | None:
        """Where a transaction of the main chain was committed."""
        ...

    def transaction(self, tx_hash: bytes) -> Transaction | None:
        """A transaction of the main chain."""
        ...

    def mmr_node(self, position: int) -> bytes | None:
        """A 120-byte HeaderDigest of the chain-root MMR (RFC 44)."""
        ...
