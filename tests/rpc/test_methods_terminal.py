"""Modules Terminal and Debug, and `rpc.discover`."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ckb_node.rpc.openrpc import discovery
from ckb_node.rpc.registry import Module
from ckb_node.runtime.log_control import LogControl
from ckb_node.runtime.settings import LoggerSection
from tests.rpc.kit import rpc_chain
from tests.support.asking import RpcFailure, call, dispatcher_of


async def test_the_overview_shows_chain_and_machine() -> None:
    async with rpc_chain() as rpc:
        await rpc.node.mine(3)
        seen = await rpc.call("get_overview", None)
        assert seen["mining"]["difficulty"] == (await rpc.call("get_blockchain_info"))["difficulty"]
        assert int(seen["mining"]["hash_rate"], 16) > 0
        with rpc.services.chain.view() as view:
            assert int(seen["cells"]["estimate_live_cells_num"], 16) == view.estimated_live_cells() > 3
        assert int(seen["cells"]["total_occupied_capacities"], 16) > 0
        assert seen["pool"]["pending"] == "0x0"
        assert seen["network"] == {
            "connected_peers": "0x0",
            "outbound_peers": "0x0",
            "inbound_peers": "0x0",
            "peers": [],
        }
        machine = seen["sys"]["global"]
        assert 0 < machine["used_memory"] < machine["total_memory"]
        assert 0 < seen["sys"]["memory"] < seen["sys"]["virtual_memory"]


async def test_parts_of_the_overview_are_kept_until_they_are_asked_for_anew() -> None:
    async with rpc_chain() as rpc:
        before = await rpc.call("get_overview")
        await rpc.node.mine(15)
        kept = await rpc.call("get_overview", 1 | 2 | 4)
        assert kept["cells"] == before["cells"]
        assert kept["sys"]["cpu_usage"] >= 0
        for refresh in (8, 31):
            now = await rpc.call("get_overview", refresh)
            assert now["cells"]["estimate_live_cells_num"] != before["cells"]["estimate_live_cells_num"]
        last = await rpc.call("get_overview", 8)
        await rpc.node.mine(1)
        assert (await rpc.call("get_overview", 8 | 32))["cells"] == last["cells"], "an unknown bit: nothing is renewed"


@pytest.mark.parametrize("refresh", ["0x1", -1, 1 << 32, 1.5, [], True])
async def test_refresh_is_a_plain_number(refresh: Any) -> None:
    async with rpc_chain() as rpc:
        with pytest.raises(RpcFailure) as refused:
            await rpc.call("get_overview", refresh)
        assert refused.value.code == -32602


@pytest.fixture
def logs(tmp_path: Path) -> LogControl:
    return LogControl(
        LoggerSection(filter="warn", log_to_stdout=False), tmp_path, "run", lambda _: logging.NullHandler(), _file
    )


def _file(path: Path) -> logging.Handler:
    return logging.FileHandler(path, encoding="utf-8")


async def test_the_main_log_changes_while_the_node_runs(tmp_path: Path, logs: LogControl) -> None:
    try:
        async with rpc_chain() as rpc:
            dispatcher = dispatcher_of(replace(rpc.services, logs=logs))
            log = logging.getLogger("rpc.part")
            log.info("one")
            assert await call(dispatcher, "update_main_logger", {"filter": "warn,ckb-rpc=debug"}) is None
            log.debug("two")
            assert await call(dispatcher, "update_main_logger", {"to_file": False}) is None
            log.debug("three")
            assert (
                await call(dispatcher, "update_main_logger", {"to_file": True, "to_stdout": True, "color": False})
                is None
            )
            assert await call(dispatcher, "update_main_logger", {"filter": None}) is None
            log.debug("four")
            with pytest.raises(RpcFailure) as refused:
                await call(dispatcher, "update_main_logger", {"filter": "loud"})
            assert refused.value.code == -32603
            assert "loud" in refused.value.message
        assert (tmp_path / "run.log").read_text().splitlines() == ["two", "four"]
    finally:
        logs.close()


async def test_extra_logs_have_filters_and_files_of_their_own(tmp_path: Path, logs: LogControl) -> None:
    try:
        async with rpc_chain() as rpc:
            dispatcher = dispatcher_of(replace(rpc.services, logs=logs))
            log = logging.getLogger("txpool")
            assert await call(dispatcher, "set_extra_logger", "mine", {"filter": "off,txpool=debug"}) is None
            log.debug("quiet")
            log.warning("loud")
            assert await call(dispatcher, "set_extra_logger", "mine", None) is None
            log.warning("later")
            for name in ("", "a/b", "..", "run", "x" * 65):
                with pytest.raises(RpcFailure) as refused:
                    await call(dispatcher, "set_extra_logger", name, {"filter": "info"})
                assert refused.value.code == -32603
            for n in range(16):
                await call(dispatcher, "set_extra_logger", f"n{n}", {"filter": "info"})
            with pytest.raises(RpcFailure):
                await call(dispatcher, "set_extra_logger", "one-more", {"filter": "info"})
        assert (tmp_path / "mine.log").read_text().splitlines() == ["quiet", "loud"]
        assert (tmp_path / "run.log").read_text().splitlines() == ["loud", "later"]
    finally:
        logs.close()


async def test_what_this_program_cannot_do_is_said() -> None:
    async with rpc_chain() as rpc:
        for method, *params in (("jemalloc_profiling_dump",), ("update_main_logger", {})):
            with pytest.raises(RpcFailure) as refused:
                await rpc.call(method, *params)
            assert refused.value.code == -32603


async def test_a_node_describes_the_methods_that_are_open() -> None:
    async with rpc_chain() as rpc:
        dispatcher = rpc.dispatcher_with([Module.CHAIN])
        registry = dispatcher._registry
        registry.add(discovery(lambda: registry))
        told = await call(dispatcher, "rpc.discover")
        names = {method["name"] for method in told["methods"]}
        assert {"get_block", "ping", "rpc.discover"} <= names
        assert "send_transaction" not in names
        (block,) = (method for method in told["methods"] if method["name"] == "get_block")
        assert block["params"][0] == {
            "name": "block_hash",
            "required": True,
            "schema": {"$ref": "#/components/schemas/H256"},
        }
        for reference in _references(told):
            assert reference.removeprefix("#/components/schemas/") in told["components"]["schemas"]


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(_references(each) for each in value.values()))
    return set().union(*map(_references, value)) if isinstance(value, list) else set()
