"""Real nodes that know each other over libp2p only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil

from ckb_node.jsonrpc_types.chain import transaction_json
from consensus.types.blockchain import Transaction
from tests.support.builders.wallet import ALICE_KEY, BOB_KEY, CKB, Wallet, issued_cell
from tests.support.chains.devchain import dev_consensus
from tests.support.nodes.process import NodeProcess, free_port, run_command


class Libp2pNode(NodeProcess):
    """`directory` is made. Its CKB wire listens nowhere and dials nobody."""

    def __init__(self, directory: Path, bootnodes: tuple[str, ...] = ()) -> None:
        rpc_port, self.libp2p_port = free_port(), free_port()
        arguments = ("--rpc-port", str(rpc_port), "--p2p-port", "0", "--ba-arg", "0x" + "11" * 20)
        result = run_command("init", "-C", str(directory), "-c", "dev", "--genesis-message", "ckb_dev", *arguments)
        assert result.returncode == 0, result.stderr
        path = directory / "config.toml"
        lines = [
            "listen_addresses = []" if "listen_addresses = [" in line and not line.startswith("#") else line
            for line in path.read_text().splitlines()
        ]
        names = ", ".join(f'"{each}"' for each in bootnodes)
        listen = f'"/ip4/127.0.0.1/tcp/{self.libp2p_port}"'
        section = f"[network.libp2p]\nenabled = true\nlisten_addresses = [{listen}]\nbootnodes = [{names}]\n"
        path.write_text("\n".join([*lines, "", section]))
        super().__init__(directory, "run", port=rpc_port)

    def address(self) -> str:
        """Of libp2p, once it listens."""
        self.until(lambda: any("/p2p/16Uiu2" in each["address"] for each in self.info()["addresses"]))
        (found,) = (each["address"] for each in self.info()["addresses"] if "/p2p/16Uiu2" in each["address"])
        return str(found)

    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = self.rpc.call("local_node_info")
        return found

    def until(self, is_so: Callable[[], bool], seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)

    def libp2p_process(self) -> psutil.Process | None:
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # it has just ended
                if any("network.libp2p.child.main" in word for word in child.cmdline()):
                    return child
        return None


@contextmanager
def running(directory: Path, *bootnodes: str) -> Iterator[Libp2pNode]:
    node = Libp2pNode(directory, bootnodes)
    try:
        node.wait_until_ready()
        yield node
    finally:
        if node.process.poll() is None:
            node.kill()


def payment() -> Transaction:
    """Alice pays Bob."""
    consensus, alice = dev_consensus(), Wallet(ALICE_KEY)
    out_point, capacity = issued_cell(consensus, alice)
    outputs = [(Wallet(BOB_KEY).lock, 100 * CKB), (alice.lock, capacity - 101 * CKB)]
    return alice.transfer(consensus, [(out_point, capacity)], outputs)


def payment_json() -> dict[str, Any]:
    """As RPC takes it."""
    found: dict[str, Any] = msgspec.to_builtins(transaction_json(payment()))
    return found
