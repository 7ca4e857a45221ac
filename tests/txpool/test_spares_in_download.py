"""An empty pool looks at the newest blocks for relay's sake, and at none while the node takes many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import pytest

from ckb_node.chain.events import ChainChanged
from ckb_node.chain.service import ChainService
from ckb_node.txpool.following import SPARE_BLOCKS
from consensus.types.blockchain import Block
from tests.support.chains.devchain import dev_chain


class Looked(Sequence[Block]):
    """Many times the same block; says which are looked at."""

    def __init__(self, block: Block, places: range, at: list[int]) -> None:
        self._block, self._places, self.at = block, places, at

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Block: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Block]: ...
    def __getitem__(self, index: int | slice) -> Block | Sequence[Block]:
        if isinstance(index, slice):
            return Looked(self._block, self._places[index], self.at)
        self.at.append(self._places[index])
        return self._block


@pytest.mark.parametrize("takes_runs", [False, True])
async def test_blocks_of_a_download_are_not_read_for_relay(monkeypatch: pytest.MonkeyPatch, takes_runs: bool) -> None:
    monkeypatch.setattr(ChainService, "is_taking_runs", takes_runs)
    async with dev_chain() as dev:
        with dev.chain.view() as view:
            tip = view.tip_header()
            block = view.block(tip.hash)
        assert block is not None
        attached = Looked(block, range(100), [])
        for _ in dev.pool.following.on_change(ChainChanged(tip, tip, [], attached)):
            pass
    assert attached.at == ([] if takes_runs else list(range(100 - SPARE_BLOCKS, 100)))
