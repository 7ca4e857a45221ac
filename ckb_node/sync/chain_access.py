"""The chain for sync, beside the event loop: work goes to the chain's threads, results come back to the loop.

Tip and best header are kept by events, so that asking for them costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

import structlog

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.bulk import BulkOutcome
from ckb_node.chain.events import BlockDecided, ChainChanged, Source, Verdict
from ckb_node.chain.service import ChainService
from ckb_node.sync.chain import BlockTaken, BulkTaken, HeadersTaken, KnownTip
from ckb_node.sync.judging import HeaderJudge, JudgedBatch
from consensus.errors import CkbError
from consensus.fast.header_batch import HeadersJudged
from consensus.params import Consensus
from consensus.types.blockchain import Block, Header
from storage.chain_store import ChainView
from storage.header_rows import KnownHeaders

__all__ = ["ChainAccess"]

log = structlog.get_logger("sync")

T = TypeVar("T")


class ChainAccess:
    """Satisfies ckb_node.sync.chain.SyncChain over the chain's service. Belongs to the event loop's thread.

    After the chain is closed no callback is made any more.
    """

    def __init__(self, chain: ChainService, now_ms: Callable[[], int]) -> None:
        self._chain: Final = chain
        self._now_ms: Final = now_ms
        self._judge: Final = HeaderJudge(chain.consensus, now_ms, chain.view)
        self._headers: Final = StoreHeaders(chain)
        self._writing: asyncio.Future[None] | None = None
        """The last batch of headers that was given to the writer."""
        self._tip, self._best_header = self._read_tips()
        self._follow_targets()
        chain.listen(self._on_change)
        chain.listen_decided(self._on_decided)

    @property
    def consensus(self) -> Consensus:
        return self._chain.consensus

    @property
    def assume_valid(self) -> AssumeValid:
        return self._chain.assume_valid

    def now_ms(self) -> int:
        return self._now_ms()

    def tip(self) -> KnownTip:
        return self._tip

    def best_header(self) -> KnownTip:
        return self._best_header

    def view(self) -> ChainView:
        return self._chain.view()

    # --- headers ---

    def take_headers(self, headers: Sequence[Header], done: Callable[[HeadersTaken], None]) -> None:
        """Batches are judged in the order in which they come, each while the one before is written, and told in it:
        what stands on a refused header lacks its parent, and that is not what the sender did wrong."""
        if self._chain.is_closed:
            return
        judged = self._chain.start_judging(lambda: self._judge.judge(headers))
        _then(judged, partial(self._headers_judged, done), lambda fault: self._tell(done, _headers_fault(fault)))

    def _tell(self, done: Callable[[HeadersTaken], None], taken: HeadersTaken) -> None:
        """After what is told of the batches that are being written."""
        if self._writing is None:
            done(taken)
        else:  # also when it is done: its own callbacks may not have run yet
            self._writing.add_done_callback(lambda ended: None if ended.cancelled() else done(taken))

    def _headers_judged(self, done: Callable[[HeadersTaken], None], batch: JudgedBatch) -> None:
        if not batch.new:
            self._tell(done, HeadersTaken(batch.judged, batch.last, batch.again_from))
            return
        if self._chain.is_closed:
            return
        written = self._writing = self._chain.start_store_headers(batch.new)
        written.add_done_callback(lambda _: self._judge.note_written(batch.new))
        _then(written, lambda _: self._headers_written(batch, done), lambda fault: done(_headers_fault(fault)))

    def _headers_written(self, batch: JudgedBatch, done: Callable[[HeadersTaken], None]) -> None:
        last = batch.last
        if last is not None and last.total_difficulty > self._best_header.total_difficulty:
            self._best_header = last
        self._follow_targets()
        done(HeadersTaken(batch.judged, last))

    def _follow_targets(self) -> None:
        if not self.assume_valid.is_reached:
            self.assume_valid.follow(self._headers, self._now_ms())

    # --- blocks ---

    def take_block(self, block: Block, source: Source, done: Callable[[BlockTaken], None]) -> None:
        def failed(error: Exception) -> None:
            if isinstance(error, CkbError):
                done(BlockTaken(block, Verdict.REFUSED, error))
            else:
                done(BlockTaken(block, fault=error))

        if self._chain.is_closed:
            return
        _then(self._chain.start_block(block, source), lambda verdict: done(BlockTaken(block, verdict)), failed)

    def take_in_bulk(
        self, blocks: Sequence[Block], done: Callable[[BulkTaken], None], sources: Sequence[Source | None] = ()
    ) -> None:
        def taken(outcome: BulkOutcome) -> None:
            if outcome.error is not None:
                self._read_again()
            done(BulkTaken(len(outcome.verdicts), outcome.refused, outcome.error))

        if self._chain.is_closed:
            return
        run = self._chain.start_run(blocks, sources or [None] * len(blocks))
        _then(run, taken, lambda fault: done(BulkTaken(0, fault=fault)))

    # --- reads and events ---

    def read(self, work: Callable[[ChainView], T], done: Callable[[T | Exception], None]) -> None:
        if not self._chain.is_closed:
            _then(self._chain.start_read(work), done, done)

    def listen(self, listener: Callable[[ChainChanged], None]) -> None:
        self._chain.listen(listener)

    def listen_verified(self, listener: Callable[[Block], None]) -> None:
        self._chain.listen_verified(listener)

    def listen_side(self, listener: Callable[[Block], None]) -> None:
        self._chain.listen_side(listener)

    def listen_decided(self, listener: Callable[[BlockDecided], None]) -> None:
        self._chain.listen_decided(listener)

    # --- tip and best header ---

    def _on_change(self, change: ChainChanged) -> None:
        if change.is_cut:
            self._read_again()
            return
        with self.view() as view:
            ext = view.block_ext(change.new_tip.hash)
        if ext is None:  # gone again, by a change that is told next
            return
        self._tip = KnownTip(change.new_tip, ext.total_difficulty)
        if self._tip.total_difficulty >= self._best_header.total_difficulty:
            self._best_header = self._tip

    def _on_decided(self, decided: BlockDecided) -> None:
        """The branch of the best header may end below a block that was refused."""
        if decided.verdict is Verdict.REFUSED:
            self._read_again(with_tip=False)

    def _read_again(self, *, with_tip: bool = True) -> None:
        tip, self._best_header = self._read_tips()
        if with_tip:
            self._tip = tip
        elif self._tip.total_difficulty >= self._best_header.total_difficulty:
            self._best_header = self._tip

    def _read_tips(self) -> tuple[KnownTip, KnownTip]:
        with self.view() as view:
            known = view.known_headers()
            return _known_tip(known, view.tip_header()), _known_tip(known, known.best_header())


class StoreHeaders:
    """The headers of the last commit, from any thread: ckb_node.chain.assume_valid.KnownHeaders."""

    def __init__(self, chain: ChainService) -> None:
        self._chain: Final = chain

    @contextmanager
    def _known(self) -> Iterator[KnownHeaders]:
        with self._chain.view() as view:
            yield view.known_headers()

    def header(self, block_hash: bytes) -> Header | None:
        with self._known() as known:
            return known.header(block_hash)

    def branch_hashes(self, block_hash: bytes, first: int, last: int) -> list[bytes] | None:
        with self._known() as known:
            return known.branch_hashes(block_hash, first, last)

    def best_header(self) -> Header:
        with self._known() as known:
            return known.best_header()


def _known_tip(known: KnownHeaders, header: Header) -> KnownTip:
    return KnownTip(header, known.total_difficulty(header.hash) or 0)


def _headers_fault(fault: Exception) -> HeadersTaken:
    log.warning("headers could not be kept", reason=str(fault) or type(fault).__name__)
    return HeadersTaken(HeadersJudged(0), fault=fault)


def _then(future: asyncio.Future[T], done: Callable[[T], None], failed: Callable[[Exception], None]) -> None:
    """Call one of both when the future is done; neither when it was cancelled, as the chain's end does."""

    def call(ended: asyncio.Future[T]) -> None:
        if ended.cancelled():
            return
        error = ended.exception()
        if error is None:
            done(ended.result())
        elif isinstance(error, Exception):
            failed(error)
        else:
            raise error

    future.add_done_callback(call)
