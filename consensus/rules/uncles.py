"""Rules of the uncles that a block embeds (RFC 20)."""

from __future__ import annotations

from enum import Enum

from consensus.context import ChainReader
from consensus.errors import BlockError
from consensus.params import Consensus
from consensus.rules.pow import verify_pow
from consensus.types.blockchain import Block, Header, UncleBlock
from consensus.types.core import EpochExt, EpochFraction


class UncleFault(Enum):
    """What is wrong with an uncle."""

    TARGET = "InvalidTarget"
    EPOCH = "InvalidDifficultyEpoch"
    NUMBER = "InvalidNumber"
    DESCENDANT = "DescendantLimit"
    DUPLICATE = "Duplicate"
    DOUBLE_INCLUSION = "DoubleInclusion"
    PROPOSALS_LIMIT = "ExceededMaximumProposalsLimit"
    DUPLICATE_PROPOSAL = "ProposalDuplicate"


_FAULTS_THAT_NAME_THE_UNCLE = frozenset({UncleFault.DUPLICATE, UncleFault.DOUBLE_INCLUSION})


class UncleError(BlockError):
    """An uncle breaks a rule."""

    def __init__(self, fault: UncleFault, uncle_hash: bytes) -> None:
        named = f"(Byte32(0x{uncle_hash.hex()}))" if fault in _FAULTS_THAT_NAME_THE_UNCLE else ""
        super().__init__(f"Block(Uncles({fault.value}{named}))")
        self.fault, self.uncle_hash = fault, uncle_hash


class TooManyUnclesError(BlockError):
    """The block embeds more uncles than it may."""

    def __init__(self, limit: int, actual: int) -> None:
        super().__init__(f"Block(Uncles(OverCount(max: {limit}, actual: {actual})))")
        self.limit, self.actual = limit, actual


def verify_uncles(consensus: Consensus, block: Block, epoch: EpochExt, reader: ChainReader) -> None:
    """RFC 27 "Uncles", RFC 20 "Protocol Parameters": at most two uncles, each a solved block of this epoch whose parent
    the chain knows, embedded for the first time.

    `epoch` is the block's, `reader`'s tip its parent. Versions, timestamps and DAO fields of uncles are not looked at.
    Raises TooManyUnclesError, UncleError or PowError. `verify_block_body` has compared their proposals hashes.
    """
    if not block.uncles:
        return
    limit = consensus.max_uncles if block.number else 0
    if len(block.uncles) > limit:
        raise TooManyUnclesError(limit, len(block.uncles))
    earlier: dict[bytes, int] = {}
    for uncle in block.uncles:
        verify_uncle_place(uncle.header, block.number, epoch)
        verify_uncle_ancestry(uncle.header, earlier, reader)
        verify_uncle_is_new(uncle.hash, earlier, reader)
        verify_uncle_proposals(consensus, uncle)
        verify_pow(consensus, uncle.header)
        earlier[uncle.hash] = uncle.header.number


def verify_uncle_place(uncle: Header, number: int, epoch: EpochExt) -> None:
    """RFC 27 "Uncles", conditions 1 and 2: same epoch and compact target as the block, and a lower number."""
    if uncle.compact_target != epoch.compact_target:
        raise UncleError(UncleFault.TARGET, uncle.hash)
    if EpochFraction.unpack(uncle.epoch).number != epoch.number:
        raise UncleError(UncleFault.EPOCH, uncle.hash)
    if uncle.number >= number:
        raise UncleError(UncleFault.NUMBER, uncle.hash)


def verify_uncle_ancestry(uncle: Header, earlier: dict[bytes, int], reader: ChainReader) -> None:
    """RFC 27 "Uncles", condition 3: its parent is on the main chain, or an uncle of the main chain or, earlier in the
    list, of the block.
    """
    parent_number = _parent_number(uncle.parent_hash, earlier, reader)
    if parent_number is None or parent_number + 1 != uncle.number:
        raise UncleError(UncleFault.DESCENDANT, uncle.hash)


def _parent_number(parent_hash: bytes, earlier: dict[bytes, int], reader: ChainReader) -> int | None:
    if parent_hash in earlier:
        return earlier[parent_hash]
    parent = reader.header(parent_hash) if reader.is_main(parent_hash) else reader.uncle(parent_hash)
    return None if parent is None else parent.number


def verify_uncle_is_new(uncle_hash: bytes, earlier: dict[bytes, int], reader: ChainReader) -> None:
    """RFC 27 "Uncles", condition 4: neither the block nor the main chain has it, as block or as uncle."""
    if uncle_hash in earlier:
        raise UncleError(UncleFault.DUPLICATE, uncle_hash)
    if reader.is_main(uncle_hash) or reader.uncle(uncle_hash) is not None:
        raise UncleError(UncleFault.DOUBLE_INCLUSION, uncle_hash)


def verify_uncle_proposals(consensus: Consensus, uncle: UncleBlock) -> None:
    """RFC 20 "Block and Compact Block Structure": it proposes no more than a block may, and nothing twice (ckb, no
    RFC).
    """
    if len(uncle.proposals) > consensus.max_block_proposals:
        raise UncleError(UncleFault.PROPOSALS_LIMIT, uncle.hash)
    if len(set(uncle.proposals)) != len(uncle.proposals):
        raise UncleError(UncleFault.DUPLICATE_PROPOSAL, uncle.hash)
