"""At what pace peers are answered: so much time and so many bytes, of each peer and of all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Final

from network.budget import Allowance
from network.limits import ProtocolSpec
from network.peer import Peer
from storage.chain_store import ChainView

__all__ = ["LIGHT_CLIENTS", "SECONDS_PER_BYTE", "UNLIMITED", "Line", "PaceLimits", "Question", "Work"]

UNLIMITED: Final = float("inf")
SECONDS_PER_BYTE: Final = 1e-7
"""What sending counts for, where time and bytes are to be compared: 10 MB are a second."""
_MS: Final = 1000.0
"""Allowances of time are in milliseconds."""

Answer = Generator[None, None, bytes | None]
Work = Callable[[ChainView], Answer]
"""Works out one message, None to say nothing: yields where it may be interrupted, each millisecond or so. May raise
RefusedQuestion and UnansweredQuestion; runs in threads, one at a time, with one view from beginning to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceLimits:
    """Rates are per second, of all peers and of each; bursts are what may be used at once after a pause."""

    share: float = UNLIMITED
    """Of the time that one thread has; 0.25 is a quarter of it."""
    share_burst: float = 0.1
    """Seconds."""
    peer_share: float = UNLIMITED
    peer_share_burst: float = 2.0
    rate: float = UNLIMITED
    """Bytes of messages, before compression."""
    burst: float = 16 << 20
    peer_rate: float = UNLIMITED
    peer_burst: float = 8 << 20
    slice: float = 0.005
    """Seconds that are worked without a pause."""
    max_questions: int = 8
    """Open questions of a peer; it is not read on then."""
    max_unsent: int = 4 << 20
    """Bytes that wait to be sent to a peer; nothing is worked out for it then."""
    dear: float = 0.05
    """Seconds; a question with such a price is dear."""
    max_dear: int = 8
    """Dear answers that are in work at a time, each with all that it has read so far."""
    poll: float = 0.05
    """Seconds until a peer is looked at again that does not take what was sent."""

    def time_of_all(self, now: float) -> Allowance:
        return Allowance(self.share * _MS, self.share_burst * _MS, now)

    def bytes_of_all(self, now: float) -> Allowance:
        return Allowance(self.rate, self.burst, now)


LIGHT_CLIENTS: Final = PaceLimits(
    share=0.25, peer_share=0.1, rate=4 << 20, burst=64 << 20, peer_rate=512 << 10, peer_burst=8 << 20
)
"""Light clients and filters: what is given away."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is to be worked out, and sent on `protocol`. `price`: seconds that it will take, about."""

    protocol: ProtocolSpec
    work: Work
    price: float


@dataclass(slots=True, eq=False)
class Line:
    """A peer's open questions; the answer to the first may be in work."""

    peer: Peer
    time: Allowance
    bytes: Allowance
    used: float
    """Virtual time: what it has cost in seconds, from the time of those that were served when it came."""
    questions: deque[Question] = field(default_factory=deque)
    view: ChainView | None = None
    answer: Answer | None = None
    """In work."""
    is_dropped: bool = False
    """What a thread works at is not wanted any more."""
    protocols: set[ProtocolSpec] = field(default_factory=set)
    """On which it has asked, and which are open."""
    held: set[ProtocolSpec] = field(default_factory=set)

    @classmethod
    def of(cls, peer: Peer, limits: PaceLimits, now: float, used: float) -> Line:
        time = Allowance(limits.peer_share * _MS, limits.peer_share_burst * _MS, now)
        return cls(peer, time, Allowance(limits.peer_rate, limits.peer_burst, now), used)

    def wait(self, now: float) -> float:
        """Seconds until it may be served again, as far as its allowances go."""
        return max(self.time.wait(now), self.bytes.wait(now))

    def spend_time(self, seconds: float, now: float) -> None:
        self.used += seconds
        self.time.spend(seconds * _MS, now)

    def spend_bytes(self, count: int, now: float) -> None:
        self.used += SECONDS_PER_BYTE * count
        self.bytes.spend(count, now)

    def begin(self, view: ChainView) -> Answer:
        """Work out the first answer with this view."""
        self.view, self.answer = view, self.questions[0].work(view)
        return self.answer

    def drop(self) -> None:
        """Nothing is in work any more."""
        if self.answer is not None:
            self.answer.close()
        if self.view is not None:
            self.view.close()
        self.view, self.answer, self.is_dropped = None, None, False


def spend_ms(time: Allowance, seconds: float, now: float) -> None:
    """Of an allowance of `PaceLimits.time_of_all`."""
    time.spend(seconds * _MS, now)
