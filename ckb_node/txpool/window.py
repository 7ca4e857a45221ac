"""Which proposals count for the next block (RFC 20): the window moves with the tip."""

from __future__ import annotations

from dataclasses import dataclass

from ckb_node.txpool.entry import Status
from consensus.context import ChainReader
from consensus.params import ProposalWindow


@dataclass(frozen=True, slots=True)
class ProposalTable:
    """Short ids that the next block may commit (`proposed`), and ids proposed too lately for that (`gap`)."""

    proposed: frozenset[bytes]
    gap: frozenset[bytes]

    def status(self, short_id: bytes) -> Status:
        if short_id in self.proposed:
            return Status.PROPOSED
        return Status.GAP if short_id in self.gap else Status.PENDING

    def __contains__(self, short_id: bytes) -> bool:
        return short_id in self.proposed or short_id in self.gap


EMPTY_TABLE = ProposalTable(frozenset(), frozenset())


def proposal_table(reader: ChainReader, window: ProposalWindow) -> ProposalTable:
    """The table for the block after the reader's tip."""
    next_number = reader.tip_header().number + 1
    proposed: set[bytes] = set()
    gap: set[bytes] = set()
    for number in range(max(next_number - window.farthest, 0), next_number):
        block_hash = reader.main_hash(number)
        ids = None if block_hash is None else reader.proposal_ids(block_hash)
        (proposed if next_number - number >= window.closest else gap).update(ids or ())
    return ProposalTable(frozenset(proposed), frozenset(gap - proposed))
