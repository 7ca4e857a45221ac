"""The chain as sync sees it, in memory and without threads: what it is to do waits for a test to let it work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.bulk import take_run
from ckb_node.chain.events import (
    ChainEvent,
    Source,
)
from ckb_node.chain.writer import ChainWriter
from ckb_node.sync.chain import BlockTaken, BulkTaken, HeadersTaken, KnownTip
from ckb_node.sync.judging import HeaderJudge
from ckb_node.verification.scripts import ScriptService
from consensus.errors import CkbError
from consensus.fast.header_batch import HeadersJudged
from consensus.lookup import require
from consensus.params import Consensus
from consensus.types.blockchain import Block, Header
from storage.chain_store import ChainStore, ChainView
from storage.header_rows import KnownHeaders
from tests.support.chains.listeners import Listeners
from tests.support.network.clock import WALL_MS

T = TypeVar("T")
R = TypeVar("R")


class StepChain(Listeners):
    """Satisfies ckb_node.sync.chain.SyncChain. Headers and reads are answered by `work`, too."""

    def __init__(self, consensus: Consensus, assume_valid: AssumeValid | None = None) -> None:
        super().__init__()
        self.store: Final = ChainStore.in_memory()
        self.wall_ms = WALL_MS
        self.writer: Final = ChainWriter(consensus, self.store, ScriptService(consensus), self.now_ms, assume_valid)
        self.writer.start(bytes(32))
        self.writer.listen(lambda event: self._events.append(event))
        self.jobs: Final[deque[Callable[[], None]]] = deque()
        self.given: Final[list[Sequence[bytes]]] = []
        """Hashes of what the writer was given, one item for each call."""
        self.fault: Exception | None = None
        """What the next work for a block fails with."""
        self._events: list[ChainEvent] = []
        self._judge: Final = HeaderJudge(consensus, self.now_ms, self.view)

    def work(self, jobs: int | None = None) -> None:
        """Do so many jobs, or all, those included that come of them."""
        done = 0
        while self.jobs and done != jobs:
            self.jobs.popleft()()
            done += 1

    def know(self, headers: Sequence[Header]) -> None:
        """These are valid."""
        self.writer.store_headers(headers)

    # --- SyncChain ---

    @property
    def consensus(self) -> Consensus:
        return self.writer.consensus

    @property
    def assume_valid(self) -> AssumeValid:
        return self.writer.assume_valid

    def now_ms(self) -> int:
        return self.wall_ms

    def tip(self) -> KnownTip:
        with self.view() as view:
            return _known(view.known_headers(), view.tip_header())

    def best_header(self) -> KnownTip:
        with self.view() as view:
            known = view.known_headers()
            return _known(known, known.best_header())

    def known(self, header: Header) -> KnownTip:
        """A header with its work."""
        with self.view() as view:
            return _known(view.known_headers(), header)

    def view(self) -> ChainView:
        return self.store.view()

    def take_headers(self, headers: Sequence[Header], done: Callable[[HeadersTaken], None]) -> None:
        def judge() -> HeadersTaken:
            batch = self._judge.judge(headers)
            if batch.new:
                self.writer.store_headers(batch.new)
                self._judge.note_written(batch.new)
            return HeadersTaken(batch.judged, batch.last, batch.again_from)

        self._do(judge, done, lambda fault: HeadersTaken(HeadersJudged(0), fault=fault))

    def take_block(self, block: Block, source: Source, done: Callable[[BlockTaken], None]) -> None:
        def process() -> BlockTaken:
            self._fail()
            try:
                return BlockTaken(block, self.writer.process(block, source))
            except CkbError as error:
                return BlockTaken(block, error=error)

        self.given.append([block.hash])
        self._do(process, done, lambda fault: BlockTaken(block, fault=fault))

    def take_in_bulk(
        self, blocks: Sequence[Block], done: Callable[[BulkTaken], None], sources: Sequence[Source | None] = ()
    ) -> None:
        def take() -> BulkTaken:
            self._fail()
            outcome = take_run(self.writer, blocks, sources or [None] * len(blocks))
            return BulkTaken(len(outcome.verdicts), outcome.refused, outcome.error)

        self.given.append([block.hash for block in blocks])
        self._do(take, done, lambda fault: BulkTaken(0, fault=fault))

    def read(self, work: Callable[[ChainView], T], done: Callable[[T | Exception], None]) -> None:
        def look() -> T | Exception:
            with self.view() as view:
                return work(view)

        def failed(fault: Exception) -> T | Exception:
            return fault

        self._do(look, done, failed)

    def _do(self, work: Callable[[], R], done: Callable[[R], None], failed: Callable[[Exception], R]) -> None:
        """Later: first the listeners are told, then the caller."""

        def job() -> None:
            try:
                result = work()
            except Exception as fault:  # noqa: BLE001 - as the real one
                result = failed(fault)
            events, self._events = self._events, []
            for event in events:
                self.tell(event)
            done(result)

        self.jobs.append(job)

    def _fail(self) -> None:
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault


def _known(headers: KnownHeaders, header: Header) -> KnownTip:
    return KnownTip(header, require(headers.total_difficulty(header.hash), "work", header.hash))
