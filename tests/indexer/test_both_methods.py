"""What modules Indexer and RichIndexer have in common, as clients call them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ckb_node.indexer.query import Terms
from ckb_node.indexer.service import IndexerOptions
from ckb_node.rpc import indexer_types
from consensus.params import TYPE_ID_CODE_HASH
from consensus.types.blockchain import HASH_TYPE_TYPE, Script
from tests.indexer.kit_methods import Client, key_value, rich, search_key
from tests.support.chains.branches import branch
from tests.support.chains.devchain import DevChain
from tests.support.chains.funded_pool import ALICE, BOB, CELL, cell_of, funded

INDEXER_REFUSES = -1200

Opened = Callable[..., AbstractAsyncContextManager[Client[Any]]]


@pytest.fixture(params=["Indexer", "RichIndexer"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    if request.param == "Indexer":
        return key_value

    def on_sqlite(dev: DevChain, options: IndexerOptions | None = None) -> AbstractAsyncContextManager[Client[Any]]:
        return rich(dev, tmp_path, options)

    return on_sqlite


async def test_cells_and_capacity_follow_the_chain(opened: Opened) -> None:
    async with funded(4) as funds, opened(funds.dev) as client:
        client.catch_up()
        page = await client.call("get_cells", search_key(ALICE.lock), "asc", "0x64")
        assert len(page["objects"]) == 5
        first = page["objects"][0]
        assert first["out_point"] == {"tx_hash": "0x" + funds.splitting.hash.hex(), "index": "0x0"}
        assert first["output"]["capacity"] == hex(CELL)
        assert first["output_data"] == "0x"
        assert first["tx_index"] == "0x1"
        total = int((await client.call("get_cells_capacity", search_key(ALICE.lock)))["capacity"], 16)
        tx = funds.spend(to=BOB.lock)
        await funds.submit(tx)
        await funds.dev.mine(4)
        client.catch_up()
        after = await client.call("get_cells_capacity", search_key(ALICE.lock))
        assert int(after["capacity"], 16) == total - CELL
        tip = funds.dev.chain.view().tip_header()
        assert (after["block_number"], after["block_hash"]) == (hex(tip.number), "0x" + tip.hash.hex())
        page = await client.call("get_cells", search_key(BOB.lock), "desc", "0x64")
        assert "0x" + tx.hash.hex() in [each["out_point"]["tx_hash"] for each in page["objects"]]
        found = await client.call("get_transactions", search_key(BOB.lock), "desc", "0x1")
        assert found["objects"][0]["tx_hash"] == "0x" + tx.hash.hex()


async def test_texts_are_those_of_the_declared_types(opened: Opened) -> None:
    """They are written by hand, member by member."""
    type_id = Script(code_hash=TYPE_ID_CODE_HASH, hash_type=HASH_TYPE_TYPE, args=b"")
    async with funded(4) as funds, opened(funds.dev) as client:
        tx = funds.spend(funds.cells.pop(), funds.cells.pop(), outputs=2, data=b"note")
        await funds.submit(tx, funds.spend(cell_of(tx)))
        await funds.dev.mine(4)
        client.catch_up()
        grouped = {"group_by_transaction": True}
        found = 0
        cases: tuple[tuple[str, dict[str, Any], Any], ...] = (
            ("get_cells", {}, indexer_types.CellsPageJson),
            ("get_cells", {"with_data": False}, indexer_types.CellsPageJson),
            ("get_transactions", {}, indexer_types.TransactionsPageJson),
            ("get_transactions", grouped, indexer_types.GroupedTransactionsPageJson),
        )
        for method, more, kind in cases:
            for key in (search_key(ALICE.lock, **more), search_key(type_id, "type", **more)):
                text = await client.text(method, key, "asc", "0x64")
                page = msgspec.json.decode(text, type=kind)
                assert msgspec.json.encode(page) == text
                assert page.objects
                found += len(page.objects)
        assert found > 20


async def test_pages_give_everything_once(opened: Opened) -> None:
    async with funded(7) as funds, opened(funds.dev) as client:
        tx = funds.spend(funds.cells.pop(), funds.cells.pop(), outputs=2)
        await funds.submit(tx, funds.spend(cell_of(tx)))
        await funds.dev.mine(4)
        client.catch_up()
        cases: tuple[tuple[str, dict[str, Any]], ...] = (
            ("get_cells", {}),
            ("get_transactions", {}),
            ("get_transactions", {"group_by_transaction": True}),
        )
        for method, more in cases:
            key = search_key(ALICE.lock, **more)
            up = (await client.call(method, key, "asc", "0x64"))["objects"]
            for order in ("asc", "desc"):
                whole = (await client.call(method, key, order, "0x64"))["objects"]
                joined: list[Any] = []
                sizes, cursor = [], None
                while page := (answer := await client.call(method, key, order, "0x3", cursor))["objects"]:
                    joined += page
                    sizes.append(len(page))
                    cursor = answer["last_cursor"]
                assert joined == whole
                assert set(sizes[:-1]) <= {3}
                assert [each.get("tx_hash") for each in whole[:: 1 if order == "asc" else -1]] == [
                    each.get("tx_hash") for each in up
                ]


async def test_a_reorganisation(opened: Opened) -> None:
    longer = await branch(b"longer", 9)
    async with funded(2) as funds, opened(funds.dev) as client:
        client.catch_up()
        split = "0x" + funds.splitting.hash.hex()
        found = await client.call("get_transactions", search_key(ALICE.lock), "desc", "0x64")
        assert split in {each["tx_hash"] for each in found["objects"]}
        for block in longer:
            await funds.dev.chain.submit_block(block)
        tip = funds.dev.chain.view().tip_header()
        assert tip == longer[-1].header
        client.catch_up()
        assert (await client.call("get_indexer_tip"))["block_hash"] == "0x" + tip.hash.hex()
        found = await client.call("get_transactions", search_key(ALICE.lock), "desc", "0x64")
        assert split not in {each["tx_hash"] for each in found["objects"]}


async def test_the_operators_limits_and_the_pool_overlay(opened: Opened) -> None:
    async with funded(4) as funds:
        taken = funds.spend(to=BOB.lock).body.inputs[0].previous_output.raw
        options = IndexerOptions(request_limit=3, terms=Terms(is_spent={taken}.__contains__))
        async with opened(funds.dev, options) as client:
            client.catch_up()
            for method in ("get_cells", "get_transactions"):
                refusal = await client.error(method, search_key(ALICE.lock), "asc", "0x4")
                assert refusal == (INDEXER_REFUSES, "Indexer: Invalid params limit must be less than 3")
                refusal = await client.error(method, search_key(ALICE.lock), "asc", "0x0")
                assert refusal == (INDEXER_REFUSES, "Indexer: Invalid params limit should be greater than 0")
            page = await client.call("get_cells", search_key(ALICE.lock), "asc", "0x3")
            points = [each["out_point"] for each in page["objects"]]
            assert len(points) == 3
            assert {"tx_hash": "0x" + taken[:32].hex(), "index": hex(taken[32])} not in points
        async with opened(funds.dev) as client:
            client.catch_up()
            whole = await client.call("get_cells_capacity", search_key(ALICE.lock))
        async with opened(funds.dev, options) as client:
            client.catch_up()
            rest = await client.call("get_cells_capacity", search_key(ALICE.lock))
        assert int(whole["capacity"], 16) - int(rest["capacity"], 16) == CELL


async def test_indexing_begins_behind_the_configured_block(opened: Opened) -> None:
    async with funded(4) as funds:
        view = funds.dev.chain.view()
        async with opened(funds.dev, IndexerOptions(init_tip=view.main_hash(2))) as client:
            client.catch_up()
            assert (await client.call("get_indexer_tip"))["block_number"] == hex(view.tip_header().number)
            page = await client.call("get_transactions", search_key(ALICE.lock), "asc", "0x64")
            assert {int(each["block_number"], 16) for each in page["objects"]} <= {3, 4}


async def test_indexing_waits_for_a_configured_block_that_is_not_there(opened: Opened) -> None:
    async with funded(1) as funds, opened(funds.dev, IndexerOptions(init_tip=bytes(32))) as client:
        client.catch_up()
        assert client.indexer.tip() is None


async def test_parts_of_arguments_are_searched_by_the_rich_indexer_alone(tmp_path: Path) -> None:
    part = search_key(BOB.lock.replace(args=BOB.lock.args[5:9]), script_search_mode="partial")
    async with funded(1) as funds, key_value(funds.dev) as plain, rich(funds.dev, tmp_path) as client:
        await funds.submit(funds.spend(to=BOB.lock))
        await funds.dev.mine(4)
        plain.catch_up()
        client.catch_up()
        found = await client.call("get_cells", part, "desc", "0x1")
        assert found["objects"][0]["output"]["lock"]["args"] == "0x" + BOB.lock.args.hex()
        for params in ((part, "desc", "0x1"), (part, "desc", "0x0")):
            assert "partial search mode" in (await plain.error("get_cells", *params))[1]


async def test_what_the_rich_indexer_answers_when_nothing_is_there(tmp_path: Path) -> None:
    async with funded(1) as funds, rich(funds.dev, tmp_path) as client:
        client.catch_up()
        nobody = search_key(BOB.lock.replace(args=bytes(20)))
        assert await client.call("get_cells_capacity", nobody) is None
        assert await client.call("get_cells", nobody, "asc", "0x1") == {"objects": [], "last_cursor": "0x"}
        none = await client.call("get_transactions", nobody, "asc", "0x1")
        assert none == {"objects": [], "last_cursor": "0x" + "00" * 12}
        refusal = await client.error("get_transactions", search_key(ALICE.lock), "asc", "0x1", "0x00")
        assert "'after' parameter" in refusal[1]
