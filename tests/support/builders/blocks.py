"""Small builders for tests of the block and transaction rules: transactions, cells, and a chain kept in dictionaries.

`MemoryChain` is a ChainReader; `chain.next_block(...)` makes a valid child of its tip, which a test then spoils by
`block.replace(...)`, and `chain.attach(block)` moves the tip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from consensus.crypto.difficulty import compact_to_difficulty
from consensus.crypto.hashing import ZERO_HASH
from consensus.params import Consensus, Hardforks, PowFunc
from consensus.rules.dao import dao_field_in_epoch, genesis_dao_field, transaction_fee
from consensus.rules.epoch import genesis_block_issuance, genesis_epoch_ext, next_epoch_ext
from consensus.rules.mmr import chain_root_hash, nodes_of_block
from consensus.rules.resolve import cell_of_output, resolve_block
from consensus.rules.reward import block_reward, has_finalization_target
from consensus.tx_env import TxEnv
from consensus.types.blockchain import (
    HASH_TYPE_DATA,
    NULL_OUT_POINT,
    SHANNONS_PER_BYTE,
    Block,
    CellbaseWitness,
    CellDep,
    CellInput,
    CellOutput,
    Header,
    OutPoint,
    RawHeader,
    RawTransaction,
    Script,
    Transaction,
    UncleBlock,
    out_point_key,
)
from consensus.types.core import VALID, BlockExt, CellMeta, EpochExt, ResolvedTransaction, TransactionInfo

CKB = SHANNONS_PER_BYTE
COMPACT_TARGET = 0x20010000
GENESIS_CELLS = 16
GENESIS_CELL_CAPACITY = 10_000 * CKB
BLOCK_INTERVAL_MS = 8_000
START_MS = 1_600_000_000_000


def lock_script(args: bytes = b"", hash_type: int = HASH_TYPE_DATA) -> Script:
    return Script(code_hash=b"\x11" * 32, hash_type=hash_type, args=args)


MINER_LOCK = lock_script(b"miner")


def out_point(tx_hash: bytes = b"\x22" * 32, index: int = 0) -> OutPoint:
    return OutPoint(tx_hash=tx_hash, index=index)


def an_output(capacity: int = 100 * CKB, lock: Script | None = None, type_: Script | None = None) -> CellOutput:
    return CellOutput(capacity=capacity, lock=lock or lock_script(), type_=type_)


def an_input(previous: OutPoint | bytes, since: int = 0) -> CellInput:
    return CellInput(
        since=since, previous_output=previous if isinstance(previous, OutPoint) else OutPoint.parse(previous)
    )


def a_dep(of: OutPoint | bytes, dep_type: int = 0) -> CellDep:
    return CellDep(out_point=of if isinstance(of, OutPoint) else OutPoint.parse(of), dep_type=dep_type)


def a_transaction(
    inputs: Sequence[CellInput] | None = None,
    outputs: Sequence[CellOutput] | None = None,
    data: Sequence[bytes] | None = None,
    *,
    cell_deps: Sequence[CellDep] = (),
    header_deps: Sequence[bytes] = (),
    witnesses: Sequence[bytes] = (),
    version: int = 0,
) -> Transaction:
    """One input and one output unless told otherwise; empty data for each output."""
    outputs = [an_output()] if outputs is None else outputs
    body = RawTransaction(
        version=version,
        cell_deps=cell_deps,
        header_deps=header_deps,
        inputs=[an_input(out_point())] if inputs is None else inputs,
        outputs=outputs,
        outputs_data=[b""] * len(outputs) if data is None else data,
    )
    return Transaction(body=body, witnesses=witnesses)


def a_cell(
    output: CellOutput | None = None,
    data: bytes = b"",
    info: TransactionInfo | None = None,
    key: bytes | None = None,
) -> CellMeta:
    transaction = a_transaction(outputs=[output or an_output()], data=[data])
    cell = cell_of_output(transaction, out_point_key(transaction.hash, 0), info)
    assert cell is not None
    if key is None:
        return cell
    return CellMeta(key, cell.output, cell.data_size, cell.data_hash, cell.info, lambda: data)


def resolved(
    transaction: Transaction, inputs: Sequence[CellMeta], deps: Sequence[CellMeta] = ()
) -> ResolvedTransaction:
    return ResolvedTransaction(transaction, inputs, deps, [])


def a_cellbase(number: int, outputs: Sequence[CellOutput] = (), witness: bytes | None = None) -> Transaction:
    if witness is None:
        witness = CellbaseWitness(lock=MINER_LOCK, message=b"").raw
    return a_transaction([an_input(NULL_OUT_POINT, number)], outputs, witnesses=[witness])


def a_header(**fields: object) -> Header:
    values: dict[str, Any] = {
        "version": 0,
        "compact_target": COMPACT_TARGET,
        "timestamp": START_MS,
        "number": 1,
        "epoch": 0,
        "parent_hash": ZERO_HASH,
        "transactions_root": ZERO_HASH,
        "proposals_hash": ZERO_HASH,
        "extra_hash": ZERO_HASH,
        "dao": bytes(32),
    }
    return Header(body=RawHeader(**(values | fields)), nonce=0)


def a_genesis(epoch_length: int) -> Block:
    """Cells that anyone may spend, all outputs of the first transaction, which is a cellbase."""
    outputs = [an_output(GENESIS_CELL_CAPACITY, lock_script(bytes([i]))) for i in range(GENESIS_CELLS)]
    cellbase = a_cellbase(0, outputs)
    issuance = [genesis_block_issuance(reward, epoch_length) for reward in (191_780_821_917_808, 61_369_863_013_698)]
    dao = genesis_dao_field([cellbase], b"\x00" * 20, Fraction(6, 10), *issuance)
    header = a_header(number=0, timestamp=START_MS, dao=dao)
    return Block(header=header, uncles=[], transactions=[cellbase], proposals=[]).with_roots()


def a_consensus(*, epoch_length: int = 1000, hardforks: Hardforks | None = None, **changes: object) -> Consensus:
    """A chain without proof of work whose first epoch outlasts any test."""
    epoch = genesis_epoch_ext(191_780_821_917_808, COMPACT_TARGET, epoch_length, 4 * 60 * 60, Fraction(1, 40))
    consensus = Consensus(
        id="ckb_test",
        genesis_block=a_genesis(epoch_length),
        genesis_epoch=epoch,
        pow_func=PowFunc.DUMMY,
        hardforks=hardforks or Hardforks(),
        dao_type_hash=b"\xda" * 32,
    )
    return replace(consensus, **changes)  # type: ignore[arg-type]


class FakeRunner:
    """Runs no script: every transaction takes the same cycles. Remembers what it was asked."""

    def __init__(self, cycles: int = 1000) -> None:
        self.cycles = cycles
        self.asked: list[tuple[bytes, TxEnv, int]] = []

    def run(self, rtx: ResolvedTransaction, env: TxEnv, max_cycles: int) -> int:
        self.asked.append((rtx.hash, env, max_cycles))
        return self.cycles


class MemoryChain:
    """A main chain that only grows, with everything that rules look up."""

    def __init__(self, consensus: Consensus) -> None:
        self.consensus = consensus
        self.blocks: list[Block] = []
        self.stored: dict[bytes, Block] = {}
        self.exts: dict[bytes, BlockExt] = {}
        self.epochs: dict[bytes, EpochExt] = {}
        self.cells: dict[bytes, CellMeta] = {}
        self.uncles: dict[bytes, Header] = {}
        self.nodes: list[bytes] = []
        self.attach(consensus.genesis_block)

    # ChainReader

    def tip_header(self) -> Header:
        return self.blocks[-1].header

    def tip_epoch(self) -> EpochExt:
        return self.epochs[self.blocks[-1].hash]

    def main_hash(self, number: int) -> bytes | None:
        return self.blocks[number].hash if number < len(self.blocks) else None

    def is_main(self, block_hash: bytes) -> bool:
        block = self.stored.get(block_hash)
        return block is not None and self.main_hash(block.number) == block_hash

    def header(self, block_hash: bytes) -> Header | None:
        block = self.stored.get(block_hash)
        return None if block is None else block.header

    def block(self, block_hash: bytes) -> Block | None:
        return self.stored.get(block_hash)

    def block_ext(self, block_hash: bytes) -> BlockExt | None:
        return self.exts.get(block_hash)

    def block_epoch(self, block_hash: bytes) -> EpochExt | None:
        return self.epochs.get(block_hash)

    def proposal_ids(self, block_hash: bytes) -> frozenset[bytes] | None:
        block = self.stored.get(block_hash)
        return None if block is None else frozenset(block.union_proposal_ids())

    def uncle(self, uncle_hash: bytes) -> Header | None:
        return self.uncles.get(uncle_hash)

    def cell(self, key: bytes) -> CellMeta | None:
        return self.cells.get(key)

    def transaction_info(self, tx_hash: bytes) -> TransactionInfo | None:
        for block in self.blocks:
            for index, transaction in enumerate(block.transactions):
                if transaction.hash == tx_hash:
                    return TransactionInfo(block.hash, block.number, block.header.epoch, index)
        return None

    def transaction(self, tx_hash: bytes) -> Transaction | None:
        info = self.transaction_info(tx_hash)
        return None if info is None else self.stored[info.block_hash].transactions[info.tx_index]

    def mmr_node(self, position: int) -> bytes | None:
        return self.nodes[position] if position < len(self.nodes) else None

    # Growing

    def genesis_cell(self, index: int) -> bytes:
        """Key of a cell that can be spent at once."""
        return out_point_key(self.blocks[0].transactions[0].hash, index)

    def spend(self, index: int, fee: int = CKB, since: int = 0, **more: object) -> Transaction:
        """A transaction that spends a genesis cell into one output."""
        outputs = [an_output(GENESIS_CELL_CAPACITY - fee)]
        return a_transaction([an_input(self.genesis_cell(index), since)], outputs, **more)  # type: ignore[arg-type]

    def next_epoch(self) -> EpochExt:
        if not self.blocks:
            return self.consensus.genesis_epoch
        return next_epoch_ext(self.consensus, self.tip_header(), self.tip_epoch(), self)

    def next_header(self, **fields: object) -> Header:
        """A header on the tip that commits to no body yet."""
        tip, epoch = self.tip_header(), self.next_epoch()
        values: dict[str, object] = {
            "number": tip.number + 1,
            "parent_hash": tip.hash,
            "timestamp": tip.timestamp + BLOCK_INTERVAL_MS,
            "epoch": epoch.fraction_at(tip.number + 1).pack(),
            "compact_target": epoch.compact_target,
        }
        return a_header(**(values | fields))

    def next_block(
        self,
        transactions: Sequence[Transaction] = (),
        *,
        proposals: Sequence[bytes] = (),
        uncles: Sequence[UncleBlock] = (),
        cellbase: Transaction | None = None,
        **fields: object,
    ) -> Block:
        """A valid child of the tip, if the transactions and uncles are valid."""
        tip = self.tip_header()
        block = Block(
            header=self.next_header(**fields),
            uncles=uncles,
            transactions=[cellbase or self.next_cellbase(), *transactions],
            proposals=proposals,
            extension=chain_root_hash(self, tip.number),
        ).with_roots()
        return self.with_dao(block)

    def with_dao(self, block: Block) -> Block:
        """The block with the DAO field that its transactions demand, as far as they can be resolved."""
        rtxs = resolve_block(block, self, self)
        dao = dao_field_in_epoch(self.consensus, rtxs, self.tip_header(), self.next_epoch(), self)
        return block.replace(header=block.header.with_fields(dao=dao))

    def next_cellbase(self) -> Transaction:
        number = self.tip_header().number + 1
        if not has_finalization_target(self.consensus, number):
            return a_cellbase(number)
        lock, reward = block_reward(self.consensus, self.tip_header(), self)
        due = an_output(reward.total, lock)
        return a_cellbase(number, [due] if due.occupied_capacity(0) <= reward.total else [])

    def an_uncle(self, height: int, proposals: Sequence[bytes] = (), **fields: object) -> UncleBlock:
        """A sibling of the main block at `height`, with another timestamp."""
        sibling = self.blocks[height].header
        bare = UncleBlock(header=sibling, proposals=proposals)
        proposals_root = Block(header=sibling, uncles=[], transactions=[], proposals=proposals).proposals_hash()
        values = {"timestamp": sibling.timestamp + 1, "proposals_hash": proposals_root} | fields
        return bare.replace(header=sibling.with_fields(**values))

    def grow(self, count: int) -> None:
        """Attach so many blocks without transactions."""
        for _ in range(count):
            self.attach(self.next_block())

    def commit(self, *transactions: Transaction) -> Block:
        """Propose transactions, wait, and attach a block that commits them."""
        self.attach(self.next_block(proposals=[tx.short_id for tx in transactions]))
        self.grow(self.consensus.proposal_window.closest - 1)
        self.attach(self.next_block(transactions))
        return self.blocks[-1]

    def attach(self, block: Block) -> None:
        """Make a block the tip without asking the rules."""
        epoch = self.next_epoch()
        rtxs = resolve_block(block, self, self) if block.number else []
        fees = [transaction_fee(self.consensus, rtx, self) for rtx in rtxs[1:]]
        parent_ext = self.exts.get(block.parent_hash)
        total, uncles = (0, 0) if parent_ext is None else (parent_ext.total_difficulty, parent_ext.total_uncles_count)
        self.stored[block.hash], self.epochs[block.hash] = block, epoch
        self.exts[block.hash] = BlockExt(
            total_difficulty=total + compact_to_difficulty(block.header.compact_target),
            total_uncles_count=uncles + len(block.uncles),
            received_at=0,
            txs_fees=fees,
            verified_flag=VALID,
        )
        position, nodes = nodes_of_block(self, block.header)
        assert position == len(self.nodes)
        self.nodes += nodes
        self.blocks.append(block)
        self.uncles.update({uncle.hash: uncle.header for uncle in block.uncles})
        self._move_cells(block)

    def _move_cells(self, block: Block) -> None:
        for index, transaction in enumerate(block.transactions):
            info = TransactionInfo(block.hash, block.number, block.header.epoch, index)
            for cell_input in transaction.body.inputs:
                self.cells.pop(cell_input.previous_output.raw, None)
            for key in transaction.output_keys():
                cell = cell_of_output(transaction, key, info)
                assert cell is not None
                self.cells[key] = cell
