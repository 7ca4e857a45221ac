"""What web pages of other machines never get: the methods that command the node."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ckb_node.rpc.methods import OWN_MODULES
from ckb_node.rpc.methods.indexer import METHODS as INDEXER_METHODS
from ckb_node.rpc.registry import Module
from tests.rpc.kit import rpc_chain
from tests.support.asking import as_json

OWNERS = (Module.NET, Module.MINER, Module.INTEGRATION_TEST, Module.ALERT, Module.DEBUG, Module.TERMINAL)
REMOVES = {"remove_transaction", "clear_tx_pool", "clear_tx_verify_queue"}


def test_which_they_are() -> None:
    """All of Net, Miner, IntegrationTest, Alert, Debug and Terminal, and of the pool what removes; nothing that wallets
    need."""
    for methods in (*OWN_MODULES, INDEXER_METHODS):
        for method in methods:
            assert method.owner_only == (method.module in OWNERS or method.name in REMOVES), method.name


@pytest.mark.parametrize("is_batch", [False, True])
async def test_foreign_pages_do_not_get_them(is_batch: bool) -> None:
    async with rpc_chain() as rpc:
        dispatcher = rpc.dispatcher_with(tuple(Module))

        async def ask(method: str, *params: Any, is_foreign: bool) -> Any:
            call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            body = json.dumps([call] if is_batch else call).encode()
            answer = json.loads(await dispatcher.dispatch(body, is_foreign=is_foreign))
            return answer[0] if is_batch else answer

        sent = await ask("send_transaction", as_json(rpc.alice_pays()), is_foreign=True)
        for method, *params in (
            ("clear_tx_pool",),
            ("remove_transaction", sent["result"]),
            ("generate_block",),
            ("get_block_template",),
            ("set_network_active", False),
            ("local_node_info",),
        ):
            refused = await ask(method, *params, is_foreign=True)
            assert refused["error"]["code"] == -4
            assert method in refused["error"]["message"]
        assert (await ask("tx_pool_info", is_foreign=True))["result"]["pending"] == "0x1"
        assert (await ask("get_tip_block_number", is_foreign=True))["result"] == "0x0"
        assert "result" in await ask("generate_block", is_foreign=False)
        assert (await ask("get_tip_block_number", is_foreign=True))["result"] == "0x1"
