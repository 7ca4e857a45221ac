"""Blocks one by one, for those who need no more of a ChainChanged. See ckb_node.runtime.events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ckb_node.chain.events import ChainChanged
from ckb_node.runtime.events import EventBus
from consensus.types.blockchain import Block


@dataclass(frozen=True, slots=True)
class BlockDetached:
    """A block has left the main chain. Of a reorganisation the newest block is first."""

    block: Block


@dataclass(frozen=True, slots=True)
class BlockAttached:
    """A block has joined the main chain, after those that had to leave. The oldest is first; `is_tip` of the last."""

    block: Block
    is_tip: bool


def publish_blocks(events: EventBus) -> Callable[[ChainChanged], Iterator[None]]:
    """The chain's listener that publishes the blocks of each change, and lets others work between two of them. Blocks
    that nobody listens for are not read."""

    def on_change(change: ChainChanged) -> Iterator[None]:
        if events.has_listeners(BlockDetached):
            for block in change.detached:
                events.publish(BlockDetached(block))
                yield
        if events.has_listeners(BlockAttached):
            for block in change.attached:
                events.publish(BlockAttached(block, is_tip=block.hash == change.new_tip.hash))
                yield

    return on_change
