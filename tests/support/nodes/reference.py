"""Two programs on one chain: the reference node and ours, each in a directory of its own, both on loopback only."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from ckb_node.specs import bundled_text
from tests.support.nodes.process import NodeProcess, RpcClient, free_port, run_command

REFERENCE = os.environ.get("CKB_REFERENCE", "")
CELLS = os.environ.get("CKB_CELLS", "")
"""The two programs' common ground: path of the other binary, and the directory with the official ELF files."""

MINER_ARG = "0xc8328aabcd9b9e8e64fbc566c4385c3bdeb219d7"
START_S = 60.0
MODULES = (
    "Net",
    "Pool",
    "Miner",
    "Chain",
    "Stats",
    "Experiment",
    "IntegrationTest",
    "Indexer",
    "Subscription",
    "Terminal",
)
TCP_LINE = '# tcp_listen_address = "127.0.0.1:18114"'
WS_LINE = '# ws_listen_address = "127.0.0.1:28114"'
ASSEMBLER_CODE_HASH = "0x9bd7e06f3ecf4be0f2fcd2188b23f1b9fcc88e5d4b65a8637b17723bbda3cce8"


def spec_text(cells: Path, **params: object) -> str:
    """The dev chain with the official cells and changed `[params]` or `[params.hardfork]`; both nodes read it."""
    text = re.sub(r'bundled = "specs/cells/(\w+)"', rf'file = "{cells}/\1"', bundled_text("dev"))
    for key, value in params.items():
        line = f"{key} = {str(value).lower()}\n"
        old = re.search(rf"^{key} = .*\n", text, re.MULTILINE)
        text = _replaced(text, old[0], line) if old else _replaced(text, "[params]\n", f"[params]\n{line}")
    return text


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
    return text.replace(old, new)


def set_pool(config: Path, limits: Mapping[str, int]) -> None:
    """Limits of section [tx_pool] in the configuration of either program."""
    text = config.read_text()
    for key, value in limits.items():
        text = re.sub(rf"^{key} = .*\n", "", text, flags=re.MULTILINE)
        text = _replaced(text, "[tx_pool]\n", f"[tx_pool]\n{key} = {value}\n")
    config.write_text(text)


class ReferenceNode:
    """The other program."""

    name = "reference"

    def __init__(self, binary: Path, directory: Path, spec: Path, indexer: str = "Indexer") -> None:
        self.directory, self.binary = directory, binary
        self.log_path = directory.with_suffix(".log")
        port, p2p_port, self.tcp_port, self.ws_port = (free_port() for _ in range(4))
        self.rpc = RpcClient(port)
        arguments = ["init", "-C", str(directory), "-c", "dev", "--import-spec", str(spec), "--log-to", "stdout"]
        arguments += ["--rpc-port", str(port), "--p2p-port", str(p2p_port), "--ba-arg", MINER_ARG]
        made = subprocess.run([binary, *arguments], capture_output=True, text=True, check=False, timeout=60)
        assert made.returncode == 0, made.stdout + made.stderr
        self._configure(p2p_port, indexer)
        self.process: subprocess.Popen[bytes] | None = None

    def _configure(self, p2p_port: int, indexer: str) -> None:
        path = self.directory / "ckb.toml"
        text = path.read_text()
        text = _replaced(text, f"/ip4/0.0.0.0/tcp/{p2p_port}", f"/ip4/127.0.0.1/tcp/{p2p_port}")
        modules = ", ".join(
            f'"{module}"' for module in (*(each for each in MODULES if each != "Indexer"), indexer, "Debug")
        )
        text, count = re.subn(r"^modules = .*$", f"modules = [{modules}]", text, count=1, flags=re.MULTILINE)
        assert count == 1
        text = _replaced(text, TCP_LINE, f'tcp_listen_address = "127.0.0.1:{self.tcp_port}"')
        text = _replaced(text, WS_LINE, f'ws_listen_address = "127.0.0.1:{self.ws_port}"')
        assert "bootnodes = []" in text
        path.write_text(text)

    def start(self, options: Sequence[str] = ()) -> None:
        command = [str(self.binary), "run", "-C", str(self.directory), *options]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the reference ended:\n{self.output()}"
            try:
                self.rpc.tip()
            except (OSError, HTTPException):
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"the reference did not open RPC:\n{self.output()}")

    def output(self) -> str:
        return self.log_path.read_text(errors="replace")[-5000:]

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=10)


def init_ours(directory: Path, spec: Path) -> int:
    """A directory of our program on a spec file, with all modules that both have; its RPC port."""
    port = free_port()
    arguments = ["init", "-C", str(directory), "-c", "dev", "--import-spec", str(spec)]
    made = run_command(*arguments, "--rpc-port", str(port), "--p2p-port", "0", "--ba-arg", MINER_ARG)
    assert made.returncode == 0, made.stdout + made.stderr
    path = directory / "config.toml"
    text = _replaced(path.read_text(), TCP_LINE, f'tcp_listen_address = "127.0.0.1:{free_port()}"')
    path.write_text(_replaced(text, WS_LINE, f'ws_listen_address = "127.0.0.1:{free_port()}"'))
    return port


class OurNode(NodeProcess):
    """This program."""

    name = "ours"

    def __init__(self, directory: Path, port: int, *options: str) -> None:
        super().__init__(directory, "run", *options, port=port)

    @property
    def tcp_port(self) -> int:
        """Where it speaks JSON-RPC in lines."""
        return self._port("tcp_listen_address")

    @property
    def ws_port(self) -> int:
        """Where it speaks JSON-RPC by WebSocket."""
        return self._port("ws_listen_address")

    def _port(self, key: str) -> int:
        text = (self.directory / "config.toml").read_text()
        found = re.search(rf'^{key} = "127.0.0.1:(\d+)"$', text, re.MULTILINE)
        assert found is not None
        return int(found[1])


@dataclass
class Pair:
    """Both nodes, and the spec that they share."""

    reference: ReferenceNode
    ours: OurNode
    spec_path: Path

    def both(self, method: str, *params: Any) -> tuple[Any, Any]:
        """What the reference says, what ours says."""
        return self.reference.rpc.call(method, *params), self.ours.rpc.call(method, *params)


@contextmanager
def pair_of_nodes(
    directory: Path, text: str, *, rich: bool = False, pool: Mapping[str, int] | None = None
) -> Iterator[Pair]:
    """Both nodes running on the spec `text`, with the same genesis; `rich`: with module RichIndexer; `pool`: limits."""
    spec_path = directory / "spec.toml"
    spec_path.write_text(text)
    with ExitStack() as stack:
        reference = ReferenceNode(
            Path(REFERENCE), directory / "reference", spec_path, "RichIndexer" if rich else "Indexer"
        )
        stack.callback(reference.stop)
        set_pool(reference.directory / "ckb.toml", pool or {})
        reference.start()
        options = ("--rich-indexer",) if rich else ()
        port = init_ours(directory / "ours", spec_path)
        set_pool(directory / "ours" / "config.toml", pool or {})
        ours = OurNode(directory / "ours", port, *options)
        stack.callback(_stop_ours, ours)
        ours.wait_until_ready()
        pair = Pair(reference, ours, spec_path)
        stack.callback(lambda: _stop_ours(pair.ours))  # a test may have started another
        theirs, mine = pair.both("get_block_hash", "0x0")
        assert theirs == mine
        yield pair


def _stop_ours(node: OurNode) -> None:
    if node.process.poll() is None:
        node.kill()
