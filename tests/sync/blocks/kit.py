"""A node that downloads blocks from peers that tests drive by hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from ckb_node.chain.initial_download import InitialDownload
from ckb_node.sync.blocks.download import BlockDownload
from ckb_node.sync.blocks.refusals import Refusals
from ckb_node.sync.peers import SyncPeer, SyncPeers
from ckb_node.sync.suspects import Suspects
from consensus.types.blockchain import Block
from network.limits import SYNC
from network.messages.protocols import SYNC_MESSAGE, GetBlocks
from network.peer import Direction
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.long_chain import ChainMaker
from tests.support.chains.step_chain import StepChain
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer

CHAIN: Final = 400


@cache
def empty_chain(count: int) -> tuple[Block, ...]:
    """Blocks with only a cellbase, from height 1 on."""
    maker = ChainMaker()
    for _ in range(count):
        maker.add()
    return tuple(Block.parse(raw) for raw in maker.raw_blocks)


class Giver:
    """A peer that has blocks, and gives them when a test says so."""

    def __init__(
        self, node: Node, blocks: Sequence[Block], seed: int, *, is_outbound: bool, is_whitelisted: bool
    ) -> None:
        direction = Direction.OUTBOUND if is_outbound else Direction.INBOUND
        self.node: Final = node
        self.fake: Final = FakePeer(seed, direction=direction, protocols=[SYNC], is_whitelisted=is_whitelisted)
        self.sync: Final = node.peers.add(self.fake)
        self.blocks: Final = {block.hash: block for block in blocks}
        self.owed: Final[list[bytes]] = []
        if blocks:
            node.chain.know([block.header for block in blocks])
            self.sync.note_shown(node.chain.known(blocks[-1].header))

    def asked(self) -> list[bytes]:
        """Hashes that it was asked for since the last look; it owes them now."""
        new: list[bytes] = []
        for payload in self.fake.take(SYNC):
            message = SYNC_MESSAGE.parse(payload)
            assert isinstance(message, GetBlocks)
            assert 0 < len(message.block_hashes) <= 32
            new += message.block_hashes
        self.owed.extend(new)
        return new

    def give(self, count: int | None = None, *, first: int = 0) -> int:
        """Send so many of the blocks that it owes, all by default, the oldest first; how many."""
        self.asked()
        hashes = self.owed[first:] if count is None else self.owed[first : first + count]
        for block_hash in hashes:
            self.owed.remove(block_hash)
            self.send(self.blocks[block_hash])
        return len(hashes)

    def send(self, block: Block) -> None:
        self.node.download.received_block(self.sync, block, block.raw_size)

    @property
    def has_ended(self) -> bool:
        return self.fake.has_ended

    def leave(self) -> None:
        self.node.peers.remove(self.sync.session_id)
        self.node.download.closed(self.sync)


class Node:
    """`pending` are the hashes that relay is about to rebuild, with their age."""

    def __init__(self, *, is_ibd: bool = True, chain: StepChain | None = None) -> None:
        self.chain: Final = chain or StepChain(dev_consensus())
        self.clock: Final = FakeScheduler()
        self.peers: Final = SyncPeers()
        self.pending: Final[dict[bytes, float]] = {}
        self.is_rush = False
        """Headers rush in."""
        ibd = InitialDownload()
        if not is_ibd:
            ibd.is_on(self.chain.wall_ms, self.chain.wall_ms)
        self.download: Final = BlockDownload(
            self.chain,
            self.peers,
            self.clock,
            ibd,
            is_pending_compact=lambda each: self.pending.get(each),
            are_headers_rushing_in=lambda: self.is_rush,
        )
        Refusals(self.chain, self.peers, Suspects(self.chain, self.peers, self.clock, lambda _: None))
        self.download.start()

    def giver(
        self, blocks: Sequence[Block], seed: int = 1, *, is_outbound: bool = True, is_whitelisted: bool = False
    ) -> Giver:
        """A peer with a chain, whose headers are known here."""
        return Giver(self, blocks, seed, is_outbound=is_outbound, is_whitelisted=is_whitelisted)

    def wake(self) -> None:
        self.download.wake()
        self.clock.advance(0.0)

    @property
    def height(self) -> int:
        return self.chain.tip().number

    def run(self, givers: Sequence[Giver], seconds: float = 30.0, step: float = 0.05) -> None:
        """Let time pass; these peers give at once what they are asked for, and the writer works."""
        self.wake()
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            gave = sum(giver.give() for giver in givers if not giver.has_ended)
            self.chain.work()
            self.clock.advance(step)
            if not gave and not self.chain.jobs and self.download.in_flight_count == 0:
                return


def peer_of(node: Node, giver: Giver) -> SyncPeer | None:
    return node.peers.get(giver.sync.session_id)


def false_body(block: Block) -> Block:
    """Another body below the same header."""
    return block.replace(proposals=[bytes(10)])


def given(node: Node) -> list[bytes]:
    """Hashes that the writer was given, in order."""
    return [block_hash for call in node.chain.given for block_hash in call]
