"""Block filters of a node process: there within moments, whole after kill -9, gone while they are switched off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.nodes.directories import invoke
from tests.support.nodes.process import NodeProcess, RpcClient, free_port

pytestmark = pytest.mark.slow

WAIT_S = 20.0
ROUNDS = 3


def hash_at(rpc: RpcClient, number: int) -> str:
    block_hash: str = rpc.call("get_block_hash", hex(number))
    return block_hash


def wait_for_filter(rpc: RpcClient, number: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while rpc.call("get_block_filter", hash_at(rpc, number)) is None:
        assert time.monotonic() < deadline, f"block {number} gets no filter"
        time.sleep(0.02)


def missing(rpc: RpcClient, numbers: range) -> list[int]:
    return [number for number in numbers if rpc.call("get_block_filter", hash_at(rpc, number)) is None]


@contextmanager
def mining(directory: Path, port: int) -> Iterator[NodeProcess]:
    """A dev node that mines fast; killed at the end unless it was stopped."""
    node = NodeProcess(directory, "dev", "--interval", "0.02", "--rpc-port", str(port), "--p2p-port", "0", port=port)
    try:
        node.wait_until_ready()
        yield node
    finally:
        if node.process.poll() is None:
            node.kill()


def test_a_killed_node_has_all_filters_soon_after_it_is_back(tmp_path: Path) -> None:
    directory, port, tip = tmp_path / "node", free_port(), 0
    for _ in range(ROUNDS):
        with mining(directory, port) as node:
            wait_for_filter(node.rpc, tip)
            assert missing(node.rpc, range(tip + 1)) == []
            tip = node.wait_for_tip(tip + 20)
    checked = invoke("check", "-C", str(directory))
    assert checked.exit_code == 0, checked.output
    assert "FAULT" not in checked.stdout


def test_filters_switched_off_and_on_again(tmp_path: Path) -> None:
    directory, port = tmp_path / "node", free_port()
    with mining(directory, port) as node:
        tip = node.wait_for_tip(10)
        wait_for_filter(node.rpc, tip)
        node.stop()
    settings = directory / "config.toml"
    text = settings.read_text()
    assert text.count("[block_filters]\n") == 1
    settings.write_text(text.replace("[block_filters]\n", "[block_filters]\nenabled = false\n"))
    with mining(directory, port) as node:
        above = node.wait_for_tip(tip + 60)
        assert missing(node.rpc, range(above + 1)) == list(range(above + 1)), "nobody opens what was built"
        node.stop()
    settings.write_text(text)
    with mining(directory, port) as node:
        wait_for_filter(node.rpc, above)
        assert missing(node.rpc, range(above + 1)) == []
        node.stop()
