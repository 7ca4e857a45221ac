"""Nodes of either wire or of both, and one who hears when each has what."""

from __future__ import annotations

import json
import re
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from tests.support.nodes.process import free_port
from tests.support.nodes.reference import OurNode, ReferenceNode, init_ours

LIBP2P_ID = "/p2p/16Uiu2"
CHILD = "network.libp2p.child.main"
WAIT_S = 180.0


class WiredNode(OurNode):
    """`ckb` and `libp2p`: whom it dials on each wire; None: it has not that wire."""

    def __init__(self, directory: Path, spec: Path, ckb: Sequence[str] | None, libp2p: Sequence[str] | None) -> None:
        port = init_ours(directory, spec)
        path = directory / "config.toml"
        text = path.read_text(encoding="utf-8")
        text = _set(text, "listen_addresses", [] if ckb is None else ["/ip4/127.0.0.1/tcp/0"])
        text = _set(text, "bootnodes", ckb or [])
        if libp2p is not None:
            listen = f"/ip4/127.0.0.1/tcp/{free_port()}"
            keys = f"enabled = true\nlisten_addresses = {_list([listen])}\nbootnodes = {_list(libp2p)}\n"
            text += f"\n[network.libp2p]\n{keys}"
        path.write_text(text, encoding="utf-8")
        self.has_ckb, self.has_libp2p = ckb is not None, libp2p is not None
        super().__init__(directory, port)

    def addresses(self, *, of_libp2p: bool) -> list[str]:
        """Where it listens on a wire."""
        found = [each["address"] for each in self.rpc.call("local_node_info")["addresses"]]
        return [each for each in found if (LIBP2P_ID in each) is of_libp2p and "/ws/" not in each]

    def child(self) -> psutil.Process | None:
        """Its libp2p process."""
        for each in psutil.Process(self.process.pid).children():
            if any(CHILD in word for word in each.cmdline()):
                return each
        return None

    def wires(self) -> set[str]:
        """On which it has peers."""
        return {peer.get("transport", "ckb") for peer in self.rpc.call("get_peers")}

    def cpu_seconds(self) -> tuple[float, float]:
        """Of the node, and of its libp2p process."""
        child = self.child()
        return _cpu(psutil.Process(self.process.pid)), 0.0 if child is None else _cpu(child)


AnyNode = WiredNode | ReferenceNode


def start(
    stack: ExitStack, directory: Path, spec: Path, ckb: Sequence[str] | None, libp2p: Sequence[str] | None
) -> WiredNode:
    """A node that listens, and is ended with the stack."""
    node = WiredNode(directory, spec, ckb, libp2p)
    stack.callback(end, node)
    node.wait_until_ready()
    if libp2p is not None:
        until(lambda: bool(node.addresses(of_libp2p=True)), f"{directory.name} does not listen over libp2p", node)
    return node


def again(stack: ExitStack, node: WiredNode) -> OurNode:
    """The same in a new process."""
    new = OurNode(node.directory, node.rpc.port)
    stack.callback(end, new)
    new.wait_until_ready()
    return new


def end(node: OurNode) -> None:
    if node.process.poll() is None:
        node.kill()


def until(is_so: Any, what: str, node: AnyNode | OurNode, seconds: float = WAIT_S) -> float:
    """Seconds that it took. RuntimeError with the node's own words when it takes too long."""
    begun = time.monotonic()
    while not is_so():
        if time.monotonic() - begun > seconds:
            raise RuntimeError(f"{what}:\n{node.output()}")
        time.sleep(0.1)
    return time.monotonic() - begun


def one_tip(nodes: Sequence[AnyNode | OurNode], seconds: float = WAIT_S) -> float:
    """Seconds until all have the same tip."""

    def are_one() -> bool:
        return len({str(node.rpc.call("get_tip_header")["hash"]) for node in nodes}) == 1

    return until(are_one, "the nodes have not one tip", nodes[-1], seconds)


class News:
    """Hears by subscription when each node has a block, or a transaction in its pool, on one clock."""

    def __init__(self, nodes: Sequence[WiredNode]) -> None:
        self.heard: dict[str, dict[int, float]] = {}
        """By hash: when (seconds of time.monotonic) each node, by its place, had it."""
        self._selector = selectors.DefaultSelector()
        self._tails = [b""] * len(nodes)
        self._is_over = False
        for place, node in enumerate(nodes):
            end = socket.create_connection(("127.0.0.1", node.tcp_port))
            for number, topic in enumerate(("new_tip_header", "new_transaction")):
                call = {"jsonrpc": "2.0", "id": number, "method": "subscribe", "params": [topic]}
                end.sendall(json.dumps(call).encode() + b"\n")
            self._selector.register(end, selectors.EVENT_READ, place)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def close(self) -> None:
        self._is_over = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _listen(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select(0.2):
                assert isinstance(key.fileobj, socket.socket)
                data, now = key.fileobj.recv(1 << 20), time.monotonic()
                *lines, self._tails[key.data] = (self._tails[key.data] + data).split(b"\n")
                for line in lines:
                    self._note(json.loads(line), key.data, now)
                if not data:
                    self._selector.unregister(key.fileobj)

    def _note(self, message: dict[str, Any], place: int, now: float) -> None:
        if message.get("method") != "subscribe":
            return
        found = json.loads(message["params"]["result"])
        name = found["hash"] if "hash" in found else found["transaction"]["hash"]
        self.heard.setdefault(name, {}).setdefault(place, now)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _set(text: str, key: str, values: Sequence[str]) -> str:
    text, count = re.subn(rf"^{key} = \[.*?\]$", f"{key} = {_list(values)}", text, count=1, flags=re.MULTILINE)
    assert count == 1, key
    return text


def _list(values: Sequence[str]) -> str:
    return json.dumps(list(values))
