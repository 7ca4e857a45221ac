"""Random blocks that fit together, and what the chain is expected to be after each: the model of the chain store.

The blocks are well formed and spend live cells, but no rule of consensus is kept beyond that (no PoW, no capacity).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from consensus.crypto.hashing import ZERO_HASH, data_hash
from consensus.rules.mmr import mmr_positions
from consensus.types.blockchain import (
    NULL_OUT_POINT,
    Block,
    CellInput,
    CellOutput,
    Header,
    OutPoint,
    RawHeader,
    RawTransaction,
    Script,
    Transaction,
    UncleBlock,
)
from consensus.types.core import BlockExt, CellMeta, EpochExt, EpochFraction, TransactionInfo
from storage.chain_txn import ChainTxn

EPOCH_LENGTH = 3
DATA_SIZES = (0, 0, 5, 64, 65, 300)


@dataclass(frozen=True)
class Cell:
    """A live cell of the model."""

    output: CellOutput
    data: bytes
    info: TransactionInfo


@dataclass(frozen=True, eq=False)
class Node:
    """A block in the tree of all blocks, and the main chain's state when it is the tip."""

    block: Block
    parent: Node | None
    epoch: EpochExt
    ext: BlockExt
    mmr_nodes: list[bytes]
    cells: dict[bytes, Cell] = field(repr=False)
    transactions: dict[bytes, tuple[TransactionInfo, Transaction]] = field(repr=False)
    uncles: dict[bytes, Header] = field(repr=False)

    def branch(self) -> list[Node]:
        """From the genesis block to this one."""
        nodes = [] if self.parent is None else self.parent.branch()
        nodes.append(self)
        return nodes

    def insert(self, txn: ChainTxn) -> None:
        txn.insert_block(self.block)
        txn.insert_epoch(self.block.hash, self.epoch)
        txn.insert_ext(self.block.hash, self.ext)

    def attach(self, txn: ChainTxn) -> None:
        txn.attach_block(self.block, self.mmr_nodes)


def header(rng: Random, number: int, parent_hash: bytes, epoch: int) -> Header:
    return Header(
        body=RawHeader(
            version=0,
            compact_target=0x2080_0000,
            timestamp=rng.getrandbits(40),
            number=number,
            epoch=epoch,
            parent_hash=parent_hash,
            transactions_root=rng.randbytes(32),
            proposals_hash=ZERO_HASH,
            extra_hash=ZERO_HASH,
            dao=rng.randbytes(32),
        ),
        nonce=rng.getrandbits(128),
    )


def script(rng: Random) -> Script:
    return Script(code_hash=rng.randbytes(32), hash_type=rng.randrange(3), args=rng.randbytes(rng.choice((0, 20, 32))))


def transaction(rng: Random, inputs: list[CellInput], outputs: int) -> Transaction:
    return Transaction(
        body=RawTransaction(
            version=0,
            cell_deps=[],
            header_deps=[rng.randbytes(32)] * rng.randrange(2),
            inputs=inputs,
            outputs=[
                CellOutput(
                    capacity=rng.getrandbits(50), lock=script(rng), type_=script(rng) if rng.random() < 0.3 else None
                )
                for _ in range(outputs)
            ],
            outputs_data=[rng.randbytes(rng.choice(DATA_SIZES)) for _ in range(outputs)],
        ),
        witnesses=[rng.randbytes(rng.choice((0, 65)))],
    )


def random_transactions(rng: Random, number: int, live: list[bytes]) -> list[Transaction]:
    """A cellbase, then transactions that spend some of `live` and of each other's outputs."""
    cellbase_input = CellInput(since=number, previous_output=NULL_OUT_POINT)
    transactions = [transaction(rng, [cellbase_input], rng.randrange(2) if number else 3)]
    spendable = [*live, *transactions[0].output_keys()]
    for _ in range(rng.randrange(5)):
        rng.shuffle(spendable)
        spent, spendable = spendable[: rng.randrange(1, 4)], spendable[3:]
        if not spent:
            break
        inputs = [CellInput(since=0, previous_output=OutPoint.parse(point)) for point in spent]
        transactions.append(transaction(rng, inputs, rng.randrange(4)))
        spendable += transactions[-1].output_keys()
    return transactions


def child(rng: Random, parent: Node | None) -> Node:
    """A random block on top of `parent`; the genesis block without one."""
    number = 0 if parent is None else parent.block.number + 1
    epoch_field = EpochFraction(number // EPOCH_LENGTH, number % EPOCH_LENGTH, EPOCH_LENGTH).pack()
    parent_hash = ZERO_HASH if parent is None else parent.block.hash
    uncles = [
        UncleBlock(header=header(rng, number, parent_hash, epoch_field), proposals=[rng.randbytes(10)])
        for _ in range(rng.choice((0, 0, 0, 1, 2)) if number else 0)
    ]
    block = Block(
        header=header(rng, number, parent_hash, epoch_field),
        uncles=uncles,
        transactions=random_transactions(rng, number, [] if parent is None else list(parent.cells)),
        proposals=[rng.randbytes(10) for _ in range(rng.choice((0, 0, 3)))],
        extension=rng.choice((None, rng.randbytes(32))),
    )
    block = Block.parse(block.raw)
    epoch = epoch_of(number, parent)
    ext = BlockExt(
        total_difficulty=rng.getrandbits(100),
        total_uncles_count=len(uncles),
        received_at=rng.getrandbits(40),
        txs_fees=[1] * (len(block.transactions) - 1),
        verified_flag=None,
    )
    mmr_nodes = [rng.randbytes(120) for _ in mmr_positions(number)]
    return Node(block, parent, epoch, ext, mmr_nodes, *state_after(block, parent))


def epoch_of(number: int, parent: Node | None) -> EpochExt:
    if parent is not None and number % EPOCH_LENGTH:
        return parent.epoch
    return EpochExt(
        previous_epoch_hash_rate=number,
        last_block_hash_in_previous_epoch=ZERO_HASH if parent is None else parent.block.hash,
        compact_target=0x2080_0000,
        number=number // EPOCH_LENGTH,
        base_block_reward=5,
        remainder_reward=1,
        start_number=number,
        length=EPOCH_LENGTH,
    )


def state_after(
    block: Block, parent: Node | None
) -> tuple[dict[bytes, Cell], dict[bytes, tuple[TransactionInfo, Transaction]], dict[bytes, Header]]:
    cells = {} if parent is None else dict(parent.cells)
    transactions = {} if parent is None else dict(parent.transactions)
    uncles = {} if parent is None else dict(parent.uncles)
    for index, tx in enumerate(block.transactions):
        info = TransactionInfo(block.hash, block.number, block.header.epoch, index)
        transactions[tx.hash] = (info, tx)
        if index:
            for cell_input in tx.body.inputs:
                del cells[cell_input.previous_output.raw]
        for key, output, data in zip(tx.output_keys(), tx.body.outputs, tx.body.outputs_data, strict=True):
            cells[key] = Cell(output, data, info)
    uncles.update((uncle.hash, uncle.header) for uncle in block.uncles)
    return cells, transactions, uncles


def assert_same_cell(found: CellMeta | None, key: bytes, expected: Cell) -> None:
    assert found is not None
    assert found.out_point == key
    assert found.output == expected.output
    assert found.data_size == len(expected.data)
    assert found.data_hash == data_hash(expected.data)
    assert found.data == expected.data
    assert found.info == expected.info
