"""Each rule of Relay about blocks, broken once (PROTOCOL-NET 2.17 and 2.18)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from consensus.types.blockchain import Block, Transaction, UncleBlock
from network.limits import RELAY
from network.messages.protocols import (
    BlockTransactions,
    CompactBlock,
    GetBlockProposal,
    GetBlockTransactions,
    IndexTransaction,
    RelayTransactionHashes,
)
from network.peer import Peer
from tests.simulation.sync.attack import Strike, attacks, hashes, says, sends_raw, short_ids
from tests.simulation.sync.attacks_sync import spoil_commit, spoil_dao
from tests.simulation.sync.blocks import CYCLES, free_cell, spending
from tests.simulation.sync.forge import Forge
from tests.simulation.sync.impostor import Impostor, Message, compact

# --- compact blocks ---


def with_transactions(forge: Forge, count: int = 4) -> Block:
    """A block on the tip with transactions that no pool has, proposed in time; not taken."""
    consensus = forge.consensus
    batch = [spending(consensus, free_cell(consensus, 300 + number), data=b"private") for number in range(count)]
    forge.add(proposals=[each.short_id for each in batch], after=1.0)
    forge.add(after=1.0)
    return forge.make(batch, after=1.0)


def _compact_like(change: Callable[[Block], CompactBlock]) -> Callable[[Impostor, Peer], None]:
    """Gives the blocks below by compact blocks, then a changed one of a block with transactions."""

    def strike(evil: Impostor, peer: Peer) -> None:
        block = evil.know(with_transactions(evil.forge))
        evil.follow_forge()
        for below in evil.main[-2:]:
            evil.announce(peer, below)
        evil.clock.call_later(2.0, lambda: evil.say(peer, change(block)))

    return strike


def _without_cellbase(block: Block) -> CompactBlock:
    return compact(block, ())


def _out_of_range(block: Block) -> CompactBlock:
    whole = compact(block)
    last = IndexTransaction(index=len(block.transactions) + 5, transaction=block.transactions[1])
    return whole.replace(prefilled_transactions=[*whole.prefilled_transactions, last], short_ids=whole.short_ids[1:])


def _out_of_order(block: Block) -> CompactBlock:
    first, second, third = (compact(block, (0, 1, 2)).prefilled_transactions[at] for at in range(3))
    return compact(block, (0, 1, 2)).replace(prefilled_transactions=[first, third, second])


def _duplicate_short_ids(block: Block) -> CompactBlock:
    whole = compact(block)
    return whole.replace(short_ids=[whole.short_ids[0], *whole.short_ids])


def _prefilled_twice(block: Block) -> CompactBlock:
    whole = compact(block, (0, 1))
    return whole.replace(short_ids=[block.transactions[1].short_id, *whole.short_ids])


def _too_many_uncles(block: Block) -> CompactBlock:
    return compact(block).replace(uncles=hashes(3))


def _too_many_proposals(block: Block) -> CompactBlock:
    return compact(block).replace(proposals=short_ids(1501))


def _too_many_short_ids(block: Block) -> CompactBlock:
    return compact(block).replace(short_ids=short_ids(20_000))


def _too_large(block: Block) -> CompactBlock:
    return compact(block).replace(uncles=hashes(100_000))


def _wrong_number(block: Block) -> CompactBlock:
    return compact(block).replace(header=block.header.with_fields(number=block.number + 1))


def _wrong_root(block: Block) -> CompactBlock:
    """All its transactions are there, and are not those of the header."""
    every = range(len(block.transactions) - 1)
    return compact(block, tuple(every)).replace(short_ids=[])


def _stale(evil: Impostor, peer: Peer) -> None:
    """A compact block from an epoch ago."""
    for block in evil.main[1:6]:
        evil.announce(peer, block)


def _known(evil: Impostor, peer: Peer) -> None:
    """What the victim has already."""
    for _ in range(100):
        evil.announce(peer, evil.main[-1])


def _future(block: Block) -> CompactBlock:
    return compact(block).replace(header=block.header.with_fields(timestamp=block.header.timestamp + 3_600_000))


def _never_complete(evil: Impostor, peer: Peer) -> None:
    """Compact blocks whose transactions nobody has, by the dozen; questions for them are not answered."""
    evil.on(GetBlockTransactions, lambda _peer, _message: None)
    base = with_transactions(evil.forge)
    evil.follow_forge()
    for below in evil.main[-2:]:
        evil.announce(peer, below)

    def flood() -> None:
        for number in range(100):
            header = base.header.with_fields(timestamp=base.header.timestamp + number)
            evil.say(peer, compact(base).replace(header=header))

    evil.clock.call_later(2.0, flood)


def _orphans(evil: Impostor, peer: Peer) -> None:
    """Compact blocks on parents that do not exist."""
    block = evil.forge.make()
    for number in range(100):
        header = block.header.with_fields(parent_hash=number.to_bytes(32, "big"))
        evil.say(peer, compact(block).replace(header=header))


def _bad_block(spoil: Callable[[Forge], Block]) -> Callable[[Impostor, Peer], None]:
    def strike(evil: Impostor, peer: Peer) -> None:
        block = evil.know(spoil(evil.forge))
        evil.say(peer, compact(block, tuple(range(len(block.transactions)))))

    return strike


def _answers(change: Callable[[Block, BlockTransactions], BlockTransactions]) -> Callable[[Impostor, Peer], None]:
    """A sound compact block, and a false answer to the question for its transactions."""

    def strike(evil: Impostor, peer: Peer) -> None:
        block = evil.know(with_transactions(evil.forge))
        evil.follow_forge()

        def answer(to: Peer, message: GetBlockTransactions) -> None:
            honest = BlockTransactions(
                block_hash=message.block_hash,
                transactions=[block.transactions[index] for index in message.indexes],
                uncles=[],
            )
            evil.say(to, change(block, honest))

        evil.on(GetBlockTransactions, answer)
        for below in evil.main[-2:]:
            evil.announce(peer, below)
        evil.clock.call_later(2.0, lambda: evil.announce(peer, block))

    return strike


def _one_less(_: Block, honest: BlockTransactions) -> BlockTransactions:
    return honest.replace(transactions=honest.transactions[1:])


def _other_order(_: Block, honest: BlockTransactions) -> BlockTransactions:
    return honest.replace(transactions=list(reversed(honest.transactions)))


def _one_uncle_more(block: Block, honest: BlockTransactions) -> BlockTransactions:
    return honest.replace(uncles=[UncleBlock(header=block.header, proposals=[])])


def _with_uncle(forge: Forge) -> Block:
    """A block that embeds a sibling of the tip which nobody has seen; not taken."""
    sibling = forge.fork(1, "stale").make(after=1.0)
    return forge.make(uncles=[UncleBlock(header=sibling.header, proposals=sibling.proposals)], after=1.0)


def _other_uncle(evil: Impostor, peer: Peer) -> None:
    """Asked for an uncle, it gives another one."""
    block = evil.know(_with_uncle(evil.forge))
    other = UncleBlock(header=evil.main[-1].header, proposals=[])

    def answer(to: Peer, message: GetBlockTransactions) -> None:
        transactions = [block.transactions[index] for index in message.indexes]
        evil.say(to, BlockTransactions(block_hash=block.hash, transactions=transactions, uncles=[other]))

    evil.on(GetBlockTransactions, answer)
    evil.announce(peer, block)


def _malformed(_: Block, honest: BlockTransactions) -> BlockTransactions:
    first, *rest = honest.transactions
    strange = first.replace(body=first.body.replace(outputs_data=[b"", b""]))
    return honest.replace(transactions=[strange, *rest])


def _very_many(block: Block, honest: BlockTransactions) -> BlockTransactions:
    return honest.replace(transactions=list(honest.transactions) * 1000)


def with_other_witness(transaction: Transaction) -> Transaction:
    """Of the same hash, and valid: the free lock looks at no witness."""
    return transaction.replace(witnesses=[b"another"])


def _other_witnesses(_: Block, honest: BlockTransactions) -> BlockTransactions:
    """Those that were asked for by their short ids, but not those of the header."""
    return honest.replace(transactions=[with_other_witness(each) for each in honest.transactions])


def collide(*, is_lie: bool) -> Strike:
    """Gives a transaction to the pool, and tells of a block that commits it with another witness: both have one short
    id. Asked for all transactions, it gives those of the block, or those of the pool once more."""

    def strike(evil: Impostor, peer: Peer) -> None:
        pooled = spending(evil.forge.consensus, free_cell(evil.forge.consensus, 299))
        evil.transactions[pooled.hash] = (pooled, CYCLES)
        evil.say(peer, RelayTransactionHashes(tx_hashes=[pooled.hash]))
        evil.forge.add(proposals=[pooled.short_id], after=1.0)
        evil.forge.add(after=1.0)
        block = evil.know(evil.forge.make([with_other_witness(pooled)], after=1.0))
        evil.follow_forge()
        if is_lie:
            answer = BlockTransactions(block_hash=block.hash, transactions=[pooled], uncles=[])
            evil.on(GetBlockTransactions, lambda to, _: evil.say(to, answer))
        for below in evil.main[-2:]:
            evil.clock.call_later(1.0, partial(evil.announce, peer, below))
        evil.clock.call_later(2.0, lambda: evil.announce(peer, block))

    return strike


def _asks(indexes: Sequence[int], uncles: Sequence[int] = ()) -> Callable[[Impostor], Message]:
    return lambda evil: GetBlockTransactions(
        block_hash=evil.main[-1].hash, indexes=list(indexes), uncle_indexes=list(uncles)
    )


def _asks_of_nothing(_: Impostor) -> Message:
    return GetBlockTransactions(block_hash=b"\x07" * 32, indexes=[0], uncle_indexes=[])


def _unasked_block_transactions(evil: Impostor) -> Message:
    return BlockTransactions(block_hash=evil.main[-1].hash, transactions=[], uncles=[])


ATTACKS: Final = (
    *attacks(
        [
            ("relay: undecodable", sends_raw(RELAY, b"\xff" * 40), "relay: undecodable"),
            ("compact block without cellbase", _compact_like(_without_cellbase), "404"),
            ("compact block, index out of range", _compact_like(_out_of_range), "407"),
            ("compact block, out of order", _compact_like(_out_of_order), "406"),
            ("compact block, duplicate short ids", _compact_like(_duplicate_short_ids), "403"),
            ("compact block, prefilled twice", _compact_like(_prefilled_twice), "405"),
            ("compact block, too many uncles", _compact_like(_too_many_uncles), "400"),
            ("compact block, too many proposals", _compact_like(_too_many_proposals), "400"),
            ("compact block, too many short ids", _compact_like(_too_many_short_ids), "400"),
            ("compact block, too large", _compact_like(_too_large), "400"),
            ("compact block, invalid header", _compact_like(_wrong_number), "402"),
            ("compact block, wrong transactions root", _compact_like(_wrong_root), "409"),
            ("compact block from the future", _compact_like(_future), ""),
            ("stale compact blocks", _stale, ""),
            ("known compact blocks, again and again", _known, ""),
            ("compact blocks that never complete", _never_complete, ""),
            ("compact blocks without parents", _orphans, ""),
            ("bad compact block: dao", _bad_block(spoil_dao), "401"),
            ("bad compact block: not proposed", _bad_block(spoil_commit), "401"),
            ("block transactions, one less", _answers(_one_less), "410"),
            ("block transactions in another order", _answers(_other_order), "411"),
            ("block transactions, an uncle too many", _answers(_one_uncle_more), "412"),
            ("block transactions, another uncle", _other_uncle, "413"),
            ("block transactions, malformed", _answers(_malformed), "400"),
            ("block transactions, too large", _answers(_very_many), "400"),
            ("block transactions with other witnesses", _answers(_other_witnesses), "409"),
            ("block transactions, not asked for", says(_unasked_block_transactions), ""),
            ("a collision", collide(is_lie=False), ""),
            ("a collision, and a false answer", collide(is_lie=True), "409"),
            ("asks for too many block transactions", says(_asks(range(32_768))), "400"),
            ("asks for too many uncles", says(_asks((), (0, 1, 2))), "400"),
            ("asks for block transactions out of range", says(_asks((0, 7, 1 << 31), (9,))), ""),
            ("asks for transactions of no block", says(_asks_of_nothing), ""),
            (
                "asks for too many proposals",
                says(lambda evil: GetBlockProposal(block_hash=evil.main[-1].hash, proposals=short_ids(3001))),
                "400",
            ),
            (
                "asks twice for a proposal",
                says(lambda evil: GetBlockProposal(block_hash=evil.main[-1].hash, proposals=short_ids(1) * 2)),
                "418",
            ),
        ]
    ),
)
