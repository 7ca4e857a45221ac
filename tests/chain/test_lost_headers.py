"""Header rows of branches that have lost leave the disk, long after and some at a time."""

from __future__ import annotations

import pytest

from ckb_node.chain import lost_headers
from ckb_node.chain.events import Verdict
from storage.errors import StorageError
from storage.header_check import header_row_faults
from tests.support.chains.branches import branch, submit_all
from tests.support.chains.devchain import DevChain, dev_chain

DEPTH = 10


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_headers, "DEPTH", DEPTH)
    monkeypatch.setattr(lost_headers, "LOOK_EVERY", 1)
    monkeypatch.setattr(lost_headers, "MAX_ROWS", 4)


def rows(dev: DevChain) -> list[int]:
    """Heights of all header rows."""
    with dev.chain.view() as view:
        assert header_row_faults(view) == []
        return [int.from_bytes(key[1:9], "big") for key, _ in view.rows(b"f")]


async def test_a_branch_that_is_lost_for_an_hour_leaves_in_slices() -> None:
    lost, made = await branch(b"lost", 6), await branch(b"ours", 30)
    async with dev_chain() as dev:
        await dev.chain.store_headers([block.header for block in lost])
        await submit_all(dev, made[:20])
        assert rows(dev) == [1, 2, 3, 4, 5, 6], "it may still grow"
        dev.clock.advance(lost_headers.QUIET_MS)
        await submit_all(dev, made[20:21])
        assert rows(dev) == [1, 2]
        await submit_all(dev, made[21:22])
        assert rows(dev) == []
        await submit_all(dev, made[22:])
        await dev.chain.store_headers([block.header for block in lost])
        assert rows(dev) == [1, 2, 3, 4, 5, 6], "who has it gives it again"


async def test_a_branch_that_grows_stays_and_so_do_those_near_the_tip() -> None:
    grows, near, made = await branch(b"grows", 8), await branch(b"near", 8), await branch(b"ours", 22)
    async with dev_chain() as dev:
        await dev.chain.store_headers([block.header for block in grows[:4]])
        await submit_all(dev, made[:16])
        dev.clock.advance(lost_headers.QUIET_MS)
        await dev.chain.store_headers([block.header for block in grows])
        await dev.chain.store_headers([block.header for block in near])
        await submit_all(dev, made[16:17])
        assert rows(dev) == sorted([*range(1, 9)] * 2)


async def test_a_branch_with_more_work_than_the_tip_is_not_touched() -> None:
    longer, made = await branch(b"longer", 40), await branch(b"ours", 20)
    async with dev_chain() as dev:
        await dev.chain.store_headers([block.header for block in longer])
        await submit_all(dev, made[:15])
        dev.clock.advance(lost_headers.QUIET_MS)
        await submit_all(dev, made[15:])
        assert rows(dev) == list(range(1, 41))


async def test_a_fault_of_the_disk_is_not_that_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise StorageError("a path", "no more room")

    made = await branch(b"ours", 12)
    monkeypatch.setattr(lost_headers.LostHeaders, "prune", fails)
    async with dev_chain() as dev:
        for block in made:
            assert await dev.chain.process(block) is Verdict.BEST
