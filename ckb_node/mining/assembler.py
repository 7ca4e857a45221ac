"""Builds block templates: the newest tip, what the pool proposes and offers, the reward and the header's sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.service import ChainService
from ckb_node.mining.uncles import CandidateUncles
from ckb_node.rpc.services import BlockTemplate, CellbaseTemplate, TransactionTemplate, UncleTemplate
from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.selector import select_for_block
from consensus.context import ChainReader
from consensus.dao import dao_field
from consensus.epoch import next_epoch_ext
from consensus.errors import CkbError
from consensus.hardfork import chain_root_is_required
from consensus.hashing import ZERO_HASH
from consensus.header import median_time
from consensus.lookup import require
from consensus.mmr import chain_root_hash
from consensus.params import BLOCK_VERSION, Consensus
from consensus.resolve import BlockCells, resolve_transaction
from consensus.reward import block_reward
from consensus.transaction import verify_in_time
from consensus.tx_env import TxEnv
from consensus.types.blockchain import (
    NULL_OUT_POINT,
    Block,
    CellbaseWitness,
    CellInput,
    CellOutput,
    Header,
    RawHeader,
    RawTransaction,
    Script,
    Transaction,
    UncleBlock,
)
from consensus.types.core import EpochExt, ResolvedTransaction


@dataclass(frozen=True, slots=True)
class MinerConfig:
    """Who gets the reward, and the message of the cellbase."""

    lock: Script
    message: bytes = b""


class BlockAssembler:
    """Makes templates on demand and keeps the last one while nothing changed. Satisfies rpc.services.MinerService."""

    def __init__(self, chain: ChainService, pool: TxPool, config: MinerConfig, now_ms: Callable[[], int]) -> None:
        self._chain, self._pool, self._config, self._now_ms = chain, pool, config, now_ms
        self.uncles = CandidateUncles()
        self._work_id = 0
        self._cached: tuple[tuple[bytes, int, int], BlockTemplate] | None = None
        chain.listen(self._on_change)
        chain.listen_side(self.on_side_block)

    def _on_change(self, change: ChainChanged) -> None:
        for block in change.detached:
            self.uncles.add(block)

    def on_side_block(self, block: Block) -> None:
        """A block that lost the race may become an uncle."""
        self.uncles.add(block)

    async def block_template(self) -> BlockTemplate:
        """The newest template; only its time differs from the last one while tip, pool and uncles are the same."""
        reader = self._chain.view()
        state = (reader.tip_header().hash, self._pool.updated_at, len(self.uncles))
        if self._cached is None or self._cached[0] != state:
            self._work_id += 1
            self._cached = (state, self._build(reader))
        template = self._cached[1]
        least = median_time(reader, template.parent_hash, self._chain.consensus.median_time_block_count) + 1
        return replace(template, current_time=max(self._now_ms(), least))

    def _build(self, reader: ChainReader) -> BlockTemplate:
        consensus = self._chain.consensus
        parent = reader.tip_header()
        epoch = next_epoch_ext(consensus, parent, reader.tip_epoch(), reader)
        draft = draft_header(consensus, parent, epoch)
        self.uncles.forget_before(epoch.start_number)
        cellbase = build_cellbase(consensus, parent, self._config, reader)
        bare = Block(header=draft, uncles=[], transactions=[cellbase], proposals=[])
        uncles = self.uncles.choose(consensus, bare, epoch, reader)
        extension = build_extension(consensus, parent, reader)
        proposals = self._proposals(uncles)
        empty = Block(header=draft, uncles=uncles, transactions=[cellbase], proposals=proposals, extension=extension)
        room = consensus.max_block_bytes - empty.size_without_uncle_proposals()
        entries = select_for_block(self._pool.graph, room, consensus.max_block_cycles)
        entries, resolved = committable(consensus, empty, entries, reader)
        return BlockTemplate(
            version=draft.version,
            compact_target=draft.compact_target,
            current_time=draft.timestamp,
            number=draft.number,
            epoch=draft.epoch,
            parent_hash=draft.parent_hash,
            cycles_limit=consensus.max_block_cycles,
            bytes_limit=consensus.max_block_bytes,
            uncles_count_limit=consensus.max_uncles,
            uncles=[UncleTemplate(uncle) for uncle in uncles],
            transactions=_transaction_templates(entries),
            proposals=proposals,
            cellbase=CellbaseTemplate(cellbase),
            work_id=self._work_id,
            dao=dao_field(consensus, resolved, parent, reader),
            extension=extension,
        )

    def _proposals(self, uncles: Sequence[UncleBlock]) -> list[bytes]:
        """Short ids of pending transactions, best paying first, that no uncle proposes already."""
        known = {short_id for uncle in uncles for short_id in uncle.proposals}
        pending = self._pool.graph.by_score((Status.PENDING,))
        ids = [entry.short_id for entry in pending if entry.short_id not in known]
        return ids[: self._chain.consensus.max_block_proposals]

    async def calculate_dao_field(self, template: BlockTemplate) -> bytes:
        """The dao field that a block of exactly this template has. Raises ResolveError or DaoError."""
        reader = self._chain.view()
        block = template.to_block()
        parent = require(reader.header(template.parent_hash), "header", template.parent_hash)
        cells = BlockCells(block, reader)
        resolved = [resolve_transaction(tx, cells, reader, frozenset()) for tx in block.transactions]
        return dao_field(self._chain.consensus, resolved, parent, reader)


def draft_header(consensus: Consensus, parent: Header, epoch: EpochExt) -> Header:
    """The header of the block after `parent`, without time, roots and dao."""
    number = parent.number + 1
    raw = RawHeader(
        version=BLOCK_VERSION,
        compact_target=epoch.compact_target,
        timestamp=parent.timestamp + 1,
        number=number,
        epoch=epoch.fraction_at(number).pack(),
        parent_hash=parent.hash,
        transactions_root=ZERO_HASH,
        proposals_hash=ZERO_HASH,
        extra_hash=ZERO_HASH,
        dao=ZERO_HASH,
    )
    return Header(body=raw, nonce=0)


def build_cellbase(consensus: Consensus, parent: Header, config: MinerConfig, reader: ChainReader) -> Transaction:
    """The cellbase of the block after `parent`: pays the miner of the block that is final now (RFC 20).

    No output for the first blocks, and none while the reward is less than the cell that would hold it.
    """
    number = parent.number + 1
    outputs: list[CellOutput] = []
    if number > consensus.finalization_delay:
        lock, reward = block_reward(consensus, parent, reader)
        output = CellOutput(capacity=reward.total, lock=lock, type_=None)
        if output.occupied_capacity(0) <= reward.total:
            outputs.append(output)
    body = RawTransaction(
        version=0,
        cell_deps=[],
        header_deps=[],
        inputs=[CellInput(since=number, previous_output=NULL_OUT_POINT)],
        outputs=outputs,
        outputs_data=[b""] * len(outputs),
    )
    witness = CellbaseWitness(lock=config.lock, message=config.message)
    return Transaction(body=body, witnesses=[witness.raw])


def build_extension(consensus: Consensus, parent: Header, reader: ChainReader) -> bytes | None:
    """The chain root of all blocks up to `parent`, where RFC 44 demands it."""
    if not chain_root_is_required(consensus, parent.epoch & 0xFFFFFF):
        return None
    return chain_root_hash(reader, parent.number)


def committable(
    consensus: Consensus, empty: Block, entries: Sequence[PoolEntry], reader: ChainReader
) -> tuple[list[PoolEntry], list[ResolvedTransaction]]:
    """Of the chosen entries those that the chain's state really allows, with all resolved, the cellbase first.

    The pool is right nearly always; a block with one bad transaction would be worth nothing.
    """
    cellbase = empty.transactions[0]
    block = empty.replace(transactions=[cellbase, *(entry.tx for entry in entries)])
    cells = BlockCells(block, reader)
    env = TxEnv.committed(empty.header)
    spent: set[bytes] = set()
    chosen: list[PoolEntry] = []
    taken = {cellbase.hash}
    resolved = [resolve_transaction(cellbase, cells, reader, spent)]
    for entry in entries:
        try:
            rtx = resolve_transaction(entry.tx, cells, reader, spent)
            verify_in_time(consensus, rtx, env, reader)
        except CkbError:
            continue
        used = (*rtx.inputs, *rtx.cell_deps, *rtx.dep_groups)
        if any(
            cell.info is not None and cell.info.block_hash == block.hash and cell.tx_hash not in taken for cell in used
        ):
            continue
        spent.update(cell.out_point for cell in rtx.inputs)
        taken.add(entry.hash)
        chosen.append(entry)
        resolved.append(rtx)
    return chosen, resolved


def _parents_are_taken(rtx: ResolvedTransaction, block_hash: bytes, taken: set[bytes]) -> bool:
    """No cell that it uses comes from a transaction of the block that was left out."""
    used = (*rtx.inputs, *rtx.cell_deps, *rtx.dep_groups)
    of_block = (cell for cell in used if cell.info is not None and cell.info.block_hash == block_hash)
    return all(cell.tx_hash in taken for cell in of_block)


def _transaction_templates(entries: Sequence[PoolEntry]) -> list[TransactionTemplate]:
    positions = {entry.hash: position for position, entry in enumerate(entries)}
    templates = []
    for entry in entries:
        parents = {cell_input.previous_output.tx_hash for cell_input in entry.tx.body.inputs}
        parents |= {dep.out_point.tx_hash for dep in entry.tx.body.cell_deps}
        depends = sorted(positions[parent] for parent in parents if parent in positions)
        templates.append(TransactionTemplate(entry.tx, cycles=entry.cycles, depends=depends or None))
    return templates
