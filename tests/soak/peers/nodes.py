"""The nodes of the run: this program and the reference, each a process on a host of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from network.identity import Identity
from network.peers.store_files import ADDRESSES_FILE, BANS_FILE
from tests.support.nodes.namespaces import Host
from tests.support.nodes.process import NodeProcess, RpcClient, free_port, run_command

START_S = 120.0
RPC_S = 10.0
FIRST_NICE = -15
MINER_ARG = "0x" + "11" * 20


class HostRpc(RpcClient):
    """JSON-RPC to a node that listens on the loopback of its own host."""

    def __init__(self, host: Host, port: int) -> None:
        super().__init__(port)
        self._host = host

    def post(self, body: bytes) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=RPC_S)
        connection.sock = self._host.connect("127.0.0.1", self.port)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            return connection.getresponse().read()
        finally:
            connection.close()


class Node:
    """A node's directory, and its process when there is one."""

    def __init__(self, directory: Path, host: Host, command: Sequence[str], p2p_port: int, rpc_port: int) -> None:
        self.directory, self.host, self.p2p_port = directory, host, p2p_port
        self.rpc = HostRpc(host, rpc_port)
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        """Of time.monotonic."""
        self._command = [*host.prefix, *command]
        self.identity = Identity(sha256(f"node {host.name}".encode()).digest())
        key_file = self._network_directory / "secret_key"
        key_file.parent.mkdir(parents=True, exist_ok=True)
        key_file.write_bytes(self.identity.secret)
        key_file.chmod(0o400)

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def _network_directory(self) -> Path:
        return self.directory / "data/network"

    @property
    def log_path(self) -> Path:
        return self.directory.with_suffix(".log")

    @property
    def address(self) -> str:
        """For others' `bootnodes`."""
        return f"/ip4/{self.host.ip}/tcp/{self.p2p_port}/p2p/{self.identity.peer_id}"

    def start(self) -> None:
        self.started_at = time.monotonic()
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait_until_ready(self) -> None:
        """Until RPC answers. RuntimeError with the node's own words when it ends or takes too long."""
        while True:
            if not self.is_running:
                raise RuntimeError(f"{self.name} has ended:\n{self.output()}")
            try:
                self.rpc.tip()
            except (OSError, HTTPException):
                if time.monotonic() - self.started_at > START_S:
                    raise RuntimeError(f"{self.name} does not open RPC:\n{self.output()}") from None
                time.sleep(0.2)
            else:
                return

    def peers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.rpc.call("get_peers")
        return found

    def output(self) -> str:
        return self.log_path.read_text(errors="replace")[-3000:]

    def interrupt(self, timeout_s: float = 30.0) -> float:
        """Ctrl-C; the seconds until it was gone. The exit code must be 0."""
        assert self.process is not None
        begun = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout_s)
        if code != 0:
            raise RuntimeError(f"{self.name} ended with {code}:\n{self.output()}")
        return time.monotonic() - begun

    def kill(self) -> None:
        """kill -9, and wait."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=30)

    def saved(self) -> tuple[int, int]:
        """Addresses and bans in the files."""
        directory = self._network_directory / "peer_store"
        addresses, bans = (json.loads((directory / name).read_text()) for name in (ADDRESSES_FILE, BANS_FILE))
        return len(addresses), len(bans)

    def memory_mib(self) -> float:
        """Resident."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def descriptors(self) -> int:
        """Open files and sockets."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())


class Maker:
    """Makes nodes of one chain. `directory` holds them all."""

    def __init__(self, directory: Path, spec: Path | None, reference: Path | None, interval: int, local: bool) -> None:
        """`spec`: a chain spec that both programs read, by default the dev chain. `interval`: seconds between attempts
        to find peers. `local`: addresses are of loopback, and are told to others all the same."""
        self._directory, self._reference, self._interval, self._local = directory, reference, interval, local
        chain = ["-c", "dev", *(["--import-spec", str(spec)] if spec else [])]
        blocks = first_block(directory / "ours", chain)
        if reference is not None:
            place = str(directory / "reference")
            command = [str(reference), "init", "-C", place, *chain, "--log-to", "stdout"]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            # It may die when all is done.
            subprocess.run([str(reference), "import", "-C", place, str(blocks)], capture_output=True, timeout=60)
        self._ports = 0

    def ours(self, host: Host, bootnodes: Sequence[str], extra: str = "", prefix: Sequence[str] = ()) -> Node:
        """This program. `extra`: lines for [network]. `prefix`: words before the command."""
        command = [*prefix, sys.executable, "-m", "ckb_node", "run", "-C", str(self._directory / host.name)]
        return self._make("ours", "config.toml", host, command, bootnodes, extra)

    def reference(self, host: Host, bootnodes: Sequence[str]) -> Node:
        command = [str(self._reference), "run", "-C", str(self._directory / host.name)]
        return self._make("reference", "ckb.toml", host, command, bootnodes)

    def _make(
        self, kind: str, config: str, host: Host, command: Sequence[str], bootnodes: Sequence[str], extra: str = ""
    ) -> Node:
        directory = self._directory / host.name
        shutil.copytree(self._directory / kind, directory)
        rpc_port, p2p_port = (8114, 8115) if host.namespace else (21000 + self._ports, 21001 + self._ports)
        self._ports += 2
        listen = "0.0.0.0" if host.namespace else host.ip  # noqa: S104 - a namespace is reached by nobody else
        path = directory / config
        text = path.read_text()
        for pattern, line in (
            (r'^listen_address = ".*?:\d+"$', f'listen_address = "127.0.0.1:{rpc_port}"'),
            (r"^listen_addresses = .*$", f'listen_addresses = ["/ip4/{listen}/tcp/{p2p_port}"]'),
            (r"^bootnodes = \[.*\]$", f"bootnodes = {json.dumps(list(bootnodes))}"),
            (r"^discovery_local_address = .*$", f"discovery_local_address = {str(self._local).lower()}"),
            (r"^(# )?connect_outbound_interval_secs = .*$", f"connect_outbound_interval_secs = {self._interval}"),
            (r"^\[network\]$", f"[network]\n{extra}"),
        ):
            text, count = re.subn(pattern, line, text, count=1, flags=re.MULTILINE)
            assert count == 1, f"{pattern} is not in {path}"
        path.write_text(text)
        return Node(directory, host, command, p2p_port, rpc_port)


def first_block(directory: Path, chain: Sequence[str]) -> Path:
    """Make a directory of ours whose chain has a block of now, and export it. Nodes that are all a day behind would
    leave each other."""
    port = free_port()
    ports = ("--rpc-port", str(port), "--p2p-port", "0", "--ba-arg", MINER_ARG)
    run(["init", "-C", str(directory), *chain, *ports])
    node = NodeProcess(directory, "run", port=port)
    try:
        node.wait_until_ready()
        node.rpc.call("generate_block")
        node.stop()
    finally:
        if node.process.poll() is None:
            node.kill()
    shutil.rmtree(directory / "data/network")
    exported = directory.parent / "blocks"
    exported.mkdir()
    run(["export", "-C", str(directory), "-t", str(exported)])
    (file,) = exported.iterdir()
    return file


def run(arguments: Sequence[str]) -> None:
    done = run_command(*arguments)
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)


def without_bootnodes(node: Node) -> None:
    """Whom it dials then, it knows from its own files."""
    path = node.directory / "config.toml"
    path.write_text(re.sub(r"^bootnodes = \[.*\]$", "bootnodes = []", path.read_text(), flags=re.MULTILINE))


def serve_first(pid: int) -> None:
    """Give a process the processor before all that this machine does besides, where we may: only the attackers' load is
    meant. The system weighs sessions of processes against each other, and then the processes of each."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, FIRST_NICE)
        Path(f"/proc/{pid}/autogroup").write_text(str(FIRST_NICE))
