"""Reasons of refused transactions: over restarts and kills, bounded by days and count, and never the node's end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ckb_node.config import Config, parse_config
from ckb_node.node import open_node
from ckb_node.txpool import recent_rejects
from ckb_node.txpool.limits import MAX_REASON_TEXT
from ckb_node.txpool.recent_rejects import BY_TIME, COUNT, DAY_MS, REASON, RecentRejects, RejectLimits
from ckb_node.txpool.rejects import Reject
from ckb_node.txpool.views import RejectedTransaction
from storage.errors import DiskFull
from storage.kv import Change
from storage.memory import MemoryStore
from tests.support.builders.wallet import CKB, issued_cell
from tests.support.chains.devchain import ManualClock
from tests.support.chains.funded_pool import ALICE, BOB, FEE, funded
from tests.txpool.kit_rejects import LOW, opened, put, tx_hash


def kept(rejects: RecentRejects, serials: range) -> list[int]:
    return [serial for serial in serials if rejects.get(tx_hash(serial)) == LOW]


def test_reasons_outlive_the_run(tmp_path: Path) -> None:
    clock = ManualClock()
    rejects = opened(tmp_path, clock)
    put(rejects, 1, 2, 3)
    rejects.drop(tx_hash(2))
    assert kept(rejects, range(5)) == [1, 3]
    rejects.close()
    again = opened(tmp_path, clock)
    assert kept(again, range(5)) == [1, 3]
    again.put(tx_hash(1), "Resolve", "dead")
    again.drop(tx_hash(3))
    again.close()
    last = opened(tmp_path, clock)
    assert last.get(tx_hash(1)) == RejectedTransaction("Resolve", "dead")
    assert last.get(tx_hash(3)) is None
    assert last.count() == 1
    last.close()


def test_what_was_written_outlives_a_kill(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from tests.support.chains.devchain import ManualClock
from tests.txpool.kit_rejects import opened, put
rejects = opened(Path({str(tmp_path)!r}), ManualClock())
put(rejects, *range(50))
rejects.flush()
put(rejects, 50)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False, timeout=60, env=dict(os.environ))
    assert ended.returncode == -signal.SIGKILL
    rejects = opened(tmp_path, ManualClock())
    assert kept(rejects, range(60)) == list(range(50))
    assert rejects.count() == 50
    rejects.close()


def test_the_oldest_leave_by_count() -> None:
    store, clock = MemoryStore(), ManualClock()
    rejects = RecentRejects(store, RejectLimits(7, 10), clock.now_ms)
    for first in range(0, 40, 4):
        put(rejects, *range(first, first + 4))
        rejects.flush()
    put(rejects, 35)
    rejects.flush()
    rejects.flush()
    assert kept(rejects, range(40)) == list(range(30, 40))
    assert rejects.count() == 10
    assert len(list(store.iterator(prefix=BY_TIME))) == len(list(store.iterator(prefix=REASON))) == 10


def test_the_old_leave_by_days() -> None:
    store, clock = MemoryStore(), ManualClock()
    rejects = RecentRejects(store, RejectLimits(7, 1000), clock.now_ms)
    put(rejects, 1)
    rejects.flush()
    clock.advance(4 * DAY_MS)
    put(rejects, 2)
    assert kept(rejects, range(5)) == [1, 2]
    clock.advance(4 * DAY_MS)
    assert kept(rejects, range(5)) == [2], "nobody is told, written out or not"
    rejects.flush()
    assert rejects.count() == 1
    clock.advance(-30 * DAY_MS)
    put(rejects, 3)
    rejects.flush()
    assert kept(rejects, range(5)) == [2, 3], "a clock that jumps back costs nothing"


def test_unwritten_reasons_are_bounded_and_texts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_rejects, "MAX_UNWRITTEN", 5)
    rejects = RecentRejects(MemoryStore(), RejectLimits(), ManualClock().now_ms)
    put(rejects, *range(9))
    assert kept(rejects, range(9)) == [4, 5, 6, 7, 8]
    rejects.put(tx_hash(1), "Malformed", "x" * 100_000)
    found = rejects.get(tx_hash(1))
    assert found is not None
    assert len(found.description) == MAX_REASON_TEXT


def overwrite(path: Path, name: Callable[[Path], bool]) -> None:
    for file in path.iterdir():
        if name(file):
            file.write_bytes(b"\xa5" * max(file.stat().st_size, 100))


@pytest.mark.parametrize("damage", ["manifest", "no directory"])
def test_a_damaged_directory_is_kept_aside_and_named(tmp_path: Path, damage: str) -> None:
    path, clock = tmp_path / "rejects", ManualClock()
    if damage == "manifest":
        rejects = opened(tmp_path, clock)
        put(rejects, 1)
        rejects.close()
        overwrite(path, lambda file: file.name.startswith("MANIFEST"))
    else:
        path.write_text("I am a file")
    with capture_logs() as logs:
        again = opened(tmp_path, clock)
    assert [each["kept_as"] for each in logs] == [str(tmp_path / "rejects.damaged-1")]
    assert (tmp_path / "rejects.damaged-1").exists()
    put(again, 2)
    again.close()
    last = opened(tmp_path, clock)
    assert kept(last, range(5)) == [2]
    last.close()


def test_a_record_of_another_shape_is_no_reason_and_no_end() -> None:
    store = MemoryStore()
    store.put(REASON + tx_hash(1), b"\xff\xff")
    rejects = RecentRejects(store, RejectLimits(), ManualClock().now_ms)
    with capture_logs() as logs:
        assert rejects.get(tx_hash(1)) is None
        put(rejects, 1)
        rejects.flush()
        assert rejects.get(tx_hash(1)) == LOW
    assert len(logs) == 1
    assert store.get(REASON + tx_hash(1)) != b"\xff\xff", "it is written over"


def test_a_full_disk_costs_the_reasons_of_former_runs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    rejects = RecentRejects(store, RejectLimits(), ManualClock().now_ms)

    def full(_: list[Change], /, *, sync: bool) -> None:
        raise DiskFull("rejects", f"no space left, sync {sync}")

    monkeypatch.setattr(store, "write_batch", full)
    put(rejects, 1, 2)
    with capture_logs() as logs:
        rejects.flush()
        put(rejects, 3)
        rejects.flush()
    assert kept(rejects, range(5)) == [1, 2, 3]
    assert [each["log_level"] for each in logs] == ["error"]
    assert store.get(COUNT) is None


async def test_a_node_that_is_started_again_tells_the_reason(tmp_path: Path) -> None:
    config = parsed_config(tmp_path)
    with open_node(config) as node:
        low = ALICE.transfer(node.consensus, [issued_cell(node.consensus, ALICE)], [(BOB.lock, CKB * 100)])
        spoilt = low.replace(witnesses=[bytes(85)])
        with pytest.raises(Reject):
            await node.pool.submit(spoilt)
        reason = await node.pool.transaction(spoilt.hash)
        assert isinstance(reason, RejectedTransaction)
    with open_node(config) as node:
        assert await node.pool.transaction(spoilt.hash) == reason


def parsed_config(path: Path) -> Config:
    return Config(path, parse_config('chain.spec.bundled = "dev"'))


async def test_the_pool_writes_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_rejects, "PAUSE_S", 0.0)
    async with funded() as funds:
        running = asyncio.get_running_loop().create_task(funds.pool.pool.rejected.run())
        cell = funds.cells.pop()
        low, replaced = funds.spend(fee=1), funds.spend(cell, fee=2 * FEE)
        await funds.refusal(low)
        await funds.submit(replaced, funds.spend(cell, fee=5 * FEE))
        store = funds.pool.pool.rejected._store
        async with asyncio.timeout(30):
            while store.get(REASON + replaced.hash) is None:  # noqa: ASYNC110 - nobody sets an event for it
                await asyncio.sleep(0.01)
        assert (await funds.why_gone(low)).kind == "LowFeeRate"
        assert (await funds.why_gone(replaced)).kind == "RBFRejected"
        await funds.submit(low_paid := funds.spend(to=BOB.lock))
        assert store.get(REASON + low_paid.hash) is None
        running.cancel()
