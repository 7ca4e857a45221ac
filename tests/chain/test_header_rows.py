"""Headers are kept before their blocks come: the rules read them, blocks take their place, invalid ones leave."""

from __future__ import annotations

import pytest

from ckb_node.chain.errors import InvalidBranchError
from ckb_node.chain.events import Verdict
from consensus.errors import CkbError
from consensus.fast.header_batch import HeaderOverlay, HeadersJudged, verify_headers
from tests.support.chains.branches import branch, branch_on_bad, submit_all, tip_of, with_wrong_dao
from tests.support.chains.devchain import DevChain, dev_chain


def rows(dev: DevChain) -> list[bytes]:
    """Hashes of all header rows, by height."""
    with dev.chain.view() as view:
        return [key[9:] for key, _ in view.rows(b"f")]


async def test_headers_are_judged_on_rows_and_on_what_is_not_written_yet() -> None:
    made = await branch(b"ours", 60)
    headers = [block.header for block in made]
    async with dev_chain() as dev:
        await submit_all(dev, made[:2])
        now = dev.clock.now_ms()
        for first in (2, 20, 45):
            batch = headers[first : first + 25]
            with dev.chain.view() as view:
                overlay = HeaderOverlay(view.known_headers())
                overlay.add(batch[:10])
                assert verify_headers(dev.consensus, batch[10:], overlay, now) == HeadersJudged(len(batch) - 10)
                known = HeadersJudged(len(batch))
                assert verify_headers(dev.consensus, batch, view.known_headers(), now) == known
            await dev.chain.store_headers(batch)
        assert rows(dev) == [each.hash for each in headers[2:]]
        with dev.chain.view() as view:
            best = view.known_headers().best_row()
            assert best is not None
            assert best.header == headers[-1]
        assert tip_of(dev) == made[1].hash
        for block in made[2:30]:
            assert await dev.chain.process(block) is Verdict.BEST
        assert await dev.chain.process_in_bulk(made[30:]) == [Verdict.BEST] * 30
        assert rows(dev) == []
        with dev.chain.view() as view:
            ext = view.block_ext(made[-1].hash)
            assert ext is not None
            assert ext.total_difficulty == best.total_difficulty


async def test_a_block_above_a_row_is_an_orphan() -> None:
    made = await branch(b"ours", 3)
    async with dev_chain() as dev:
        await dev.chain.store_headers([block.header for block in made])
        assert await dev.chain.process(made[2]) is Verdict.ORPHAN
        assert await dev.chain.process(made[1]) is Verdict.ORPHAN
        assert await dev.chain.process(made[0]) is Verdict.BEST
        assert tip_of(dev) == made[2].hash
        assert rows(dev) == []


@pytest.mark.parametrize("in_bulk", [False, True])
async def test_rows_above_an_invalid_block_leave(in_bulk: bool) -> None:
    made = await branch(b"ours", 3)
    bad = with_wrong_dao(made[1])
    above = await branch_on_bad(b"above", 3, [made[0], bad])
    async with dev_chain() as dev:
        await dev.chain.store_headers([each.header for each in (made[0], bad, *above)])
        await dev.chain.store_headers([each.header for each in made])
        assert len(rows(dev)) == 7
        await dev.chain.process(made[0])
        with pytest.raises(Exception, match="InvalidDAO"):
            await (dev.chain.process_in_bulk([bad]) if in_bulk else dev.chain.process(bad))
        assert rows(dev) == [each.hash for each in made[1:]]


async def test_rows_above_a_branch_that_is_invalid_leave() -> None:
    ours, theirs = await branch(b"ours", 2), await branch(b"theirs", 1)
    bad = with_wrong_dao(theirs[0])
    above = await branch_on_bad(b"above", 4, [bad])
    async with dev_chain() as dev:
        await submit_all(dev, ours)
        await dev.chain.store_headers([each.header for each in (bad, *above)])
        assert await dev.chain.process(bad) is Verdict.SIDE
        assert await dev.chain.process(above[0]) is Verdict.SIDE
        assert len(rows(dev)) == 3
        with pytest.raises(InvalidBranchError):
            await dev.chain.process(above[1])
        assert rows(dev) == []


async def test_truncation_forgets_the_rows_above() -> None:
    made = await branch(b"ours", 8)
    async with dev_chain() as dev:
        await submit_all(dev, made[:5])
        await dev.chain.store_headers([each.header for each in made[5:]])
        await dev.chain.truncate(made[1].hash)
        assert rows(dev) == []
        assert await dev.chain.process(made[2]) is Verdict.BEST


async def test_a_refused_batch_is_told_and_leaves_nothing() -> None:
    made = await branch(b"ours", 4)
    async with dev_chain() as dev:
        with pytest.raises(ValueError, match="unknown"):
            await dev.chain.store_headers([made[1].header])
        assert rows(dev) == []
        with pytest.raises(CkbError):
            await dev.chain.process(with_wrong_dao(made[0]))
