"""Blocks as events: in order, also through a reorganisation, and not read for nobody."""

from __future__ import annotations

from collections.abc import Sequence

from ckb_node.chain.block_events import BlockAttached, BlockDetached, publish_blocks
from ckb_node.chain.events import ChainChanged
from ckb_node.runtime.events import EventBus
from consensus.types.blockchain import Block
from tests.support.chains.branches import branch, submit_all
from tests.support.chains.devchain import dev_chain


class Unreadable(Sequence[Block]):
    """Blocks that must not be read."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: object) -> Block:  # type: ignore[override]
        raise AssertionError("a block was read")


async def test_blocks_are_told_in_the_order_of_the_change() -> None:
    ours, theirs = await branch(b"ours", 2), await branch(b"theirs", 3)
    async with dev_chain() as dev:
        events, heard = EventBus(), list[tuple[bytes, str]]()
        events.listen(BlockDetached, lambda event: heard.append((event.block.hash, "detached")))
        events.listen(
            BlockAttached, lambda event: heard.append((event.block.hash, "tip" if event.is_tip else "attached"))
        )
        dev.chain.listen(publish_blocks(events))
        await submit_all(dev, ours)
        assert heard == [(block.hash, "tip") for block in ours]
        heard.clear()
        await submit_all(dev, theirs)
        assert heard == [
            *((block.hash, "detached") for block in reversed(ours)),
            *((block.hash, "attached") for block in theirs[:-1]),
            (theirs[-1].hash, "tip"),
        ]


async def test_blocks_that_nobody_listens_for_are_not_read() -> None:
    (block,) = await branch(b"ours", 1)
    change = ChainChanged(block.header, block.header, Unreadable(), Unreadable())
    assert list(publish_blocks(EventBus())(change)) == []
