"""Questions of light clients at random: good ones, each boundary, and bad ones; not those that stop the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from consensus.types.blockchain import Block
from network.limits import FILTER, LIGHT_CLIENT, ProtocolSpec
from network.messages.protocols import (
    BLOCK_FILTER_MESSAGE,
    LIGHT_CLIENT_MESSAGE,
    GetBlockFilterCheckPoints,
    GetBlockFilterHashes,
    GetBlockFilters,
    GetBlocksProof,
    GetLastStateProof,
    GetTransactionsProof,
)

U64_MAX = (1 << 64) - 1
U256_MAX = (1 << 256) - 1


@dataclass
class Known:
    """The main chain by height, total difficulties by height, and blocks that are not on it."""

    blocks: Sequence[Block]
    totals: Sequence[int]
    side: Sequence[Block]
    rng: Random

    @property
    def tip(self) -> int:
        return len(self.blocks) - 1

    def any_last(self) -> int:
        return self.rng.choice((1, 2, self.tip, self.tip - 1, self.rng.randrange(1, self.tip + 1)))

    def odd_hash(self) -> bytes:
        """Of no block on the main chain."""
        return self.rng.choice([self.rng.randbytes(32), bytes(32), *(block.hash for block in self.side)])


def state_question(known: Known) -> GetLastStateProof:
    rng = known.rng
    last = known.any_last()
    start = rng.choice((0, 1, last, last - 1, rng.randrange(last + 1), rng.randrange(last + 1)))
    start_hash = known.blocks[start].hash if rng.random() < 0.7 else known.odd_hash()
    last_n = rng.choice((0, 1, 5, 20, last - start, max(0, last - start - 1), last - start + 1, 500, 501))
    below, top = (known.totals[start - 1] if start else 0), known.totals[last]
    low, high = sorted((rng.randrange(top + 1), rng.randrange(top + 1)))
    boundary = rng.choice((high, top, known.totals[last - 1], known.totals[last - 1] + 1, below + 1, 0, U256_MAX))
    count = rng.choice((0, 0, 1, 3, 20, 100, 1000 - 2 * min(last_n, 500)))
    values = [rng.randrange(max(1, min(low, below)), top + 2) for _ in range(count)]
    values += [known.totals[number] for number in rng.sample(range(last + 1), k=min(count, 3, last))]
    if rng.random() < 0.85:  # good ones
        values = sorted({value for value in values if below < value < boundary})
    if rng.random() < 0.1:
        values += [U256_MAX]
    return GetLastStateProof(
        last_hash=known.blocks[last].hash if rng.random() < 0.95 else known.odd_hash(),
        start_hash=start_hash,
        start_number=start,
        last_n_blocks=last_n,
        difficulty_boundary=boundary,
        difficulties=values,
    )


def blocks_question(known: Known) -> GetBlocksProof:
    rng = known.rng
    last = known.any_last()
    most = rng.choice((last, last, last, known.tip + 1))
    count = rng.choice((0, 1, 2, 3, 20, 1000)) if rng.random() < 0.3 else rng.randrange(1, 30)
    hashes = [known.blocks[number].hash for number in rng.sample(range(most), k=min(count, most))]
    hashes += [known.odd_hash() for _ in range(rng.choice((0, 0, 1, 3)))]
    if rng.random() < 0.1:
        hashes += rng.choices(hashes or [bytes(32)], k=1)
    if rng.random() < 0.05:
        hashes += [rng.randbytes(32) for _ in range(rng.choice((999, 1000, 1001)) - len(hashes))]
    rng.shuffle(hashes)
    last_hash = known.blocks[last].hash if rng.random() < 0.95 else known.odd_hash()
    return GetBlocksProof(last_hash=last_hash, block_hashes=hashes)


def transactions_question(known: Known) -> GetTransactionsProof:
    rng = known.rng
    last = known.any_last()
    most = rng.choice((last, last, last, known.tip + 1))
    hashes: list[bytes] = []
    twice: list[bytes] = []
    for number in rng.sample(range(most), k=min(rng.randrange(30), most)):
        transactions = known.blocks[number].transactions
        hashes += [tx.hash for tx in rng.sample(list(transactions), k=rng.randrange(1, len(transactions) + 1))]
        if len(transactions) > 1 and rng.random() < 0.02:  # of a block of one transaction it stops the reference
            twice += [transactions[-1].hash]
    hashes += [rng.randbytes(32) for _ in range(rng.choice((0, 0, 1, 3)))]
    # A cellbase of the branch may be that of the main chain at the same height.
    hashes += [tx.hash for block in known.side for tx in block.transactions if rng.random() < 0.05]
    hashes = [*dict.fromkeys(hashes), *twice]
    if rng.random() < 0.05:
        hashes += [rng.randbytes(32) for _ in range(rng.choice((999, 1000, 1001)) - len(hashes))]
    rng.shuffle(hashes)
    last_hash = known.blocks[last].hash if rng.random() < 0.95 else known.odd_hash()
    return GetTransactionsProof(last_hash=last_hash, tx_hashes=hashes)


def filter_question(known: Known) -> bytes:
    rng, tip = known.rng, known.tip
    kind = rng.choice((GetBlockFilters, GetBlockFilterHashes, GetBlockFilterCheckPoints))
    start = rng.choice((0, 1, 2, tip - 1, tip, tip + 1, tip + 2, U64_MAX, rng.randrange(tip + 1)))
    if kind is GetBlockFilterHashes and not start:  # it is the sentinel
        start = 1
    return BLOCK_FILTER_MESSAGE.pack(kind(start_number=start))


def spoiled(rng: Random, payload: bytes) -> bytes:
    """Bytes that may or may not be a message."""
    choice = rng.randrange(4)
    if choice == 0:
        return payload[: rng.randrange(1, len(payload))]
    if choice == 1:
        return payload + rng.randbytes(rng.choice((1, 4)))
    at = rng.randrange(min(len(payload), 24)) if choice == 2 else 0
    return payload[:at] + bytes([rng.randrange(9)]) + payload[at + 1 :]


MAKERS: Sequence[Callable[[Known], bytes]] = (
    lambda known: LIGHT_CLIENT_MESSAGE.pack(state_question(known)),
    lambda known: LIGHT_CLIENT_MESSAGE.pack(blocks_question(known)),
    lambda known: LIGHT_CLIENT_MESSAGE.pack(transactions_question(known)),
)


def random_question(known: Known) -> tuple[ProtocolSpec, bytes]:
    """A protocol, and what is said on it."""
    rng = known.rng
    protocol = FILTER if rng.random() < 0.2 else LIGHT_CLIENT
    payload = filter_question(known) if protocol is FILTER else rng.choice(MAKERS)(known)
    return protocol, payload if rng.random() < 0.95 else spoiled(rng, payload)
