"""What the fast path and the plain rules make of a block must be equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from consensus.context import ChainReader
from consensus.errors import CkbError
from consensus.fast.block import fast_prepare_block, fast_verify_block_body
from consensus.params import Consensus
from consensus.rules.block import verify_block_body
from consensus.rules.verify_block import PreparedBlock, prepare_block
from consensus.types.blockchain import Block, Transaction
from consensus.types.core import CellMeta
from tests.support.chains.valid import ValidChain

Body = Callable[[Consensus, Block], None]
Prepare = Callable[[Consensus, Block, ChainReader], PreparedBlock]
Facts = tuple[object, ...]


def facts(consensus: Consensus, block: Block, reader: ChainReader, body: Body, prepare: Prepare) -> Facts:
    """All that becomes of a block, comparable."""
    try:
        body(consensus, block)
        prepared = prepare(consensus, block, reader)
    except CkbError as error:
        return type(error), str(error)
    resolved = [(rtx.hash, *map(cells, (rtx.inputs, rtx.cell_deps, rtx.dep_groups))) for rtx in prepared.resolved]
    return resolved, list(prepared.fees), list(prepared.sizes), prepared.env, prepared.epoch


def cells(metas: Sequence[CellMeta]) -> list[Facts]:
    """All that scripts can see of cells."""
    return [(m.out_point, m.output.raw, m.data, m.data_hash, m.data_size, m.info, m.type_code) for m in metas]


def agree(chain: ValidChain, block: Block) -> Facts:
    """What both ways say."""
    plain = facts(chain.consensus, block, chain, verify_block_body, prepare_block)
    assert facts(chain.consensus, block, chain, fast_verify_block_body, fast_prepare_block) == plain
    return plain


def is_valid(verdict: Facts) -> bool:
    return isinstance(verdict[0], list)


def block_with(chain: ValidChain, transactions: Sequence[Transaction], **more: object) -> Block:
    """The next block with these transactions, its DAO field as they demand it if they can be resolved."""
    try:
        return chain.next_block(transactions, **more)  # type: ignore[arg-type]
    except CkbError:
        block = chain.next_block(**more)  # type: ignore[arg-type]
        return block.replace(transactions=[block.transactions[0], *transactions]).with_roots()
