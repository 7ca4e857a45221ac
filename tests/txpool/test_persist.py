"""The pool on disk between runs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from ckb_node.txpool import persist
from ckb_node.txpool.persist import load_transactions, save_transactions
from consensus.types.blockchain import TRANSACTION_VEC, Transaction
from storage.errors import StorageCorrupt
from tests.support.builders.pool_entries import an_entry
from tests.support.chains.funded_pool import FEE, cell_of, funded


async def test_the_next_run_has_the_same_pool(tmp_path: Path) -> None:
    path = tmp_path / "tx_pool" / "persisted_data.v1"
    async with funded() as funds:
        parent = funds.spend()
        child = funds.spend(cell_of(parent), fee=5 * FEE)
        proposed = funds.spend()
        await funds.submit(proposed)
        await funds.dev.mine(2)
        await funds.submit(parent, child)
        assert funds.pool.save(path) == 3
    async with funded() as again:
        assert not again.pool.is_ready()
        assert await again.pool.load(path) == 3
        assert again.pool.is_ready()
        assert await again.statuses(parent, child, proposed) == ["pending"] * 3


async def test_what_is_not_valid_any_more_stays_out(tmp_path: Path) -> None:
    path = tmp_path / "pool.v1"
    async with funded() as funds:
        good, stale = funds.spend(), funds.spend()
        save_transactions(path, [stale, good, stale.replace(witnesses=[b""])])
        await funds.submit(stale)
        await funds.dev.mine(4)
        assert await funds.pool.load(path) == 1
        assert await funds.status(good) == "pending"


async def test_a_first_run_has_no_file(tmp_path: Path) -> None:
    async with funded() as funds:
        assert await funds.pool.load(tmp_path / "none") == 0
        assert funds.pool.is_ready()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 100,
        b"\0\0\0\0",
        bytes(1000),
        b"\x08\0\0\0\xff\xff\xff\xff",
        bytes.fromhex("0c000000080000000c000000"),
    ],
)
def test_hostile_files_hold_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pool.v1"
    path.write_bytes(content)
    assert list(load_transactions(path)) == []
    assert not path.exists()
    assert path.with_name("pool.v1.damaged-1").read_bytes() == content, "kept aside"


def test_a_cut_file_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pool.v1"
    transactions = [an_entry().tx for _ in range(3)]
    save_transactions(path, transactions)
    whole = path.read_bytes()
    assert list(load_transactions(path)) == transactions
    assert whole == TRANSACTION_VEC.pack(transactions)
    for size in range(0, len(whole), 37):
        path.write_bytes(whole[:size])
        assert list(load_transactions(path)) == []


def test_what_is_no_file_or_huge_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pool.v1"
    path.mkdir()
    assert list(load_transactions(path)) == []
    os.mkfifo(path)
    assert list(load_transactions(path)) == []
    save_transactions(path, [an_entry().tx])
    monkeypatch.setattr(persist, "MAX_SAVED_BYTES", path.stat().st_size - 1)
    assert list(load_transactions(path)) == []


def test_saving_replaces_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pool.v1"
    for count in (3, 1):
        save_transactions(path, [an_entry().tx for _ in range(count)])
        assert len(load_transactions(path)) == count
    assert [each.name for each in tmp_path.iterdir()] == ["pool.v1"]


async def test_what_was_not_read_yet_is_not_overwritten(tmp_path: Path) -> None:
    """The node is stopped before it has looked at the file, or in the middle of it."""
    path = tmp_path / "pool.v1"
    async with funded() as funds:
        saved = [funds.spend() for _ in range(3)]
        fresh = funds.spend()
        save_transactions(path, saved)
        await funds.submit(fresh)
        assert funds.pool.save(path) == 4
        assert list(load_transactions(path)) == [fresh, *saved]


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 13])
async def test_a_load_that_is_cut_short_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    monkeypatch.setattr("ckb_node.txpool.returning.TXS_PER_SLICE", 2)
    path = tmp_path / "pool.v1"
    async with funded(9) as funds:
        saved = [funds.spend() for _ in range(9)]
        save_transactions(path, saved)
        loading = asyncio.get_running_loop().create_task(funds.pool.load(path))
        for _ in range(steps):
            await asyncio.sleep(0.002)
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        assert funds.pool.save(path) == 9
        assert {tx.hash for tx in load_transactions(path)} == {tx.hash for tx in saved}


async def test_a_node_that_stops_refuses_nothing_for_good(tmp_path: Path) -> None:
    path = tmp_path / "pool.v1"
    async with funded() as funds:
        saved = [funds.spend() for _ in range(5)]
        save_transactions(path, saved)
        funds.dev.scripts.end_runs()
        assert await funds.pool.load(path) == 0
        assert funds.pool.save(path) == 5
        assert {tx.hash for tx in load_transactions(path)} == {tx.hash for tx in saved}


async def test_a_pool_that_was_cleared_does_not_come_back(tmp_path: Path) -> None:
    path = tmp_path / "pool.v1"
    async with funded() as funds:
        save_transactions(path, [funds.spend()])
        await funds.pool.clear()
        assert funds.pool.save(path) == 0


async def test_a_file_that_cannot_be_read_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pool.v1"

    def fail(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    async with funded() as funds:
        saved = [funds.spend()]
        save_transactions(path, saved)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", fail)
            with pytest.raises(OSError, match="Input/output"):
                await funds.pool.load(path)
            with pytest.raises(OSError, match="Input/output"):
                funds.pool.save(path)
        assert list(load_transactions(path)) == saved
        assert await funds.pool.load(path) == 1


async def test_a_transaction_that_the_chain_cannot_be_read_for_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pool.v1"
    async with funded() as funds:
        bad, good = funds.spend(), funds.spend()
        save_transactions(path, [bad, good])
        submit = funds.pool.returning._submit

        async def fail_for_one(transaction: Transaction, max_cycles: int) -> None:
            if transaction == bad:
                raise StorageCorrupt("db", "a checksum differs")
            await submit(transaction, max_cycles)

        monkeypatch.setattr(funds.pool.returning, "_submit", fail_for_one)
        assert await funds.pool.load(path) == 1
        assert "cannot be read" in (await funds.why_gone(bad)).description
        assert await funds.status(good) == "pending"
