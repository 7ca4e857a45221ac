"""Module Miner: work and solved blocks. Needs `[block_assembler]` in the configuration."""

from __future__ import annotations

from functools import partial

import structlog

from ckb_node.jsonrpc_types.hex_text import bytes_text
from ckb_node.mining.template_json import BlockTemplateJson
from ckb_node.rpc.calls import EncodedJson
from ckb_node.rpc.errors import Code, module_is_disabled, refused_block
from ckb_node.rpc.params import BlockParam, Text, Uint32, Uint64
from ckb_node.rpc.registry import Methods, Module
from ckb_node.rpc.services import MinerService, Services
from ckb_node.rpc.template_text import is_written, template_text, text_at
from ckb_node.runtime.lane import PIECE_BYTES
from consensus.errors import CkbError
from consensus.types.blockchain import Block

METHODS = Methods(Module.MINER)

log = structlog.get_logger("rpc")


def miner_of(services: Services) -> MinerService:
    """The source of templates; -4 when none is configured."""
    if services.miner is None:
        raise module_is_disabled(Module.MINER.value)
    return services.miner


def with_roots(block: Block) -> Block:
    """A block whose header commits to its body, with the bytes and the hash that the chain asks for. Takes long."""
    committed = block.with_roots()
    _ = committed.raw, committed.hash
    return committed


def _template_at_hand(services: Services, *_: object) -> bytes | None:
    """As `get_block_template`, for a small one that is made already."""
    found = miner_of(services).template_at_hand()
    if found is None:
        return None
    template, time_ms = found
    if not is_written(template) or sum(map(len, template.text)) > PIECE_BYTES:
        return None
    return text_at(template, time_ms)


@METHODS.method(at_once=_template_at_hand)
async def get_block_template(
    services: Services,
    bytes_limit: Uint64 | None = None,
    proposals_limit: Uint64 | None = None,
    max_version: Uint32 | None = None,
) -> EncodedJson[BlockTemplateJson]:
    """A block to be mined on the tip. The miner computes the roots of the header from the body.

    The parameters are checked and then ignored, as all CKB nodes do.
    """
    del bytes_limit, proposals_limit, max_version
    template = await miner_of(services).block_template()
    if is_written(template):
        return template_text(template)
    return await services.chain.run_in_reader(template_text, template)


@METHODS.method(is_change=True)
async def submit_block(services: Services, work_id: Text, block: BlockParam) -> str:
    """Verify, store and announce a solved block; its hash.

    The three roots in the header are computed from the body, whatever was sent. `work_id` is only logged. Any rule
    that the block breaks is error -3.
    """
    solved = await services.lane.run(partial(with_roots, block))
    try:
        block_hash = await services.chain.submit_block(solved)
    except CkbError as error:
        log.warning("submitted block refused", work_id=work_id, number=solved.number, reason=str(error))
        raise refused_block(Code.Invalid, error) from error
    log.info("submitted block taken", work_id=work_id, number=solved.number, hash=bytes_text(block_hash))
    return bytes_text(block_hash)
