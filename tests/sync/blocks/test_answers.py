"""GetBlocks is answered from the archive, at a pace that leaves the others their turn; what may not be asked is
punished as by the reference."""

from __future__ import annotations

import pytest

from ckb_node.sync.blocks import limits
from ckb_node.sync.blocks.answers import BlockAnswers, packed_block
from ckb_node.sync.peers import SyncPeers
from ckb_node.sync.upload import Upload
from consensus.types.blockchain import Block
from network.budget import Allowance
from network.limits import SYNC
from network.messages.protocols import SYNC_MESSAGE, GetBlocks, SendBlock
from tests.support.chains.branches import branch as branch_of
from tests.support.chains.devchain import dev_consensus
from tests.support.chains.step_chain import StepChain
from tests.support.network.clock import FakeScheduler
from tests.support.network.peers import FakePeer
from tests.sync.blocks.kit import empty_chain


class Server:
    def __init__(self, stored: int = 200, upload: Upload | None = None) -> None:
        self.chain, self.clock, self.peers = StepChain(dev_consensus()), FakeScheduler(), SyncPeers()
        self.blocks = empty_chain(200)[:stored]
        for block in self.blocks:
            self.chain.writer.process(block)
        self.answers = BlockAnswers(self.chain, self.clock, upload)

    def peer(self, seed: int = 1) -> FakePeer:
        fake = FakePeer(seed, protocols=[SYNC])
        self.peers.add(fake)
        return fake

    def ask(self, fake: FakePeer, *hashes: bytes) -> None:
        peer = self.peers.get(fake.session_id)
        assert peer is not None
        self.answers.received_get_blocks(peer, GetBlocks(block_hashes=list(hashes)))

    def work(self) -> None:
        """Until nothing is read and nothing waits."""
        for _ in range(1000):
            self.chain.work()
            if self.clock.next_at() is None and not self.chain.jobs:
                return
            self.clock.advance(limits.ANSWER_WAIT_SECONDS)


def got(fake: FakePeer) -> list[Block]:
    messages = [SYNC_MESSAGE.parse(payload) for payload in fake.take(SYNC)]
    return [message.block for message in messages if isinstance(message, SendBlock)]


def test_a_packed_block_is_the_message() -> None:
    block = empty_chain(200)[0]
    assert packed_block(block.raw) == SYNC_MESSAGE.pack(SendBlock(block=block))


def test_blocks_come_in_the_order_of_the_question() -> None:
    server = Server()
    fake = server.peer()
    wanted = [server.blocks[at] for at in (5, 3, 199, 0)]
    server.ask(fake, *(block.hash for block in wanted))
    server.work()
    assert got(fake) == wanted
    assert not fake.has_ended


async def test_what_is_not_known_to_be_valid_is_passed_over() -> None:
    server = Server(5)
    side = await branch_of(b"side", 1, server.blocks[:3])
    server.chain.writer.process(side[0])
    fake = server.peer()
    server.ask(fake, b"x" * 32, side[0].hash, server.blocks[1].hash)
    server.work()
    assert got(fake) == [server.blocks[1]]
    assert not fake.has_ended


def test_only_the_first_32_are_looked_at() -> None:
    server = Server()
    fake = server.peer()
    server.ask(fake, *(block.hash for block in server.blocks[:40]))
    server.work()
    assert got(fake) == list(server.blocks[:32])
    genesis = server.chain.consensus.genesis_hash
    server.ask(fake, *(block.hash for block in server.blocks[:32]), genesis, server.blocks[0].hash)
    assert not fake.has_ended


@pytest.mark.parametrize(
    ("count", "extra", "code"),
    [(2001, "", "400"), (1, "genesis", "417"), (2, "first", "418"), (2000, "", ""), (0, "", "")],
)
def test_what_may_not_be_asked_costs_a_ban(count: int, extra: str, code: str) -> None:
    server = Server(3)
    fake = server.peer()
    hashes = [server.blocks[0].hash] * min(count, 1) + [at.to_bytes(32, "little") for at in range(1, count)]
    hashes += {"genesis": [server.chain.consensus.genesis_hash], "first": hashes[:1], "": []}[extra]
    server.ask(fake, *hashes)
    server.work()
    assert fake.has_ended == bool(code)
    if fake.banned is not None:
        assert fake.banned[0] == 300
        assert fake.banned[1].startswith(code)


def test_peers_take_turns() -> None:
    server = Server()
    greedy, modest = server.peer(1), server.peer(2)
    for at in range(0, 192, 32):
        server.ask(greedy, *(block.hash for block in server.blocks[at : at + 32]))
    server.ask(modest, server.blocks[0].hash)
    server.chain.work(2)
    assert (len(got(greedy)), len(got(modest))) == (32, 1)
    server.chain.work(1)
    assert len(got(greedy)) == limits.ANSWER_SLICE_BLOCKS
    server.work()
    assert len(got(greedy)) == 192 - 32 - limits.ANSWER_SLICE_BLOCKS


def test_a_connection_that_is_full_gets_nothing_more() -> None:
    server = Server()
    full, other = server.peer(1), server.peer(2)
    full.queued_bytes = limits.ANSWER_QUEUE_BYTES
    for fake in (full, other):
        server.ask(fake, *(block.hash for block in server.blocks[:32]))
    server.chain.work()
    assert (len(got(full)), len(got(other))) == (0, 32)
    full.queued_bytes = 0
    server.work()
    assert len(got(full)) == 32


def test_bytes_are_paced(monkeypatch: pytest.MonkeyPatch) -> None:  # complaint 19
    server = Server()
    price = server.blocks[50].raw_size + limits.ANSWER_PRICE
    monkeypatch.setattr(limits, "ANSWER_RATE", 10.0 * price)
    monkeypatch.setattr(limits, "ANSWER_BURST", 20.0 * price)
    monkeypatch.setattr(limits, "ANSWER_SLICE_BLOCKS", 4)
    fake, begun = server.peer(), server.clock.now()
    for at in range(0, 192, 32):
        server.ask(fake, *(block.hash for block in server.blocks[at : at + 32]))
    server.work()
    assert len(got(fake)) == 192
    assert 14.0 < server.clock.now() - begun < 20.0


def test_all_uploads_share_a_limit() -> None:  # complaint 19
    upload = Allowance(10_000.0, 1000.0, 1000.0)
    server = Server(upload=Upload(upload))
    fake, begun = server.peer(), server.clock.now()
    server.ask(fake, *(block.hash for block in server.blocks[:32]))
    server.work()
    assert len(got(fake)) == 32
    assert upload.left(server.clock.now()) < 0
    server.ask(fake, server.blocks[32].hash)
    server.work()
    assert len(got(fake)) == 1
    assert server.clock.now() - begun > 1.0


def test_who_asks_for_more_than_may_wait_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_QUEUED_ANSWERS", 64)
    server = Server()
    fake = server.peer()
    for at in range(0, 96, 32):
        server.ask(fake, *(block.hash for block in server.blocks[at : at + 32]))
    assert fake.held
    server.work()
    assert not fake.held
    assert len(got(fake)) == 96
    assert server.answers.queued == 0


def test_a_peer_that_leaves_gets_nothing_more() -> None:
    server = Server()
    fake = server.peer()
    server.ask(fake, server.blocks[0].hash)
    peer = server.peers.get(fake.session_id)
    assert peer is not None
    server.answers.closed(peer)
    server.work()
    assert server.answers.queued == 0


def test_a_fault_of_the_disk_ends_the_answer_and_nothing_else() -> None:
    server = Server()
    fake = server.peer()
    server.ask(fake, server.blocks[0].hash)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.chain, "view", _broken)
        server.chain.work()
    assert got(fake) == []
    assert not fake.has_ended
    server.ask(fake, server.blocks[1].hash)
    server.work()
    assert got(fake) == [server.blocks[1]]


def _broken() -> object:
    raise OSError("the disk is gone")
