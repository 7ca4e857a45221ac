"""Module Chain: transactions and cells."""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from ckb_node.jsonrpc_types.chain import TransactionViewJson
from ckb_node.jsonrpc_types.fast_write import transaction_view_json
from ckb_node.jsonrpc_types.hex_text import bytes_text, optional_uint, uint_text
from ckb_node.rpc.calls import encode
from ckb_node.rpc.chain_results import (
    CellWithStatusJson,
    CyclesJson,
    TransactionWithStatusJson,
    TxStatusJson,
    cell_status_json,
)
from ckb_node.rpc.errors import bad_verbosity
from ckb_node.rpc.params import H256, Bool, OutPointParam, TransactionParam, Uint32
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import ChainView, Services
from ckb_node.runtime.lane import CHEAP_BYTES
from ckb_node.txpool.views import CellLookup, CellState, PoolTransaction, RejectedTransaction, TxState
from consensus.types.blockchain import OutPoint, Transaction
from consensus.types.core import TransactionInfo

METHODS = Methods(Module.CHAIN)

HEX, WITHOUT_TRANSACTION, WITH_TRANSACTION = 0, 1, 2
"""Levels of `verbosity`."""

_CELL, _CELL_WITH_DATA = b"cell", b"cell with data"
"""Before an out point: under these, texts of live cells are kept."""
_UNKNOWN_CELL: Final = encode(cell_status_json(CellLookup(CellState.UNKNOWN, None), with_data=False))


def _small_committed(
    services: Services, tx_hash: bytes, verbosity: int | None = None, only_committed: bool | None = None
) -> bytes | None:
    """As `get_transaction`, for small ones of the main chain with their JSON, which is kept."""
    if verbosity not in (None, WITH_TRANSACTION):
        return None
    view = services.chain.shared_view()
    info = view.transaction_info(tx_hash)
    if info is None:
        return None
    name = info.block_hash + tx_hash
    if (kept := services.kept.get(name)) is not None:
        return kept
    if view.transaction_size(tx_hash) > CHEAP_BYTES:
        return None
    answer = _committed(view, tx_hash, WITH_TRANSACTION)
    if answer is None or (answer.cycles is None and not info.is_cellbase):
        return None  # cycles that were not kept may come yet
    return services.kept.put(name, encode(answer))


@METHODS.method(at_once=_small_committed)
async def get_transaction(
    services: Services, tx_hash: H256, verbosity: Uint32 | None = None, only_committed: Bool | None = None
) -> TransactionWithStatusJson:
    """A transaction and where it is: pending, proposed, committed, rejected or unknown.

    `verbosity` 2 (default) answers JSON, 0 the serialised transaction in hex, 1 leaves the transaction out.
    `only_committed` does not ask the pool. `cycles` of a committed transaction is null for the cellbase.
    """
    level = WITH_TRANSACTION if verbosity is None else verbosity
    if level not in (HEX, WITHOUT_TRANSACTION, WITH_TRANSACTION):
        raise bad_verbosity(HEX, WITHOUT_TRANSACTION, WITH_TRANSACTION)
    view = services.chain.view()  # not closed here: when the caller leaves, the lane may still read it
    price = 0 if level == WITHOUT_TRANSACTION else view.transaction_size(tx_hash)
    committed = await services.room.run_priced(services.lane, price, partial(_committed, view, tx_hash, level))
    if committed is not None:
        return committed
    if only_committed:
        return _without_transaction(TxState.UNKNOWN)
    match await services.pool.transaction(tx_hash):
        case PoolTransaction() as entry:
            return _in_pool(entry, level)
        case RejectedTransaction() as rejected:
            return _without_transaction(TxState.REJECTED, _reason_text(rejected))
        case None:
            # It may have left the pool for the chain while the pool was asked.
            with services.chain.view() as later:
                return _committed(later, tx_hash, level) or _without_transaction(TxState.UNKNOWN)


def _reason_text(rejected: RejectedTransaction) -> str:
    """JSON in a string: clients parse it."""
    return msgspec.json.encode({"type": rejected.kind, "description": rejected.description}).decode()


def _transaction_answer(transaction: Transaction | None, level: int) -> TransactionViewJson | str | None:
    if transaction is None or level == WITHOUT_TRANSACTION:
        return None
    return bytes_text(transaction.raw) if level == HEX else transaction_view_json(transaction)


def _cycles_text(view: ChainView, info: TransactionInfo) -> str | None:
    """Cycles of a committed transaction; null for a cellbase and where they were not kept."""
    ext = None if info.is_cellbase else view.block_ext(info.block_hash)
    if ext is None or ext.cycles is None or info.tx_index > len(ext.cycles):
        return None
    return uint_text(ext.cycles[info.tx_index - 1])


def _committed(view: ChainView, tx_hash: bytes, level: int) -> TransactionWithStatusJson | None:
    info = view.transaction_info(tx_hash)
    if info is None:
        return None
    transaction = None if level == WITHOUT_TRANSACTION else view.transaction(tx_hash)
    status = TxStatusJson(
        TxState.COMMITTED.value, uint_text(info.block_number), bytes_text(info.block_hash), uint_text(info.tx_index)
    )
    return TransactionWithStatusJson(
        _transaction_answer(transaction, level), _cycles_text(view, info), None, status, None, None
    )


def _in_pool(entry: PoolTransaction, level: int) -> TransactionWithStatusJson:
    status, cycles = TxStatusJson(entry.state.value), optional_uint(entry.cycles)
    if level == WITHOUT_TRANSACTION:
        return TransactionWithStatusJson(None, cycles, None, status, None, None)
    return TransactionWithStatusJson(
        _transaction_answer(entry.transaction, level),
        cycles,
        uint_text(entry.time_added),
        status,
        optional_uint(entry.fee),
        optional_uint(entry.min_replace_fee),
    )


def _without_transaction(state: TxState, reason: str | None = None) -> TransactionWithStatusJson:
    return TransactionWithStatusJson(None, None, None, TxStatusJson(state.value, reason=reason), None, None)


def _small_cell(
    services: Services, out_point: OutPoint, with_data: bool, include_tx_pool: bool | None = None
) -> bytes | None:
    """As `get_live_cell`, for cells of the chain with little data."""
    if include_tx_pool:
        return None
    view, key = services.chain.shared_view(), out_point.raw
    name = (_CELL_WITH_DATA if with_data else _CELL) + key
    if (kept := services.kept.get(name)) is not None:
        return kept if view.is_live(key) else _UNKNOWN_CELL
    cell = view.cell(key)
    if cell is None:
        return _UNKNOWN_CELL
    if with_data and cell.data_size > CHEAP_BYTES:
        return None
    return services.kept.put(name, encode(cell_status_json(CellLookup(CellState.LIVE, cell), with_data=with_data)))


@METHODS.method(at_once=_small_cell)
async def get_live_cell(
    services: Services, out_point: OutPointParam, with_data: Bool, include_tx_pool: Bool | None = None
) -> CellWithStatusJson:
    """A cell by its out point: live, or unknown when it was spent or never was.

    `with_data` adds the cell's data and its hash. `include_tx_pool` looks at the chain as it would be after the
    transactions of the pool, whose own cells always come with their data.
    """
    if include_tx_pool:
        cell = (await services.pool.live_cell(out_point.raw)).cell
    else:
        with services.chain.view() as view:
            cell = view.cell(out_point.raw)
    is_of_pool = cell is not None and cell.info is None
    lookup = CellLookup(CellState.UNKNOWN if cell is None else CellState.LIVE, cell)
    is_with_data = with_data or is_of_pool
    price = cell.data_size if is_with_data and cell is not None else 0
    return await services.room.run_priced(
        services.lane, price, partial(cell_status_json, lookup, with_data=is_with_data)
    )


@METHODS.method
async def estimate_cycles(services: Services, tx: TransactionParam) -> CyclesJson:
    """Cycles that a transaction's scripts take at the tip, without admission to the pool.

    Errors: -301 when an out point cannot be resolved, -302 when a script fails.
    """
    return CyclesJson(uint_text(await services.chain.estimate_cycles(tx)))
