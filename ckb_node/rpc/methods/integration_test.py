"""Module IntegrationTest: a dev chain by hand. Only for chains whose proof of work is Dummy."""

from __future__ import annotations

from functools import partial

import structlog

from ckb_node.jsonrpc_types.hex_text import bytes_text, uint_text
from ckb_node.mining.template import BlockTemplate
from ckb_node.rpc.errors import Code, RpcError, invalid_params, module_is_disabled, refused_block
from ckb_node.rpc.methods.miner import miner_of, with_roots
from ckb_node.rpc.methods.pool import check_outputs
from ckb_node.rpc.params import H256, BlockParam, Bool, TemplateParam, TransactionParam, Uint64, ValidatorParam
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import Services, TestingService
from consensus.errors import CkbError
from consensus.types.core import EpochFraction

METHODS = Methods(Module.INTEGRATION_TEST)

log = structlog.get_logger("rpc")


def _testing_of(services: Services) -> TestingService:
    if services.testing is None:
        raise module_is_disabled(Module.INTEGRATION_TEST.value)
    return services.testing


async def _submit(services: Services, template: BlockTemplate) -> bytes:
    try:
        return await services.chain.submit_block(await services.lane.run(template.to_block))
    except CkbError as error:
        raise refused_block(Code.CKBInternalError, error) from error


@METHODS.method(is_change=True)
async def process_block_without_verify(services: Services, data: BlockParam, broadcast: Bool) -> str | None:
    """Put a block on the chain without verifying it; its hash, or null when that is impossible.

    Peers hear of it as of any new tip; `broadcast` makes no difference.
    """
    del broadcast
    block = await services.lane.run(partial(with_roots, data))
    try:
        is_taken = await _testing_of(services).process_block_without_verify(block)
    except CkbError as error:
        log.warning("process_block_without_verify error", number=block.number, reason=str(error))
        return None
    return bytes_text(block.hash) if is_taken else None


@METHODS.method(is_change=True)
async def truncate(services: Services, target_tip_hash: H256) -> None:
    """Make a main-chain block the tip, forget what came after it, and clear the pool."""
    with services.chain.view() as view:
        if view.header(target_tip_hash) is None:
            raise RpcError(Code.Invalid, "block not found")
        if not view.is_main(target_tip_hash):
            raise RpcError(Code.Invalid, "block not on main chain")
    try:
        await _testing_of(services).truncate(target_tip_hash)
    except CkbError as error:
        raise refused_block(Code.Invalid, error) from error
    await services.pool.clear()


@METHODS.method(is_change=True)
async def generate_block(services: Services) -> str:
    """Mine a block with the transactions that wait for it; its hash."""
    return bytes_text(await _submit(services, await miner_of(services).block_template()))


@METHODS.method
async def generate_epochs(services: Services, num_epochs: Uint64) -> str:
    """Mine until the chain is `num_epochs` (packed number with fraction) further; the epoch of the last block."""
    with services.chain.view() as view:
        current = view.tip_epoch().fraction_at(view.tip_header().number)
    target = current.to_rational() + EpochFraction.unpack(num_epochs).to_rational()
    while current.to_rational() < target:
        template = await miner_of(services).block_template()
        await _submit(services, template)
        current = EpochFraction.unpack(template.epoch)
    return uint_text(current.pack())


@METHODS.method(is_change=True)
async def generate_block_with_template(services: Services, block_template: TemplateParam) -> str:
    """Mine the block of a template, its dao field computed anew; the block's hash. -32602 as `calculate_dao_field`."""
    dao = await _dao_field(services, block_template)
    return bytes_text(await _submit(services, block_template.with_dao(dao)))


@METHODS.method
async def calculate_dao_field(services: Services, block_template: TemplateParam) -> str:
    """The dao field of a block of exactly this template.

    Error -32602 when the parent is unknown, a transaction does not resolve, or its capacities have no dao field.
    """
    return bytes_text(await _dao_field(services, block_template))


async def _dao_field(services: Services, template: BlockTemplate) -> bytes:
    with services.chain.view() as view:
        parent = view.header(template.parent_hash)
    if parent is None:
        raise invalid_params(f"parent block {bytes_text(template.parent_hash)} is not stored")
    try:
        return await miner_of(services).calculate_dao_field(template)
    except CkbError as error:
        raise invalid_params(str(error)) from error


@METHODS.method(is_change=True)
async def notify_transaction(services: Services, tx: TransactionParam) -> str:
    """Take a transaction as if a peer had sent it; its hash. Whether the pool takes it, `get_transaction` tells."""
    services.pool.submit_later(tx)
    return bytes_text(tx.hash)


@METHODS.method(is_change=True)
async def send_test_transaction(
    services: Services, tx: TransactionParam, outputs_validator: ValidatorParam | None = None
) -> str:
    """Queue a transaction for the pool; its hash. `outputs_validator` as of `send_transaction`.

    Only what is wrong with the transaction by itself is an error here, and one that is there already (-1107); what is
    found later, `get_transaction` tells.
    """
    await services.lane.run_priced(tx.raw_size, partial(check_outputs, services, tx, outputs_validator))
    services.pool.verify_new(tx)
    services.pool.submit_later(tx)
    return bytes_text(tx.hash)
