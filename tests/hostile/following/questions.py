"""Questions at their limits, as fast as they are read, and with numbers that nobody means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from network.limits import DISCOVERY, FILTER, HOLE_PUNCHING, LIGHT_CLIENT, RELAY, SYNC
from network.messages.peers import (
    HOLE_PUNCHING_MESSAGE,
    Address,
    ConnectionRequest,
    DiscoveryMessage,
    Node,
    Nodes,
)
from network.messages.protocols import (
    GetBlockFilterCheckPoints,
    GetBlockFilterHashes,
    GetBlockFilters,
    GetBlockProposal,
    GetBlocks,
    GetBlocksProof,
    GetBlockTransactions,
    GetHeaders,
    GetLastState,
    GetLastStateProof,
    GetRelayTransactions,
    GetTransactionsProof,
)
from tests.hostile.following.lab import Attack, Lab, say
from tests.hostile.peers import Say

MOST_HASHES: Final = 32_767


class _Questions(Attack):
    @classmethod
    def prepare(cls, lab: Lab) -> None:
        assert lab.blocks

    def hashes(self, count: int) -> list[bytes]:
        return [self.rng.randbytes(32) for _ in range(count)]


class AskBlocks(_Questions):
    """32 of the chain's blocks."""

    def next(self) -> Say:
        blocks = self.lab.blocks
        some = self.rng.sample(blocks, min(32, len(blocks)))
        return say(SYNC, GetBlocks(block_hashes=[each.hash for each in some]))


class AskHeaders(_Questions):
    """Locators of a hundred unknown blocks and the genesis block."""

    def next(self) -> Say:
        locator = [*self.hashes(100), self.lab.consensus.genesis_hash]
        return say(SYNC, GetHeaders(hash_stop=bytes(32), block_locator_hashes=locator))


class AskHeadersOfMany(_Questions):
    """A locator as long as a message may be."""

    expects_bans = True

    def next(self) -> Say:
        locator = [*self.hashes(1000), self.lab.consensus.genesis_hash] * 60
        return say(SYNC, GetHeaders(hash_stop=bytes(32), block_locator_hashes=locator))


class AskBlockTransactions(_Questions):
    """All of the largest block, and one of them 32,000 times."""

    def next(self) -> Say:
        block = max(self.lab.blocks, key=lambda each: len(each.raw))
        count = len(block.transactions)
        indexes = list(range(count)) if self.rng.random() < 0.5 else [each % count for each in range(32_000)]
        return say(RELAY, GetBlockTransactions(block_hash=block.hash, indexes=indexes, uncle_indexes=[]))


class AskTransactions(_Questions):
    """As many hashes as there may be."""

    def next(self) -> Say:
        return say(RELAY, GetRelayTransactions(tx_hashes=self.hashes(MOST_HASHES)))


class AskProposals(_Questions):
    def next(self) -> Say:
        ids = [self.rng.randbytes(10) for _ in range(3000)]
        return say(RELAY, GetBlockProposal(block_hash=bytes(32), proposals=ids))


class LightWild(_Questions):
    """Zero, one, the largest numbers, unsorted and equal difficulties, blocks beyond the tip and unknown ones."""

    protocols = (SYNC, LIGHT_CLIENT, FILTER)
    peers = 8
    expects_bans = True

    def any_number(self, bits: int) -> int:
        return self.rng.choice([0, 1, self.rng.getrandbits(bits), (1 << bits) - 1, len(self.lab.blocks)])

    def hash(self) -> bytes:
        known = self.rng.choice(self.lab.blocks).hash
        return self.rng.choice(
            [known, known, known, self.lab.consensus.genesis_hash, bytes(32), self.rng.randbytes(32)]
        )

    def some_hashes(self) -> list[bytes]:
        few = [self.hash() for _ in range(self.rng.choice([0, 1, 5]))]
        return self.rng.choice([few, self.hashes(1000), self.hashes(1001), [bytes(32)] * 2])

    def next(self) -> Say:
        question: Callable[[], Say] = self.rng.choice([self.state, self.filters, self.blocks, self.transactions])
        return question()

    def state(self) -> Say:
        rng = self.rng
        difficulties = [rng.getrandbits(rng.choice([20, 40, 256])) for _ in range(rng.choice([0, 1, 5, 900]))]
        if rng.random() < 0.7:
            difficulties = sorted(set(difficulties))
        question = GetLastStateProof(
            last_hash=self.hash(),
            start_hash=self.hash(),
            start_number=self.any_number(64),
            last_n_blocks=rng.choice([0, 1, 50, 500, 501, (1 << 64) - 1, 1 << 63]),
            difficulty_boundary=self.any_number(256),
            difficulties=difficulties,
        )
        return say(LIGHT_CLIENT, rng.choice([question, GetLastState(subscribe=rng.choice([b"\0", b"\1"]))]))

    def filters(self) -> Say:
        kind = self.rng.choice([GetBlockFilters, GetBlockFilterHashes, GetBlockFilterCheckPoints])
        return say(FILTER, kind(start_number=self.any_number(64)))

    def blocks(self) -> Say:
        return say(LIGHT_CLIENT, GetBlocksProof(last_hash=self.hash(), block_hashes=self.some_hashes()))

    def transactions(self) -> Say:
        return say(LIGHT_CLIENT, GetTransactionsProof(last_hash=self.hash(), tx_hashes=self.some_hashes()))


class LightDear(_Questions):
    """What may be asked for, as much of it as may be: nobody is banned."""

    protocols = (SYNC, LIGHT_CLIENT, FILTER)
    peers = 8

    def next(self) -> Say:
        blocks = self.lab.blocks
        last = blocks[-1].hash
        below = [each.hash for each in blocks[:-1]][:1000]
        txs = [tx.hash for each in blocks[:-1] for tx in each.transactions][:1000]
        state = GetLastStateProof(
            last_hash=last,
            start_hash=last,
            start_number=1,
            last_n_blocks=500,
            difficulty_boundary=1 << 255,
            difficulties=[],
        )
        return self.rng.choice(
            [
                say(LIGHT_CLIENT, state),
                say(LIGHT_CLIENT, GetBlocksProof(last_hash=last, block_hashes=below)),
                say(LIGHT_CLIENT, GetTransactionsProof(last_hash=last, tx_hashes=txs)),
                say(FILTER, GetBlockFilters(start_number=0)),
                say(FILTER, GetBlockFilterHashes(start_number=0)),
                say(FILTER, GetBlockFilterCheckPoints(start_number=0)),
            ]
        )


class ManyFilters(_Questions):
    """200 clients that ask for filters at once."""

    protocols = (SYNC, FILTER)
    peers = 110
    rate = 20.0

    def next(self) -> Say:
        kind = self.rng.choice([GetBlockFilters, GetBlockFilterHashes, GetBlockFilterCheckPoints])
        return say(FILTER, kind(start_number=self.rng.randrange(20)))


class DiscoveryOfMany(Attack):
    """Half a megabyte of nodes, or of addresses of one node: who sends that is disconnected, as the table says."""

    protocols = (SYNC, DISCOVERY)
    rate = 50.0

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        del lab
        node = Node(addresses=[], flags=None)
        nodes = Nodes(announce=b"\0", items=[node] * 25_000)
        one = Nodes(announce=b"\0", items=[Node(addresses=[b""] * 64_000, flags=None)])
        cls._payloads = [DiscoveryMessage(payload=each).raw for each in (nodes, one)]

    _payloads: list[bytes]

    def next(self) -> Say:
        return DISCOVERY, self.rng.choice(self._payloads)


class PunchingOfMany(Attack):
    """Half a megabyte of route, or of addresses."""

    protocols = (SYNC, HOLE_PUNCHING)
    rate = 50.0
    expects_bans = True

    @classmethod
    def prepare(cls, lab: Lab) -> None:
        del lab
        peer = b"\x12\x20" + bytes(32)
        route = ConnectionRequest(from_=peer, to=peer, max_hops=1, route=[b""] * 64_000, listen_addrs=[])
        address = [Address(data=b"")] * 30_000
        places = ConnectionRequest(from_=peer, to=peer, max_hops=1, route=[], listen_addrs=address)
        cls._payloads = [HOLE_PUNCHING_MESSAGE.pack(each) for each in (route, places)]

    _payloads: list[bytes]

    def next(self) -> Say:
        return HOLE_PUNCHING, self.rng.choice(self._payloads)


QUESTIONS: Final = (
    AskBlocks,
    AskHeaders,
    AskHeadersOfMany,
    AskBlockTransactions,
    AskTransactions,
    AskProposals,
    LightWild,
    LightDear,
    ManyFilters,
    DiscoveryOfMany,
    PunchingOfMany,
)
