"""What block download knows of each peer: how much it may be asked for, and when it keeps others waiting."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.sync.blocks import limits
from ckb_node.sync.blocks.budget import PeerBudget
from ckb_node.sync.blocks.in_flight import InFlight, Request
from ckb_node.sync.peers import SyncPeer

__all__ = ["Downloader", "Lead"]

MAX_DECLINED: Final = 1024


@dataclass(frozen=True, slots=True)
class Lead:
    """The highest height of a branch that a peer has, as long as neither has moved: `key` names both."""

    key: tuple[bytes, bytes | None]
    number: int


@dataclass(slots=True, eq=False)
class Downloader:
    """A peer that blocks are asked of. Times are of `Scheduler.now`."""

    peer: SyncPeer
    budget: PeerBudget = field(default_factory=PeerBudget)
    last_block_at: float = 0.0
    asked_at: float = 0.0
    """When it was asked after nothing had been in flight."""
    head_since: float = 0.0
    """Since when the block that it owes the longest is the one."""
    halved_at: float = 0.0
    declined: BoundedMap[bytes, None] = field(default_factory=lambda: BoundedMap(max_count=MAX_DECLINED))
    """Blocks that are not asked of it again: it gave a false body."""
    leads: dict[int, Lead] = field(default_factory=dict)
    """By id of the branch."""

    @property
    def session_id(self) -> int:
        return self.peer.session_id

    def keep_lead(self, branch_id: int, lead: Lead, branches: Container[int]) -> None:
        """Those of other branches than these are forgotten."""
        self.leads = {each: known for each, known in self.leads.items() if each in branches}
        self.leads[branch_id] = lead

    def silent_for(self, now: float) -> float:
        """Seconds since it gave a block, or began to be asked."""
        return now - max(self.last_block_at, self.asked_at)

    @property
    def patience(self) -> float:
        """It may think for so long before others are asked, whatever they can."""
        if not self.budget.has_answered:
            return limits.FIRST_ANSWER_SECONDS
        slow = 4 / self.budget.rate if self.budget.rate else 0.0
        return max(limits.HEDGE_SECONDS, 2 * self.budget.round_trip, min(slow, limits.STALL_SECONDS / 4))

    def _patience_beside(self, other: PeerBudget) -> float:
        """Who takes seconds to answer is waited for so long only while others are not known to be much faster: else it
        would give one block in each of its round trips for ever."""
        if not other.has_answered:
            return self.patience
        return min(self.patience, max(limits.FIRST_ANSWER_SECONDS, 4 * other.round_trip))

    def is_overdue(self, request: Request, in_flight: InFlight, other: PeerBudget, now: float) -> bool:
        """Another peer would give a block sooner than this one, which was asked for it."""
        patience = self._patience_beside(other)
        if self.silent_for(now) >= patience:
            return True
        owed = in_flight.of_peer(self.session_id)
        ahead = sum(1 for _ in takewhile(lambda each: each != request.block_hash, owed))
        if ahead == 0:
            return now - max(self.head_since, request.asked[self.session_id]) >= patience
        if not self.budget.rate:
            return False
        return ahead / self.budget.rate > 2 * other.seconds_for(limits.HEDGE_BLOCKS) + limits.HEDGE_SECONDS
