"""The methods of module Indexer as clients call them, over a node's chain."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ckb_node.indexer import index, query
from ckb_node.indexer import service as indexer_service
from ckb_node.indexer.query import CellFilter, Page, ScriptType, Search
from ckb_node.indexer.service import IndexerService
from ckb_node.rpc import indexer_answers
from ckb_node.rpc.indexer_answers import KeyValueAnswers
from storage.memory import MemoryStore
from tests.indexer.kit_methods import Client, key_value, search_key
from tests.support.chains.branches import branch
from tests.support.chains.devchain import DevChain
from tests.support.chains.funded_pool import ALICE, BOB, cell_of, funded

INDEXER_REFUSES = -1200


async def test_tip() -> None:
    async with funded() as funds, key_value(funds.dev) as client:
        assert await client.call("get_indexer_tip") is None
        code, message = await client.error("get_cells_capacity", search_key(ALICE.lock))
        assert code == INDEXER_REFUSES
        assert "the index is being built: it has reached no block of 4" in message
        client.catch_up()
        tip = funds.dev.chain.view().tip_header()
        expected = {"block_hash": "0x" + tip.hash.hex(), "block_number": hex(tip.number)}
        assert await client.call("get_indexer_tip") == expected


async def test_without_data_and_with_filter() -> None:
    async with funded(2) as funds, key_value(funds.dev) as client:
        tx = funds.spend(data=b"note")
        await funds.submit(tx)
        await funds.dev.mine(4)
        client.catch_up()
        conditions = {"output_data": "0x" + b"no".hex()}
        found = await client.call("get_cells", search_key(ALICE.lock, filter=conditions), "asc", "0x9")
        assert [each["output_data"] for each in found["objects"]] == ["0x" + b"note".hex()]
        bare = search_key(ALICE.lock, filter=conditions, with_data=False)
        found = await client.call("get_cells", bare, "asc", "0x9")
        assert [each["output_data"] for each in found["objects"]] == [None]
        ranges = {"output_data_len_range": ["0x1", "0x5"], "block_range": ["0x0", "0xff"]}
        found = await client.call("get_cells", search_key(ALICE.lock, filter=ranges), "asc", "0x9")
        assert len(found["objects"]) == 1
        ranges["output_data_len_range"] = ["0x1", "0x4"]
        assert (await client.call("get_cells", search_key(ALICE.lock, filter=ranges), "asc", "0x9"))["objects"] == []


async def test_transactions_plain_and_grouped() -> None:
    async with funded(3) as funds, key_value(funds.dev) as client:
        tx = funds.spend(funds.cells.pop(), funds.cells.pop(), outputs=2)
        child = funds.spend(cell_of(tx))
        await funds.submit(tx, child)
        await funds.dev.mine(4)
        client.catch_up()
        plain = (await client.call("get_transactions", search_key(ALICE.lock), "asc", "0x64"))["objects"]
        of_tx = [(each["io_type"], each["io_index"]) for each in plain if each["tx_hash"] == "0x" + tx.hash.hex()]
        assert of_tx == [("input", "0x0"), ("output", "0x0"), ("input", "0x1"), ("output", "0x1")]
        key = search_key(ALICE.lock, group_by_transaction=True)
        grouped = (await client.call("get_transactions", key, "asc", "0x64"))["objects"]
        assert [each["tx_hash"] for each in grouped] == list(dict.fromkeys(each["tx_hash"] for each in plain))
        for each in grouped:
            cells = [(row["io_type"], row["io_index"]) for row in plain if row["tx_hash"] == each["tx_hash"]]
            assert [tuple(cell) for cell in each["cells"]] == cells
        cursor, joined = None, []
        for _ in grouped:
            page = await client.call("get_transactions", key, "desc", "0x1", cursor)
            assert len(page["objects"]) == 1
            joined += page["objects"]
            cursor = page["last_cursor"]
        assert [each["tx_hash"] for each in joined] == [each["tx_hash"] for each in grouped[::-1]]
        assert [sorted(each["cells"]) for each in joined] == [sorted(each["cells"]) for each in grouped[::-1]]
        assert (await client.call("get_transactions", key, "desc", "0x1", cursor))["objects"] == []


async def test_bad_requests() -> None:
    async with funded(1) as funds, key_value(funds.dev) as client:
        client.catch_up()
        key = search_key(ALICE.lock)
        for method in ("get_cells", "get_transactions"):
            code, text = await client.error(method, key, "asc", "0x0")
            assert code == INDEXER_REFUSES
            assert "limit should be greater than 0" in text
            code, text = await client.error(method, {**key, "script_search_mode": "partial"}, "asc", "0x1")
            assert code == INDEXER_REFUSES
            assert "partial search mode" in text
            assert (await client.error(method, key, "up", "0x1"))[0] == -32602
            assert (await client.error(method, {**key, "script_type": "data"}, "asc", "0x1"))[0] == -32602
            long = search_key(ALICE.lock.replace(args=bytes(65536)))
            code, text = await client.error(method, long, "asc", "0x1")
            assert code == INDEXER_REFUSES
            assert "search_key.script.args len should be less than 65535" in text
            filtered = {**key, "filter": {"script": long["script"]}}
            assert "search_key.filter.script.args" in (await client.error(method, filtered, "asc", "0x1"))[1]
        conditions = {"output_data": "0x"}
        code, text = await client.error("get_transactions", search_key(ALICE.lock, filter=conditions), "asc", "0x1")
        assert "doesn't support search_key.filter.output_data parameter" in text
        code, text = await client.error("get_cells_capacity", {**key, "script_search_mode": "partial"})
        assert code == INDEXER_REFUSES


async def test_searches_run_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async with funded(1) as funds, key_value(funds.dev) as client:
        client.catch_up()
        threads = []
        find = query.find_capacity

        def watched(*args: Any, **kwargs: Any) -> Any:
            threads.append(threading.current_thread())
            return find(*args, **kwargs)

        monkeypatch.setattr("ckb_node.rpc.indexer_pages.find_capacity", watched)
        key = search_key(ALICE.lock, filter={"block_range": ["0x0", "0xff"]})  # else a sum is kept, which is one read
        await asyncio.gather(*(client.call("get_cells_capacity", key) for _ in range(4)))
        assert len(threads) == 4
        assert threading.main_thread() not in threads


async def test_the_task_follows_reorganisations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer_service, "BATCH", 2)
    longer = await branch(b"longer", 9)
    async with funded(2) as funds, key_value(funds.dev) as client:
        running = asyncio.get_running_loop().create_task(client.indexer.run())
        await until_indexed(client, funds.dev)
        for block in longer:
            await funds.dev.chain.submit_block(block)
        await until_indexed(client, funds.dev)
        assert funds.dev.chain.view().tip_header() == longer[-1].header
        capacity = await client.call("get_cells_capacity", search_key(ALICE.lock))
        genesis = funds.dev.consensus.genesis_block.transactions[0]
        assert int(capacity["capacity"], 16) == sum(
            output.capacity for output in genesis.body.outputs if output.lock == ALICE.lock
        )
        running.cancel()


async def until_indexed(client: Client[IndexerService], dev: DevChain) -> None:
    async with asyncio.timeout(10):
        while True:
            tip = dev.chain.view().tip_header()
            if client.indexer.tip() == (tip.number, tip.hash):
                return
            await asyncio.sleep(0.005)


async def test_a_truncated_chain_is_followed_and_a_hole_builds_the_index_anew() -> None:
    async with funded(2) as funds, key_value(funds.dev) as client:
        client.catch_up()
        target = funds.dev.chain.view().main_hash(1)
        await funds.dev.chain.truncate(target or b"")
        client.catch_up()
        assert client.indexer.tip() == (1, target)
        await funds.dev.mine(3)
        client.catch_up()
        store = client.indexer._store
        rows = dict(store.iterator())
        store.delete(next(key for key in rows if key.startswith(b"b") and key.endswith(b"\x02")))
        again = IndexerService(funds.dev.chain, store)
        while not again.follower.step():
            pass
        assert dict(store.iterator()) == rows


def never_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebuilding of the index is a failure."""

    def clear(_: object) -> None:
        raise AssertionError("the index is built anew")

    monkeypatch.setattr(index.Index, "clear", clear)


@asynccontextmanager
async def following(client: Client[IndexerService]) -> AsyncIterator[None]:
    """The indexer's task runs."""
    running = asyncio.get_running_loop().create_task(client.indexer.run())
    try:
        yield
    finally:
        running.cancel()


async def answers(client: Client[IndexerService]) -> tuple[object, object, object, object]:
    key = search_key(ALICE.lock)
    return (
        await client.call("get_indexer_tip"),
        await client.call("get_cells", key, "asc", "0x64"),
        await client.call("get_cells_capacity", key),
        await client.call("get_transactions", key, "asc", "0x64"),
    )


async def test_after_a_truncation_the_index_is_rolled_back_and_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    never_anew(monkeypatch)
    async with funded(3) as funds, key_value(funds.dev) as client, following(client):
        target, before = funds.dev.chain.view().tip_header().hash, await answers(client)
        await funds.submit(funds.spend(outputs=2), funds.spend(to=BOB.lock))
        await funds.dev.mine(6)
        assert await answers(client) != before
        await funds.dev.chain.truncate(target)
        assert await answers(client) == before


async def test_every_answer_is_of_the_tip_or_a_later_one() -> None:
    """Reading after writing, while blocks, truncations and searches go on side by side."""
    async with funded(1) as funds, key_value(funds.dev) as client, following(client):
        for _ in range(10):
            block = await funds.dev.mine()
            capacity = await client.call("get_cells_capacity", search_key(ALICE.lock))
            assert int(capacity["block_number"], 16) >= block.number
            await funds.dev.chain.truncate(block.parent_hash)
            tip = await client.call("get_indexer_tip")
            assert tip == {"block_hash": "0x" + block.parent_hash.hex(), "block_number": hex(block.number - 1)}
            await funds.dev.mine()


async def test_an_index_that_was_off_meanwhile_follows_a_truncation(monkeypatch: pytest.MonkeyPatch) -> None:
    never_anew(monkeypatch)
    async with funded(2) as funds, key_value(funds.dev) as client:
        target = funds.dev.chain.view().tip_header().hash
        await funds.submit(funds.spend(outputs=2))
        await funds.dev.mine(4)
        client.catch_up()
        await funds.dev.chain.truncate(target)
        await funds.submit(funds.spend(to=BOB.lock))
        await funds.dev.mine(8)
        again, fresh = IndexerService(funds.dev.chain, client.indexer._store), MemoryStore()
        while not again.follower.step():
            pass
        other = IndexerService(funds.dev.chain, fresh)
        while not other.follower.step():
            pass
        assert dict(client.indexer._store.iterator()) == dict(fresh.iterator())
        other.close()


async def test_deeper_than_undo_reaches_the_index_is_built_anew_and_refuses_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index, "KEPT_UNDO", 2)
    monkeypatch.setattr(indexer_service, "BATCH", 2)
    monkeypatch.setattr(indexer_service, "WAIT_S", 0.01)
    async with funded(1) as funds, key_value(funds.dev) as client:
        target = funds.dev.chain.view().tip_header()
        await funds.dev.mine(4)
        client.catch_up()
        await funds.dev.chain.truncate(target.hash)
        assert not client.indexer.follower.step()
        for method in ("get_cells", "get_transactions"):
            code, message = await client.error(method, search_key(ALICE.lock), "asc", "0x1")
            assert code == INDEXER_REFUSES
            assert "it has reached block 1 of 4" in message
        assert (await client.call("get_indexer_tip"))["block_number"] == "0x1"
        client.catch_up()
        assert (await client.call("get_cells_capacity", search_key(ALICE.lock)))["block_number"] == "0x4"


async def test_far_behind_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer_service, "FAR_BEHIND", 3)
    monkeypatch.setattr(indexer_service, "WAIT_S", 3600.0)
    async with funded(1) as funds, key_value(funds.dev) as client:
        assert (await client.error("get_cells", search_key(ALICE.lock), "asc", "0x1"))[0] == INDEXER_REFUSES


async def test_an_index_of_an_older_layout_is_built_anew() -> None:
    async with funded(1) as funds, key_value(funds.dev) as client:
        client.catch_up()
        store = client.indexer._store
        rows = dict(store.iterator())
        store.delete(b"v")
        for key in [key for key in rows if key.startswith(b"u")]:
            store.put(key, b"of another shape")
        again = IndexerService(funds.dev.chain, store)
        while not again.follower.step():
            pass
        assert dict(store.iterator()) == rows


async def test_a_step_ends_after_many_bytes_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer_service, "BATCH_BYTES", 1)
    async with funded(1) as funds, key_value(funds.dev) as client:
        tip = funds.dev.chain.view().tip_header().number
        heights = []
        while not client.indexer.follower.step():
            indexed_tip = client.indexer.tip()
            assert indexed_tip is not None
            heights.append(indexed_tip[0])
        assert heights == list(range(tip))


async def test_an_index_that_is_opened_again_is_not_searched_before_it_has_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(indexer_service, "WAIT_S", 0.01)
    async with funded(1) as funds, key_value(funds.dev) as client:
        client.catch_up()
        monkeypatch.setattr(client.indexer._derived, "step", lambda _: -1)
        client.indexer.follower._has_failed = True
        assert not client.indexer.follower.step()
        assert (await client.error("get_cells", search_key(ALICE.lock), "asc", "0x1"))[0] == INDEXER_REFUSES


async def test_what_takes_but_a_moment_is_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the lane; not where the index is behind, the rows may be many, or it takes too long."""
    async with funded(3) as funds, key_value(funds.dev) as client:
        answers_of = KeyValueAnswers(client.indexer)
        assert answers_of.capacity_now(sought(CellFilter())) is None, "nothing is indexed yet"
        client.catch_up()
        monkeypatch.setattr(indexer_answers, "NOW_S", 3600.0)
        few, many = (Page(search=sought(CellFilter()), limit=limit) for limit in (2, 999))
        filtered = Page(search=sought(CellFilter(block=(0, 9))), limit=2)
        key, grouped = search_key(ALICE.lock), search_key(ALICE.lock, group_by_transaction=True)
        cells = await client.text("get_cells", key, "asc", "0x2")
        assert answers_of.cells_now(few, with_data=True) == cells
        rows = await client.text("get_transactions", key, "asc", "0x2")
        assert answers_of.transactions_now(few, is_grouped=False) == rows
        groups = await client.text("get_transactions", grouped, "asc", "0x2")
        assert answers_of.transactions_now(few, is_grouped=True) == groups
        assert answers_of.capacity_now(few.search) == await client.text("get_cells_capacity", key)
        assert answers_of.capacity_now(filtered.search) is None
        for page in (many, filtered):
            assert answers_of.cells_now(page, with_data=True) is None
            assert answers_of.transactions_now(page, is_grouped=False) is None
        monkeypatch.setattr(indexer_answers, "NOW_S", -1.0)
        assert answers_of.cells_now(few, with_data=True) is None


def sought(conditions: CellFilter) -> Search:
    return Search(script=ALICE.lock, script_type=ScriptType.LOCK, filter=conditions)
