"""Module IntegrationTest: a dev chain by hand. Only for chains whose proof of work is Dummy."""

from __future__ import annotations

from ckb_node.rpc.errors import Code, RpcError, module_is_disabled, refused_block
from ckb_node.rpc.hextext import bytes_text, uint_text
from ckb_node.rpc.methods.miner import miner_of
from ckb_node.rpc.params import H256, BlockParam, Bool, TemplateParam, Uint64
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import BlockTemplate, Services, TestingService
from consensus.errors import CkbError
from consensus.types.core import EpochFraction

METHODS = Methods(Module.INTEGRATION_TEST)


def _testing_of(services: Services) -> TestingService:
    if services.testing is None:
        raise module_is_disabled(Module.INTEGRATION_TEST.value)
    return services.testing


async def _submit(services: Services, template: BlockTemplate) -> bytes:
    try:
        return await services.chain.submit_block(template.to_block())
    except CkbError as error:
        raise refused_block(Code.CKBInternalError, error) from error


@METHODS.method
async def process_block_without_verify(services: Services, data: BlockParam, broadcast: Bool) -> str | None:
    """Put a block on the chain without verifying it; its hash, or null when that is impossible.

    Peers hear of it as of any new tip; `broadcast` makes no difference.
    """
    del broadcast
    block = data.with_roots()
    taken = await _testing_of(services).process_block_without_verify(block)
    return bytes_text(block.hash) if taken else None


@METHODS.method
async def truncate(services: Services, target_tip_hash: H256) -> None:
    """Make a main-chain block the tip, forget what came after it, and clear the pool."""
    view = services.chain.view()
    if view.header(target_tip_hash) is None:
        raise RpcError(Code.Invalid, "block not found")
    if not view.is_main(target_tip_hash):
        raise RpcError(Code.Invalid, "block not on main chain")
    try:
        await _testing_of(services).truncate(target_tip_hash)
    except CkbError as error:
        raise refused_block(Code.Invalid, error) from error
    await services.pool.clear()


@METHODS.method
async def generate_block(services: Services) -> str:
    """Mine a block with the transactions that wait for it; its hash."""
    return bytes_text(await _submit(services, await miner_of(services).block_template()))


@METHODS.method
async def generate_epochs(services: Services, num_epochs: Uint64) -> str:
    """Mine until the chain is `num_epochs` (packed number with fraction) further; the epoch of the last block."""
    view = services.chain.view()
    current = view.tip_epoch().fraction_at(view.tip_header().number)
    target = current.to_rational() + EpochFraction.unpack(num_epochs).to_rational()
    while current.to_rational() < target:
        template = await miner_of(services).block_template()
        await _submit(services, template)
        current = EpochFraction.unpack(template.epoch)
    return uint_text(current.pack())


@METHODS.method
async def generate_block_with_template(services: Services, block_template: TemplateParam) -> str:
    """Mine the block of a template, its dao field computed anew; the block's hash."""
    dao = await miner_of(services).calculate_dao_field(block_template)
    return bytes_text(await _submit(services, block_template.with_dao(dao)))


@METHODS.method
async def calculate_dao_field(services: Services, block_template: TemplateParam) -> str:
    """The dao field of a block of exactly this template."""
    return bytes_text(await miner_of(services).calculate_dao_field(block_template))
