"""Each program's miner works for the other's node, by RPC, with both functions of proof of work at a low difficulty."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ckb_node.jsonrpc_types.chain import HeaderJson, read_header
from consensus.params import PowFunc
from consensus.rules.pow import is_solution
from consensus.types.core import EpochFraction
from tests.interop.kit_chain import COUNTS
from tests.support.nodes.process import RpcClient, free_port
from tests.support.nodes.reference import CELLS, REFERENCE, OurNode, ReferenceNode, init_ours, spec_text

pytestmark = pytest.mark.timeout(300)

BLOCKS = 50
ONE_IN_256 = "0x20010000"
TARGET = 1 << 248
MINING_S = 200.0
FUNCTIONS = (PowFunc.EAGLESONG, PowFunc.EAGLESONG_BLAKE2B)


@pytest.fixture(params=FUNCTIONS, ids=lambda function: function.value)
def function(request: pytest.FixtureRequest) -> PowFunc:
    chosen: PowFunc = request.param
    return chosen


@pytest.fixture
def spec(tmp_path: Path, function: PowFunc) -> Path:
    """The dev chain with this function."""
    text = spec_text(Path(CELLS), genesis_epoch_length=1000)  # the difficulty stays
    for old, new in (
        (r'^func = "Dummy"$', f'func = "{function.value}"'),
        (r"^compact_target = .*$", f"compact_target = {ONE_IN_256}"),
    ):
        text, count = re.subn(old, new, text, flags=re.MULTILINE)
        assert count == 1
    path = tmp_path / "spec.toml"
    path.write_text(text)
    return path


def without_integration_test(path: Path) -> None:
    """The module is for chains with Dummy proof of work."""
    text = path.read_text()
    changed = re.sub(r'(^modules = .*)"IntegrationTest", ', r"\1", text, flags=re.MULTILINE)
    path.write_text(re.sub(r'(^modules = .*), "IntegrationTest"', r"\1", changed, flags=re.MULTILINE))


@contextmanager
def our_node(directory: Path, spec: Path) -> Iterator[OurNode]:
    port = init_ours(directory, spec)
    node = OurNode(directory, port)
    try:
        node.wait_until_ready()
        yield node
    finally:
        if node.process.poll() is None:
            node.kill()


@contextmanager
def reference_node(directory: Path, spec: Path, notify: str | None = None) -> Iterator[ReferenceNode]:
    node = ReferenceNode(Path(REFERENCE), directory, spec)
    path = directory / "ckb.toml"
    without_integration_test(path)
    if notify is not None:
        path.write_text(path.read_text().replace("[block_assembler]\n", f'[block_assembler]\nnotify = ["{notify}"]\n'))
        assert notify in path.read_text()
    try:
        node.start()
        yield node
    finally:
        node.stop()


def verify_mined(rpc: RpcClient, function: PowFunc, least: int = BLOCKS) -> None:
    """So many blocks are there, and the plain rule agrees that each has its work."""
    assert rpc.tip() >= least
    for number in range(1, least + 1):
        fields = rpc.call("get_header_by_number", hex(number))
        fields.pop("hash")
        header = read_header(HeaderJson(**fields))
        assert is_solution(function, header.pow_hash, header.nonce, TARGET)
        assert EpochFraction.unpack(header.epoch).number == 0
    COUNTS[f"blocks of {function.value} mined for each other"] += least


def test_the_references_miner_on_our_node(tmp_path: Path, spec: Path, function: PowFunc) -> None:
    mines = ReferenceNode(Path(REFERENCE), tmp_path / "miner", spec)  # its directory, for the miner's file
    path = mines.directory / "ckb-miner.toml"
    with our_node(tmp_path / "ours", spec) as node:
        text = re.sub(
            r"^rpc_url = .*$", f'rpc_url = "http://127.0.0.1:{node.rpc.port}/"', path.read_text(), flags=re.MULTILINE
        )
        head, worker, _ = text.partition("[[miner.workers]]\n")
        assert worker
        extra = 'extra_hash_function = "Blake2b"\n' if function is PowFunc.EAGLESONG_BLAKE2B else ""
        path.write_text(f'{head}{worker}worker_type = "EaglesongSimple"\nthreads = 2\n{extra}')
        command = [REFERENCE, "miner", "-C", str(mines.directory), "--limit", str(BLOCKS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MINING_S, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        verify_mined(node.rpc, function)


def test_our_miner_on_the_references_node(tmp_path: Path, spec: Path, function: PowFunc) -> None:
    with reference_node(tmp_path / "reference", spec) as node:
        url = f"http://127.0.0.1:{node.rpc.port}/"
        done = ours_mines(tmp_path, function, "--rpc-url", url, "--limit", str(BLOCKS))
        assert f"{BLOCKS} blocks accepted" in done
        verify_mined(node.rpc, function)


def test_our_miner_in_the_references_directory(tmp_path: Path, spec: Path, function: PowFunc) -> None:
    """With its ckb-miner.toml as it was written, but for the worker."""
    with reference_node(tmp_path / "reference", spec) as node:
        path = node.directory / "ckb-miner.toml"
        head, worker, _ = path.read_text().partition("[[miner.workers]]\n")
        extra = 'extra_hash_function = "Blake2b"\n' if function is PowFunc.EAGLESONG_BLAKE2B else ""
        path.write_text(f'{head}{worker}worker_type = "EaglesongSimple"\nthreads = 1\n{extra}')
        assert "5 blocks accepted" in ours_mines(node.directory, None, "--limit", "5")
        verify_mined(node.rpc, function, 5)


def test_our_miner_takes_the_templates_that_the_reference_posts(tmp_path: Path, spec: Path, function: PowFunc) -> None:
    """Beside them it asks for one only every 30 s, and after each block."""
    port = free_port()
    with reference_node(tmp_path / "reference", spec, notify=f"http://127.0.0.1:{port}") as node:
        url = f"http://127.0.0.1:{node.rpc.port}/"
        done = ours_mines(tmp_path, function, "--rpc-url", url, "--listen", f"127.0.0.1:{port}", "--limit", str(BLOCKS))
        assert f"{BLOCKS} blocks accepted" in done
        verify_mined(node.rpc, function)


def ours_mines(directory: Path, function: PowFunc | None, *arguments: str) -> str:
    """What our miner prints until it ends."""
    chosen = {None: (), PowFunc.EAGLESONG: ("--pow", "eaglesong")}.get(function, ("--pow", "eaglesong-blake2b"))
    command = [sys.executable, "-m", "ckb_node", "miner", "-C", str(directory), *chosen, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MINING_S, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
