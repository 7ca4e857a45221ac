"""What sync and relay need of the chain.

All of it is called on the network's thread, and all results come on that thread, by a callback: so the same code runs
on an event loop beside the chain's writer, and in a simulation without threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.events import BlockDecided, ChainChanged, Source, Verdict
from consensus.errors import CkbError
from consensus.fast.header_batch import HeadersJudged
from consensus.params import Consensus
from consensus.types.blockchain import Block, Header
from storage.chain_store import ChainView

T = TypeVar("T")


class KnownTip(NamedTuple):
    """A header, whether its block is stored or not, and the work of its branch up to it."""

    header: Header
    total_difficulty: int

    @property
    def hash(self) -> bytes:
        return self.header.hash

    @property
    def number(self) -> int:
        return self.header.number


@dataclass(frozen=True, slots=True)
class HeadersTaken:
    """A batch of headers was judged, and its valid ones are known now. `last` is the last valid one, None without any.

    Headers of a branch that has much less work than the best one are weighed and not known: `last` is the last one
    before them. Once they have enough work, `again_from` is a known header: after it the sender is to be asked again.
    `fault`: the disk or the node failed, which is not the sender's doing; nothing is known of the batch then.
    """

    judged: HeadersJudged
    last: KnownTip | None = None
    again_from: bytes | None = None
    fault: Exception | None = None


@dataclass(frozen=True, slots=True)
class BlockTaken:
    """A block has its verdict. `error` is the rule that it breaks. `fault` as in HeadersTaken: the block may be asked
    for again."""

    block: Block
    verdict: Verdict | None = None
    error: CkbError | None = None
    fault: Exception | None = None


@dataclass(frozen=True, slots=True)
class BulkTaken:
    """Blocks that stand on each other have their verdicts: those before `taken` are in the chain. `error` is what the
    block `refused` breaks, the first of those that are not; blocks behind it may be asked for again."""

    taken: int
    refused: Block | None = None
    error: CkbError | None = None
    fault: Exception | None = None


class SyncChain(Protocol):
    """The chain as sync sees it. `done` is called once, later, never within the call."""

    @property
    def consensus(self) -> Consensus: ...

    @property
    def assume_valid(self) -> AssumeValid: ...

    def now_ms(self) -> int:
        """The wall clock."""

    def tip(self) -> KnownTip:
        """The last block of the main chain whose listeners have been told; costs nothing."""

    def best_header(self) -> KnownTip:
        """The known header with the most work, its block stored or not; costs nothing."""

    def view(self) -> ChainView:
        """The newest committed state, for short reads; use it in `with`."""

    def take_headers(self, headers: Sequence[Header], done: Callable[[HeadersTaken], None]) -> None:
        """Judge headers that stand on each other and on a known one, and keep the valid ones: rows of the store."""

    def take_block(self, block: Block, source: Source, done: Callable[[BlockTaken], None]) -> None:
        """Give one block to the online writer. An orphan waits in the chain for its parent."""

    def take_in_bulk(
        self, blocks: Sequence[Block], done: Callable[[BulkTaken], None], sources: Sequence[Source | None] = ()
    ) -> None:
        """Give blocks that stand on each other to the bulk writer; the parent of the first is stored. `sources` are
        those of each, or none at all."""

    def read(self, work: Callable[[ChainView], T], done: Callable[[T | Exception], None]) -> None:
        """Read what takes longer than the event loop may be blocked, with a view of its own."""

    def listen(self, listener: Callable[[ChainChanged], None]) -> None:
        """Hear of each change of the tip."""

    def listen_verified(self, listener: Callable[[Block], None]) -> None:
        """Hear of each block that becomes the tip as soon as it is verified, before it is committed and `listen`
        tells."""

    def listen_side(self, listener: Callable[[Block], None]) -> None:
        """Hear of each valid block that did not become the tip."""

    def listen_decided(self, listener: Callable[[BlockDecided], None]) -> None:
        """Hear of each refused block, and of each that left the orphans; with its sources."""
