"""Headers of compact blocks: whether the parent is known, and whether the header may stand on it."""

from __future__ import annotations

from collections.abc import Callable

from ckb_node.sync.chain import KnownTip
from consensus.context import HeaderProvider
from consensus.params import Consensus
from consensus.rules.epoch import EpochTargetMismatchError, next_epoch_ext, verify_block_epoch
from consensus.rules.header import verify_header
from consensus.types.blockchain import Header
from consensus.types.core import epoch_number
from storage.chain_store import ChainView

__all__ = ["AtHand", "parent_of", "verify_announced"]

AtHand = Callable[[bytes], KnownTip | None]
"""Headers of blocks that are in memory only: those that wait for transactions, for their verdict, or for a parent."""


def parent_of(header: Header, view: ChainView, at_hand: AtHand) -> KnownTip | None:
    """The parent, its block stored or not; None when it is unknown."""
    parent_hash = header.parent_hash
    known = at_hand(parent_hash)
    if known is not None:
        return known
    headers = view.known_headers()
    parent, work = headers.header(parent_hash), headers.total_difficulty(parent_hash)
    return None if parent is None or work is None else KnownTip(parent, work)


def verify_announced(
    consensus: Consensus, header: Header, parent: Header, view: ChainView, at_hand: AtHand, now_ms: int
) -> None:
    """The rules of headers, and that the target is that of the epoch, as far as that is known before the block's
    ancestors are stored. Raises HeaderError, ChainDataError."""
    verify_header(consensus, header, _Ancestors(view, at_hand), now_ms)
    epoch = view.block_epoch(parent.hash)
    if epoch is not None:
        verify_block_epoch(next_epoch_ext(consensus, parent, epoch, view), header)
    elif epoch_number(header.epoch) == epoch_number(parent.epoch) and header.compact_target != parent.compact_target:
        raise EpochTargetMismatchError(parent.compact_target, header.compact_target)


class _Ancestors(HeaderProvider):
    """Headers of stored blocks, of rows, and at hand."""

    def __init__(self, view: ChainView, at_hand: AtHand) -> None:
        self._known = view.known_headers()
        self._at_hand = at_hand

    def header(self, block_hash: bytes) -> Header | None:
        at_hand = self._at_hand(block_hash)
        return self._known.header(block_hash) if at_hand is None else at_hand.header
