"""The last blocks of the main chain, kept as objects: the proposers' reward of each template reads what they commit."""

from __future__ import annotations

from typing import Any, Final, cast

from ckb_node.chain.events import ChainChanged
from ckb_node.runtime.bounded import BoundedMap
from consensus.context import ChainReader
from consensus.types.blockchain import Block, Header

MAX_RECENT: Final = 16
"""The reward of a block looks at eleven."""
MAX_BYTES: Final = 16 << 20


def _size(block: Block) -> int:
    return len(block.raw)


class RecentBlocks:
    """By hash, whatever branch they are on. Noted on the event loop, read by any thread."""

    def __init__(self) -> None:
        self._blocks: Final[BoundedMap[bytes, Block]] = BoundedMap(
            max_count=MAX_RECENT, max_bytes=MAX_BYTES, size_of=_size
        )

    def note(self, change: ChainChanged) -> None:
        """Blocks have joined the main chain."""
        for block in change.attached[max(0, len(change.attached) - MAX_RECENT) :]:
            self._blocks.put(block.hash, block)

    def get(self, block_hash: bytes) -> Block | None:
        return self._blocks.get(block_hash)

    def reach(self, tip: Header, count: int) -> bool:
        """Whether the last `count` blocks up to `tip` are here; the genesis block does not count."""
        block_hash = tip.hash
        for _ in range(min(count, tip.number)):
            block = self._blocks.get(block_hash)
            if block is None:
                return False
            block_hash = block.parent_hash
        return True

    def over(self, reader: ChainReader) -> ChainReader:
        """The same reader, which need not read these blocks."""
        return cast("ChainReader", _WithRecent(reader, self))


class _WithRecent:
    """A ChainReader by delegation: of its many methods one differs."""

    def __init__(self, reader: ChainReader, recent: RecentBlocks) -> None:
        self._reader, self._recent = reader, recent

    def block(self, block_hash: bytes) -> Block | None:
        return self._recent.get(block_hash) or self._reader.block(block_hash)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)
