"""What one node takes from a compact block that comes until its own is sent on, all transactions in its pool.

In this process, with the real chain on disk, pool and relay, without sockets. The parts are measured as well.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from ckb_node.chain.initial_download import InitialDownload
from ckb_node.devchain import DevChain
from ckb_node.sync.chain_access import ChainAccess
from ckb_node.sync.peers import SyncPeers
from ckb_node.sync.pool_access import PoolAccess
from ckb_node.sync.relay.announce import Announcer
from ckb_node.sync.relay.blocks import BlockRelay, RelayNeighbours
from ckb_node.sync.relay.compact import compact_message, read_compact
from ckb_node.sync.relay.protocol import RelayProtocol
from ckb_node.sync.relay.reconstruct import FoundUncles, Places, build_block
from ckb_node.sync.suspects import Suspects
from consensus.types.blockchain import Block, OutPoint, Transaction
from network.io.scheduler import LoopScheduler
from network.limits import SYNC, ProtocolSpec
from network.messages.protocols import RELAY_MESSAGE, CompactBlock
from network.peer import Peer
from storage.chain_store import ChainStore
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.chains.devchain import dev_chain
from tests.support.network.peers import FakePeer
from tests.support.report import BENCH_DIR, Report

ROUNDS = 6
CELL = 200 * CKB
FEE = 100_000
PEERS = 8
BLOCK_BYTES = 597_000
REPEATS = 20


class _Nothing:
    """Transactions and proposals of peers do not come here."""

    def closed(self, peer: Peer) -> None:
        """Nothing is kept."""

    def note(self, peer: Peer, message: object) -> None:
        """Nothing is done."""

    received_hashes = received_get_transactions = received_transactions = note
    received_get_block_proposal = received_block_proposal = note


class TimedPeer(FakePeer):
    """When it was sent something."""

    told_at = 0.0

    def send(self, protocol: ProtocolSpec, payload: bytes) -> bool:
        self.told_at = time.perf_counter()
        return super().send(protocol, payload)


class RelayingNode:
    """A dev chain with the relay of blocks over it."""

    def __init__(self, dev: DevChain) -> None:
        self.dev, self.pool = dev, PoolAccess(dev.pool)
        chain, peers, ibd, scheduler = (
            ChainAccess(dev.chain, dev.clock.now_ms),
            SyncPeers(),
            InitialDownload(),
            LoopScheduler(),
        )
        announcer = Announcer(chain, ibd)
        neighbours = RelayNeighbours(ask_headers=lambda _: None, ask_proposals=lambda *_: None)
        suspects = Suspects(chain, peers, scheduler, ask_headers=lambda _: None)
        blocks = BlockRelay(chain, peers, scheduler, self.pool, announcer, neighbours, suspects)
        self.protocol = RelayProtocol(chain, scheduler, ibd, announcer, blocks, _Nothing(), _Nothing())
        self.peers = [TimedPeer(seed, protocols=[SYNC]) for seed in range(PEERS)]
        for peer in self.peers:
            peers.add(peer)
            peer.connect(self.protocol)

    async def relay(self, message: bytes) -> float:
        """Seconds until the last peer was told."""
        giver, *others = self.peers
        for peer in others:
            peer.told_at = 0.0
        begun = time.perf_counter()
        self.protocol.received(giver, message)
        async with asyncio.timeout(30):
            while not all(peer.told_at for peer in others):  # noqa: ASYNC110 - of the relay
                await asyncio.sleep(0)
        return max(peer.told_at for peer in others) - begun


def bench_path(report: Report, count: int) -> None:
    """Blocks of `count` transactions, and empty ones."""
    with tempfile.TemporaryDirectory(prefix="path-", dir=BENCH_DIR) as directory:
        asyncio.run(_bench(report, Path(directory) / "chain", count))


async def _bench(report: Report, directory: Path, count: int) -> None:
    async with _two_chains(directory) as (maker, node):
        batches = await _batches(maker, node.dev, count)
        full: list[float] = []
        block: Block | None = None
        for batch in batches:
            block = await _next_full(maker, node, batch)
            full.append(await node.relay(compact_message(block)))
        assert block is not None
        empty = []
        for _ in range(REPEATS):
            block_of_none = await maker.mine()
            empty.append(await node.relay(compact_message(block_of_none)))
        what = f"compact block received until told to {PEERS - 1} peers, {count} transactions in the pool"
        report.add(f"path_{count}_ms", statistics.median(full) * 1000, what)
        report.add("path_empty_ms", statistics.median(empty) * 1000, "the same, block with its cellbase only")
        _bench_parts(report, block, batches[-1], count)


@asynccontextmanager
async def _two_chains(directory: Path) -> AsyncIterator[tuple[DevChain, RelayingNode]]:
    """One that makes blocks, and one that gets them; scripts run once for both."""
    async with dev_chain() as maker, dev_chain(store=ChainStore.open(directory)) as dev:
        dev.scripts.verified = maker.scripts.verified
        yield maker, RelayingNode(dev)


async def _batches(maker: DevChain, dev: DevChain, count: int) -> list[Sequence[Transaction]]:
    """Transfers of committed cells, for each round."""
    alice, bob, total = Wallet(ALICE_KEY), Wallet(BOB_KEY), count * ROUNDS
    cell, capacity = issued_cell(maker.consensus, alice)
    outputs = [(alice.lock, CELL)] * total
    split = alice.transfer(
        maker.consensus, [(cell, capacity)], [*outputs, (alice.lock, capacity - total * (CELL + FEE))]
    )
    await maker.pool.submit(split)
    for _ in range(4):
        await dev.chain.submit_block(await maker.mine())
    cells = [OutPoint(tx_hash=split.hash, index=index) for index in range(total)]
    transfers = [alice.transfer(maker.consensus, [(each, CELL)], [(bob.lock, CELL - FEE)]) for each in cells]
    Random(0).shuffle(transfers)
    return [transfers[at : at + count] for at in range(0, total, count)]


async def _next_full(maker: DevChain, node: RelayingNode, batch: Sequence[Transaction]) -> Block:
    """The block that commits a batch, which both pools have; the node has its parent."""
    for transaction in batch:
        await maker.pool.submit(transaction)
        await node.dev.pool.submit(transaction)
    for _ in range(2):
        await node.dev.chain.submit_block(await maker.mine())
    block = await maker.mine()
    if len(block.transactions) != len(batch) + 1:
        raise RuntimeError(f"the block has {len(block.transactions) - 1} transactions, not {len(batch)}")
    return Block.parse(block.raw)


def _bench_parts(report: Report, block: Block, batch: Sequence[Transaction], count: int) -> None:
    """Milliseconds of the parts that run on the event loop."""
    payload = compact_message(block)
    known = {each.short_id: each.raw for each in batch}

    class Pool:
        def by_short_ids(self, short_ids: Sequence[bytes]) -> dict[bytes, Transaction]:
            return {each: Transaction.trusted(known[each]) for each in short_ids}

    def parse() -> CompactBlock:
        message = RELAY_MESSAGE.parse(payload)
        assert isinstance(message, CompactBlock)
        return message

    def rebuild() -> Block:
        message = parse()
        sketch = read_compact(message, message.header)
        places = Places(sketch)
        places.fill(sketch.ids, Pool(), BLOCK_BYTES)  # type: ignore[arg-type]
        assert places.transactions_root() == block.header.transactions_root
        return build_block(sketch, places, FoundUncles([]))

    fresh = Block.parse(block.raw)
    _ = fresh.tx_slices
    report.add(f"parse_{count}_ms", _median_ms(parse), "decode the compact block")
    report.add(f"rebuild_{count}_ms", _median_ms(rebuild), "decode it, and put the block together, root checked")
    report.add(f"compact_{count}_ms", _median_ms(lambda: compact_message(fresh)), "make the compact block of a block")


def _median_ms(work: object) -> float:
    assert callable(work)
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000
