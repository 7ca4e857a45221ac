"""How far a node is when it starts: whether it still downloads the chain, and from when on it fetches blocks at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_TIP_AGE_MS: Final = 24 * 60 * 60 * 1000
"""The chain is being downloaded first while its tip is older than this."""


class InitialDownload:
    """Whether the node is in its initial block download; once it was not, never again in this run."""

    def __init__(self) -> None:
        self._is_over = False

    def end(self) -> None:
        """It is over, though the tip is old: nobody has a better one (see ckb_node.sync.headers.stale)."""
        self._is_over = True

    def is_on(self, tip_timestamp: int, now_ms: int) -> bool:
        """Milliseconds."""
        if not self._is_over:
            self._is_over = now_ms - tip_timestamp <= MAX_TIP_AGE_MS
        return not self._is_over


def has_enough_work(total_difficulty: int, min_chain_work: int) -> bool:
    """A chain of headers has more than the least work, so that its blocks are worth fetching."""
    return total_difficulty > min_chain_work


@dataclass(frozen=True, slots=True)
class MinWorkNotReached:
    """Headers only, from any peer."""


@dataclass(frozen=True, slots=True)
class TargetNotFound:
    """Headers only, until those reach the assume-valid target."""

    target: bytes


@dataclass(frozen=True, slots=True)
class FetchTo:
    """Blocks up to this height, that of the next assume-valid target."""

    number: int


@dataclass(frozen=True, slots=True)
class FetchAll:
    """Whatever blocks peers have."""


FetchGate = MinWorkNotReached | TargetNotFound | FetchTo | FetchAll


def fetch_gate(
    best_work: int, min_chain_work: int, next_target: bytes | None, next_target_number: int | None
) -> FetchGate:
    """What block download may do. `best_work` is that of the best known headers, which never gets less; the target's
    number is None until its header is known."""
    if not has_enough_work(best_work, min_chain_work):
        return MinWorkNotReached()
    if next_target is None:
        return FetchAll()
    if next_target_number is None:
        return TargetNotFound(next_target)
    return FetchTo(next_target_number)
