"""The methods `stratum.…`: miners, shares, blocks."""

from __future__ import annotations

import pytest

from ckb_node.node_metrics import measure_stratum
from ckb_node.rpc.services import Services
from ckb_node.runtime.metrics import Metrics
from ckb_node.stratum.service import StratumService
from consensus.crypto.difficulty import compact_to_target
from tests.stratum.kit_net import miner, serving
from tests.support.asking import RpcFailure, call, dispatcher_of
from tests.support.chains.devchain import DevChain, dev_chain, dev_consensus
from tests.support.nodes.idle_network import idle_net

BLOCK = compact_to_target(dev_consensus().genesis_epoch.compact_target)
KEY = bytes(31) + b"\1"


def services_of(dev: DevChain, stratum: StratumService | None) -> Services:
    net = idle_net(dev.chain, KEY, "test", dev.clock.now_ms)
    return Services(chain=dev.chain, pool=dev.pool, net=net, clock=dev.clock, miner=dev.assembler, stratum=stratum)


@pytest.mark.parametrize("method", ["stratum.status", "stratum.workers", "stratum.blocks"])
async def test_without_a_server_the_key_is_named(method: str) -> None:
    async with dev_chain() as dev:
        with pytest.raises(RpcFailure, match=r"listen_address in \[stratum\]"):
            await call(dispatcher_of(services_of(dev, None)), method)


async def test_before_anybody_came() -> None:
    async with dev_chain() as dev, serving(dev) as server:
        dispatcher = dispatcher_of(services_of(dev, server.service))
        status = await call(dispatcher, "stratum.status")
        assert (status["connections"], status["miners"], status["found_blocks"]) == ("0x0", {}, "0x0")
        assert status["listening"] == [{"address": f"127.0.0.1:{server.port}", "tls": False}]
        assert await call(dispatcher, "stratum.workers") == []
        assert await call(dispatcher, "stratum.blocks") == []


async def test_a_worker_its_shares_and_its_block() -> None:
    async with dev_chain() as dev, serving(dev) as server, miner(server) as one:
        metrics = Metrics(lambda: 0.0)
        measure_stratum(metrics, server.service)
        await one.join("rig1")
        await one.until_job(1)
        job, nonce = one.job[0], one.find(BLOCK)
        for message_id in (5, 6):
            one.send("mining.submit", ["rig1", job, nonce], message_id)
            await one.answer(message_id)
        dispatcher = dispatcher_of(services_of(dev, server.service))
        status = await call(dispatcher, "stratum.status")
        shares = {"accepted": "0x0", "block": "0x1", "stale": "0x0", "low_difficulty": "0x0", "duplicate": "0x1"}
        assert status["shares"] == {**shares, "unknown_job": "0x0"}
        assert (status["connections"], status["miners"], status["workers"]) == ("0x1", {"common": "0x1"}, "0x1")
        assert status["outcomes"]["main"] == status["found_blocks"] == "0x1"
        (worker,) = await call(dispatcher, "stratum.workers", "0xa")
        assert (worker["name"], worker["connections"], worker["shares"]) == ("rig1", "0x1", status["shares"])
        assert worker["difficulty"] > 0
        assert int(worker["hashes"], 16) > 0
        (block,) = await call(dispatcher, "stratum.blocks", "0x1")
        with dev.chain.view() as view:
            assert block["hash"] == "0x" + view.tip_header().hash.hex()
        assert (block["number"], block["worker"], block["outcome"], block["error"]) == ("0x1", "rig1", "main", None)
        assert await call(dispatcher, "stratum.blocks", "0x0") == []
        text = metrics.text().decode()
        for line in (
            "ckb_stratum_connections 1.0",
            'ckb_stratum_miners_total{dialect="common"} 1.0',
            'ckb_stratum_shares_total{verdict="duplicate"} 1.0',
            'ckb_stratum_blocks{outcome="main"} 1.0',
        ):
            assert line in text
