"""Module Indexer on a dev chain: what wallets ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest

from ckb_node.indexer.service import IndexerService
from ckb_node.jsonrpc_types.chain import script_json
from ckb_node.rpc.dispatch import Dispatcher
from ckb_node.rpc.methods.indexer import METHODS
from ckb_node.rpc.registry import Module
from storage.memory import MemoryStore
from tests.rpc.kit import RpcChain, commit, rpc_chain
from tests.support.asking import RpcFailure, call, dispatcher_of, uint_text
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, Wallet


@dataclass
class Indexed:
    """A dev chain with its index."""

    rpc: RpcChain
    indexer: IndexerService
    dispatcher: Dispatcher

    async def call(self, method: str, *params: Any) -> Any:
        """The result of a call, after the index has caught up. Raises RpcFailure."""
        while not self.indexer.follower.step():
            pass
        return await call(self.dispatcher, method, *params)


@pytest.fixture
async def indexed() -> AsyncIterator[Indexed]:
    async with rpc_chain() as rpc:
        indexer = IndexerService(rpc.node.chain, MemoryStore())
        services = replace(rpc.services, indexer=indexer)
        yield Indexed(rpc, indexer, dispatcher_of(services, [Module.INDEXER], [METHODS]))
        indexer.close()


def key_of(secret: bytes, **more: Any) -> dict[str, Any]:
    return {"script": msgspec.to_builtins(script_json(Wallet(secret).lock)), "script_type": "lock"} | more


async def test_the_index_follows_the_chain(indexed: Indexed) -> None:
    tip = await indexed.rpc.node.mine(3)
    assert await indexed.call("get_indexer_tip") == {"block_hash": uint_text(tip.hash), "block_number": "0x3"}


async def test_cells_of_a_lock(indexed: Indexed) -> None:
    page = await indexed.call("get_cells", key_of(ALICE_KEY), "asc", "0xa")
    cell = indexed.rpc.alice_cell()
    assert [each["out_point"] for each in page["objects"]] == [
        {"tx_hash": uint_text(cell.tx_hash), "index": hex(cell.index)}
    ]
    assert (page["objects"][0]["block_number"], page["objects"][0]["output_data"]) == ("0x0", "0x")
    rest = await indexed.call("get_cells", key_of(ALICE_KEY), "asc", "0xa", page["last_cursor"])
    assert rest == {"objects": [], "last_cursor": "0x"}
    bare = await indexed.call("get_cells", key_of(ALICE_KEY, with_data=False), "desc", "0xa")
    assert bare["objects"][0]["output_data"] is None


async def test_a_payment_moves_cells_and_capacity(indexed: Indexed) -> None:
    before = await indexed.call("get_cells_capacity", key_of(BOB_KEY))
    payment = indexed.rpc.alice_pays()
    block = await commit(indexed.rpc, payment)
    assert (await indexed.call("get_cells", key_of(ALICE_KEY), "asc", "0xa"))["objects"] == []
    after = await indexed.call("get_cells_capacity", key_of(BOB_KEY))
    gained = int(after["capacity"], 16) - int(before["capacity"], 16)
    assert gained >= payment.body.outputs[0].capacity
    assert (after["block_number"], after["block_hash"]) == (hex(block.number), uint_text(block.hash))
    history = await indexed.call("get_transactions", key_of(ALICE_KEY), "asc", "0xa")
    assert [(each["io_type"], each["tx_hash"]) for each in history["objects"]] == [
        ("output", uint_text(indexed.rpc.alice_cell().tx_hash)),
        ("input", uint_text(payment.hash)),
    ]
    grouped = await indexed.call("get_transactions", key_of(ALICE_KEY, group_by_transaction=True), "desc", "0x1")
    assert grouped["objects"][0]["tx_hash"] == uint_text(payment.hash)
    assert grouped["objects"][0]["cells"] == [["input", "0x0"]]


@pytest.mark.parametrize(
    "params",
    [
        [key_of(ALICE_KEY), "asc", "0x0"],
        [key_of(ALICE_KEY), "up", "0x1"],
        [key_of(ALICE_KEY), "asc"],
        [key_of(ALICE_KEY, script_type="locks"), "asc", "0x1"],
        [{"script_type": "lock"}, "asc", "0x1"],
        [key_of(ALICE_KEY, script_search_mode="partial"), "asc", "0x1"],
        [key_of(ALICE_KEY), "asc", "0x1", "cursor"],
    ],
)
async def test_wrong_searches(indexed: Indexed, params: list[Any]) -> None:
    with pytest.raises(RpcFailure) as caught:
        await indexed.call("get_cells", *params)
    assert caught.value.code in {-32602, -1200}


async def test_the_indexer_says_what_it_does_not_do(indexed: Indexed) -> None:
    for params, text in (
        ([key_of(ALICE_KEY), "asc", "0x0"], "limit should be greater than 0"),
        ([key_of(ALICE_KEY, script_search_mode="partial"), "asc", "0x1"], "partial search mode"),
    ):
        with pytest.raises(RpcFailure, match="^-1200: Indexer: Invalid params .*" + text):
            await indexed.call("get_cells", *params)


async def test_methods_do_not_exist_while_the_module_is_off(indexed: Indexed) -> None:
    closed = dispatcher_of(indexed.rpc.services, [Module.CHAIN], [METHODS])
    with pytest.raises(RpcFailure) as caught:
        await call(closed, "get_indexer_tip")
    assert caught.value.code == -32601
