"""What header sync waits for, for people: one of these at any time."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Answer", "HeaderWait", "Judging", "NoPeer", "NothingMore", "PeersNotReady"]


@dataclass(frozen=True, slots=True)
class NoPeer:
    """No peer speaks Sync."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Headers of a peer that was asked so many seconds ago; `peers` are asked in all."""

    session_id: int
    seconds: float
    peers: int


@dataclass(frozen=True, slots=True)
class Judging:
    """This node: batches that it has to judge and write."""

    batches: int


@dataclass(frozen=True, slots=True)
class NothingMore:
    """Nothing: so many peers were asked and have no more headers. One is asked again in so many seconds."""

    peers: int
    again_in: float


@dataclass(frozen=True, slots=True)
class PeersNotReady:
    """Peers that may be asked. Of all, so many are in their own initial download or were too slow (`suspended`); the
    others are not asked during the initial download. The first is asked again in so many seconds, None if never."""

    peers: int
    suspended: int
    again_in: float | None


HeaderWait = NoPeer | Answer | Judging | NothingMore | PeersNotReady
