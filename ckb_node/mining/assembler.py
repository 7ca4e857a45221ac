"""Builds block templates: the newest tip, what the pool proposes and offers, the reward and the header's sums."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice

import structlog

from ckb_node.chain.events import BlockDecided, ChainChanged
from ckb_node.chain.service import ChainService
from ckb_node.mining.committable import committable
from ckb_node.mining.recent import RecentBlocks
from ckb_node.mining.settled import SettledMoves
from ckb_node.mining.template import BlockTemplate, CellbaseTemplate, TransactionTemplate, UncleTemplate
from ckb_node.mining.uncles import MAX_CANDIDATES, CandidateUncles, choose_uncles
from ckb_node.runtime.lane import Lane
from ckb_node.runtime.slices import in_slices
from ckb_node.txpool.entry import PoolEntry, Status
from ckb_node.txpool.pool import TxPool
from ckb_node.txpool.selector import Proposed, proposed_of, select_for_block
from consensus.context import ChainReader
from consensus.crypto.hashing import ZERO_HASH
from consensus.errors import CkbError
from consensus.lookup import require
from consensus.params import BLOCK_VERSION, Consensus
from consensus.rules.dao import dao_field, dao_field_after
from consensus.rules.epoch import next_epoch_ext
from consensus.rules.hardfork import chain_root_is_required
from consensus.rules.header import median_time
from consensus.rules.mmr import chain_root_hash
from consensus.rules.resolve import BlockCells, resolve_transaction
from consensus.rules.reward import block_reward
from consensus.rules.uncles import UncleError
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
from consensus.types.core import EpochExt, ResolvedTransaction, epoch_number

log = structlog.get_logger("mining")


@dataclass(frozen=True, slots=True)
class MinerConfig:
    """The lock that gets the reward, and the message of the cellbase."""

    lock: Script
    message: bytes = b""


@dataclass(frozen=True, slots=True)
class _TemplateInputs:
    """What a template is made of: one state of the chain and what pool and uncles offered at it. Immutable."""

    reader: ChainReader
    pending: Sequence[bytes]
    candidates: Proposed
    uncles: Sequence[UncleBlock]
    work_id: int
    may_reuse: bool
    """The pool has followed the chain, and no block was refused since the last template."""


@dataclass(frozen=True, slots=True)
class _Built:
    """A template, and those of the chosen entries that the chain's state does not allow, with what they break."""

    template: BlockTemplate
    impossible: Sequence[tuple[PoolEntry, CkbError]] = ()


class BlockAssembler:
    """Makes templates on demand and keeps the last one while nothing changed. Satisfies rpc.services.MinerService."""

    def __init__(
        self,
        chain: ChainService,
        pool: TxPool,
        config: MinerConfig,
        now_ms: Callable[[], int],
        waiting: Lane | None = None,
    ) -> None:
        """`waiting` is a lane that begins nothing while a template is made."""
        self._chain, self._pool, self._config, self._now_ms = chain, pool, config, now_ms
        self._pause_waiting = nullcontext if waiting is None else waiting.paused
        self.uncles = CandidateUncles()
        self.reserved_bytes = 0
        """Of a block, left free for a longer lock in its cellbase."""
        self._work_id = 0
        self._settled = SettledMoves()
        self._recent = RecentBlocks()
        self._was_refused = False
        self._building = asyncio.Lock()
        self._state: tuple[int, int] | None = None
        self._template: BlockTemplate | None = None
        chain.listen(self._on_change)
        chain.listen_side(self.on_side_block)
        chain.listen_decided(self._on_decided)

    def _on_change(self, change: ChainChanged) -> Iterator[None]:
        if change.is_cut:
            with self._chain.view() as view:
                self.uncles.keep_only(lambda block_hash: view.header(block_hash) is not None)
            return
        if not self._chain.is_taking_runs:
            self._recent.note(change)
        for block in islice(change.detached, MAX_CANDIDATES):
            self.uncles.add(block)
            yield

    def on_side_block(self, block: Block) -> None:
        """A block that lost the race may become an uncle."""
        self.uncles.add(block)

    def _on_decided(self, decided: BlockDecided) -> None:
        """Uncles that a block was refused for are no candidates any more; its transactions are looked at anew."""
        self._was_refused |= decided.error is not None
        if isinstance(decided.error, UncleError):
            for uncle in decided.block.uncles:
                self.uncles.drop(uncle)

    async def block_template(self) -> BlockTemplate:
        """The newest template; only its time differs from the last one while tip, pool and uncles are the same."""
        async with self._building:
            template = self._template
            state = self._newest_state()
            if template is None or state != self._state:
                inputs = self._inputs()
                with self._pause_waiting():
                    built = await self._chain.run_in_reader(self._build_or_empty, inputs, self._settled)
                template = built.template
                self._template, self._state = template, state
                for entry, error in built.impossible:
                    if self._pool.reader is inputs.reader:
                        await in_slices(self._pool.drop_impossible(entry, error))
        return template.at(self._time_of(template))

    @property
    def is_building(self) -> bool:
        """A thread makes a template, and needs the interpreter now and then."""
        return self._building.locked()

    def template_at_hand(self) -> tuple[BlockTemplate, int] | None:
        """The newest template, if it is made already, and the time that `block_template` would give it."""
        template = self._template
        if template is None or self.is_building or self._newest_state() != self._state:
            return None
        return template, self._time_of(template)

    def _newest_state(self) -> tuple[int, int]:
        """Versions of what a template is made of."""
        self.uncles.forget_before(self._pool.reader.tip_epoch().start_number)
        return self._pool.version, self.uncles.version

    def _time_of(self, template: BlockTemplate) -> int:
        return max(self._now_ms(), template.current_time)

    async def empty_template(self, recent: RecentBlocks | None = None) -> BlockTemplate:
        """A template on the newest tip with nothing but a cellbase; the pool need not have followed the chain yet."""
        template = (await self._chain.run_in_reader(self._build, self._empty_inputs(recent), SettledMoves())).template
        return template.at(self._time_of(template))

    def empty_template_at_once(self, recent: RecentBlocks) -> BlockTemplate:
        """The same on the event loop: a few milliseconds when `recent` reaches `rewarded_blocks` back. What other
        threads do cannot hold it up as they do with one that works beside them."""
        template = self._build(self._empty_inputs(recent), SettledMoves()).template
        return template.at(self._time_of(template))

    @property
    def rewarded_blocks(self) -> int:
        """So many blocks are looked at for the reward of a template."""
        return self._chain.consensus.finalization_delay

    def _empty_inputs(self, recent: RecentBlocks | None) -> _TemplateInputs:
        self._work_id += 1
        view = self._chain.view()
        reader = view if recent is None else recent.over(view)
        return _TemplateInputs(reader, (), Proposed(), (), self._work_id, may_reuse=False)

    def _inputs(self) -> _TemplateInputs:
        """The pool's own view of the chain, so that what it offers is of that very state."""
        self._work_id += 1
        was_refused, self._was_refused = self._was_refused, False
        pending = self._pool.graph.by_score((Status.PENDING,))
        consensus = self._chain.consensus
        enough = consensus.max_block_proposals * (1 + consensus.max_uncles)
        return _TemplateInputs(
            reader=self._pool.reader,
            pending=[entry.short_id for entry in islice(pending, enough)],
            candidates=proposed_of(self._pool.graph, consensus.max_block_bytes, consensus.max_block_cycles),
            uncles=self.uncles.lowest_first(),
            work_id=self._work_id,
            may_reuse=not (self._pool.is_moving or was_refused),
        )

    def _build_or_empty(self, inputs: _TemplateInputs, settled: SettledMoves) -> _Built:
        """In a worker thread: a full block takes longer than the event loop may wait.

        Whatever the pool and old blocks inputs: a template without them is better than none.
        """
        try:
            return self._build(inputs, settled)
        except (CkbError, ArithmeticError, LookupError, ValueError) as error:
            log.error("the block template goes without transactions and uncles", reason=str(error))  # noqa: TRY400
            return self._build(replace(inputs, pending=(), candidates=Proposed(), uncles=()), settled)

    def _build(self, inputs: _TemplateInputs, settled: SettledMoves) -> _Built:
        """`current_time` is the least that the block may have."""
        consensus, reader = self._chain.consensus, inputs.reader
        parent = reader.tip_header()
        epoch = next_epoch_ext(consensus, parent, reader.tip_epoch(), reader)
        draft = draft_header(consensus, parent, epoch, reader)
        uncles = choose_uncles(consensus, inputs.uncles, epoch, reader)
        cellbase = build_cellbase(consensus, parent, self._config, self._recent.over(reader))
        base = Block(
            header=draft,
            uncles=uncles,
            transactions=[cellbase],
            proposals=choose_proposals(inputs.pending, uncles, consensus.max_block_proposals),
            extension=build_extension(consensus, parent, reader),
        )
        room = consensus.max_block_bytes - base.size_without_uncle_proposals() - self.reserved_bytes
        entries = select_for_block(inputs.candidates, room, consensus.max_block_cycles)
        settled.move_to(reader)
        if not inputs.may_reuse:
            settled.clear()
        entries, moves, impossible = committable(consensus, base, entries, reader, settled)
        template = BlockTemplate(
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
            transactions=transaction_templates(entries),
            proposals=base.proposals,
            cellbase=CellbaseTemplate(cellbase),
            work_id=inputs.work_id,
            dao=dao_field_after(consensus, parent, epoch, moves),
            extension=base.extension,
            fees=sum(entry.fee for entry in entries),
        )
        return _Built(template, impossible)

    async def calculate_dao_field(self, template: BlockTemplate) -> bytes:
        """The dao field that a block of exactly this template has. Raises ResolveError or DaoError."""
        return await self._chain.run_in_reader(self._dao_field, template)

    def _dao_field(self, template: BlockTemplate) -> bytes:
        reader = self._chain.view()
        block = template.to_block()
        parent = require(reader.header(template.parent_hash), "header", template.parent_hash)
        cells = BlockCells(block, reader)
        resolved: list[ResolvedTransaction] = []
        spent: set[bytes] = set()
        for transaction in block.transactions:
            resolved.append(resolve_transaction(transaction, cells, reader, spent))
            spent.update(cell.out_point for cell in resolved[-1].inputs)
        return dao_field(self._chain.consensus, resolved, parent, reader)


def draft_header(consensus: Consensus, parent: Header, epoch: EpochExt, reader: ChainReader) -> Header:
    """The header of the block after `parent` at the earliest time that it may have, without roots and dao.

    Later than the parent's, not only than the median, so that the duration of an epoch is never negative.
    """
    number = parent.number + 1
    median = median_time(reader, parent.hash, consensus.median_time_block_count)
    raw = RawHeader(
        version=BLOCK_VERSION,
        compact_target=epoch.compact_target,
        timestamp=max(parent.timestamp, median) + 1,
        number=number,
        epoch=epoch.fraction_at(number).pack(),
        parent_hash=parent.hash,
        transactions_root=ZERO_HASH,
        proposals_hash=ZERO_HASH,
        extra_hash=ZERO_HASH,
        dao=ZERO_HASH,
    )
    return Header(body=raw, nonce=0)


def choose_proposals(pending: Iterable[bytes], uncles: Sequence[UncleBlock], limit: int) -> list[bytes]:
    """Short ids of pending transactions, best paying first, that no uncle proposes already."""
    known = {short_id for uncle in uncles for short_id in uncle.proposals}
    return list(islice((each for each in pending if each not in known), limit))


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
    if not chain_root_is_required(consensus, epoch_number(parent.epoch)):
        return None
    return chain_root_hash(reader, parent.number)


def transaction_templates(entries: Sequence[PoolEntry]) -> list[TransactionTemplate]:
    """With the positions of what each needs."""
    positions = {entry.hash: position for position, entry in enumerate(entries)}
    return [TransactionTemplate(entry.tx, entry.cycles, _depends(entry, positions)) for entry in entries]


def _depends(entry: PoolEntry, positions: Mapping[bytes, int]) -> Sequence[int] | None:
    if not entry.parents:
        return None
    used = {key[:32] for key in (*entry.input_keys, *entry.dep_keys)}
    return sorted(positions[parent] for parent in used if parent in positions) or None
