"""A node whose figures are scraped: what it shows follows what it does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ckb_node.config import Config, parse_config
from ckb_node.node import ListenError, Node, open_node, running
from ckb_node.runtime import metrics as metrics_module
from ckb_node.runtime.tasks import first_error
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.nodes.process import free_port

ALICE, BOB = Wallet(ALICE_KEY), Wallet(BOB_KEY)


def config_of(path: Path, port: int) -> Config:
    return Config(
        path,
        parse_config(
            f"""
            [chain]
            spec = {{ bundled = "dev" }}
            [rpc]
            listen_address = "127.0.0.1:{free_port()}"
            modules = ["Net", "Chain", "Pool", "Miner", "IntegrationTest", "Indexer"]
            [block_assembler]
            code_hash = "0x{BOB.lock.code_hash.hex()}"
            args = "0x{BOB.lock.args.hex()}"
            hash_type = "type"
            [metrics.exporter.prometheus]
            target = {{ type = "prometheus", listen_address = "127.0.0.1:{port}" }}
            """
        ),
    )


class Scraped:
    """A running node, and somebody who asks it."""

    def __init__(self, node: Node, rpc: tuple[str, int], port: int, session: aiohttp.ClientSession) -> None:
        self.node, self._session = node, session
        self._rpc_url, self._url = f"http://{rpc[0]}:{rpc[1]}/", f"http://127.0.0.1:{port}/"

    async def call(self, method: str, *params: object) -> object:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        async with self._session.post(self._rpc_url, data=body) as answer:
            return json.loads(await answer.read()).get("result")

    async def get(self, path: str = "", **options: object) -> tuple[int, str, str]:
        async with self._session.request("GET", self._url + path, **options) as answer:  # type: ignore[arg-type]
            return answer.status, answer.headers.get("content-type", ""), await answer.text()

    async def figures(self) -> dict[tuple[str, str], float]:
        families = text_string_to_metric_families((await self.get())[2])
        return {
            (sample.name, ",".join(sample.labels.values())): sample.value
            for family in families
            for sample in family.samples
        }


@asynccontextmanager
async def scraped(path: Path) -> AsyncIterator[Scraped]:
    port = free_port()
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        with open_node(config_of(path, port)) as node:
            async with running(node, 100, mine=False) as addresses:
                yield Scraped(node, addresses.http, port, session)


async def test_the_figures_follow_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "RENDERED_S", 0.0)
    async with scraped(tmp_path) as scrape:
        before = await scrape.figures()
        assert before["ckb_chain_tip", ""] == before["ckb_chain_attached_blocks_total", ""] == 0
        transaction = ALICE.transfer(
            scrape.node.consensus, [issued_cell(scrape.node.consensus, ALICE)], [(BOB.lock, CKB * 100)]
        )
        await scrape.node.pool.submit(transaction)
        for _ in range(3):
            assert await scrape.call("generate_block")
        tip = await scrape.call("get_tip_block_number")
        await scrape.call("get_block_hash", "not a number")
        await scrape.call("no_such_method")
        await scrape.call("get_indexer_tip")
        assert tip == "0x3"
        after = await scrape.figures()
        expected = {
            ("ckb_chain_tip", ""): 3,
            ("ckb_chain_attached_blocks_total", ""): 3,
            ("ckb_chain_reorgs_total", ""): 0,
            ("ckb_chain_orphan_count", ""): 0,
            ("ckb_tx_pool_transactions_total", "admitted"): 1,
            ("ckb_tx_pool_transactions_total", "proposed"): 1,
            ("ckb_tx_pool_transactions_total", "rejected"): 0,
            ("ckb_tx_pool_verify_queue", ""): 0,
            ("ckb_rpc_requests_total", "generate_block"): 3,
            ("ckb_rpc_requests_total", "get_block_hash"): 1,
            ("ckb_rpc_errors_total", "get_block_hash"): 1,
            ("ckb_rpc_errors_total", "unknown"): 1,
            ("ckb_rpc_request_seconds_count", ""): 7,
            ("ckb_rpc_connections", ""): 1,
            ("ckb_indexer_tip", ""): 3,
            ("ckb_indexer_lag_blocks", ""): 0,
            ("ckb_node_faults", ""): 0,
        }
        assert {key: after[key] for key in expected} == expected
        assert sum(after["ckb_tx_pool_entry", each] for each in ("pending", "gap", "proposed")) == 0, "committed"
        assert after["ckb_sys_mem_process", "rss"] > 1 << 20
        assert ("ckb_event_loop_delay_seconds_count", "") in after
        assert ("ckb_script_workers", "") in after


async def test_only_the_two_paths_are_there(tmp_path: Path) -> None:
    async with scraped(tmp_path) as scrape:
        status, kind, text = await scrape.get("metrics")
        assert status == 200
        assert kind.startswith("text/plain")
        assert "# HELP ckb_chain_tip " in text
        assert (await scrape.get("other"))[0] == 405
        assert (await scrape.get("metrics", headers={"origin": "https://evil.example"}))[0] == 403


async def test_an_address_that_is_taken_ends_the_start(tmp_path: Path) -> None:
    port = free_port()
    taker = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
    async with taker:
        with open_node(config_of(tmp_path, port)) as node:
            with pytest.raises(ExceptionGroup) as caught:
                async with running(node, 100, mine=False):
                    pass
            error = first_error(caught.value)
            assert isinstance(error, ListenError)
            assert f"cannot listen on 127.0.0.1:{port} for Prometheus" in str(error)
