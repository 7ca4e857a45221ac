"""Which of the chosen transactions the chain's state allows in a block, and what they do to capacity together."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import structlog

from ckb_node.mining.settled import SettledMoves
from ckb_node.txpool.entry import PoolEntry
from ckb_node.txpool.quick import UsualRules
from consensus.codec.layout import U64_MAX
from consensus.context import ChainReader
from consensus.errors import CkbError
from consensus.params import Consensus
from consensus.rules.dao import CapacityMoves, capacity_moves
from consensus.rules.resolve import BlockCells, DeadOutPointError, resolve_transaction
from consensus.rules.since import ImmatureError
from consensus.rules.transaction import CellbaseImmatureError, verify_time_relative
from consensus.tx_env import TxEnv
from consensus.types.blockchain import Block
from consensus.types.core import ResolvedTransaction

log = structlog.get_logger("mining")

Committable = tuple[list[PoolEntry], CapacityMoves, list[tuple[PoolEntry, CkbError]]]
"""The entries, what they and the cellbase do to capacity, and those that the state does not allow."""


def committable(
    consensus: Consensus, base: Block, entries: Sequence[PoolEntry], reader: ChainReader, settled: SettledMoves
) -> Committable:
    """Immature entries are skipped and not reported: they may become valid. What is settled is not looked at again.

    The pool is right nearly always; a block with one bad transaction would be worth nothing.
    """
    return _Choice(consensus, base, entries, reader, settled).made()


class _Choice:
    """Use it once."""

    def __init__(
        self,
        consensus: Consensus,
        base: Block,
        entries: Sequence[PoolEntry],
        reader: ChainReader,
        settled: SettledMoves,
    ) -> None:
        self._consensus, self._base, self._entries = consensus, base, entries
        self._reader, self._settled = reader, settled
        self._env = TxEnv.committed(base.header)
        self._usual = UsualRules(consensus, reader, self._env.epoch)
        self._cells: BlockCells | None = None
        self._spent: set[bytes] = set()
        cellbase = base.transactions[0]
        self._taken = {cellbase.hash}
        self._totals = capacity_moves(consensus, [ResolvedTransaction(cellbase, [], [], [])], reader)
        self._impossible: list[tuple[PoolEntry, CkbError]] = []

    def made(self) -> Committable:
        chosen = [entry for entry in self._entries if self._takes(entry)]
        return chosen, self._totals, self._impossible

    def _takes(self, entry: PoolEntry) -> bool:
        moves = self._settled.get(entry.raw)
        if moves is None:
            moves = self._found(entry)
        elif not self._spent.isdisjoint((*entry.input_keys, *entry.dep_keys)):
            moves = None
        # All inputs of a block together are a number of 64 bits in the sums for its dao field, or the block is invalid.
        if moves is None or self._totals.worth + moves.worth > U64_MAX:
            return False
        self._totals = _sum_of(self._totals, moves)
        self._spent.update(entry.input_keys)
        self._taken.add(entry.hash)
        return True

    def _found(self, entry: PoolEntry) -> CapacityMoves | None:
        """By cheaper means for a usual one, which stays as it is; None for what is left out."""
        moves = self._usual.moves(entry.raw, self._spent)
        if moves is None:
            return self._found_by_rules(entry)
        self._settled.put(entry.raw, moves)
        return moves

    def _found_by_rules(self, entry: PoolEntry) -> CapacityMoves | None:
        if self._cells is None:
            transactions = [self._base.transactions[0], *(each.tx for each in self._entries)]
            self._cells = BlockCells(self._base.replace(transactions=transactions), self._reader)
        try:
            rtx = resolve_transaction(entry.tx, self._cells, self._reader, self._spent)
            verify_time_relative(self._consensus, rtx, self._env, self._reader)
            moves = capacity_moves(self._consensus, [rtx], self._reader)
        except (CellbaseImmatureError, ImmatureError):
            return None
        except CkbError as error:
            if not (isinstance(error, DeadOutPointError) and error.out_point in self._spent):  # by this very block
                self._impossible.append((entry, error))
            log.info("left out of the template", hash=f"0x{entry.hash.hex()}", reason=str(error))
            return None
        if not _parents_are_taken(rtx, self._base.hash, self._taken):
            return None
        self._settled.note(rtx, moves, self._base.hash)
        return moves


def _sum_of(one: CapacityMoves, other: CapacityMoves) -> CapacityMoves:
    return CapacityMoves(
        one.added + other.added, one.freed + other.freed, one.worth + other.worth, one.capacity + other.capacity
    )


def _parents_are_taken(rtx: ResolvedTransaction, block_hash: bytes, taken: AbstractSet[bytes]) -> bool:
    """Cells that it uses come from the chain, or from earlier transactions of the block that were not left out."""
    used = (*rtx.inputs, *rtx.cell_deps, *rtx.dep_groups)
    of_block = (cell for cell in used if cell.info is not None and cell.info.block_hash == block_hash)
    return all(cell.tx_hash in taken for cell in of_block)
