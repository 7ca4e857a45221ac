"""What the rest of the node hears when the main chain changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consensus.types.blockchain import Block, Header


@dataclass(frozen=True, slots=True)
class ChainChanged:
    """The tip moved. `detached` is newest first, `attached` oldest first; one of them may be empty."""

    old_tip: Header
    new_tip: Header
    detached: Sequence[Block]
    attached: Sequence[Block]
