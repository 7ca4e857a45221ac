"""What is to be solved, and what its source and the workers need of the miner between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ckb_node.runtime.errors import CommandError
from consensus.crypto.difficulty import HASH_SPACE
from consensus.crypto.hashing import HASH_SIZE

NONCE_SIZE = 16


class MinerError(CommandError):
    """The miner cannot go on, or cannot begin."""


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """A pow hash (32 bytes) whose digest with the right nonce does not exceed `target`. The nonce is the 16 bytes that
    are hashed: `prefix` is what the source hands out of it, the rest is the miner's. `job` is the source's own."""

    pow_hash: bytes
    target: int
    prefix: bytes
    job: str
    number: int | None = None
    """Of the block, where the source tells it."""

    def __post_init__(self) -> None:
        if len(self.pow_hash) != HASH_SIZE or not 0 < self.target < HASH_SPACE or len(self.prefix) >= NONCE_SIZE:
            raise ValueError("no work that can be done")

    @property
    def chance(self) -> float:
        """Of one nonce."""
        return (self.target + 1) / HASH_SPACE

    def continues(self, other: Work) -> bool:
        """The same search, perhaps with another target: what was tried is not tried again."""
        return (self.pow_hash, self.prefix, self.job) == (other.pow_hash, other.prefix, other.job)


class Desk(Protocol):
    """What a source needs of the miner. On the event loop."""

    def assign(self, work: Work | None) -> None:
        """From now on this is solved, or nothing."""

    def accepted(self, what: str) -> None:
        """The source took what was found."""

    def rejected(self, reason: str) -> None:
        """The source refused what was found."""

    def tell(self, state: str) -> None:
        """How it stands with the source, in a few words for the display."""


class Source(Protocol):
    """Who gives work."""

    async def run(self, desk: Desk) -> None:
        """Give work until cancelled. Raises MinerError."""

    def found(self, work: Work, nonce: bytes) -> None:
        """A nonce (16 bytes) was found."""


@dataclass(slots=True)
class Tally:
    """Nonces tried, and how many solutions they give on average."""

    nonces: int = 0
    expected: float = 0.0

    def add(self, nonces: int, chance: float) -> None:
        """Note some more."""
        self.nonces += nonces
        self.expected += nonces * chance

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.nonces + other.nonces, self.expected + other.expected)


class Workers(Protocol):
    """Who solves it."""

    def assign(self, work: Work | None) -> None:
        """Solve this from now on."""

    async def run(self) -> None:
        """Work until cancelled."""

    def tally(self) -> Tally:
        """What all of them did up to now."""
