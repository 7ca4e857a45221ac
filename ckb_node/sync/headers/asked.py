"""What header sync keeps of one peer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ckb_node.runtime.bounded import BoundedMap
from ckb_node.sync.headers.behind import Behind
from ckb_node.sync.headers.limits import (
    MAX_REMEMBERED_QUESTIONS,
    PATIENCE_SECONDS,
    SAME_QUESTION_SECONDS,
    UNASKED_AT_ONCE,
    UNASKED_PER_SECOND,
)
from ckb_node.sync.headers.locator import Trail
from ckb_node.sync.headers.pace import Pace
from ckb_node.sync.peers import ChainSync, SyncPeer
from network.budget import Allowance

__all__ = ["AskedPeer"]


def _questions() -> BoundedMap[bytes, float]:
    return BoundedMap(max_count=MAX_REMEMBERED_QUESTIONS)


@dataclass(slots=True, eq=False)
class AskedPeer:
    """Times are of `Scheduler.now`. `asked_at`: of the question that has no answer yet. `started_at`: when it was last
    asked from the beginning. `ready_at`: when that may be done again."""

    peer: SyncPeer
    unasked: Allowance
    """For batches that no question asked for."""
    ready_at: float = 0.0
    started_at: float = 0.0
    asked_at: float | None = None
    trail: Trail | None = None
    """Where its headers have led; None before a question."""
    unjudged: int = 0
    """Batches."""
    wants_more: bool = False
    """The next question waits for room."""
    has_ended: bool = False
    """It sent fewer headers than fit a message."""
    round: int = 0
    """Batches of an earlier round stand on one that was not taken."""
    again_from: bytes | None = None
    """Hash of a known header: what comes next is not looked at, it is asked from there."""
    is_weighed: bool = False
    """Its last headers are not kept: the next ones need not stand on known ones."""
    is_gone: bool = False
    pace: Pace = field(default_factory=Pace)
    behind: Behind = field(default_factory=Behind)
    is_to_be_asked: bool = False
    """Once more when it has answered: it has told of more meanwhile."""
    has_news: bool = False
    """It has told of more since it answered: what it was asked a moment ago may be asked again."""
    _asked: Final[BoundedMap[bytes, float]] = field(default_factory=_questions)
    """When it was asked from where."""

    @classmethod
    def of(cls, peer: SyncPeer, now: float) -> AskedPeer:
        """A peer that has just opened Sync."""
        return cls(peer, Allowance(UNASKED_PER_SECOND, UNASKED_AT_ONCE, now))

    def may_send(self, now: float) -> bool:
        """Headers that come are looked at: they are an answer, or one of the few unasked ones."""
        if self.asked_at is None:
            if self.unasked.left(now) < 1.0:
                return False
            self.unasked.spend(1.0, now)
        return True

    @property
    def is_started(self) -> bool:
        return self.peer.chain_sync is ChainSync.STARTED

    def is_ready(self, now: float) -> bool:
        """It may be asked from the beginning."""
        if self.is_started or self.unjudged or self.asked_at is not None:
            return False
        return self.peer.chain_sync is ChainSync.CONNECTED or self.ready_at <= now

    def is_answering(self, now: float) -> bool:
        """It is asked, and no other peer need be."""
        return self.is_started and (self.asked_at is None or now - self.asked_at < PATIENCE_SECONDS)

    def was_asked(self, start: bytes, now: float) -> bool:
        """The same question was sent a moment ago."""
        at = self._asked.get(start)
        return at is not None and now - at < SAME_QUESTION_SECONDS

    def forget_questions(self) -> None:
        """The same may be asked again."""
        self._asked.clear()

    def note_question(self, start: bytes, now: float) -> None:
        """It is being asked from a header on."""
        self._asked.put(start, now)
        self.asked_at, self.wants_more, self.has_ended = now, False, False

    def start(self, now: float) -> None:
        """From the beginning."""
        self.peer.chain_sync = ChainSync.STARTED
        if self.has_news:
            self.forget_questions()
            self.has_news = False
        self.started_at, self.pace, self.trail, self.again_from = now, Pace(), None, None

    def rest(self, how: ChainSync, until: float) -> None:
        """It is not asked until then."""
        self.peer.chain_sync = how
        self.ready_at = until
        self.asked_at, self.wants_more, self.has_ended = None, False, False

    def be_ready_by(self, at: float) -> None:
        """It has told of something new: the same may be asked then, if it had no more to give before."""
        if self.peer.chain_sync is ChainSync.TIP_SYNCED:
            self.has_news, self.ready_at = True, min(self.ready_at, at)

    def put_off(self, seconds: float) -> None:
        """This node did not listen for so long."""
        if self.asked_at is not None:
            self.asked_at += seconds
        self.behind.put_off(seconds)
