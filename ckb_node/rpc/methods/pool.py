"""Module Pool: transactions that wait to be committed."""

from __future__ import annotations

from functools import partial

from ckb_node.jsonrpc_types.hex_text import bytes_text, uint_text
from ckb_node.rpc.calls import LoopStream
from ckb_node.rpc.errors import Code, RpcError
from ckb_node.rpc.node_results import (
    EntryCompletedJson,
    PoolTxDetailJson,
    TxPoolEntriesJson,
    TxPoolIdsJson,
    TxPoolInfoJson,
    pool_detail_json,
    pool_entries_text,
    pool_ids_text,
    pool_info_json,
)
from ckb_node.rpc.outputs_validator import OutputsValidator, UnknownScriptError, verify_outputs_well_known
from ckb_node.rpc.params import H256, Bool, TransactionParam, ValidatorParam
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import Services
from consensus.types.blockchain import Transaction

METHODS = Methods(Module.POOL)


def check_outputs(services: Services, transaction: Transaction, validator: OutputsValidator | None) -> None:
    """-1102 when the caller asked for well known scripts only and an output has another."""
    if validator is not OutputsValidator.WELL_KNOWN_SCRIPTS_ONLY:
        return
    try:
        verify_outputs_well_known(services.chain.consensus, transaction, services.extra_well_known)
    except UnknownScriptError as error:
        raise RpcError(
            Code.PoolRejectedTransactionByOutputsValidator,
            f"The transaction is rejected by OutputsValidator set in params[1]: {validator.value}. "
            "Please check the related information in "
            "https://github.com/nervosnetwork/ckb/wiki/Transaction-%C2%BB-Default-Outputs-Validator",
            f'"{error}"',
        ) from error


@METHODS.method(is_change=True)
async def send_transaction(
    services: Services, tx: TransactionParam, outputs_validator: ValidatorParam | None = None
) -> str:
    """Verify a transaction, put it into the pool and announce it; its hash.

    `outputs_validator` is `passthrough` (default) or `well_known_scripts_only`, which lets only outputs pass whose
    scripts wallets know. Errors: -301, -302, and -1102 to -1112 for what the pool refuses.
    """
    await services.lane.run_priced(tx.raw_size, partial(check_outputs, services, tx, outputs_validator))
    return bytes_text(await services.pool.submit(tx))


@METHODS.method
async def test_tx_pool_accept(
    services: Services,
    tx: TransactionParam,
    outputs_validator: ValidatorParam | None = None,  # noqa: PT028 - the name of a method, not a test
) -> EntryCompletedJson:
    """What `send_transaction` would say: cycles and fee, or its error; nothing enters the pool."""
    await services.lane.run_priced(tx.raw_size, partial(check_outputs, services, tx, outputs_validator))
    accepted = await services.pool.test_accept(tx)
    return EntryCompletedJson(uint_text(accepted.cycles), uint_text(accepted.fee))


@METHODS.method(is_change=True, owner_only=True)
async def remove_transaction(services: Services, tx_hash: H256) -> bool:
    """Take a transaction and all that depend on it out of the pool; false when it was not there."""
    return await services.pool.remove(tx_hash)


@METHODS.method
def tx_pool_info(services: Services) -> TxPoolInfoJson:
    """The pool at a glance: counts, sizes, fee rates and limits."""
    return pool_info_json(services.pool.info())


@METHODS.method(is_change=True, owner_only=True)
async def clear_tx_pool(services: Services) -> None:
    """Forget every transaction of the pool."""
    await services.pool.clear()


@METHODS.method(is_change=True, owner_only=True)
async def clear_tx_verify_queue(services: Services) -> None:
    """Forget transactions that wait for verification."""
    await services.pool.clear_verify_queue()


@METHODS.method
async def get_raw_tx_pool(
    services: Services, verbose: Bool | None = None
) -> LoopStream[TxPoolIdsJson] | LoopStream[TxPoolEntriesJson]:
    """Hashes of the pool's transactions; with `verbose` sizes, fees and cycles of each."""
    if verbose:
        return LoopStream(pool_entries_text(await services.pool.entries()))
    return LoopStream(pool_ids_text(await services.pool.ids()))


@METHODS.method
async def get_pool_tx_detail_info(services: Services, tx_hash: H256) -> PoolTxDetailJson:
    """How one transaction stands in the pool; `entry_status` is `unknown` when it is not there."""
    return pool_detail_json(await services.pool.detail(tx_hash))


@METHODS.method
def tx_pool_ready(services: Services) -> bool:
    """The pool has loaded what it kept on disk and takes transactions."""
    return services.pool.is_ready()
