"""The miner as a whole, with a source and workers of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

import ckb_node.miner.miner as module
from ckb_node.miner.miner import Miner
from ckb_node.miner.search_threads import SearchThreads
from ckb_node.miner.work import Desk, MinerError, Tally, Work
from consensus.crypto.difficulty import HASH_SPACE
from consensus.params import PowFunc
from tests.miner.kit_desk import easy_work


class Source:
    """Gives one work and takes each `every`th find."""

    def __init__(self, every: int = 1) -> None:
        self._every = every
        self.finds = 0
        self.has_found = asyncio.Event()
        self._desk: Desk | None = None

    async def run(self, desk: Desk) -> None:
        self._desk = desk
        desk.tell("at work")
        desk.assign(easy_work(target=HASH_SPACE >> 8))
        await asyncio.Event().wait()

    def found(self, work: Work, nonce: bytes) -> None:
        assert self._desk is not None
        self.finds += 1
        self.has_found.set()
        if self.finds % self._every:
            self._desk.rejected("not this one")
        else:
            self._desk.accepted("this one")


async def mine(source: Source, limit: int) -> Miner:
    miner = Miner(source, "finds", limit)
    async with asyncio.timeout(30):
        await miner.run(SearchThreads(PowFunc.EAGLESONG, 2, miner.on_found))
    return miner


async def test_it_ends_at_the_limit_and_counts() -> None:
    with capture_logs() as logs:
        miner = await mine(Source(every=3), 4)
    assert miner.figures.accepted == 4
    assert miner.figures.rejected == {"not this one": 8}
    assert miner.figures.found == 12
    assert miner.figures.tally.nonces >= 12
    assert logs[-1]["event"].startswith("4 finds accepted in ")
    assert "refused 8: not this one" in logs[-1]["event"]


async def test_it_ends_when_it_is_told_to() -> None:
    source = Source()
    miner = Miner(source, "finds")
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(miner.run(SearchThreads(PowFunc.EAGLESONG, 1, miner.on_found)))
        await source.has_found.wait()
        miner.stop()
        await running


class Broken:
    """Workers that cannot work."""

    def assign(self, work: Work | None) -> None:
        pass

    def tally(self) -> Tally:
        return Tally()

    async def run(self) -> None:
        raise MinerError("no thread can be started")


async def test_workers_that_fail_end_it_with_their_reason() -> None:
    with pytest.raises(MinerError, match="no thread"):
        await Miner(Source(), "finds").run(Broken())


@pytest.mark.parametrize("is_terminal", [False, True])
async def test_it_shows_how_it_stands(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a line of the log now and then, or on a live line."""
    monkeypatch.setattr(module, "LINE_S", 0.01)
    monkeypatch.setattr(module, "DRAW_S", 0.01)
    shown: list[str] = []
    is_shown = asyncio.Event()

    def show(text: str) -> None:
        shown.append(text)
        if "at work · block 7" in text:
            is_shown.set()

    @contextmanager
    def fake_line() -> Iterator[Callable[[str], None] | None]:
        yield show if is_terminal else None

    def info(text: str, **_: object) -> None:
        if not is_terminal:
            show(text)

    monkeypatch.setattr(module, "live_line", fake_line)
    monkeypatch.setattr(module.log, "info", info)
    miner = Miner(Source(), "finds")
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(miner.run(SearchThreads(PowFunc.EAGLESONG, 1, miner.on_found)))
        await is_shown.wait()
        miner.stop()
        await running
    assert any("nonces/s" in text and "luck" in text for text in shown)
