"""A node's relay of blocks over the real chain writer, without threads, and blocks to try it with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from ckb_node.chain.assume_valid import AssumeValid
from ckb_node.chain.events import (
    ChainChanged,
    ChainEvent,
    Source,
    Verdict,
)
from ckb_node.chain.initial_download import InitialDownload
from ckb_node.chain.writer import ChainWriter
from ckb_node.sync.chain import BlockTaken, BulkTaken, HeadersTaken, KnownTip
from ckb_node.sync.peers import SyncPeer, SyncPeers
from ckb_node.sync.relay.announce import Announcer
from ckb_node.sync.relay.blocks import BlockRelay, RelayNeighbours
from ckb_node.sync.relay.protocol import RelayProtocol
from ckb_node.sync.relay.status import RelayStatus
from ckb_node.sync.suspects import LOOKS, Suspects
from ckb_node.sync.upload import Upload
from ckb_node.verification.scripts import ScriptService, VerifiedTransactions
from consensus.codec.molecule import Composite
from consensus.errors import CkbError
from consensus.fast.header_batch import HeadersJudged, verify_headers
from consensus.lookup import require
from consensus.params import Consensus
from consensus.types.blockchain import Block, Header, OutPoint, Script, Transaction, UncleBlock
from network.limits import RELAY, SYNC
from network.messages.protocols import (
    RELAY_MESSAGE,
    BlockTransactions,
    CompactBlock,
    GetBlockTransactions,
    IndexTransaction,
)
from network.peer import Direction
from storage.chain_store import ChainStore, ChainView
from storage.header_rows import KnownHeaders
from tests.support.builders.children import next_block, next_cellbase
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.listeners import Listeners
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer

T = TypeVar("T")

TRANSFERS = 6
CELL = 1000 * CKB
FEE = 100_000

_VERIFIED = VerifiedTransactions()
"""Each script runs once for all tests."""


class RelayChain(Listeners):
    """Satisfies ckb_node.sync.chain.SyncChain. Work is done when the scheduler next lets time pass."""

    def __init__(self, scheduler: FakeScheduler, blocks: Iterable[Block] = ()) -> None:
        super().__init__()
        scripts = ScriptService(dev_consensus())
        scripts.verified = _VERIFIED
        self._scheduler, self._store = scheduler, ChainStore.in_memory()
        self.writer = ChainWriter(dev_consensus(), self._store, scripts, scheduler.wall_ms)
        self.writer.start(bytes(32))
        self._events: list[ChainEvent] = []
        self.writer.listen(self._events.append)
        self.taken: list[Block] = []
        """Given to the writer by `take_block`."""
        self.fault: Exception | None = None
        """The disk or the scripts fail with it."""
        self._best_header = self.tip()
        for block in blocks:
            self.process(block)

    @property
    def consensus(self) -> Consensus:
        return self.writer.consensus

    @property
    def assume_valid(self) -> AssumeValid:
        return self.writer.assume_valid

    def now_ms(self) -> int:
        return self._scheduler.wall_ms()

    def tip(self) -> KnownTip:
        with self.view() as view:
            return _known_tip(view.known_headers(), view.tip_header())

    def best_header(self) -> KnownTip:
        """As far as was told."""
        return self._best_header

    def _note_header(self, block_hash: bytes) -> None:
        with self.view() as view:
            header = view.known_headers().header(block_hash)
            if header is not None:
                known = _known_tip(view.known_headers(), header)
                self._best_header = max(self._best_header, known, key=lambda each: each.total_difficulty)

    def view(self) -> ChainView:
        return self._store.view()

    def process(self, block: Block) -> Verdict:
        """Take a block now, as from a miner or from Sync; listeners hear of it."""
        verdict = self.writer.process(block)
        self._tell()
        return verdict

    def truncate(self, block_hash: bytes) -> None:
        self.writer.truncate(block_hash)
        self._tell()

    def take_headers(self, headers: Sequence[Header], done: Callable[[HeadersTaken], None]) -> None:
        self._scheduler.call_later(0.0, lambda: done(self._take_headers(headers)))

    def take_block(self, block: Block, source: Source, done: Callable[[BlockTaken], None]) -> None:
        self.taken.append(block)
        self._scheduler.call_later(0.0, lambda: done(self._take_block(block, source)))

    def take_in_bulk(
        self, blocks: Sequence[Block], done: Callable[[BulkTaken], None], sources: Sequence[Source | None] = ()
    ) -> None:
        raise NotImplementedError

    def read(self, work: Callable[[ChainView], T], done: Callable[[T | Exception], None]) -> None:
        def read() -> None:
            with self.view() as view:
                done(work(view) if self.fault is None else self.fault)

        self._scheduler.call_later(0.0, read)

    def _take_headers(self, headers: Sequence[Header]) -> HeadersTaken:
        if self.fault is not None:
            return HeadersTaken(HeadersJudged(0), fault=self.fault)
        with self.view() as view:
            judged = verify_headers(self.consensus, headers, view.known_headers(), self.now_ms())
        self.writer.store_headers(headers[: judged.valid])
        if not judged.valid:
            return HeadersTaken(judged)
        self._note_header(headers[judged.valid - 1].hash)
        with self.view() as view:
            return HeadersTaken(judged, _known_tip(view.known_headers(), headers[judged.valid - 1]))

    def _take_block(self, block: Block, source: Source) -> BlockTaken:
        if self.fault is not None:
            return BlockTaken(block, fault=self.fault)
        try:
            verdict = self.writer.process(block, source)
        except CkbError as error:
            self._tell()
            return BlockTaken(block, Verdict.REFUSED, error)
        self._tell()
        return BlockTaken(block, verdict)

    def _tell(self) -> None:
        events, self._events[:] = list(self._events), []
        for event in events:
            if isinstance(event, ChainChanged):
                self._note_header(event.new_tip.hash)
            self.tell(event)


def _known_tip(headers: KnownHeaders, header: Header) -> KnownTip:
    return KnownTip(header, require(headers.total_difficulty(header.hash), "work", header.hash))


class Maker:
    """A chain of its own, on which blocks are made."""

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self.chain = RelayChain(FakeScheduler(), blocks)
        self.blocks = list(blocks)

    def make(
        self,
        transactions: Sequence[Transaction] = (),
        proposals: Sequence[Transaction] = (),
        uncles: Sequence[UncleBlock] = (),
        miner: Script | None = None,
        **fields: object,
    ) -> Block:
        """A child of the tip, which is not taken."""
        with self.chain.view() as view:
            cellbase = next_cellbase(self.chain.consensus, view, miner or Wallet(BOB_KEY).lock)
            ids = [each.short_id for each in proposals]
            body = [cellbase, *transactions]
            made = next_block(self.chain.consensus, view, body, proposals=ids, uncles=uncles, **fields)
        return Block.parse(made.raw)

    def add(self, *, made: Block | None = None, transactions: Sequence[Transaction] = ()) -> Block:
        """Take a block."""
        block = made or self.make(transactions)
        assert self.chain.process(block) is Verdict.BEST
        self.blocks.append(block)
        return block


@dataclass(frozen=True)
class Story:
    """`base` ends where `block` may commit `transfers`, none of which a pool needs to have. `sibling` is another child
    of the base's tip, of another miner, without transactions; `nephew` stands on `block` and has it as uncle."""

    base: Sequence[Block]
    transfers: Sequence[Transaction]
    block: Block
    sibling: Block
    nephew: Block


@cache
def story() -> Story:
    """The same for all tests."""
    maker, alice = Maker(), Wallet(ALICE_KEY)
    consensus = maker.chain.consensus
    purse, capacity = issued_cell(consensus, alice)
    outputs = [(alice.lock, CELL)] * TRANSFERS + [(alice.lock, capacity - TRANSFERS * CELL - FEE)]
    fan = alice.transfer(consensus, [(purse, capacity)], outputs)
    cells = [(OutPoint(tx_hash=fan.hash, index=index), CELL) for index in range(TRANSFERS)]
    transfers = [alice.transfer(consensus, [cell], [(alice.lock, CELL - FEE)]) for cell in cells]
    maker.add(made=maker.make(proposals=[fan]))
    maker.add()
    maker.add(made=maker.make([fan], proposals=transfers))
    maker.add()
    base = tuple(maker.blocks)
    sibling = maker.make(miner=alice.lock)
    block = maker.add(transactions=transfers)
    uncle = UncleBlock(header=sibling.header, proposals=sibling.proposals)
    return Story(base, transfers, block, sibling, maker.make(uncles=[uncle]))


class FakePool:
    """Satisfies ckb_node.sync.relay.reconstruct.TransactionsAtHand."""

    def __init__(self, transactions: Iterable[Transaction] = ()) -> None:
        self.transactions = {each.short_id: each for each in transactions}
        self.asked = 0

    def by_short_ids(self, short_ids: Iterable[bytes]) -> dict[bytes, Transaction]:
        self.asked += 1
        return {each: self.transactions[each] for each in short_ids if each in self.transactions}


class FakeTransactions:
    """Satisfies what the protocol wants of transactions and proposals; notes what came."""

    def __init__(self) -> None:
        self.received: list[Composite] = []
        self.left: list[int] = []

    def closed(self, peer: object) -> None:
        self.left.append(peer.session_id)  # type: ignore[attr-defined]

    def note(self, peer: object, message: Composite) -> None:
        del peer
        self.received.append(message)

    def read(self, peer: object, payload: bytes) -> None:
        self.note(peer, RELAY_MESSAGE.parse(payload))

    received_hashes = received_get_transactions = received_get_block_proposal = note
    received_transactions = received_block_proposal = read


class Case:
    """One node with the blocks of the story's base, and what its relay asked of the other parts of sync."""

    def __init__(
        self,
        transactions: Iterable[Transaction] = (),
        blocks: Sequence[Block] | None = None,
        upload: Upload | None = None,
    ) -> None:
        self.scheduler = FakeScheduler()
        self.chain = RelayChain(self.scheduler, story().base if blocks is None else blocks)
        self.ibd = InitialDownload()
        self.end_ibd()
        self.peers, self.pool = SyncPeers(), FakePool(transactions)
        self.announcer = Announcer(self.chain, self.ibd)
        self.asked_headers: list[SyncPeer] = []
        self.asked_proposals: list[tuple[int, bytes, list[bytes]]] = []
        self.headers_known = 0
        self.received: dict[bytes, Block] = {}
        """Blocks that came by Sync and wait."""
        neighbours = RelayNeighbours(
            ask_headers=self.asked_headers.append,
            ask_proposals=lambda peer, block_hash, ids: self.asked_proposals.append(
                (peer.session_id, block_hash, list(ids))
            ),
            headers_known=self._note_headers,
            find_received=self.received.get,
        )
        self.suspects = Suspects(self.chain, self.peers, self.scheduler, self.asked_headers.append)
        self.relay = BlockRelay(
            self.chain,
            self.peers,
            self.scheduler,
            self.pool,
            self.announcer,
            neighbours,
            self.suspects,
            upload=upload,
        )
        self.transactions = FakeTransactions()
        self.protocol = RelayProtocol(
            self.chain,
            self.scheduler,
            self.ibd,
            self.announcer,
            self.relay,
            self.transactions,
            self.transactions,
        )

    def _note_headers(self) -> None:
        self.headers_known += 1

    def end_ibd(self) -> None:
        """The tip is recent enough."""
        now = self.scheduler.wall_ms()
        self.ibd.is_on(now, now)

    def peer(self, seed: int = 1, direction: Direction = Direction.OUTBOUND, *, with_sync: bool = True) -> FakePeer:
        """With Relay open, and Sync."""
        peer = FakePeer(seed, direction=direction, protocols=[SYNC] if with_sync else [])
        if with_sync:
            self.peers.add(peer)
        return peer.connect(self.protocol)

    def say(self, peer: FakePeer, message: Composite) -> RelayStatus | None:
        """The peer sends a message; None when it was punished for it."""
        return self.protocol.process(peer, RELAY_MESSAGE.pack(message))

    def run(self) -> None:
        """Let the chain do what it was given."""
        self.scheduler.advance(0.0)

    def let_suspects_show_their_chain(self) -> None:
        """As long as they may take for it."""
        self.run()
        self.scheduler.advance(LOOKS + 1.0)

    def tip(self) -> bytes:
        return self.chain.tip().hash


def compact(block: Block, prefilled: Sequence[int] = (0,), **changes: object) -> CompactBlock:
    """As the reference would send it, but for the changes."""
    transactions = block.transactions
    made = CompactBlock(
        header=block.header,
        short_ids=[tx.short_id for index, tx in enumerate(transactions) if index not in prefilled],
        prefilled_transactions=[
            IndexTransaction(index=index, transaction=transactions[index]) for index in sorted(prefilled)
        ],
        uncles=[uncle.hash for uncle in block.uncles],
        proposals=block.proposals,
        extension=block.extension,
    )
    return made.replace(**changes) if changes else made


def messages(peer: FakePeer) -> list[Composite]:
    """What the peer was sent on Relay since the last look."""
    return [RELAY_MESSAGE.parse(payload) for payload in peer.take(RELAY)]


def ban_of(peer: FakePeer) -> str | None:
    """The status code that a peer was banned for, five minutes; None when it was not."""
    if peer.banned is None:
        return None
    seconds, reason = peer.banned
    assert seconds == 300
    return reason.partition(":")[0]


def with_other_witness(transaction: Transaction) -> Transaction:
    """Of the same hash, and so of the same short id."""
    return Transaction(body=transaction.body, witnesses=[b"other", *transaction.witnesses[1:]])


def answer(block: Block, places: list[int], uncles: list[int] | None = None) -> BlockTransactions:
    """What an honest peer says."""
    chosen = [block.uncles[index] for index in uncles or []]
    return BlockTransactions(
        block_hash=block.hash, transactions=[block.transactions[place] for place in places], uncles=chosen
    )


def asked(peer: FakePeer) -> tuple[list[int], list[int]]:
    """The one question that the peer has got."""
    (message,) = messages(peer)
    assert isinstance(message, GetBlockTransactions)
    return list(message.indexes), list(message.uncle_indexes)


def grown(count: int) -> Maker:
    """A chain that is so much longer than the base."""
    maker = Maker(story().base)
    for _ in range(count):
        maker.add()
    return maker


def spoilt(block: Block) -> Block:
    """Only the state of the chain shows that it is wrong."""
    dao = block.header.dao
    return block.replace(header=block.header.with_fields(dao=dao[:16] + bytes([dao[16] ^ 1]) + dao[17:]))
