"""What is true after a block, kept as plain dictionaries that each block copies: slow, and hard to get wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from consensus.crypto.difficulty import compact_to_difficulty
from consensus.crypto.hashing import ZERO_HASH
from consensus.errors import CkbError
from consensus.params import Consensus
from consensus.rules.block import verify_block_body
from consensus.rules.dao import dao_field_in_epoch
from consensus.rules.epoch import next_epoch_ext, verify_block_epoch
from consensus.rules.header import verify_header
from consensus.rules.mmr import chain_root_hash, nodes_of_block
from consensus.rules.resolve import cell_of_output, resolve_block
from consensus.rules.reward import block_reward, has_finalization_target
from consensus.rules.verify_block import BlockVerified, verify_block
from consensus.script.context import ScriptChain
from consensus.script.verifier import ScriptVerifier
from consensus.tx_env import TxEnv
from consensus.types.blockchain import Block, CellOutput, Header, RawHeader, Script, Transaction, UncleBlock
from consensus.types.core import BlockExt, CellMeta, EpochExt, ResolvedTransaction, TransactionInfo, valid_block_ext
from tests.simulator.rules import MINER, NOW_MS, cellbase


@dataclass(frozen=True, slots=True)
class PlainRunner:
    """Runs every script, whatever was run before. Satisfies ScriptRunner."""

    consensus: Consensus
    chain: ScriptChain

    def run(self, rtx: ResolvedTransaction, env: TxEnv, max_cycles: int) -> int:
        return ScriptVerifier(self.consensus, self.chain).verify(rtx, env, max_cycles)


class State:
    """The chain that ends in `block`; a ChainReader whose tip that block is."""

    def __init__(
        self, consensus: Consensus, parent: State | None, block: Block, verified: BlockVerified | None
    ) -> None:
        """`verified` is None for genesis, and for a bad block, whose transactions count as far as they can."""
        self.consensus, self.parent, self.tip = consensus, parent, block
        self.path: list[State] = [self] if parent is None else [*parent.path, self]
        self.by_hash: dict[bytes, State] = {} if parent is None else dict(parent.by_hash)
        self.by_hash[block.hash] = self
        self.epoch = consensus.genesis_epoch if parent is None else parent.next_epoch()
        self.ext = self._ext(verified)
        self.cells: dict[bytes, CellMeta] = {} if parent is None else dict(parent.cells)
        self.infos: dict[bytes, TransactionInfo] = {} if parent is None else dict(parent.infos)
        self.uncles: dict[bytes, Header] = {} if parent is None else dict(parent.uncles)
        self.nodes: list[bytes] = [] if parent is None else list(parent.nodes)
        self.nodes += nodes_of_block(self, block.header)[1]
        self.uncles.update({uncle.hash: uncle.header for uncle in block.uncles})
        self._move_cells()

    def _ext(self, verified: BlockVerified | None) -> BlockExt:
        before = (0, 0) if self.parent is None else (self.parent.total_difficulty, self.parent.ext.total_uncles_count)
        facts = ((), (), ()) if verified is None else (verified.fees, verified.cycles, verified.sizes)
        work = compact_to_difficulty(self.tip.header.compact_target)
        return valid_block_ext(before[0] + work, before[1] + len(self.tip.uncles), 0, *facts)

    def _move_cells(self) -> None:
        header = self.tip.header
        for index, transaction in enumerate(self.tip.transactions):
            info = TransactionInfo(header.hash, header.number, header.epoch, index)
            self.infos[transaction.hash] = info
            for cell_input in transaction.body.inputs:
                self.cells.pop(cell_input.previous_output.raw, None)
            for key in transaction.output_keys():
                cell = cell_of_output(transaction, key, info)
                assert cell is not None
                self.cells[key] = cell

    @property
    def hash(self) -> bytes:
        return self.tip.hash

    @property
    def number(self) -> int:
        return self.tip.number

    @property
    def total_difficulty(self) -> int:
        return self.ext.total_difficulty

    def next_epoch(self) -> EpochExt:
        """The epoch of the block after the tip."""
        return next_epoch_ext(self.consensus, self.tip.header, self.epoch, self)

    # ------------------------------------------------------------ ChainReader

    def tip_header(self) -> Header:
        return self.tip.header

    def tip_epoch(self) -> EpochExt:
        return self.epoch

    def main_hash(self, number: int) -> bytes | None:
        return self.path[number].hash if 0 <= number < len(self.path) else None

    def is_main(self, block_hash: bytes) -> bool:
        return block_hash in self.by_hash

    def header(self, block_hash: bytes) -> Header | None:
        found = self.by_hash.get(block_hash)
        return None if found is None else found.tip.header

    def block(self, block_hash: bytes) -> Block | None:
        found = self.by_hash.get(block_hash)
        return None if found is None else found.tip

    def block_ext(self, block_hash: bytes) -> BlockExt | None:
        found = self.by_hash.get(block_hash)
        return None if found is None else found.ext

    def block_epoch(self, block_hash: bytes) -> EpochExt | None:
        found = self.by_hash.get(block_hash)
        return None if found is None else found.epoch

    def proposal_ids(self, block_hash: bytes) -> frozenset[bytes] | None:
        found = self.by_hash.get(block_hash)
        return None if found is None else frozenset(found.tip.union_proposal_ids())

    def uncle(self, uncle_hash: bytes) -> Header | None:
        return self.uncles.get(uncle_hash)

    def cell(self, out_point: bytes) -> CellMeta | None:
        return self.cells.get(out_point)

    def transaction_info(self, tx_hash: bytes) -> TransactionInfo | None:
        return self.infos.get(tx_hash)

    def transaction(self, tx_hash: bytes) -> Transaction | None:
        info = self.infos.get(tx_hash)
        return None if info is None else self.by_hash[info.block_hash].tip.transactions[info.tx_index]

    def mmr_node(self, position: int) -> bytes | None:
        return self.nodes[position] if 0 <= position < len(self.nodes) else None

    # ------------------------------------------------------------ the next block

    def next_block(
        self,
        transactions: Sequence[Transaction] = (),
        *,
        proposals: Sequence[bytes] = (),
        uncles: Sequence[UncleBlock] = (),
        miner: Script = MINER,
        message: bytes = b"",
        extension_tail: bytes = b"",
        **fields: object,
    ) -> Block:
        """A child of the tip, valid if transactions, uncles and header `fields` are. CkbError: it has no DAO field."""
        epoch, number = self.next_epoch(), self.number + 1
        values: dict[str, Any] = {
            "version": 0,
            "compact_target": epoch.compact_target,
            "timestamp": self.tip.header.timestamp + 5_000,
            "number": number,
            "epoch": epoch.fraction_at(number).pack(),
            "parent_hash": self.hash,
            "transactions_root": ZERO_HASH,
            "proposals_hash": ZERO_HASH,
            "extra_hash": ZERO_HASH,
            "dao": ZERO_HASH,
        }
        block = Block(
            header=Header(body=RawHeader(**(values | fields)), nonce=0),
            uncles=uncles,
            transactions=[self.next_cellbase(miner, message), *transactions],
            proposals=proposals,
            extension=chain_root_hash(self, self.number) + extension_tail,
        ).with_roots()
        return self.with_dao(block)

    def with_dao(self, block: Block) -> Block:
        """The block with the DAO field that its transactions demand."""
        resolved = resolve_block(block, self, self)
        dao = dao_field_in_epoch(self.consensus, resolved, self.tip.header, self.next_epoch(), self)
        return block.replace(header=block.header.with_fields(dao=dao))

    def next_cellbase(self, miner: Script = MINER, message: bytes = b"") -> Transaction:
        """The cellbase of the next block, with what is due."""
        number, outputs = self.number + 1, []
        if has_finalization_target(self.consensus, number):
            to, reward = block_reward(self.consensus, self.tip.header, self)
            due = CellOutput(capacity=reward.total, lock=to, type_=None)
            outputs = [due] if due.occupied_capacity(0) <= reward.total else []
        return cellbase(number, outputs, miner, message)

    # ------------------------------------------------------------ judgement

    def judge(self, block: Block, now_ms: int = NOW_MS) -> BlockVerified:
        """All rules, the plain way, and scripts without any memory. Raises CkbError."""
        verify_header(self.consensus, block.header, self, now_ms)
        verify_block_epoch(self.next_epoch(), block.header)
        verify_block_body(self.consensus, block)
        return verify_block(self.consensus, block, self, PlainRunner(self.consensus, self))

    def child(self, block: Block, now_ms: int = NOW_MS) -> State:
        """What is true after a valid block. Raises CkbError."""
        return State(self.consensus, self, block, self.judge(block, now_ms))

    def bad_child(self, block: Block) -> State:
        """What would be true after a block that breaks rules of its content; blocks may be built on it."""
        return State(self.consensus, self, block, None)


def fault_of(state: State, block: Block, now_ms: int = NOW_MS) -> CkbError | None:
    """The first rule that the block breaks on top of `state`."""
    try:
        state.judge(block, now_ms)
    except CkbError as error:
        return error
    return None
