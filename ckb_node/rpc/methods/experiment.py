"""Module Experiment: estimates."""

from __future__ import annotations

from ckb_node.jsonrpc_types.hex_text import uint_text
from ckb_node.rpc.chain_results import CyclesJson
from ckb_node.rpc.errors import invalid_params
from ckb_node.rpc.methods.chain_transactions import estimate_cycles
from ckb_node.rpc.params import Bool, OutPointParam, PriorityParam, TransactionParam, WithdrawingParam
from ckb_node.rpc.registry import Methods, Module, always_expensive
from ckb_node.rpc.services import ChainView, Services
from ckb_node.txpool.views import FeePriority
from consensus.rules.dao import DaoHeaderError, DaoOutPointError, maximum_withdraw
from consensus.types.blockchain import CellOutput, Header, OutPoint

METHODS = Methods(Module.EXPERIMENT)


@METHODS.method
async def dry_run_transaction(services: Services, tx: TransactionParam) -> CyclesJson:
    """Deprecated since 0.105.1, but still answered: `estimate_cycles` under its old name."""
    return await estimate_cycles(services, tx)


@METHODS.method(price=always_expensive)
def calculate_dao_maximum_withdraw(services: Services, out_point: OutPointParam, kind: WithdrawingParam) -> str:
    """Shannons that a NervosDAO deposit is worth (RFC 23).

    `out_point` is the deposit. `kind` is the hash of the block in which phase 1 of the withdrawal is supposed to be,
    or the out point of an actual phase 1 cell.
    """
    with services.chain.view() as view:
        deposit, deposit_cell = _committed_output(view, out_point, "out_point")
        if isinstance(kind, OutPoint):
            withdrawing, cell = _committed_output(view, kind, "withdrawing_out_point")
        else:
            withdrawing, cell = _header(view, kind), deposit_cell
        if deposit.number >= withdrawing.number:
            raise DaoOutPointError(0, f"block {deposit.number} of the deposit is not before {withdrawing.number}")
        output, data_size = cell
        return uint_text(maximum_withdraw(output, data_size, deposit, withdrawing))


def _committed_output(view: ChainView, out_point: OutPoint, name: str) -> tuple[Header, tuple[CellOutput, int]]:
    """The block that committed an output, spent or not, with the output and the size of its data."""
    transaction, info = view.transaction(out_point.tx_hash), view.transaction_info(out_point.tx_hash)
    if transaction is None or info is None or out_point.index >= len(transaction.body.outputs):
        raise invalid_params(f"invalid {name}")
    body = transaction.body
    return _header(view, info.block_hash), (body.outputs[out_point.index], len(body.outputs_data[out_point.index]))


def _header(view: ChainView, block_hash: bytes) -> Header:
    header = view.header(block_hash)
    if header is None:
        raise DaoHeaderError(block_hash)
    return header


@METHODS.method
async def estimate_fee_rate(
    services: Services, estimate_mode: PriorityParam | None = None, enable_fallback: Bool | None = None
) -> str:
    """Shannons per kilobyte that get a transaction committed in time.

    `estimate_mode` is no_priority (default, an hour), low_priority (30 minutes), medium_priority (10 minutes) or
    high_priority (as soon as possible). `enable_fallback` (default) looks at the pool when there is no estimate.
    """
    priority = FeePriority.NO_PRIORITY if estimate_mode is None else estimate_mode
    fallback = True if enable_fallback is None else enable_fallback
    return uint_text(await services.pool.estimate_fee_rate(priority, fallback=fallback))
