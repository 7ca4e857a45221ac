"""A chain that stands still for everybody: then the initial download is over although the tip is old.

The reference waits for a recent tip, whatever its peers say. When a whole network has stood for a day and its nodes are
started again, each tells all others that it is still downloading, and none gets a header. Here a node that knows
nothing better than its tip, and has heard for a while from its peers that they know nothing better either, serves what
it has.
"""

from __future__ import annotations

from typing import Final

from ckb_node.chain.initial_download import has_enough_work
from ckb_node.sync.chain import KnownTip

__all__ = ["StaleTip"]

QUIET_SECONDS: Final = 600.0
"""So long no better header may have come, and as long must have passed since the node began to look."""
MAX_WITNESSES: Final = 64


class StaleTip:
    """Who said, since the best header was found, that there is nothing better."""

    def __init__(self, min_chain_work: int, now: float) -> None:
        self._min_chain_work: Final = min_chain_work
        self._best_work: int | None = None
        self._since = now
        self._witnesses: set[str] = set()
        """Peer ids."""

    def heard(self, peer_id: str) -> None:
        """This peer knows no header that is unknown here, or is in its initial download itself."""
        if len(self._witnesses) < MAX_WITNESSES:
            self._witnesses.add(peer_id)

    def is_end(self, tip: KnownTip, best: KnownTip, now: float) -> bool:
        """Whether nobody has more than the tip; look each second."""
        if self._best_work is not None and best.total_difficulty != self._best_work:
            self._since = now
            self._witnesses.clear()
        self._best_work = best.total_difficulty
        is_best = tip.number > 0 and tip.total_difficulty >= best.total_difficulty
        is_worth = self._min_chain_work == 0 or has_enough_work(tip.total_difficulty, self._min_chain_work)
        return is_best and is_worth and bool(self._witnesses) and now - self._since >= QUIET_SECONDS
