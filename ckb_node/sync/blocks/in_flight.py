"""Which blocks were asked of whom."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["InFlight", "Request"]


@dataclass(slots=True)
class Request:
    """A block that somebody was asked for and that has not come. `asked`: when, by session id, first to last."""

    block_hash: bytes
    number: int
    asked: dict[int, float] = field(default_factory=dict)

    @property
    def since(self) -> float:
        """When it was asked for last."""
        return max(self.asked.values())


class InFlight:
    """Requests by block. A peer that others were asked instead of is still owed for: what it was asked for counts until
    it comes, since it is on its way; but it holds nothing up any more."""

    def __init__(self) -> None:
        self._requests: Final[dict[bytes, Request]] = {}
        self._by_peer: Final[dict[int, dict[bytes, float]]] = {}

    def __len__(self) -> int:
        """Blocks."""
        return len(self._requests)

    def __contains__(self, block_hash: bytes) -> bool:
        return block_hash in self._requests

    def __iter__(self) -> Iterator[Request]:
        return iter(list(self._requests.values()))

    def get(self, block_hash: bytes) -> Request | None:
        return self._requests.get(block_hash)

    def of_peer(self, session_id: int) -> Collection[bytes]:
        """What a peer was asked for and has not given, oldest first."""
        return self._by_peer.get(session_id, {}).keys()

    def count_of(self, session_id: int) -> int:
        return len(self._by_peer.get(session_id, ()))

    def oldest_of(self, session_id: int) -> float | None:
        """When the oldest unanswered request was sent to a peer."""
        return next(iter(self._by_peer.get(session_id, {}).values()), None)

    def add(self, session_id: int, number: int, block_hash: bytes, now: float) -> None:
        """A peer was asked."""
        request = self._requests.get(block_hash)
        if request is None:
            request = self._requests[block_hash] = Request(block_hash, number)
        request.asked[session_id] = now
        self._by_peer.setdefault(session_id, {})[block_hash] = now

    def answered(self, session_id: int, block_hash: bytes) -> float | None:
        """A peer has sent a block: when it was asked for it, None when it was not."""
        asked = self._by_peer.get(session_id)
        at = None if asked is None else asked.pop(block_hash, None)
        if not asked:
            self._by_peer.pop(session_id, None)
        return at

    def done(self, block_hash: bytes) -> Request | None:
        """A block has come, or is not wanted any more; its request if it was in flight."""
        return self._requests.pop(block_hash, None)

    def release(self, session_id: int, hashes: Sequence[bytes]) -> list[Request]:
        """Wait for these no longer from a peer; the requests that nobody is waited for any more, gone from here."""
        left = []
        for block_hash in hashes:
            request = self._requests.get(block_hash)
            if request is not None and request.asked.pop(session_id, None) is not None and not request.asked:
                left.append(self._requests.pop(block_hash))
        return left

    def drop_peer(self, session_id: int) -> list[Request]:
        """The peer has left: as `release` of all, and nothing is owed any more."""
        left = self.release(session_id, list(self.of_peer(session_id)))
        self._by_peer.pop(session_id, None)
        return left

    def forget_debts(self, session_id: int) -> None:
        """What a silent peer was asked for long ago will not come."""
        self._by_peer.pop(session_id, None)
