"""Parts of a real node that fail while the chain goes on, and what it says of them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.support.nodes.process import NodeProcess, RpcFailure, dev_node

pytestmark = pytest.mark.slow

WAIT_S = 60.0


def health(node: NodeProcess) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", node.rpc.port, timeout=30)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        assert answer.status == 200
        told: dict[str, Any] = json.loads(answer.read())
        return told
    finally:
        connection.close()


def wait_for(done: Callable[[], bool], node: NodeProcess) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert node.process.poll() is None, node.output()
        assert time.monotonic() < deadline, node.output()
        time.sleep(0.05)


def indexed(node: NodeProcess) -> int:
    tip = node.rpc.call("get_indexer_tip")
    return -1 if tip is None else int(tip["block_number"], 16)


def filtered(node: NodeProcess) -> int:
    """-1 while the database is being opened again."""
    number = node.rpc.tip()
    try:
        while number and node.rpc.call("get_block_filter", node.rpc.call("get_block_hash", hex(number))) is None:
            number -= 1
    except RpcFailure as failure:
        assert "is being opened again" in failure.message  # noqa: PT017 - any other is a fault
        return -1
    return number


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB; only root in a real machine can have one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no right to mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path) -> Path:
    ballast, room = disk / "ballast", os.statvfs(disk)
    ballast.write_bytes(bytes(room.f_bavail * room.f_frsize))
    return ballast


@pytest.mark.parametrize(
    ("directory", "part", "reached"), [("indexer", "indexer", indexed), ("filters", "block filters", filtered)]
)
def test_a_full_disk_of_one_part(
    tmp_path: Path, disk: Path, directory: str, part: str, reached: Callable[[NodeProcess], int]
) -> None:
    """The chain goes on, log, /health and RPC tell the fault, and with room again the part catches up."""
    (tmp_path / "node/data").mkdir(parents=True)
    (tmp_path / "node/data" / directory).symlink_to(disk)
    with dev_node(tmp_path / "node", interval_s=0.05) as node:
        node.wait_for_tip(3)
        assert health(node) == {"status": "ok", "degraded": []}
        assert node.rpc.call("get_blockchain_info")["alerts"] == []
        ballast = fill(disk)
        wait_for(lambda: health(node)["status"] == "degraded", node)
        (fault,) = health(node)["degraded"]
        assert (fault["name"], fault["reason"]) == (part, "No space left on device")
        (alert,) = node.rpc.call("get_blockchain_info")["alerts"]
        assert alert["message"] == f"{part} does not work: No space left on device"
        tip = node.wait_for_tip(node.rpc.tip() + 3)
        assert reached(node) < tip
        ballast.unlink()
        wait_for(lambda: reached(node) >= tip, node)
        wait_for(lambda: health(node)["status"] == "ok", node)
        assert "Traceback" not in node.output()
        node.stop()
