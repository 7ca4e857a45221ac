"""Modules Net, Stats, Miner and IntegrationTest on a dev chain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from ckb_node.jsonrpc_types.chain import block_json
from ckb_node.mining.template_json import BlockTemplateJson, read_template
from ckb_node.rpc.registry import Module
from consensus.types.blockchain import Block
from tests.rpc.kit import RpcChain, rpc_chain
from tests.support.asking import RpcFailure, as_json, call, dispatcher_of, uint_text

UNKNOWN = "0x" + "11" * 32


@pytest.fixture
async def rpc() -> AsyncIterator[RpcChain]:
    async with rpc_chain() as chain:
        yield chain


def solved(template: Any) -> Block:
    """The block of a template as a miner makes it; no work is needed on this chain."""
    return read_template(msgspec.convert(template, BlockTemplateJson)).to_block()


def sent(block: Block) -> Any:
    return msgspec.to_builtins(block_json(block))


# ---------------------------------------------------------------- Net


async def test_this_node_and_its_peers(rpc: RpcChain) -> None:
    node = await rpc.call("local_node_info")
    assert node["node_id"].startswith("Qm")
    assert (node["active"], node["connections"]) == (True, "0x0")
    assert await rpc.call("set_network_active", False) is None
    assert (await rpc.call("local_node_info"))["active"] is False
    assert await rpc.call("get_peers") == []
    assert await rpc.call("ping_peers") is None
    assert await rpc.call("add_node", node["node_id"], "/ip4/192.0.2.8/tcp/8115") is None
    libp2p = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
    assert await rpc.call("add_node", libp2p, "/ip4/192.0.2.8/tcp/8117") is None
    assert await rpc.call("add_node", "x", f"/ip4/192.0.2.8/tcp/8117/p2p/{libp2p}") is None
    assert await rpc.call("remove_node", node["node_id"]) is None
    for address in ("192.0.2.8:8115", "/", "/ip4/300.0.2.8/tcp/1", "/ip4/192.0.2.8/tcp/65536", "/ip4", "/tcp/1/fax/2"):
        with pytest.raises(RpcFailure, match="Error parsing address") as caught:
            await rpc.call("add_node", node["node_id"], address)
        assert caught.value.code == -32602
    with pytest.raises(RpcFailure, match="Error adding peer ID to address") as caught:
        await rpc.call("add_node", "x", "/ip4/192.0.2.8/tcp/8115")
    assert caught.value.code == -32602
    for peer_id in ("x", "", node["node_id"][:-1] + "0", "1" * 46, "z" * 46, "Q" * 1_000_000):
        with pytest.raises(RpcFailure, match="Error parsing peer_id") as caught:
            await rpc.call("remove_node", peer_id)
        assert caught.value.code == -32602
        assert len(caught.value.message) < 500


async def test_ping(rpc: RpcChain) -> None:
    assert await rpc.call("ping") == "pong"


async def test_bans(rpc: RpcChain) -> None:
    now = rpc.node.clock.now_ms()
    assert await rpc.call("set_ban", "192.0.2.7", "insert") is None
    assert await rpc.call("set_ban", "192.0.2.77/24", "insert", hex(1000), None, "noise") is None
    assert await rpc.call("set_ban", "2001:DB8::/32", "insert", hex(now + 5_000_000), True, "x" * 5000) is None
    bans = {ban["address"]: ban for ban in await rpc.call("get_banned_addresses")}
    assert set(bans) == {"192.0.2.7/32", "192.0.2.0/24", "2001:db8::/32"}
    assert 0 <= int(bans["192.0.2.7/32"]["ban_until"], 16) - now - 24 * 3600 * 1000 < 1000
    assert bans["192.0.2.0/24"]["ban_reason"] == "noise"
    assert bans["2001:db8::/32"]["ban_until"] == hex(now + 5_000_000)
    assert len(bans["2001:db8::/32"]["ban_reason"]) == 1000
    rpc.node.clock.advance(2000)
    assert len(await rpc.call("get_banned_addresses")) == 2, "one has run out"
    assert await rpc.call("set_ban", "198.51.100.1", "insert", hex((1 << 64) - 1)) is None
    ends = {each["address"]: each["ban_until"] for each in await rpc.call("get_banned_addresses")}
    assert ends["198.51.100.1/32"] == hex((1 << 64) - 1), "what does not fit 64 bits ends with them"
    assert await rpc.call("set_ban", "198.51.100.1", "delete") is None
    assert await rpc.call("set_ban", "192.0.2.7", "delete") is None
    assert [ban["address"] for ban in await rpc.call("get_banned_addresses")] == ["2001:db8::/32"]
    assert await rpc.call("clear_banned_addresses") is None
    assert await rpc.call("get_banned_addresses") == []
    for address in ("nonsense", "300.0.0.1", "192.0.2.0/33", "/ip4/192.0.2.7"):
        with pytest.raises(RpcFailure, match="to be a valid IP address") as caught:
            await rpc.call("set_ban", address, "insert")
        assert caught.value.code == -32602
    with pytest.raises(RpcFailure, match="to be in the list"):
        await rpc.call("set_ban", "192.0.2.7", "add")


async def test_how_far_the_node_is(rpc: RpcChain) -> None:
    tip = await rpc.node.mine(2)
    state = await rpc.call("sync_state")
    assert (state["tip_number"], state["tip_hash"]) == ("0x2", uint_text(tip.hash))
    assert state["best_known_block_timestamp"] == hex(tip.header.timestamp)
    assert state["ibd"] is False
    assert state["min_chain_work"] == "0x0"


# ---------------------------------------------------------------- Stats


async def test_the_chain_at_a_glance(rpc: RpcChain) -> None:
    info = await rpc.call("get_blockchain_info")
    assert (info["chain"], info["epoch"], info["difficulty"]) == ("ckb_dev", "0xa0000000000", "0x100")
    assert info["is_initial_block_download"] is True, "the genesis block is old"
    tip = await rpc.node.mine(3)
    info = await rpc.call("get_blockchain_info")
    assert info["epoch"] == hex(tip.header.epoch)
    assert info["median_time"] == await rpc.call("get_block_median_time", uint_text(tip.hash))
    assert (info["is_initial_block_download"], info["alerts"]) == (False, [])


async def test_deployments(rpc: RpcChain) -> None:
    tip = await rpc.node.mine(10)
    info = await rpc.call("get_deployments_info")
    assert (info["hash"], info["epoch"]) == (uint_text(tip.hash), "0x1")
    light_client = info["deployments"]["light_client"]
    assert (light_client["state"], light_client["since"], light_client["bit"]) == ("active", "0x0", 1)
    assert light_client["threshold"] == {"numer": "0x3", "denom": "0x4"}


# ---------------------------------------------------------------- Miner


async def test_a_template_becomes_a_block(rpc: RpcChain) -> None:
    await rpc.node.mine()
    template = await rpc.call("get_block_template", "0x1", "0x1", "0x0")
    assert template["number"] == "0x2"
    assert template["cellbase"]["data"]["inputs"][0]["since"] == "0x2"
    block = solved(template)
    assert await rpc.call("submit_block", template["work_id"], sent(block)) == uint_text(block.hash)
    assert await rpc.call("get_tip_block_number") == "0x2"
    assert await rpc.call("submit_block", "again", sent(block)) == uint_text(block.hash), "known blocks are no error"


async def test_roots_are_computed_from_the_body(rpc: RpcChain) -> None:
    block = solved(await rpc.call("get_block_template"))
    lie = block.replace(header=block.header.with_fields(transactions_root=b"\x11" * 32, extra_hash=bytes(32)))
    assert await rpc.call("submit_block", "", sent(lie)) == uint_text(block.hash)


async def test_a_template_offers_what_the_pool_holds(rpc: RpcChain) -> None:
    transaction = rpc.alice_pays()
    await rpc.call("send_transaction", as_json(transaction))
    template = await rpc.call("get_block_template")
    assert template["proposals"] == [uint_text(transaction.short_id)]
    for _ in range(2):
        await rpc.call("generate_block")
    template = await rpc.call("get_block_template")
    offered = template["transactions"][0]
    assert (offered["hash"], offered["data"]) == (uint_text(transaction.hash), as_json(transaction))
    assert int(offered["cycles"], 16) > 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"number": 9}, "Number"),
        ({"timestamp": 1 << 62}, "TimeTooNew"),
        ({"timestamp": 1}, "TimeTooOld"),
        ({"parent_hash": b"\x11" * 32}, "UnknownParent"),
        ({"epoch": 5 | 10 << 40}, "Epoch"),
    ],
)
async def test_a_block_that_breaks_a_rule_is_error_minus_3(rpc: RpcChain, change: dict[str, Any], text: str) -> None:
    await rpc.node.mine()
    block = solved(await rpc.call("get_block_template"))
    wrong = block.replace(header=block.header.with_fields(**change))
    with pytest.raises(RpcFailure) as caught:
        await rpc.call("submit_block", "1", sent(wrong))
    assert caught.value.code == -3
    assert caught.value.message.startswith("Invalid: ")
    assert caught.value.data is not None
    assert text in caught.value.data


async def test_a_nonce_with_leading_zeros_is_refused(rpc: RpcChain) -> None:
    block = sent(solved(await rpc.call("get_block_template")))
    block["header"]["nonce"] = "0x00ff"
    with pytest.raises(RpcFailure, match="with redundant leading zeros") as caught:
        await rpc.call("submit_block", "1", block)
    assert caught.value.code == -32602


async def test_without_a_block_assembler_the_module_is_off(rpc: RpcChain) -> None:
    dispatcher = dispatcher_of(replace(rpc.services, miner=None))
    for method in ("get_block_template", "generate_block"):
        with pytest.raises(RpcFailure, match="`block_assembler`") as caught:
            await call(dispatcher, method)
        assert caught.value.code == -4


# ---------------------------------------------------------------- IntegrationTest


async def test_blocks_and_epochs_on_demand(rpc: RpcChain) -> None:
    block_hash = await rpc.call("generate_block")
    assert await rpc.call("get_block_hash", "0x1") == block_hash
    reached = await rpc.call("generate_epochs", "0x2")
    assert reached == (await rpc.call("get_tip_header"))["epoch"]
    assert int((await rpc.call("get_current_epoch"))["number"], 16) == 2


async def test_a_template_of_ones_own(rpc: RpcChain) -> None:
    await rpc.node.mine()
    template = await rpc.call("get_block_template")
    assert await rpc.call("calculate_dao_field", template) == template["dao"]
    changed = template | {"dao": UNKNOWN, "current_time": hex(int(template["current_time"], 16) + 1)}
    block_hash = await rpc.call("generate_block_with_template", changed)
    header = await rpc.call("get_header", block_hash)
    assert (header["dao"], header["timestamp"]) == (template["dao"], changed["current_time"])
    with pytest.raises(RpcFailure) as caught:
        await rpc.call("generate_block_with_template", template | {"number": "0x9"})
    assert caught.value.code == -1


async def test_a_block_without_verification(rpc: RpcChain) -> None:
    block = solved(await rpc.call("get_block_template"))
    early = block.replace(header=block.header.with_fields(timestamp=1 << 62))
    block_hash = await rpc.call("process_block_without_verify", sent(early), False)
    assert block_hash == uint_text(early.hash)
    assert (await rpc.call("get_tip_header"))["hash"] == block_hash
    orphan = block.replace(header=block.header.with_fields(parent_hash=b"\x11" * 32))
    assert await rpc.call("process_block_without_verify", sent(orphan), True) is None
    misplaced = block.replace(header=block.header.with_fields(number=0x77))
    assert await rpc.call("process_block_without_verify", sent(misplaced), False) is None
    assert (await rpc.call("get_tip_header"))["hash"] == block_hash


@pytest.mark.parametrize("method", ["calculate_dao_field", "generate_block_with_template"])
async def test_a_template_that_is_impossible(rpc: RpcChain, method: str) -> None:
    template = await rpc.call("get_block_template")
    with pytest.raises(RpcFailure, match=f"parent block {UNKNOWN}") as caught:
        await rpc.call(method, template | {"parent_hash": UNKNOWN})
    assert caught.value.code == -32602
    entry = {
        "hash": UNKNOWN, "required": False, "cycles": None, "depends": None, "data": as_json(rpc.alice_pays())
    }  # fmt: skip
    with pytest.raises(RpcFailure, match="InvalidParams: Dead") as caught:
        await rpc.call(method, template | {"transactions": [entry, entry]})
    assert caught.value.code == -32602


@pytest.mark.parametrize("method", ["notify_transaction", "send_test_transaction"])
async def test_a_transaction_in_the_background(rpc: RpcChain, method: str) -> None:
    good, cheap = rpc.alice_pays(), rpc.alice_pays(fee=0)
    for transaction in (good, cheap):
        assert await rpc.call(method, as_json(transaction)) == uint_text(transaction.hash)
    await rpc.node.settle_pool()
    assert (await rpc.call("get_transaction", uint_text(good.hash)))["tx_status"]["status"] == "pending"
    assert uint_text(good.hash) in (await rpc.call("get_raw_tx_pool"))["pending"]
    status = (await rpc.call("get_transaction", uint_text(cheap.hash)))["tx_status"]
    assert status["status"] == "rejected"
    assert await rpc.call(method, as_json(rpc.alice_pays(fee=2 * 10**5))) is not None


async def test_a_test_transaction_that_is_wrong_by_itself(rpc: RpcChain) -> None:
    good = rpc.alice_pays()
    empty = good.replace(body=good.body.replace(outputs=[], outputs_data=[]))
    with pytest.raises(RpcFailure) as caught:
        await rpc.call("send_test_transaction", as_json(empty))
    assert caught.value.code == -302
    assert await rpc.call("notify_transaction", as_json(empty)) == uint_text(empty.hash)
    await rpc.call("send_test_transaction", as_json(good))
    with pytest.raises(RpcFailure) as caught:
        await rpc.call("send_test_transaction", as_json(good))
    assert caught.value.code == -1107
    stranger = good.replace(
        body=good.body.replace(outputs=[good.body.outputs[0].replace(lock=good.body.outputs[0].lock.replace(args=b""))])
    )
    with pytest.raises(RpcFailure) as caught:
        await rpc.call("send_test_transaction", as_json(stranger), "well_known_scripts_only")
    assert caught.value.code == -1102


async def test_the_chain_is_cut_back(rpc: RpcChain) -> None:
    blocks = [await rpc.node.mine() for _ in range(4)]
    await rpc.call("send_transaction", as_json(rpc.alice_pays()))
    assert await rpc.call("truncate", uint_text(blocks[1].hash)) is None
    assert await rpc.call("get_tip_block_number") == "0x2"
    assert await rpc.call("get_block", uint_text(blocks[2].hash)) is None
    assert (await rpc.call("tx_pool_info"))["pending"] == "0x0"
    await rpc.node.mine()
    with pytest.raises(RpcFailure, match="block not found") as caught:
        await rpc.call("truncate", UNKNOWN)
    assert caught.value.code == -3


async def test_the_module_needs_its_service(rpc: RpcChain) -> None:
    dispatcher = dispatcher_of(replace(rpc.services, testing=None), [Module.INTEGRATION_TEST])
    with pytest.raises(RpcFailure) as caught:
        await call(dispatcher, "process_block_without_verify", sent(rpc.node.consensus.genesis_block), False)
    assert caught.value.code == -4
