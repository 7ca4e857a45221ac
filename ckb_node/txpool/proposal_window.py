"""Which proposals count for the next block (RFC 20): the window moves with the tip."""

from __future__ import annotations

from dataclasses import dataclass

from ckb_node.txpool.entry import Status
from consensus.context import ChainReader
from consensus.lookup import require
from consensus.params import ProposalWindow
from consensus.rules.two_phase import window_numbers


@dataclass(frozen=True, slots=True)
class ProposalTable:
    """Short ids that the next block may commit (`proposed`), and ids proposed too lately for that (`gap`)."""

    proposed: frozenset[bytes] = frozenset()
    gap: frozenset[bytes] = frozenset()

    def status(self, short_id: bytes) -> Status:
        if short_id in self.proposed:
            return Status.PROPOSED
        return Status.GAP if short_id in self.gap else Status.PENDING

    def changed_since(self, before: ProposalTable) -> frozenset[bytes]:
        """Ids whose status may be another than in the table before."""
        return (self.proposed ^ before.proposed) | (self.gap ^ before.gap)


class ProposalReader:
    """Makes the table for the block after a tip; what blocks proposed is read once while they are in the window."""

    def __init__(self, window: ProposalWindow) -> None:
        self._window = window
        self._ids: dict[bytes, frozenset[bytes]] = {}

    def table(self, reader: ChainReader) -> ProposalTable:
        next_number = reader.tip_header().number + 1
        counting = window_numbers(self._window, next_number)
        proposed: set[bytes] = set()
        gap: set[bytes] = set()
        ids: dict[bytes, frozenset[bytes]] = {}
        for number in range(counting.start, next_number):
            block_hash = require(reader.main_hash(number), "main chain hash", number)
            known = self._ids.get(block_hash)
            if known is None:
                known = require(reader.proposal_ids(block_hash), "proposal ids", block_hash)
            ids[block_hash] = known
            (proposed if number in counting else gap).update(known)
        self._ids = ids
        return ProposalTable(frozenset(proposed), frozenset(gap - proposed))

    def numbers_of(self, reader: ChainReader, short_id: bytes) -> list[int]:
        """Heights of the blocks that propose it, of those that the last table was made of."""
        next_number = reader.tip_header().number + 1
        start = window_numbers(self._window, next_number).start
        hashes = ((number, reader.main_hash(number) or b"") for number in range(start, next_number))
        return [number for number, block_hash in hashes if short_id in self._ids.get(block_hash, ())]
