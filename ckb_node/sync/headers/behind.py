"""Outbound peers whose chain stays behind ours (the reference's chain-sync eviction): each is told where we are, once,
and leaves when it does not catch up."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from ckb_node.sync.chain import KnownTip

__all__ = ["Behind", "Step"]

CATCH_UP_SECONDS: Final = 12 * 60.0
ANSWER_SECONDS: Final = 2 * 60.0


class Step(Enum):
    """What is to be done with the peer now."""

    NOTHING = auto()
    ASK = auto()
    """Send GetHeaders from `Behind.mark`."""
    GIVE_UP = auto()


class Behind:
    """Of one outbound peer. Time counts only while this node is not in its initial download."""

    def __init__(self) -> None:
        self.mark: KnownTip | None = None
        """Our tip when the peer was seen to be behind; None while it is not."""
        self._until = 0.0
        self._was_asked = False

    def look(self, peer_work: int | None, tip: KnownTip, now: float) -> Step:
        """`peer_work`: of the best header that the peer has told of, None before it has told of any."""
        if peer_work is not None and peer_work >= tip.total_difficulty:
            self.mark = None
        elif self.mark is None or (peer_work is not None and peer_work >= self.mark.total_difficulty):
            self.mark, self._until, self._was_asked = tip, now + CATCH_UP_SECONDS, False
        elif now > self._until:
            return self._overdue(now)
        return Step.NOTHING

    def _overdue(self, now: float) -> Step:
        if self._was_asked:
            return Step.GIVE_UP
        self._was_asked, self._until = True, now + ANSWER_SECONDS
        return Step.ASK

    def put_off(self, seconds: float) -> None:
        """This node stood still for so long."""
        self._until += seconds
