"""The pool on disk between runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckb_node.txpool import persist
from ckb_node.txpool.persist import load_transactions, save_transactions
from consensus.types.blockchain import TRANSACTION_VEC
from tests.txpool.kit_graph import an_entry
from tests.txpool.kit_pool import FEE, cell_of, funded


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


def test_a_directory_or_a_huge_file_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(load_transactions(tmp_path)) == []
    path = tmp_path / "pool.v1"
    save_transactions(path, [an_entry().tx])
    monkeypatch.setattr(persist, "MAX_FILE_BYTES", path.stat().st_size - 1)
    assert list(load_transactions(path)) == []


def test_saving_replaces_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pool.v1"
    for count in (3, 1):
        save_transactions(path, [an_entry().tx for _ in range(count)])
        assert len(load_transactions(path)) == count
    assert [each.name for each in tmp_path.iterdir()] == ["pool.v1"]
