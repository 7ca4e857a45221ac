"""What block download waits for, for people: the log, RPC, metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ckb_node.chain.initial_download import MinWorkNotReached, TargetNotFound

__all__ = ["AfterFault", "ForBlock", "ForHeaders", "ForNothing", "ForPeers", "ForWriter", "Waiting"]


@dataclass(frozen=True, slots=True)
class ForNothing:
    """No peer has told of a chain with more work than ours."""


@dataclass(frozen=True, slots=True)
class ForHeaders:
    """Blocks are not fetched yet: the headers do not reach far enough."""

    gate: MinWorkNotReached | TargetNotFound


@dataclass(frozen=True, slots=True)
class ForPeers:
    """No connected peer has, or gives, the block at this height, which comes next."""

    number: int
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class ForBlock:
    """The block at this height comes next; these peers (session ids) were asked, last at `since`."""

    number: int
    block_hash: bytes
    asked: Sequence[int]
    since: float


@dataclass(frozen=True, slots=True)
class ForWriter:
    """Blocks have come and are being verified and written."""

    blocks: int
    bytes: int


@dataclass(frozen=True, slots=True)
class AfterFault:
    """The disk or the node failed; the same blocks are tried again then (`Scheduler.now`)."""

    fault: Exception
    retry_at: float


Waiting = ForNothing | ForHeaders | ForPeers | ForBlock | ForWriter | AfterFault
