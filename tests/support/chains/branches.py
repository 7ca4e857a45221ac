"""Branches made by other miners: on the same genesis, told apart by their message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from consensus.params import Consensus
from consensus.types.blockchain import Block
from tests.support.chains.devchain import DevChain, dev_chain, dev_consensus


async def branch(message: bytes, count: int, base: Sequence[Block] = ()) -> list[Block]:
    """`count` blocks on top of `base`."""
    async with dev_chain(message=message) as other:
        await submit_all(other, base)
        return [await other.mine() for _ in range(count)]


async def branch_on_bad(message: bytes, count: int, base: Sequence[Block]) -> list[Block]:
    """`count` blocks on top of `base`, which breaks rules."""
    async with dev_chain(message=message) as other:
        for block in base:
            assert await other.chain.process_block_without_verify(block)
        return [await other.mine() for _ in range(count)]


def with_wrong_dao(block: Block) -> Block:
    """A block that only its parent's state shows to be wrong."""
    dao = block.header.dao
    return block.replace(header=block.header.with_fields(dao=dao[:16] + bytes([dao[16] ^ 1]) + dao[17:]))


def adjusting_consensus() -> Consensus:
    """The dev chain, but its difficulty follows the blocks' times and uncles; epochs have 10 blocks."""
    return replace(dev_consensus(), permanent_difficulty_in_dummy=False, min_epoch_length=10, max_epoch_length=10)


async def submit_all(dev: DevChain, blocks: Sequence[Block]) -> None:
    for block in blocks:
        await dev.chain.submit_block(block)


def verified_flag(dev: DevChain, block: Block) -> bool | None:
    """None before verification; the block must be stored."""
    with dev.store.view() as view:
        ext = view.block_ext(block.hash)
    assert ext is not None
    return ext.verified


def is_stored(dev: DevChain, block: Block) -> bool:
    with dev.store.view() as view:
        return view.header(block.hash) is not None


def tip_of(dev: DevChain) -> bytes:
    with dev.store.view() as view:
        return view.tip_header().hash
