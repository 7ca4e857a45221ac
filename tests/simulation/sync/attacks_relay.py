"""Each rule of Relay, broken once (PROTOCOL-NET 2.17 to 2.19)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from consensus.types.blockchain import Block, Transaction, UncleBlock
from network.limits import RELAY
from network.messages.protocols import (
    BlockProposal,
    BlockTransactions,
    CompactBlock,
    GetBlockProposal,
    GetBlockTransactions,
    GetRelayTransactions,
    IndexTransaction,
    RelayTransaction,
    RelayTransactionHashes,
    RelayTransactions,
)
from network.peer import Peer
from tests.simulation.sync.attack import THREE_DAYS, Attack
from tests.simulation.sync.attacks_sync import spoil_commit, spoil_dao
from tests.simulation.sync.blocks import free_cell, locked_cell, spending
from tests.simulation.sync.forge import Forge
from tests.simulation.sync.impostor import Impostor, Message, compact

CYCLES: Final = 509
"""What the free lock takes; `test_attacks.py` holds it true."""

Make = Callable[[Impostor], Message]


def _says(make: Make) -> Callable[[Impostor, Peer], None]:
    return lambda evil, peer: evil.say(peer, make(evil))


def _raw(payload: bytes) -> Callable[[Impostor, Peer], None]:
    def strike(_: Impostor, peer: Peer) -> None:
        peer.send(RELAY, payload)

    return strike


def _hashes(count: int) -> list[bytes]:
    return [number.to_bytes(32, "big") for number in range(1, count + 1)]


def _ids(count: int) -> list[bytes]:
    return [number.to_bytes(10, "big") for number in range(1, count + 1)]


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
    return compact(block).replace(uncles=_hashes(3))


def _too_many_proposals(block: Block) -> CompactBlock:
    return compact(block).replace(proposals=_ids(1501))


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


def _unasked_block_transactions(evil: Impostor) -> Message:
    return BlockTransactions(block_hash=evil.main[-1].hash, transactions=[], uncles=[])


# --- transactions ---


def _offers(*offered: Callable[[Impostor], tuple[Transaction, int]]) -> Callable[[Impostor, Peer], None]:
    """Announces transactions, and gives them with these cycles when they are asked for."""

    def strike(evil: Impostor, peer: Peer) -> None:
        for make in offered:
            transaction, cycles = make(evil)
            evil.transactions[transaction.hash] = (transaction, cycles)
        evil.say(peer, RelayTransactionHashes(tx_hashes=list(evil.transactions)))

    return strike


def _good(number: int, cycles: int = CYCLES, fee: int = 1_000_000) -> Callable[[Impostor], tuple[Transaction, int]]:
    def make(evil: Impostor) -> tuple[Transaction, int]:
        consensus = evil.forge.consensus
        return spending(consensus, free_cell(consensus, number), fee=fee), cycles

    return make


def _script_fails(evil: Impostor) -> tuple[Transaction, int]:
    return spending(evil.forge.consensus, locked_cell(evil.forge.consensus, 1)), CYCLES


def _creates_money(evil: Impostor) -> tuple[Transaction, int]:
    return spending(evil.forge.consensus, free_cell(evil.forge.consensus, 250), fee=-1), CYCLES


def _without_parents(evil: Impostor) -> tuple[Transaction, int]:
    consensus = evil.forge.consensus
    nowhere = free_cell(consensus, 0).replace(tx_hash=b"\x09" * 32)
    return spending(consensus, nowhere), CYCLES


def _unasked_transactions(evil: Impostor) -> Message:
    offered = [_good(number)(evil) for number in range(260, 270)]
    return RelayTransactions(
        transactions=[RelayTransaction(cycles=cycles, transaction=transaction) for transaction, cycles in offered]
    )


def _flood(count: int, every: float, make: Callable[[int], Message]) -> Callable[[Impostor, Peer], None]:
    """So many messages, some at a time."""

    def strike(evil: Impostor, peer: Peer) -> None:
        for number in range(count):
            evil.say_later(number * every, peer, make(number))

    return strike


def _fresh_hashes(number: int) -> Message:
    """Of transactions that nobody has."""
    return RelayTransactionHashes(tx_hashes=[(number << 64 | at).to_bytes(32, "big") for at in range(30_000)])


def _orphan_flood(evil: Impostor, peer: Peer) -> None:
    """Hundreds of transactions whose parents nobody has."""
    consensus = evil.forge.consensus
    for number in range(300):
        cell = free_cell(consensus, 0).replace(tx_hash=(number + 1).to_bytes(32, "little"))
        transaction = spending(consensus, cell)
        evil.transactions[transaction.hash] = (transaction, CYCLES)
    evil.say(peer, RelayTransactionHashes(tx_hashes=list(evil.transactions)))


def _attacks(rows: Sequence[tuple[str, Callable[[Impostor, Peer], None], str]]) -> list[Attack]:
    """Name, strike, begin of the reason; an empty one: it costs nothing."""
    return [Attack(name=name, strike=strike, reason=reason, ban=300 if reason else 0) for name, strike, reason in rows]


ATTACKS: Final = (
    *_attacks(
        [
            ("undecodable", _raw(b"\xff" * 40), "relay: undecodable"),
            ("compact block without cellbase", _compact_like(_without_cellbase), "404"),
            ("compact block, index out of range", _compact_like(_out_of_range), "407"),
            ("compact block, out of order", _compact_like(_out_of_order), "406"),
            ("compact block, duplicate short ids", _compact_like(_duplicate_short_ids), "403"),
            ("compact block, prefilled twice", _compact_like(_prefilled_twice), "405"),
            ("compact block, too many uncles", _compact_like(_too_many_uncles), "400"),
            ("compact block, too many proposals", _compact_like(_too_many_proposals), "400"),
            ("compact block, invalid header", _compact_like(_wrong_number), "402"),
            ("compact block, wrong transactions root", _compact_like(_wrong_root), "409"),
            ("compact block from the future", _compact_like(_future), ""),
            ("stale compact blocks", _stale, ""),
            ("compact blocks that never complete", _never_complete, ""),
            ("compact blocks without parents", _orphans, ""),
            ("bad compact block: dao", _bad_block(spoil_dao), "401"),
            ("bad compact block: not proposed", _bad_block(spoil_commit), "401"),
            ("block transactions, one less", _answers(_one_less), "410"),
            ("block transactions in another order", _answers(_other_order), "411"),
            ("block transactions, an uncle too many", _answers(_one_uncle_more), "412"),
            ("block transactions, another uncle", _other_uncle, "413"),
            ("block transactions, malformed", _answers(_malformed), "400"),
            ("block transactions, not asked for", _says(_unasked_block_transactions), ""),
            (
                "asks for too many block transactions",
                _says(
                    lambda evil: GetBlockTransactions(
                        block_hash=evil.main[-1].hash, indexes=list(range(32_768)), uncle_indexes=[]
                    )
                ),
                "400",
            ),
            (
                "asks for too many uncles",
                _says(
                    lambda evil: GetBlockTransactions(
                        block_hash=evil.main[-1].hash, indexes=[], uncle_indexes=[0, 1, 2]
                    )
                ),
                "400",
            ),
            (
                "asks for block transactions out of range",
                _says(
                    lambda evil: GetBlockTransactions(
                        block_hash=evil.main[-1].hash, indexes=[0, 7, 1 << 31], uncle_indexes=[9]
                    )
                ),
                "",
            ),
            ("too many hashes", _says(lambda _: RelayTransactionHashes(tx_hashes=_hashes(32_768))), "400"),
            ("hashes without an end", _flood(4, 0.5, _fresh_hashes), "416"),
            ("asks for too many transactions", _says(lambda _: GetRelayTransactions(tx_hashes=_hashes(32_768))), "400"),
            (
                "asks twice for a transaction",
                _says(lambda _: GetRelayTransactions(tx_hashes=[b"\x01" * 32, b"\x01" * 10 + bytes(22)])),
                "418",
            ),
            (
                "asks for too many proposals",
                _says(lambda evil: GetBlockProposal(block_hash=evil.main[-1].hash, proposals=_ids(3001))),
                "400",
            ),
            (
                "asks twice for a proposal",
                _says(lambda evil: GetBlockProposal(block_hash=evil.main[-1].hash, proposals=_ids(1) * 2)),
                "418",
            ),
            (
                "proposals that nobody asked for",
                _says(lambda evil: BlockProposal(transactions=[_good(271)(evil)[0]])),
                "",
            ),
            (
                "too many proposals",
                _says(lambda evil: BlockProposal(transactions=[_good(271)(evil)[0]] * 3001)),
                "400",
            ),
            ("transactions that nobody asked for", _says(_unasked_transactions), ""),
            ("transaction with a low fee", _offers(_good(272, fee=1)), ""),
            ("transaction that conflicts", _offers(_good(273), _good(273, fee=1_000_001)), ""),
            ("transaction without parents", _offers(_without_parents), ""),
            ("transactions without parents, hundreds", _orphan_flood, ""),
            (
                "questions without an end",
                _flood(400, 0.01, lambda at: GetRelayTransactions(tx_hashes=[at.to_bytes(32, "big")])),
                "",
            ),
        ]
    ),
    Attack(
        name="cycles above the limit",
        strike=_offers(_good(280, cycles=3_500_000_001)),
        ban=THREE_DAYS,
        reason="transaction: declared cycles above",
    ),
    Attack(
        name="wrong cycles",
        strike=_offers(_good(281, cycles=CYCLES + 1)),
        ban=THREE_DAYS,
        reason="transaction: wrong declared cycles",
    ),
    Attack(
        name="too few cycles",
        strike=_offers(_good(282, cycles=CYCLES - 1)),
        ban=THREE_DAYS,
        reason="transaction: ",
    ),
    Attack(
        name="script that fails",
        strike=_offers(_script_fails),
        ban=THREE_DAYS,
        reason="transaction: invalid",
    ),
    Attack(
        name="capacity out of nothing",
        strike=_offers(_creates_money),
        ban=THREE_DAYS,
        reason="transaction: invalid",
    ),
)
