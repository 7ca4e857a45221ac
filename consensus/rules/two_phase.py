"""Two-step confirmation: a transaction is proposed first and committed some blocks later (RFC 20)."""

from __future__ import annotations

from consensus.context import ChainReader
from consensus.errors import BlockError
from consensus.lookup import require
from consensus.params import ProposalWindow
from consensus.types.blockchain import Block


class NotProposedError(BlockError):
    """The block commits a transaction that no block of its proposal window proposed."""

    def __init__(self, tx_hash: bytes) -> None:
        super().__init__("Block(Commit(Invalid))")
        self.tx_hash = tx_hash


def window_numbers(window: ProposalWindow, number: int) -> range:
    """Heights whose proposals block `number` may commit, lowest first. Genesis proposes nothing."""
    return range(max(number - window.farthest, 1), number - window.closest + 1)


def proposed_ids(window: ProposalWindow, number: int, reader: ChainReader) -> set[bytes]:
    """Short ids that a block at `number` on top of the reader's tip may commit; what uncles proposed counts too."""
    ids: set[bytes] = set()
    for height in window_numbers(window, number):
        block_hash = require(reader.main_hash(height), "main chain hash", height)
        ids |= require(reader.proposal_ids(block_hash), "proposal ids", block_hash)
    return ids


def verify_two_phase(window: ProposalWindow, block: Block, reader: ChainReader) -> None:
    """RFC 20 "Definitions", definition 4: every transaction but the cellbase was proposed `closest` to `farthest`
    blocks earlier.
    """
    committed = block.transactions[1:]
    if not committed:
        return
    proposed = proposed_ids(window, block.number, reader)
    for transaction in committed:
        if transaction.short_id not in proposed:
            raise NotProposedError(transaction.hash)
