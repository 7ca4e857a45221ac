"""A stored chain with transactions, uncles, epochs and a branch, and the chain as sync sees it, without threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TypeVar

from ckb_node.chain.events import ChainChanged
from consensus.params import Consensus
from consensus.rules.epoch import next_epoch_ext
from consensus.rules.mmr import chain_root_hash, nodes_of_block
from consensus.types.blockchain import Block, Transaction, UncleBlock
from storage.chain_store import ChainStore, ChainView
from tests.support.chains.unchecked import UncheckedChain, cell_input, header, make_consensus, output, transaction
from tests.support.network.clock import FakeScheduler

T = TypeVar("T")

HEIGHT = 120
EPOCH_LENGTH = 20
FORK_AT = 100
"""Height of the last common block of the chain and its branch."""


def random_transactions(rng: Random, number: int) -> list[Transaction]:
    """Of a block: some, or none."""
    return [
        transaction(
            [cell_input(rng.randbytes(32))], [output(number + 1)] * rng.randrange(1, 3), witnesses=[rng.randbytes(5)]
        )
        for _ in range(rng.choice((0, 0, 1, 2, 6, 13)))
    ]


def an_uncle(rng: Random, number: int) -> UncleBlock:
    return UncleBlock(header=header(number=number, nonce=rng.getrandbits(64)), proposals=[rng.randbytes(10)])


@dataclass
class StoredChain:
    """The main chain's blocks, by height, and those of the branch."""

    consensus: Consensus
    store: ChainStore
    blocks: list[Block]
    branch: list[Block]
    rng: Random = field(default_factory=lambda: Random(7))

    @property
    def tip(self) -> Block:
        return self.blocks[-1]

    def transactions(self) -> list[tuple[Block, Transaction]]:
        return [(block, tx) for block in self.blocks for tx in block.transactions]


def stored_chain(height: int = HEIGHT, seed: int = 1) -> StoredChain:
    """Blocks of which light clients can verify all that they get."""
    rng = Random(seed)
    consensus = make_consensus(genesis_length=EPOCH_LENGTH, genesis_compact_target=0x1E01_5555)
    chain = UncheckedChain.with_genesis(consensus)
    branch: list[Block] = []
    for number in range(1, height + 1):
        if number == FORK_AT + 1:
            branch = grow_branch(rng, chain, 3)
        extend(rng, chain)
    store = ChainStore.in_memory()
    with store.begin() as txn:
        for block in [*chain.blocks, *branch]:
            txn.insert_block(Block.parse(block.raw))
            txn.insert_epoch(block.hash, chain.epochs[block.hash])
            txn.insert_ext(block.hash, chain.exts[block.hash])
            if block not in branch:
                txn.attach_block(block, nodes_of_block(txn, block.header)[1])
        txn.commit()
    return StoredChain(consensus, store, chain.blocks, branch)


def extend(rng: Random, chain: UncheckedChain) -> Block:
    number = chain.tip_header().number + 1
    extension = chain_root_hash(chain, number - 1) + rng.randbytes(rng.choice((0, 0, 5)))
    return chain.extend(
        random_transactions(rng, number),
        uncles=[an_uncle(rng, number) for _ in range(rng.choice((0, 0, 0, 1, 2)))],
        extension=extension,
        proposals=[rng.randbytes(10)] * rng.randrange(2),
        timestamp=chain.tip_header().timestamp + rng.choice((2_000, 8_000, 1_000_000)),
    )


def grow_branch(rng: Random, chain: UncheckedChain, count: int) -> list[Block]:
    """Blocks on the tip that are stored and not attached."""
    made: list[Block] = []
    parent = chain.tip_header()
    for _ in range(count):
        number = parent.number + 1
        epoch = next_epoch_ext(chain.consensus, parent, chain.epochs[parent.hash], chain)
        head = header(number=number, parent_hash=parent.hash, epoch=epoch.fraction_at(number), nonce=rng.getrandbits(9))
        block = Block(
            header=head.with_fields(compact_target=epoch.compact_target),
            uncles=[],
            transactions=random_transactions(rng, number),
            proposals=[],
            extension=None,
        ).with_roots()
        chain.store(block, epoch)
        made.append(block)
        parent = block.header
    return made


class FakeChain:
    """Satisfies ckb_node.sync.serving.chain.ServedChain. What is read is read by `run`."""

    def __init__(self, stored: StoredChain, scheduler: FakeScheduler) -> None:
        self.stored, self.scheduler = stored, scheduler
        self.reads: deque[Callable[[], None]] = deque()
        self.views = 0
        """Opened and not closed yet."""
        self.listeners: list[Callable[[ChainChanged], None]] = []

    def view(self) -> ChainView:
        view = self.stored.store.view()
        close = view.close
        self.views += 1

        def closed() -> None:
            self.views -= 1
            close()

        view.close = closed  # type: ignore[method-assign]
        return view

    def read(self, work: Callable[[ChainView], T], done: Callable[[T | Exception], None]) -> None:
        self.reads.append(partial(self._read, work, done))

    def _read(self, work: Callable[[ChainView], T], done: Callable[[T | Exception], None]) -> None:
        result: T | Exception
        with self.stored.store.view() as view:
            try:
                result = work(view)
            except Exception as error:  # noqa: BLE001 - as threads hand it on
                result = error
        done(result)

    def run(self, limit: int = 1_000_000) -> int:
        """What readers were given, and what they are given then; how many reads it were."""
        for count in range(limit):
            if not self.reads:
                return count
            self.reads.popleft()()
        return limit

    def settle(self, seconds: float = 1000.0) -> None:
        """Read, and let time pass wherever answers wait for it, until nothing is left to do."""
        end = self.scheduler.now() + seconds
        while True:
            self.run()
            at = self.scheduler.next_at()
            if at is None or at > end:
                return
            self.scheduler.advance_to(at)

    def listen(self, listener: Callable[[ChainChanged], None]) -> None:
        self.listeners.append(listener)
