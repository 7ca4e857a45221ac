"""A chain that mines while clients use it: of this node, or with a reference at hand of that one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckb_node.specs import bundled_text
from tests.support.nodes.process import RpcClient, run_command
from tests.support.nodes.reference import CELLS, REFERENCE, OurNode, ReferenceNode, init_ours, spec_text

PAUSE_S = 0.1
"""Between blocks: a transfer is in a block after four of them."""
OURS, THEIRS = "ours", "reference"
Run = Callable[..., Any]
"""Runs a program of a client with what it is given; its answer."""
PROGRAMS = (OURS, THEIRS) if REFERENCE and CELLS else (OURS,)


class Miner(threading.Thread):
    """Asks a node for a block, again and again."""

    def __init__(self, rpc: RpcClient) -> None:
        super().__init__(name="miner", daemon=True)
        self._rpc, self._over = rpc, threading.Event()
        self._may_mine = threading.Lock()

    def run(self) -> None:
        while not self._over.wait(PAUSE_S):
            # Behind many epochs on a busy machine the answer may be late; the next block is as good.
            with self._may_mine, suppress(TimeoutError):
                self._rpc.call("generate_block")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No blocks."""
        with self._may_mine:
            yield

    def stop(self) -> None:
        self._over.set()
        self.join(timeout=60)


@dataclass
class Served:
    """A running chain, and where clients reach it."""

    rpc: RpcClient
    tcp_port: int
    ws_port: int
    directory: Path
    """Of our program, for commands that ask for the chain's genesis."""
    miner: Miner

    def scripts(self, form: str) -> Any:
        """The chain's system scripts as an SDK wants to be told them."""
        done = run_command("list-hashes", "-C", str(self.directory), "--format", form)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@contextmanager
def served(program: str, directory: Path) -> Iterator[Served]:
    """The chain of one of PROGRAMS; `directory` is new and becomes its own."""
    spec = directory / "spec.toml"
    spec.write_text(spec_text(Path(CELLS)) if CELLS else bundled_text("dev"))
    port = init_ours(directory / "ours", spec)
    with ExitStack() as stack:
        node = stack.enter_context(_ours(directory, port) if program == OURS else _theirs(directory, spec))
        miner = Miner(node.rpc)
        miner.start()
        stack.callback(miner.stop)
        yield Served(node.rpc, node.tcp_port, node.ws_port, directory / "ours", miner)


@contextmanager
def _ours(directory: Path, port: int) -> Iterator[OurNode | ReferenceNode]:
    node = OurNode(directory / "ours", port)
    try:
        node.wait_until_ready()
        yield node
    finally:
        if node.process.poll() is None:
            node.kill()


@contextmanager
def _theirs(directory: Path, spec: Path) -> Iterator[OurNode | ReferenceNode]:
    node = ReferenceNode(Path(REFERENCE), directory / "reference", spec)
    try:
        node.start()
        yield node
    finally:
        node.stop()
