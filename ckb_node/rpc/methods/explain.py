"""Methods of our own beside those of module Chain: what became of a cell, and why a transaction is not committed."""

from __future__ import annotations

from functools import partial

from ckb_node.indexer.query import QueryError
from ckb_node.indexer.service import IndexBehindError
from ckb_node.indexer.spender import find_spender
from ckb_node.jsonrpc_types.hex_text import bytes_text, uint_text
from ckb_node.rpc.errors import Code, RpcError
from ckb_node.rpc.explain_results import (
    CellFateJson,
    SpenderJson,
    TransactionFateJson,
    committed_json,
    explained_json,
)
from ckb_node.rpc.params import H256, OutPointParam
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import ChainView, IndexerService, Services
from ckb_node.runtime.lane import Slices
from ckb_node.txpool.entry import Status
from ckb_node.txpool.explain import Progress
from ckb_node.txpool.time_locks import TimeLock, time_locks
from consensus.types.blockchain import OutPoint, Transaction
from storage.kv import Snapshot

METHODS = Methods(Module.CHAIN)

LIVE, SPENT, UNKNOWN = "live", "spent", "unknown"

_STATUSES = {
    Progress.GAP: Status.GAP,
    Progress.PROPOSED: Status.PROPOSED,
}


@METHODS.method(name="explain.transaction")
async def explain_transaction(services: Services, tx_hash: H256) -> TransactionFateJson:
    """Why a transaction is not committed yet: how far it is, what it waits for, and who stands before it.

    `state` is committed; proposed, gap or pending (in the pool); queued (its scripts wait or run); returning (of a
    block that left the chain, or of a former run); orphan (of a peer, its parents have not come); rejected; or unknown.
    `waits_for`: missing parents of an orphan, else those of the pool that must be committed before it. `conflicts`
    spend a cell that it spends. `fee_place`: how many of those that compete with it pay better, with their bytes and
    cycles; a pending one competes for a proposal, others for room in a block. `proposal`: which block proposed it, and
    between which heights it may be committed. `time_locks`: inputs and cell deps that are immature, and until when.
    """
    with services.chain.view() as view:
        info = view.transaction_info(tx_hash)
    if info is not None:
        return committed_json(info)
    found = await services.pool.explainer.transaction(tx_hash)
    if found.transaction is None:
        with services.chain.view() as view:  # it may have been committed while the pool was asked
            info = view.transaction_info(tx_hash)
        return explained_json(found, ()) if info is None else committed_json(info)
    price = found.transaction.raw_size
    locks = await services.lane.run_priced(price, partial(_locks, services, found.transaction, found.progress))
    return explained_json(found, locks)


def _locks(services: Services, tx: Transaction, progress: Progress) -> list[TimeLock]:
    env = services.pool.explainer.env(_STATUSES.get(progress, Status.PENDING))
    with services.chain.view() as view:
        return list(time_locks(services.chain.consensus, tx, view.cell, env, view))


@METHODS.method(name="explain.cell")
async def explain_cell(services: Services, out_point: OutPointParam) -> CellFateJson:
    """What spent a cell, and where: a transaction of the pool or of a block; null while it is live.

    A cell that a block spent is looked up in the index of module RichIndexer (at once) or Indexer (among the spendings
    of its script). Error -1200: neither is on, it is behind or without the cell, or there are too many spendings.
    """
    spender = services.pool.explainer.spender_of(out_point.raw)
    if spender is not None:
        return CellFateJson(SPENT, _spender_json(spender.tx_hash, spender.index, spender.status))
    view = services.chain.view()  # not closed here: when the caller leaves, the lane may still read it
    if view.cell(out_point.raw) is not None:
        return CellFateJson(LIVE)
    creator = await _transaction(services, view, out_point.tx_hash)
    if creator is None or out_point.index >= len(creator.body.outputs):
        in_pool = (await services.pool.live_cell(out_point.raw)).cell
        return CellFateJson(UNKNOWN if in_pool is None else LIVE)
    return CellFateJson(SPENT, await _committed_spender(services, view, creator, out_point))


def _spender_json(tx_hash: bytes, index: int, status: Status) -> SpenderJson:
    return SpenderJson(bytes_text(tx_hash), uint_text(index), status.value)


async def _committed_spender(
    services: Services, view: ChainView, creator: Transaction, out_point: OutPoint
) -> SpenderJson:
    try:
        if services.rich_indexer is not None:
            point = out_point.tx_hash, out_point.index
            tx_hash = await services.rich_indexer.search(lambda reader: reader.spender(*point))
        elif services.indexer is not None:
            tx_hash = await _searched(services, services.indexer, view, creator, out_point.index)
        else:
            raise _refused(
                "the cell is spent; what spent it is found by an index: put Indexer or RichIndexer into rpc.modules"
            )
    except (QueryError, IndexBehindError) as error:
        raise _refused(str(error)) from None
    now = services.chain.view()  # as in explain_cell
    info = None if tx_hash is None else now.transaction_info(tx_hash)
    spender = None if tx_hash is None else await _transaction(services, now, tx_hash)
    if tx_hash is None or info is None or spender is None:
        raise _refused("the index does not have the cell's spending: see init_tip_hash and filters of [indexer_v2]")
    points = [each.previous_output.raw for each in spender.body.inputs]
    return SpenderJson(
        bytes_text(tx_hash),
        uint_text(points.index(out_point.raw)),
        "committed",
        uint_text(info.block_number),
        bytes_text(info.block_hash),
        uint_text(info.tx_index),
    )


async def _transaction(services: Services, view: ChainView, tx_hash: bytes) -> Transaction | None:
    """Of the main chain; a large one is read beside the event loop."""
    return await services.lane.run_priced(view.transaction_size(tx_hash), partial(view.transaction, tx_hash))


async def _searched(
    services: Services, indexer: IndexerService, view: ChainView, creator: Transaction, index: int
) -> bytes | None:
    """In turns of the lane, as other searches."""
    place = view.transaction_info(creator.hash)
    if place is None:
        return None

    def read(snapshot: Snapshot) -> Slices:
        for each in find_spender(snapshot, view, creator, place, index):
            yield each or b""

    slices = await indexer.search(read)
    found = [piece async for piece in services.lane.stream(slices)]
    return b"".join(found) or None


def _refused(text: str) -> RpcError:
    return RpcError(Code.Indexer, text)
