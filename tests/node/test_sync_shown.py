"""Two nodes on this machine: what the one that syncs tells people, by RPC, /health, Prometheus and its log."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from ckb_node.config import Config, parse_config
from ckb_node.node import open_node
from ckb_node.rpc.health import health_json
from ckb_node.sync.progress import PATIENCE, Phase
from tests.support.nodes.process import NodeProcess, free_port, run_command
from tests.support.sync_figures import NOW_MS, figures

MESSAGE = ("--genesis-message", "shown")


def made(directory: Path, *, bootnodes: str = "") -> tuple[int, int]:
    """Ports of RPC and of Prometheus of a new directory."""
    port, metrics_port = free_port(), free_port()
    arguments = ("--rpc-port", str(port), "--p2p-port", str(free_port()), "--ba-arg", "0x" + "11" * 20)
    result = run_command("init", "-C", str(directory), "-c", "dev", *MESSAGE, *arguments)
    assert result.returncode == 0, result.stderr
    path = directory / "config.toml"
    text = re.sub(r"^bootnodes = \[\]", f"bootnodes = [{bootnodes}]", path.read_text(), flags=re.MULTILINE)
    target = f'{{ type = "prometheus", listen_address = "127.0.0.1:{metrics_port}" }}'
    text += f"\n[metrics.exporter.prometheus]\ntarget = {target}\n"
    path.write_text(text)
    return port, metrics_port


@contextmanager
def running(directory: Path, port: int) -> Iterator[NodeProcess]:
    node = NodeProcess(directory, "run", port=port)
    try:
        node.wait_until_ready()
        yield node
    finally:
        if node.process.poll() is None:
            node.kill()


def until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def got(port: int, path: str) -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def figure(text: str, name: str) -> float:
    (value,) = re.findall(rf"^{re.escape(name)} (\S+)$", text, flags=re.MULTILINE)
    return float(value)


def test_what_a_node_that_syncs_shows(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    port, _ = made(first)
    with running(first, port) as giver:
        for _ in range(30):
            giver.rpc.call("generate_block")
        address = next(
            each["address"] for each in giver.rpc.call("local_node_info")["addresses"] if "/ws" not in each["address"]
        )
        own_port, metrics_port = made(second, bootnodes=f'"{address}"')
        with running(second, own_port) as taker:
            assert taker.wait_for_tip(30) == 30
            tip = giver.rpc.call("get_tip_header")["hash"]
            until(lambda: taker.rpc.call("get_peers")[0]["sync_state"]["best_known_header_number"] == hex(30))
            state = taker.rpc.call("sync_state")
            (peer,) = taker.rpc.call("get_peers")
            assert (state["tip_hash"], state["unverified_tip_hash"]) == (tip, tip)
            assert (state["best_known_block_number"], state["ibd"]) == (hex(30), False)
            assert (state["inflight_blocks_count"], state["orphan_blocks_count"]) == ("0x0", "0x0")
            assert peer["sync_state"]["best_known_header_hash"] == peer["sync_state"]["last_common_header_hash"] == tip
            assert not taker.rpc.call("get_blockchain_info")["is_initial_block_download"]
            assert json.loads(got(own_port, "/health")) == {"status": "ok", "degraded": []}
            until(lambda: "at the tip" in taker.output())
            text = got(metrics_port, "/metrics")
            assert figure(text, "ckb_shared_best_number") == 30
            assert figure(text, "ckb_inflight_blocks_count") == 0
            assert figure(text, 'ckb_sync_taken_total{kind="blocks"}') == 30
            assert figure(text, 'ckb_sync_taken_total{kind="headers"}') >= 30
            assert figure(text, 'ckb_sync_phase{phase="at_the_tip"}') == 1
            assert figure(text, "ckb_sync_stalled_seconds") == 0
            assert sum(figure(text, f'ckb_sync_peers{{state="{state}"}}') for state in ("started", "tip_synced")) == 1
            assert figure(text, 'ckb_relay_messages_total{kind="TooMany"}') == 0
            assert figure(text, 'ckb_serving_asked_total{kind="sync_headers"}') >= 1
            assert figure(text, 'ckb_serving_waiting{kind="sync_blocks"}') == 0


async def test_sync_that_stands_is_a_fault_of_the_node(tmp_path: Path) -> None:
    config = Config(tmp_path, parse_config('[chain]\nspec = { bundled = "dev" }\n'))
    with open_node(config) as node:
        assert node.faults == []
        for second in range(int(PATIENCE[Phase.BLOCKS]) + 2):
            node.progress.progress.sample(figures(tip=5, blocks_wait="a peer that has block 6"), second, NOW_MS)
        (fault,) = node.faults
        assert (fault.name, fault.reason) == ("sync", "no progress (blocks): a peer that has block 6")
        health = json.loads(health_json(node.faults))
        assert (health["status"], health["degraded"][0]["name"]) == ("degraded", "sync")
        (alert,) = node.services.net.alerts()
        assert alert.message == "sync does not work: no progress (blocks): a peer that has block 6"
        node.progress.progress.sample(figures(tip=6), 200, NOW_MS)
        assert node.faults == []
