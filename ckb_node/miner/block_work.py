"""A node's template as work, and the block that it becomes."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from ckb_node.jsonrpc_types.chain import BlockJson, block_json
from ckb_node.jsonrpc_types.hex_text import BadTextError
from ckb_node.miner.work import Work
from ckb_node.mining.template_json import BlockTemplateJson, read_template
from ckb_node.runtime.log_text import shown
from consensus.crypto.difficulty import HASH_SPACE, compact_to_target
from consensus.errors import CkbError
from consensus.params import PowFunc
from consensus.types.blockchain import Block


class BadTemplateError(Exception):
    """What a node gave is no template that can be mined."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockWork:
    """A template's block without its nonce."""

    work_id: str
    block: Block
    work: Work

    @property
    def key(self) -> tuple[str, bytes]:
        """Tells templates apart; numbers of work begin anew with the node, so the parent belongs to it."""
        return self.work_id, self.block.parent_hash

    def solved(self, nonce: bytes) -> Block:
        """The block with its nonce."""
        return self.block.replace(header=self.block.header.with_fields(nonce=int.from_bytes(nonce, "little")))


def read_work(text: bytes, function: PowFunc) -> BlockWork:
    """A template's JSON, which anybody may have written. Takes a while, so not on the loop. Raises BadTemplateError."""
    try:
        raw = msgspec.json.decode(text, type=BlockTemplateJson)
        block = read_template(raw).to_block()
    except (msgspec.MsgspecError, BadTextError, CkbError, UnicodeDecodeError, RecursionError) as error:
        raise BadTemplateError(shown(str(error), 300)) from error
    header = block.header
    target = HASH_SPACE - 1 if function is PowFunc.DUMMY else compact_to_target(header.compact_target)
    if target == 0:
        raise BadTemplateError(f"the compact target {header.compact_target:#x} is no target")
    return BlockWork(raw.work_id, block, Work(header.pow_hash, target, b"", raw.work_id, header.number))


def submission(found: BlockWork, nonce: bytes) -> tuple[str, BlockJson]:
    """The parameters of submit_block. Takes a while."""
    return found.work_id, block_json(found.solved(nonce))
