"""A chain of headers and blocks for header sync, whose work is done when a test lets it, and peers that note what they
are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.events import BlockDecided, ChainChanged, Source
from ckb_node.chain.initial_download import InitialDownload
from ckb_node.chain.writer import ChainWriter
from ckb_node.sync.chain import BlockTaken, BulkTaken, HeadersTaken, KnownTip
from ckb_node.sync.headers.sync import HeaderSync
from ckb_node.sync.judging import HeaderJudge
from ckb_node.sync.peers import SyncPeer, SyncPeers
from ckb_node.sync.upload import Upload
from ckb_node.verification.scripts import ScriptService
from consensus.fast.header_batch import HeadersJudged
from consensus.params import Consensus
from consensus.types.blockchain import Block, Header
from consensus.types.core import EpochFraction
from network.limits import SYNC
from network.messages.protocols import SYNC_MESSAGE, GetHeaders, SendHeaders
from network.peer import Direction
from storage.chain_store import ChainStore, ChainView
from storage.header_rows import KnownHeaders
from storage.schema import HEADER_ROW
from tests.support.chains.unchecked import block, cellbase, header, make_consensus
from tests.support.network.clock import WALL_MS, FakeScheduler
from tests.support.network.peers import FakePeer

T = TypeVar("T")

EPOCH: Final = 1800
INTERVAL_MS: Final = 10_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

CONSENSUS: Final = make_consensus(genesis_length=EPOCH, permanent_difficulty_in_dummy=True)
GENESIS: Final = CONSENSUS.genesis_block.header


def branch(
    parent: Header, count: int, *, first_ms: int = 0, interval_ms: int = INTERVAL_MS, salt: int = 0
) -> list[Header]:
    """Headers that stand on `parent`, none before `first_ms`: those with another `salt` are others."""
    made: list[Header] = []
    for _ in range(count):
        number = parent.number + 1
        parent = header(
            number=number,
            timestamp=max(first_ms, parent.timestamp + interval_ms),
            parent_hash=parent.hash,
            epoch=EpochFraction(number // EPOCH, number % EPOCH, EPOCH),
            compact_target=parent.compact_target,
            dao=salt.to_bytes(32, "little"),
        )
        made.append(parent)
    return made


class FakeChain:
    """Satisfies ckb_node.sync.chain.SyncChain over a real writer and store. Its answers come with `scheduler`, or,
    while `is_paused`, when `work` is called. `fault` is what the next work fails of."""

    def __init__(self, scheduler: FakeScheduler, consensus: Consensus = CONSENSUS) -> None:
        self._scheduler: Final = scheduler
        self._consensus: Final = consensus
        self.store: Final = ChainStore.in_memory()
        self.writer: Final = ChainWriter(consensus, self.store, ScriptService(consensus), scheduler.wall_ms)
        self.writer.start(bytes(32))
        self._header_judge: Final = HeaderJudge(consensus, scheduler.wall_ms, self.view)
        self.is_paused = False
        self.fault: Exception | None = None
        self.batches: Final[list[Sequence[Header]]] = []
        """That were given to be judged."""
        self._jobs: Final[list[Callable[[], None]]] = []

    @property
    def consensus(self) -> Consensus:
        return self._consensus

    @property
    def assume_valid(self) -> AssumeValid:
        return self.writer.assume_valid

    def now_ms(self) -> int:
        return self._scheduler.wall_ms()

    def tip(self) -> KnownTip:
        with self.view() as view:
            return _known_tip(view.known_headers(), view.tip_header())

    def best_header(self) -> KnownTip:
        with self.view() as view:
            known = view.known_headers()
            return _known_tip(known, known.best_header())

    def view(self) -> ChainView:
        return self.store.view()

    def take_headers(self, headers: Sequence[Header], done: Callable[[HeadersTaken], None]) -> None:
        self.batches.append(headers)

        def finish(result: HeadersTaken | Exception) -> None:
            done(HeadersTaken(HeadersJudged(0), fault=result) if isinstance(result, Exception) else result)

        self._do(lambda: self._judge(headers), finish)

    def take_block(self, block: Block, source: Source, done: Callable[[BlockTaken], None]) -> None:
        raise NotImplementedError

    def take_in_bulk(
        self, blocks: Sequence[Block], done: Callable[[BulkTaken], None], sources: Sequence[Source | None] = ()
    ) -> None:
        raise NotImplementedError

    def read(self, work: Callable[[ChainView], T], done: Callable[[T | Exception], None]) -> None:
        def read() -> T:
            with self.view() as view:
                return work(view)

        self._do(read, done)

    def listen(self, listener: Callable[[ChainChanged], None]) -> None:
        """Nothing is told."""

    def listen_side(self, listener: Callable[[Block], None]) -> None:
        """Nothing is told."""

    def listen_decided(self, listener: Callable[[BlockDecided], None]) -> None:
        """Nothing is told."""

    def listen_verified(self, listener: Callable[[Block], None]) -> None:
        """Nothing is told."""

    # --- for tests ---

    def grow(self, headers: Sequence[Header]) -> None:
        """Store blocks with these headers: the heaviest branch is the main chain."""
        for each in headers:
            made = block(each, [cellbase(each.number)])
            self.writer.process_unverified(made.replace(header=each))

    def work(self, count: int | None = None) -> None:
        """Do so many of the jobs that wait; all of them if not told."""
        for _ in range(len(self._jobs) if count is None else count):
            self._jobs.pop(0)()

    def _do(self, job: Callable[[], T], done: Callable[[T | Exception], None]) -> None:
        def run() -> None:
            result: T | Exception
            if self.fault is not None:
                result, self.fault = self.fault, None
            else:
                result = job()
            done(result)

        if self.is_paused:
            self._jobs.append(run)
        else:
            self._scheduler.call_later(0.0, run)

    def _judge(self, headers: Sequence[Header]) -> HeadersTaken:
        batch = self._header_judge.judge(headers)
        if batch.new:
            self.writer.store_headers(batch.new)
            self._header_judge.note_written(batch.new)
        return HeadersTaken(batch.judged, batch.last, batch.again_from)


def _known_tip(known: KnownHeaders, head: Header) -> KnownTip:
    return KnownTip(head, known.total_difficulty(head.hash) or 0)


class Case:
    """Header sync of a node whose clock stands. `now_ms` is the wall clock's time at the beginning."""

    def __init__(self, now_ms: int = WALL_MS, upload: Upload | None = None) -> None:
        self.scheduler: Final = FakeScheduler(wall_ms=now_ms)
        self.chain: Final = FakeChain(self.scheduler)
        self.peers: Final = SyncPeers()
        self.ibd: Final = InitialDownload()
        self.progress = 0
        self.sync: Final = HeaderSync(self.chain, self.peers, self.scheduler, self.ibd, self._on_progress, upload)
        self.sync.start()

    def _on_progress(self) -> None:
        self.progress += 1

    def connect(
        self, seed: int, direction: Direction = Direction.OUTBOUND, *, is_whitelisted: bool = False
    ) -> SyncPeer:
        """A peer that opens Sync."""
        made = FakePeer(seed, direction=direction, protocols=[SYNC], is_whitelisted=is_whitelisted)
        peer = self.peers.add(made)
        self.sync.opened(peer)
        self.settle()
        return peer

    def leave(self, peer: SyncPeer) -> None:
        self.peers.remove(peer.session_id)
        self.sync.closed(peer)

    def settle(self) -> None:
        """What is due now is done, and what follows of it."""
        for _ in range(10):
            self.scheduler.advance(0.0)

    @property
    def rows(self) -> int:
        """Headers on the disk whose blocks are not there."""
        with self.chain.view() as view:
            return sum(1 for _ in view.rows(HEADER_ROW))

    def send(self, peer: SyncPeer, headers: Sequence[Header]) -> None:
        """The peer sends headers, and the chain judges them unless it is paused."""
        message = SYNC_MESSAGE.parse(SYNC_MESSAGE.pack(SendHeaders(headers=headers)))
        assert isinstance(message, SendHeaders)
        self.sync.received_headers(peer, message.headers)
        self.settle()

    def get(self, peer: SyncPeer, locator: Sequence[bytes], stop: bytes = bytes(32)) -> None:
        """The peer asks for headers."""
        self.sync.received_get_headers(peer, GetHeaders(hash_stop=stop, block_locator_hashes=locator))
        self.settle()

    def advance(self, seconds: float) -> None:
        """Second by second, as the ticks come."""
        self.scheduler.advance(seconds)


def fake(peer: SyncPeer) -> FakePeer:
    """What a test looks at."""
    found = peer.peer
    assert isinstance(found, FakePeer)
    return found


def sent(peer: SyncPeer) -> list[object]:
    """Messages that the peer got since the last look."""
    return [SYNC_MESSAGE.parse(payload) for payload in fake(peer).take(SYNC)]


def questions(peer: SyncPeer) -> list[Sequence[bytes]]:
    """Locators of the GetHeaders that the peer got since the last look."""
    return [list(each.block_locator_hashes) for each in sent(peer) if isinstance(each, GetHeaders)]
