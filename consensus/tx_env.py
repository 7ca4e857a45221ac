"""Which block a transaction is verified for: the one that holds it, or the first that may hold it (pool)."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from consensus.params import ProposalWindow
from consensus.types.blockchain import Header
from consensus.types.core import EpochFraction


class Phase(Enum):
    """How far a transaction has come."""

    SUBMITTED = "submitted"
    PROPOSED = "proposed"
    COMMITTED = "committed"


class TxEnv(NamedTuple):
    """A committed transaction is judged at its block's header, one in the pool at the tip.

    For the pool, the block that will commit it is not known; sure is only that `closest` blocks lie between proposal
    and commitment (RFC 20). `parent_hash` is the block whose median time is "now" for since: the tip, or the parent of
    the committing block.
    """

    number: int
    """Of the committing block's header, or of the tip."""
    epoch: EpochFraction
    """Epoch field of the same header: maturity and epoch since compare with it."""
    parent_hash: bytes
    phase: Phase
    blocks_proposed: int = 0
    """Blocks since the proposal, of a proposed transaction."""

    @classmethod
    def submitted(cls, tip_header: Header) -> TxEnv:
        """A transaction that waits to be proposed."""
        return cls(tip_header.number, EpochFraction.unpack(tip_header.epoch), tip_header.hash, Phase.SUBMITTED)

    @classmethod
    def proposed(cls, tip_header: Header, blocks: int) -> TxEnv:
        """A transaction that was proposed `blocks` blocks ago."""
        return cls(tip_header.number, EpochFraction.unpack(tip_header.epoch), tip_header.hash, Phase.PROPOSED, blocks)

    @classmethod
    def committed(cls, header: Header) -> TxEnv:
        """A transaction of the block with this header."""
        return cls(header.number, EpochFraction.unpack(header.epoch), header.parent_hash, Phase.COMMITTED)

    @property
    def is_committed(self) -> bool:
        """The transaction is part of a block."""
        return self.phase is Phase.COMMITTED

    def block_number(self, window: ProposalWindow) -> int:
        """Height of the block that commits the transaction, or the lowest that can."""
        match self.phase:
            case Phase.SUBMITTED:
                return self.number + 1 + window.closest
            case Phase.PROPOSED:
                return max(self.number - self.blocks_proposed, 0) + window.closest
            case Phase.COMMITTED:
                return self.number

    def epoch_number(self, window: ProposalWindow) -> int:
        """Epoch of the block that commits the transaction, or the lowest that can: for the rule of RFC 28 only."""
        match self.phase:
            case Phase.SUBMITTED:
                return self._epoch_number_after(1 + window.closest)
            case Phase.PROPOSED:
                return self._epoch_number_after(max(window.closest - self.blocks_proposed, 0))
            case Phase.COMMITTED:
                return self._epoch_number_after(0)

    @property
    def epoch_without_proposal_window(self) -> int:
        """Epoch number that decides features of scripts (RFC 32, RFC 49): the block's own, or the next block's.

        The proposal window is left out for transactions of the pool, so that none runs on a new VM before its time.
        """
        return self._epoch_number_after(0 if self.is_committed else 1)

    def _epoch_number_after(self, blocks: int) -> int:
        """Lowest epoch number that a block `blocks` later can have; a later epoch's length is not known yet."""
        return self.epoch.number + (self.epoch.index + blocks >= self.epoch.length)
