"""Errors of the chain service for blocks, beyond those of the consensus rules."""

from __future__ import annotations

from consensus.errors import BlockError, CkbError


class ForeignGenesisError(BlockError):
    """A block of height 0 that is not this chain's genesis block."""

    def __init__(self, block_hash: bytes) -> None:
        super().__init__(f"block 0x{block_hash.hex()} of height 0 is not the genesis block of this chain")
        self.block_hash = block_hash


class InvalidParentError(BlockError):
    """The parent was found invalid."""

    def __init__(self, parent_hash: bytes) -> None:
        super().__init__(f"InvalidParentError {{ parent_hash: Byte32(0x{parent_hash.hex()}) }}")
        self.parent_hash = parent_hash


class KnownInvalidBlockError(BlockError):
    """The block was found invalid before."""

    def __init__(self, block_hash: bytes) -> None:
        super().__init__(f"block 0x{block_hash.hex()} was found invalid before")
        self.block_hash = block_hash


class InvalidBranchError(BlockError):
    """A switch to the branch of the submitted block failed at one of its ancestors."""

    def __init__(self, block_hash: bytes, cause: CkbError) -> None:
        super().__init__(f"branch is invalid at block 0x{block_hash.hex()}: {cause}")
        self.block_hash, self.cause = block_hash, cause


class TruncateError(CkbError):
    """The chain cannot be cut back to this block."""
