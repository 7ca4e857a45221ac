"""The methods `explain.…`: what became of a cell, and why a transaction is not committed yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from ckb_node.indexer import spender as spender_module
from ckb_node.indexer.service import IndexerService
from ckb_node.rich_indexer.service import RichIndexerService
from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.services import Services
from ckb_node.txpool import explain as explain_module
from consensus.types.blockchain import OutPoint, Transaction
from storage.memory import MemoryStore
from tests.support.asking import RpcFailure, call, dispatcher_of, uint_text
from tests.support.builders.wallet import CKB
from tests.support.chains.branches import branch, submit_all
from tests.support.chains.funded_pool import ALICE, BOB, FEE, Cell, Funds, blocks_of, cell_of, funded, hold_scripts
from tests.support.nodes.idle_network import idle_net

KEY = bytes(31) + b"\1"


@dataclass
class Explained:
    """A funded chain, and its RPC; the index follows before each question."""

    funds: Funds
    dispatcher: Dispatcher
    follow: Callable[[], bool]

    async def transaction(self, tx: Transaction) -> Any:
        return await call(self.dispatcher, "explain.transaction", uint_text(tx.hash))

    async def cell(self, cell: Cell) -> Any:
        while not self.follow():
            pass
        out_point = {"tx_hash": uint_text(cell[0].tx_hash), "index": hex(cell[0].index)}
        return await call(self.dispatcher, "explain.cell", out_point)


def explained_by(funds: Funds, follow: Callable[[], bool] = lambda: True, **indexers: Any) -> Explained:
    dev = funds.dev
    net = idle_net(dev.chain, KEY, "test", dev.clock.now_ms)
    services = Services(chain=dev.chain, pool=dev.pool, net=net, clock=dev.clock, **indexers)
    return Explained(funds, dispatcher_of(services), follow)


@pytest.fixture
async def explained() -> AsyncIterator[Explained]:
    async with funded() as funds:
        yield explained_by(funds)


async def test_committed_and_unknown(explained: Explained) -> None:
    funds = explained.funds
    tx = funds.spend()
    assert (await explained.transaction(tx))["state"] == "unknown"
    await funds.submit(tx)
    await funds.dev.mine(4)
    info = funds.dev.chain.view().transaction_info(tx.hash)
    assert info is not None
    answer = await explained.transaction(tx)
    assert answer["state"] == "committed"
    assert answer["committed"] == {
        "block_number": hex(info.block_number), "block_hash": uint_text(info.block_hash), "tx_index": "0x1",
    }  # fmt: skip
    assert answer["summary"] == f"It is transaction 1 of block {info.block_number}."


async def test_who_pays_better(explained: Explained, monkeypatch: pytest.MonkeyPatch) -> None:
    funds = explained.funds
    txs = [funds.spend(fee=FEE * times) for times in (3, 1, 2)]
    await funds.submit(*txs)
    answer = await explained.transaction(txs[1])
    cycles = [funds.pool.pool.graph.entries[tx.short_id].cycles for tx in txs]
    assert answer["state"] == "pending"
    assert answer["summary"] == "No block of the window has proposed it yet; 2 of 3 pay better."
    place = answer["fee_place"]
    assert (place["ahead"], place["competing"]) == ("0x2", "0x3")
    assert int(place["bytes_ahead"], 16) == txs[0].size_in_block + txs[2].size_in_block
    assert int(place["cycles_ahead"], 16) == cycles[0] + cycles[2]
    assert int(place["fee_rate"], 16) == FEE * 1000 // txs[1].size_in_block
    best = (await explained.transaction(txs[0]))["fee_place"]
    assert (best["ahead"], best["bytes_ahead"], best["cycles_ahead"]) == ("0x0", "0x0", "0x0")
    monkeypatch.setattr(explain_module, "MAX_COUNTED", 1)
    far = (await explained.transaction(txs[1]))["fee_place"]
    assert (far["ahead"], far["bytes_ahead"], far["cycles_ahead"]) == ("0x2", None, None)


async def test_the_window_of_a_proposal(explained: Explained) -> None:
    funds = explained.funds
    window = funds.dev.consensus.proposal_window
    parent = funds.spend()
    await funds.submit(parent)
    block = await funds.dev.mine()
    child = funds.spend(cell_of(parent))
    await funds.submit(child)
    answer = await explained.transaction(parent)
    assert answer["state"] == "gap"
    number = block.header.number
    assert answer["proposal"] == {
        "block_number": hex(number),
        "first_commit": hex(number + window.closest),
        "last_commit": hex(number + window.farthest),
    }
    assert answer["summary"].startswith(f"Block {number} proposed it, blocks {number + window.closest} to ")
    await funds.dev.mine(window.closest - 1)
    assert (await explained.transaction(parent))["state"] == "proposed"
    answer = await explained.transaction(child)
    assert answer["waits_for"] == [uint_text(parent.hash)]
    assert "1 transaction of the pool must be committed before it." in answer["summary"]
    assert answer["proposal"]["block_number"] == hex(number + 1)
    committing = await funds.dev.mine()
    assert parent.hash in {tx.hash for tx in committing.transactions}
    assert (await explained.transaction(child))["waits_for"] == []


async def test_an_orphan_names_its_missing_parents(explained: Explained) -> None:
    funds = explained.funds
    parent = funds.spend()
    child = funds.spend(cell_of(parent))
    funds.pool.remote.submit(child, None, 1)
    await funds.dev.settle_pool()
    answer = await explained.transaction(child)
    assert (answer["state"], answer["waits_for"]) == ("orphan", [uint_text(parent.hash)])
    assert answer["summary"] == "A peer gave it; 1 transaction that it needs have not come yet."


async def test_the_place_in_the_verify_queue() -> None:
    async with funded() as funds:
        worker = hold_scripts(funds)
        explained = explained_by(funds)
        txs = [funds.spend() for _ in range(3)]
        async with asyncio.TaskGroup() as tasks:
            for tx in txs:
                tasks.create_task(funds.pool.submit(tx))
            await asyncio.sleep(0)
            answer = await explained.transaction(txs[2])
            assert answer["state"] == "queued"
            assert answer["queue"] == {"of": "rpc", "place": "0x3", "length": "0x3"}
            assert answer["summary"] == "Its scripts wait or run: place 3 of 3 of transactions given by RPC."
            while any(tx.short_id not in funds.pool.pool.graph for tx in txs):
                worker.release()
                await asyncio.sleep(0)
        given = [funds.spend() for _ in range(2)]
        for tx in given:
            funds.pool.remote.submit(tx, 1, 7)
        answer = await explained.transaction(given[1])
        assert answer["queue"] == {"of": "peer", "place": "0x2", "length": "0x2"}


async def test_what_a_reorganisation_detached_returns(explained: Explained) -> None:
    funds = explained.funds
    common = blocks_of(funds, 1)
    tx = funds.spend()
    await funds.submit(tx)
    await funds.dev.mine(4)
    await submit_all(funds.dev, await branch(b"other", 5, common))
    answer = await explained.transaction(tx)
    assert answer["state"] == "returning"
    assert answer["queue"] == {"of": "returning", "place": "0x1", "length": "0x1"}
    await funds.dev.settle_pool()
    assert (await explained.transaction(tx))["state"] == "pending"


async def test_a_rejected_one_names_reason_and_rivals(explained: Explained) -> None:
    funds = explained.funds
    cell = funds.cells.pop()
    winner, loser = funds.spend(cell), funds.spend(cell, fee=FEE + 1)
    await funds.submit(winner)
    reason = await funds.refusal(loser)
    answer = await explained.transaction(loser)
    assert answer["state"] == "rejected"
    assert answer["rejection"] == {"type": "RBFRejected", "description": str(reason)}
    assert answer["conflicts"] == [uint_text(winner.hash)]
    assert answer["summary"] == f"The pool refused it: {reason}. 1 transaction of the pool spend a cell that it spends."
    assert (await explained.transaction(winner))["conflicts"] == [uint_text(loser.hash)]


async def test_what_is_immature_and_until_when(explained: Explained) -> None:
    funds = explained.funds
    height = funds.dev.chain.view().tip_header().number + 20
    tx = funds.spend(since=height)
    await funds.refusal(tx)
    answer = await explained.transaction(tx)
    assert answer["state"] == "rejected"
    assert answer["time_locks"] == [
        {
            "part": "Inputs", "index": "0x0", "cause": "since", "block_number": hex(height), "epoch": None,
            "median_time": None,
        }
    ]  # fmt: skip
    assert answer["summary"].endswith(f"Inputs[0] is immature (since) before block {height}.")


async def test_live_unknown_and_spent_in_the_pool(explained: Explained) -> None:
    funds = explained.funds
    cell = funds.cells.pop()
    assert await explained.cell(cell) == {"status": "live", "spender": None}
    absent: Cell = (OutPoint(tx_hash=bytes([7]) * 32, index=0), CKB)
    no_such_output: Cell = (OutPoint(tx_hash=funds.splitting.hash, index=99), CKB)
    for each in (absent, no_such_output):
        assert await explained.cell(each) == {"status": "unknown", "spender": None}
    tx = funds.spend(funds.cells.pop(), cell)
    await funds.submit(tx)
    assert await explained.cell(cell_of(tx)) == {"status": "live", "spender": None}
    assert await explained.cell(cell) == {
        "status": "spent",
        "spender": {
            "tx_hash": uint_text(tx.hash), "input_index": "0x1", "state": "pending", "block_number": None,
            "block_hash": None, "tx_index": None,
        },
    }  # fmt: skip
    await funds.dev.mine(4)
    with pytest.raises(RpcFailure, match=r"put Indexer or RichIndexer into rpc\.modules") as caught:
        await explained.cell(cell)
    assert caught.value.code == -1200


@asynccontextmanager
async def indexed(kind: str, funds: Funds, directory: Path) -> AsyncIterator[Explained]:
    if kind == "rich":
        rich = RichIndexerService(funds.dev.chain, URL.create("sqlite", database=str(directory / "rich.db")))
        yield explained_by(funds, rich.follower.step, rich_indexer=rich)
        rich.close()
    else:
        plain = IndexerService(funds.dev.chain, MemoryStore())
        yield explained_by(funds, plain.follower.step, indexer=plain)
        plain.close()


@pytest.mark.parametrize("kind", ["rich", "plain"])
async def test_what_a_block_spent(kind: str, tmp_path: Path) -> None:
    async with funded() as funds, indexed(kind, funds, tmp_path) as explained:
        cells = [funds.cells.pop() for _ in range(3)]
        others = [funds.spend(fee=FEE * times) for times in (2, 3)]
        tx = funds.spend(*cells, outputs=2, to=BOB.lock)
        await funds.submit(*others, tx)
        await funds.dev.mine(4)
        info = funds.dev.chain.view().transaction_info(tx.hash)
        assert info is not None
        for index, cell in enumerate(cells):
            assert await explained.cell(cell) == {
                "status": "spent",
                "spender": {
                    "tx_hash": uint_text(tx.hash),
                    "input_index": hex(index),
                    "state": "committed",
                    "block_number": hex(info.block_number),
                    "block_hash": uint_text(info.block_hash),
                    "tx_index": hex(info.tx_index),
                },
            }
        assert (await explained.cell(cell_of(tx, 1)))["status"] == "live"


async def test_a_script_with_too_many_spendings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded() as funds, indexed("plain", funds, tmp_path) as explained:
        cell = funds.cells.pop()
        txs = [funds.spend(), funds.spend(), funds.spend(cell, signer=ALICE, fee=FEE // 2)]
        await funds.submit(*txs)
        await funds.dev.mine(4)
        assert (await explained.cell(cell))["spender"]["tx_hash"] == uint_text(txs[2].hash)
        monkeypatch.setattr(spender_module, "MAX_READ", 1)
        with pytest.raises(RpcFailure, match="module RichIndexer finds them at once") as caught:
            await explained.cell(cell)
        assert caught.value.code == -1200
