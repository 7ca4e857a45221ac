"""A real node in a process of its own, on loopback, stopped by its id."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
START_S = 30.0
STOP_S = 3.0
"""A node must be gone this soon after SIGINT."""


class RpcFailure(Exception):  # noqa: N818 - an answer, not a fault of the test
    """The node answered with an error object."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: str | None = error.get("data")


class RpcClient:
    """JSON-RPC by HTTP, one connection per call."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._ids = itertools.count(1)

    def call(self, method: str, *params: Any) -> Any:
        """The result. Raises RpcFailure, or OSError when nobody answers."""
        body = json.dumps({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params})
        answer = json.loads(self.post(body.encode()))
        if "error" in answer:
            raise RpcFailure(answer["error"])
        return answer["result"]

    def post(self, body: bytes) -> bytes:
        """The raw answer to a raw body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            return connection.getresponse().read()
        finally:
            connection.close()

    def tip(self) -> int:
        return int(self.call("get_tip_block_number"), 16)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class NodeProcess:
    """`ckb-node ARGS -C DIR`; its output goes to a file beside the data."""

    def __init__(self, directory: Path, *arguments: str, port: int) -> None:
        self.directory, self.rpc = directory, RpcClient(port)
        self.log_path = directory.with_suffix(".log")
        command = [sys.executable, "-m", "ckb_node", *arguments, "-C", str(directory)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_until_ready(self) -> None:
        """Return when RPC answers; fail with the node's own output when it ended or takes too long."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the node ended with {self.process.returncode}:\n{self.output()}")
            try:
                self.rpc.tip()
            except (OSError, HTTPException):
                time.sleep(0.02)
            else:
                return
        raise AssertionError(f"the node did not open RPC:\n{self.output()}")

    def wait_for_tip(self, number: int, timeout_s: float = 60.0) -> int:
        """Wait until the chain has this height; the tip."""
        deadline = time.monotonic() + timeout_s
        while (tip := self.rpc.tip()) < number:
            if time.monotonic() > deadline:
                raise AssertionError(f"the tip stays at {tip}, wanted {number}:\n{self.output()}")
            time.sleep(0.02)
        return tip

    def output(self) -> str:
        return self.log_path.read_text(errors="replace")[-5000:]

    def stop(self) -> float:
        """SIGINT and wait; the seconds that it took. The exit code must be 0."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=STOP_S + 10)
        if code != 0:
            raise AssertionError(f"the node ended with {code}:\n{self.output()}")
        return time.monotonic() - started

    def kill(self) -> None:
        """kill -9"""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)


@contextmanager
def dev_node(directory: Path, interval_s: float = 0.2) -> Iterator[NodeProcess]:
    """A mining dev node; a new directory is made."""
    port = free_port()
    ports = ("--rpc-port", str(port), "--p2p-port", "0")
    node = NodeProcess(directory, "dev", "--interval", str(interval_s), *ports, port=port)
    try:
        node.wait_until_ready()
        yield node
    finally:
        if node.process.poll() is None:
            node.kill()


def run_command(*arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """`ckb-node ARGS` to its end."""
    command = [sys.executable, "-m", "ckb_node", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
