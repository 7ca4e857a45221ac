"""The disk of a node that follows another fails: the node says so and ends, blames no peer, and goes on when it can."""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.nodes.asker import tcp_address
from tests.support.nodes.process import STOP_S, NodeProcess
from tests.support.nodes.quiet import init_directory

pytestmark = pytest.mark.slow

EXIT_IO = 66
BLOCKS = 3
MOST_BLOCKS = 300
"""Empty ones; a file of the follower outgrows its limit long before."""
WAIT_S = 60.0


@dataclass
class Pair:
    """`miner` mines when it is told to; the follower is started and ended by tests."""

    miner: NodeProcess
    directory: Path
    port: int

    @contextmanager
    def follower(self) -> Iterator[NodeProcess]:
        node = NodeProcess(self.directory, "run", port=self.port)
        try:
            yield node
        finally:
            if node.process.poll() is None:
                node.kill()

    @contextmanager
    def following(self) -> Iterator[NodeProcess]:
        """A follower that has the miner's tip, and has banned nobody."""
        with self.follower() as node:
            node.wait_until_ready()
            address = str(tcp_address(self.miner.rpc))
            node.rpc.call("add_node", address.split("/p2p/")[1], address)
            node.wait_for_tip(self.miner.rpc.tip())
            assert node.rpc.call("get_banned_addresses") == []
            yield node

    def mine(self) -> None:
        self.miner.rpc.call("generate_block")

    def assert_goes_on(self) -> None:
        """The follower has lost nothing, has blamed nobody and follows on; the miner has not blamed it."""
        with self.following() as node:
            self.mine()
            node.wait_for_tip(self.miner.rpc.tip())
            node.stop()
        assert self.miner.rpc.call("get_banned_addresses") == []


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """After a first visit: the follower has some blocks."""
    miner = tmp_path / "miner"
    port, follower_port = init_directory(miner), init_directory(tmp_path / "follower")
    node = NodeProcess(miner, "run", port=port)
    try:
        node.wait_until_ready()
        made = Pair(node, tmp_path / "follower", follower_port)
        for _ in range(BLOCKS):
            made.mine()
        with made.following() as follower:
            follower.stop()
        yield made
        node.stop()
    finally:
        if node.process.poll() is None:
            node.kill()


def assert_ended(node: NodeProcess, *words: str) -> None:
    """By itself; its last line says why."""
    assert node.process.wait(STOP_S + 10) == EXIT_IO
    output = node.output()
    last = output.splitlines()[-1]
    assert last.startswith("ckb-node: ")
    for word in words:
        assert word in last
    assert "Traceback" not in output


def test_room_runs_out_while_following(pair: Pair) -> None:
    with pair.following() as node:
        size = max(path.stat().st_size for path in (pair.directory / "data").rglob("*") if path.is_file())
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (size, size))
        end = time.monotonic() + WAIT_S
        for _ in range(MOST_BLOCKS):
            if node.process.poll() is not None or time.monotonic() > end:
                break
            pair.mine()
        assert_ended(node, str(pair.directory / "data/chain"), "File too large")
        assert "the chain cannot be written any more; the node ends" in node.output()
    pair.assert_goes_on()


@pytest.fixture
def read_only(pair: Pair) -> Iterator[ExitStack]:
    """The follower's data cannot be written until this is closed, not even by root; only root can have that."""
    data = str(pair.directory / "data")
    with ExitStack() as stack:
        for command in (["--bind", data], ["-o", "remount,bind,ro"]):
            if subprocess.run(["mount", *command, data], capture_output=True, check=False).returncode != 0:
                pytest.skip("no right to mount")
            stack.callback(subprocess.run, ["umount", data], check=False, capture_output=True)
        yield stack


def test_a_data_directory_that_is_read_only(pair: Pair, read_only: ExitStack) -> None:
    before = shutil.disk_usage(pair.directory).free
    assert before > 0  # it is not for want of room
    with pair.follower() as node:
        assert_ended(node, str(pair.directory / "data"), "Read-only file system")
    read_only.close()
    pair.assert_goes_on()
