"""Rules of a block that need its parent's chain, besides uncles and proposals: DAO field, reward, chain root.

`reader`'s tip is the block's parent everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus.context import ChainReader
from consensus.crypto.hashing import HASH_SIZE
from consensus.errors import BlockError
from consensus.params import Consensus
from consensus.rules.block import CellbaseError, CellbaseFault
from consensus.rules.dao import CapacityMoves, dao_field_after, dao_field_in_epoch
from consensus.rules.hardfork import chain_root_is_required
from consensus.rules.mmr import chain_root_hash
from consensus.rules.reward import block_reward, has_finalization_target
from consensus.types.blockchain import Block, Header, bare_cell_capacity
from consensus.types.core import EpochExt, EpochFraction, ResolvedTransaction


class DaoFieldMismatchError(BlockError):
    """The header's DAO field is not the computed one. Both are 32 bytes."""

    def __init__(self, expected: bytes, actual: bytes) -> None:
        super().__init__("Block(InvalidDAO(No reason provided))")
        self.expected, self.actual = expected, actual


class NoExtensionError(BlockError):
    """The extension with the chain root is missing."""

    def __init__(self) -> None:
        super().__init__("Block(NoBlockExtension(No reason provided))")


class ShortExtensionError(BlockError):
    """The extension is too short for a chain root."""

    def __init__(self, actual: int) -> None:
        super().__init__("Block(InvalidBlockExtension(No reason provided))")
        self.actual = actual


class ChainRootError(BlockError):
    """The extension does not start with the chain root. Both are 32 bytes."""

    def __init__(self, expected: bytes, actual: bytes) -> None:
        super().__init__("Block(InvalidChainRoot(No reason provided))")
        self.expected, self.actual = expected, actual


def verify_dao_field(
    consensus: Consensus,
    header: Header,
    resolved: Sequence[ResolvedTransaction],
    parent: Header,
    epoch: EpochExt,
    reader: ChainReader,
) -> None:
    """RFC 23 "Calculation": the header's DAO field follows from the parent's and the block's transactions.

    `epoch` is the block's.
    """
    _compare_dao_field(header, dao_field_in_epoch(consensus, resolved, parent, epoch, reader))


def verify_dao_field_after(
    consensus: Consensus, header: Header, parent: Header, epoch: EpochExt, moves: CapacityMoves
) -> None:
    """RFC 23 "Calculation": as `verify_dao_field`, from the sums that the transactions move."""
    _compare_dao_field(header, dao_field_after(consensus, parent, epoch, moves))


def _compare_dao_field(header: Header, expected: bytes) -> None:
    if header.dao != expected:
        raise DaoFieldMismatchError(expected, header.dao)


def verify_reward(consensus: Consensus, block: Block, parent: Header, reader: ChainReader) -> None:
    """RFC 15 "Miner Compensation", RFC 20 "Two-Step Transaction Confirmation": the cellbase pays the finalised block's
    miner exactly its reward.

    The block at `number - 11` is the one that is finalised. The cellbase has no output while there is none, or when the
    reward is too small for a cell with the miner's lock (ckb, no RFC).
    """
    outputs = block.transactions[0].body.outputs
    if not has_finalization_target(consensus, block.number):
        if outputs:
            raise CellbaseError(CellbaseFault.REWARD_TARGET)
        return
    lock, reward = block_reward(consensus, parent, reader)
    if bare_cell_capacity(lock) > reward.total:
        if outputs:
            raise CellbaseError(CellbaseFault.REWARD_TARGET)
        return
    if sum(output.capacity for output in outputs) != reward.total:
        raise CellbaseError(CellbaseFault.REWARD_AMOUNT)
    if outputs[0].lock != lock:
        raise CellbaseError(CellbaseFault.REWARD_TARGET)


def verify_chain_root(consensus: Consensus, block: Block, parent: Header, reader: ChainReader) -> None:
    """RFC 44 "Chain Root": the extension starts with the hash of the MMR root over all headers up to the parent.

    Required if RFC 44 is active in the parent's epoch.
    """
    if not chain_root_is_required(consensus, EpochFraction.unpack(parent.epoch).number):
        return
    extension = block.extension
    if extension is None:
        raise NoExtensionError
    if len(extension) < HASH_SIZE:
        raise ShortExtensionError(len(extension))
    expected = chain_root_hash(reader, parent.number)
    if extension[:HASH_SIZE] != expected:
        raise ChainRootError(expected, extension[:HASH_SIZE])
